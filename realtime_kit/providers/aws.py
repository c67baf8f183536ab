"""The deployment in one's own AWS account.

Its functions deliver in place; everybody else posts to its HTTP API, which is Pusher's: one signed
request, without AWS credentials.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from realtime_kit.errors import ConfigurationError
from realtime_kit.events import Event, Limits
from realtime_kit.providers.base import Capability
from realtime_kit.providers.channels_api import ChannelsApiProvider, signed_request
from realtime_kit.providers.channels_protocol import master_key, signing_keys, socket_config
from realtime_kit.settings import AwsSettings, RealtimeSettings

if TYPE_CHECKING:
    from realtime_kit.hosting.apigateway.host import Host
    from realtime_kit.providers._http import HttpClient

_REFUSED = "Compare REALTIME_AWS__URL with the outputs of the deployment"
_HINT = "Compare REALTIME_AWS__APP_ID and REALTIME_AWS__KEYS with those of the deployment"
# API Gateway ends what was silent for ten minutes, and each ping is paid for.
ACTIVITY_TIMEOUT = 540  # seconds


class AwsProvider(ChannelsApiProvider):
    """Delivers through API Gateway WebSockets.

    Where `table` is set this is one of the deployment's own functions; elsewhere `url` is needed to
    publish, and `socket` for browsers to connect.
    """

    name: ClassVar[str] = "aws"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        return cls(settings.aws)

    def __init__(
        self,
        settings: AwsSettings,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        settings.require()
        super().__init__(
            keys=signing_keys(settings.keys),
            limits=limits,
            encryption_master_key=master_key(settings.encryption_master_key),
            socket=_socket(settings),
            clock=clock,
        )
        self.settings = settings
        self._base = f"/apps/{quote(settings.app_id, safe='')}"

    @cached_property
    def host(self) -> Host:
        """What the deployment's functions do. Raises `ConfigurationError` outside of them."""
        from realtime_kit.providers._aws_deployment import open_host

        return open_host(self.settings, lambda: self.keys, clock=self._clock)

    @cached_property
    def _http(self) -> HttpClient:
        from realtime_kit.providers._http import HttpClient

        url = urlsplit(str(self.settings.require("url").url))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigurationError("aws.url (REALTIME_AWS__URL) is not like https://HOST")
        tls = url.scheme == "https"
        return HttpClient(
            self.name,
            url.hostname,
            url.port or (443 if tls else 80),
            tls=tls,
            timeout=self.settings.timeout,
            refused=_REFUSED,
        )

    def _fields(self, event: Event) -> Mapping[str, Any]:
        return event.ids()

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        # Told a code that means "connect again", the client asks for every proof anew.
        body: dict[str, Any] = {"reconnect": True}
        if channel is not None:
            body["channel"] = channel
        self._terminate(user_id, body)

    def _call(
        self, method: Literal["GET", "POST"], path: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        path = self._base + path
        if self.settings.table:
            return self._perform(method, path, params)
        # API Gateway may take the escapes out of the path: both forms verify then.
        target, body = signed_request(
            self.keys[0], method, path, params, self._clock(), signed_path=unquote(path)
        )
        before = urlsplit(str(self.settings.require("url").url)).path.rstrip("/")
        answer = self._http.request(
            method,
            before + target,
            headers={"Content-Type": "application/json"} if body else {},
            body=body,
        )
        return self._read(answer, hint=_HINT)

    def _perform(self, method: str, path: str, params: dict[str, Any]) -> dict[str, Any]:
        import json

        from realtime_kit.protocol.http_api import Request
        from realtime_kit.providers._answer import Answer

        query = urlencode(params, quote_via=quote) if method == "GET" else ""
        body = json.dumps(params).encode() if method == "POST" else b""
        response = self.host.perform(Request(method, path, query, {}, body))
        return self._read(Answer(response.status, response.body, {}), hint=_HINT)

    def close(self) -> None:
        for name in ("_http", "host"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _socket(settings: AwsSettings) -> dict[str, Any] | None:
    """For browsers; None if it is not known where they connect.

    No path may follow a stage, so the protocol's own, `/app/KEY?protocol=7`, goes into the query:
    clients put it behind `path`, whatever that is.
    """
    if settings.socket is None:
        return None
    url = urlsplit(settings.socket)
    if url.scheme not in ("ws", "wss") or not url.hostname:
        raise ConfigurationError("aws.socket (REALTIME_AWS__SOCKET) is not like wss://HOST/STAGE")
    tls = url.scheme == "wss"
    config = socket_config(
        cluster=None,
        host=url.hostname,
        port=url.port or (443 if tls else 80),
        tls=tls,
    )
    path = url.path.rstrip("/") or "/"
    return {**config, "path": f"{path}?p=", "activityTimeout": ACTIVITY_TIMEOUT}
