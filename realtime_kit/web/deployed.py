"""A deployed function's settings: its environment, and the secret that `DEPLOYMENT_SECRET` names.

    secrets = Secrets()
    realtime = secrets.realtime()
    secrets.get("JWT_SECRET")

The secret has the environment's own names: `REALTIME_AWS__KEYS`, `REALTIME_WEB__TRIGGER_TOKENS`,
`JWT_SECRET`. So nothing that is secret stands in a function's configuration, where everyone reads
it who may look at functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from realtime_kit.realtime import Realtime

if TYPE_CHECKING:
    from realtime_kit.hosting.apigateway.dynamodb import Http
    from realtime_kit.hosting.apigateway.secrets import Secret
    from realtime_kit.providers.base import Provider
    from realtime_kit.settings import RealtimeSettings

PLACE = "DEPLOYMENT_SECRET"
KEYS = "REALTIME_AWS__KEYS"
TIMEOUT = 3.0  # seconds


class Secrets:
    """`environ` over what is in the secret; it alone, where it names none."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, name: str) -> str | None:
        """The value now: a rotation is seen within `hosting.apigateway.secrets.TTL`."""
        value = self._environ.get(name)
        if value is None and self.secret is not None:
            return self.secret.values().get(name)
        return value

    def realtime(self, **options: Any) -> Realtime:
        """`Realtime(**options)` with these settings, whose keys are those of now."""
        return _Deployed(self, **options)

    def environment(self) -> dict[str, str]:
        return {**(self.secret.values() if self.secret else {}), **self._environ}

    @cached_property
    def secret(self) -> Secret | None:
        place = self._environ.get(PLACE)
        if not place:
            return None
        from realtime_kit.hosting.apigateway.secrets import Secret
        from realtime_kit.hosting.apigateway.sigv4 import Credentials

        region = self._environ.get("AWS_REGION", "")
        return Secret(
            place,
            _connect(region, self._environ.get("AWS_ENDPOINT_URL")),
            region=region,
            credentials=lambda: Credentials.from_environment(self._environ),
        )


class _Deployed(Realtime):
    def __init__(self, secrets: Secrets, **options: Any) -> None:
        super().__init__(**options)
        self._secrets = secrets

    def _read_settings(self) -> RealtimeSettings:
        # Not before the handler is made, which lets the garbage collector rest meanwhile.
        from realtime_kit.settings import RealtimeSettings

        return RealtimeSettings(environ=self._secrets.environment())

    def _make_provider(self) -> Provider:
        provider, secret = super()._make_provider(), self._secrets.secret
        if secret is None:
            return provider
        from realtime_kit.hosting.apigateway.secrets import SecretKeys
        from realtime_kit.providers.channels_protocol import ChannelsProtocolProvider

        if isinstance(provider, ChannelsProtocolProvider):
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
