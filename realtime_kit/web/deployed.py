"""A deployed function's settings: its environment, and the secret that `DEPLOYMENT_SECRET` names.

    secrets = Secrets()
    realtime = secrets.realtime()
    secrets.get("JWT_SECRET")

The secret has the environment's own names: `REALTIME_AWS__KEYS`, `REALTIME_WEB__TRIGGER_TOKENS`,
`JWT_SECRET`. So nothing that is secret stands in a function's configuration, where everyone reads
it who may look at functions. After a rotation processes that run take the new one over within five
minutes (`hosting.apigateway.secrets.TTL`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from realtime_kit.errors import ConfigurationError
from realtime_kit.realtime import Realtime

if TYPE_CHECKING:
    from realtime_kit.hosting.apigateway.dynamodb import Http
    from realtime_kit.hosting.apigateway.secrets import Secret
    from realtime_kit.providers.base import Provider
    from realtime_kit.settings import RealtimeSettings

PLACE = "DEPLOYMENT_SECRET"
KEYS = "REALTIME_AWS__KEYS"
TIMEOUT = 3.0  # seconds

_log = logging.getLogger(__name__)


class Secrets:
    """`environ` over what is in the secret; it alone, where it names none."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ

    def get(self, name: str) -> str | None:
        """The value now: a rotation is seen within `hosting.apigateway.secrets.TTL`."""
        value = self.environ.get(name)
        if value is None and self.secret is not None:
            return self.secret.values().get(name)
        return value

    def realtime(self, **options: Any) -> Realtime:
        """`Realtime(**options)` with these settings, those of now."""
        return _Deployed(self, **options)

    def environment(self, values: Mapping[str, str] | None) -> dict[str, str]:
        """The environment over `values`, what is in the secret."""
        return {**(values or {}), **self.environ}

    @cached_property
    def secret(self) -> Secret | None:
        place = self.environ.get(PLACE)
        if not place:
            return None
        from realtime_kit.hosting.apigateway.secrets import Secret
        from realtime_kit.hosting.apigateway.sigv4 import Credentials

        region = self.environ.get("AWS_REGION", "")
        return Secret(
            place,
            _connect(region, self.environ.get("AWS_ENDPOINT_URL")),
            region=region,
            credentials=lambda: Credentials.from_environment(self.environ),
        )


class _Deployed(Realtime):
    """What is in the secret is that of now: where it changed, settings and provider follow."""

    def __init__(self, secrets: Secrets, **options: Any) -> None:
        super().__init__(**options)
        self._secrets = secrets
        self._values: Mapping[str, str] | None = None  # of which the settings are

    @property
    def settings(self) -> RealtimeSettings:
        self._follow()
        return super().settings

    @property
    def provider(self) -> Provider:
        self._follow()
        return super().provider

    def _follow(self) -> None:
        """Read the settings anew if the secret is another. What is wrong in it is logged, and what
        was right before stays."""
        if self._values is None or self._secrets.secret is None:
            return
        values = self._secrets.secret.values()
        if values is self._values:
            return
        with self._lock:
            changed, self._values = values != self._values, values
            if not changed:
                return
            before = self._settings, self._provider
            try:
                self._settings = self._read_settings()
                if self._provider is not None and self._is_remade(self._provider):
                    self._provider = self._make_provider()
            except ConfigurationError as error:
                self._settings, self._provider = before
                _log.error("%s; the settings read before are used", error)
        if before[1] is not None and before[1] is not self._provider:
            before[1].close()

    def _is_remade(self, provider: Provider) -> bool:
        """Not `aws`, whose keys follow by themselves: a second one would have a second part of the
        account's quota."""
        return provider.name != "aws" and provider is not self._choice

    def _read_settings(self) -> RealtimeSettings:
        # Not before the handler is made, which lets the garbage collector rest meanwhile.
        from realtime_kit.settings import RealtimeSettings

        if self._secrets.secret is not None and self._values is None:
            self._values = self._secrets.secret.values()
        return RealtimeSettings(environ=self._secrets.environment(self._values))

    def _make_provider(self) -> Provider:
        provider, secret = super()._make_provider(), self._secrets.secret
        if secret is None or provider.name != "aws":
            return provider
        from realtime_kit.hosting.apigateway.secrets import SecretKeys
        from realtime_kit.providers.aws import AwsProvider

        if isinstance(provider, AwsProvider) and KEYS not in self._secrets.environ:
            provider.keys = SecretKeys(secret, KEYS)
        return provider


def _connect(region: str, instead: str | None) -> Callable[[str], tuple[Http, str]]:
    """`instead` is what AWS's tools take in `AWS_ENDPOINT_URL`: one address for all services."""

    def connect(service: str) -> tuple[Http, str]:
        from realtime_kit.providers._http import HttpClient

        url = urlsplit(instead or f"https://{service}.{region}.amazonaws.com")
        tls, host = url.scheme == "https", url.hostname or ""
        port = url.port or (443 if tls else 80)
        client = HttpClient("aws", host, port, tls=tls, timeout=TIMEOUT)
        return client, host if port == (443 if tls else 80) else f"{host}:{port}"

    return connect
