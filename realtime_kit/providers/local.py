"""The embedded server: a plain client of its HTTP API, which is Pusher's. It starts nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import quote

from realtime_kit.events import Event, Limits
from realtime_kit.providers.base import Capability
from realtime_kit.providers.channels_api import ChannelsApiProvider, signed_request
from realtime_kit.providers.channels_protocol import master_key, signing_keys, socket_config
from realtime_kit.settings import LocalSettings, RealtimeSettings

if TYPE_CHECKING:
    from realtime_kit.providers._http import HttpClient

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, never called
_REFUSED = "Start the embedded server: `realtime-kit dev app:app`, or `realtime-kit serve`"
_HINT = "Does the server have this app? Compare REALTIME_LOCAL__APP_ID and REALTIME_LOCAL__KEYS"


class LocalProvider(ChannelsApiProvider):
    """Delivers through the embedded server, or another process of it (`realtime-kit serve`)."""

    name: ClassVar[str] = "local"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        return cls(settings.local)

    def __init__(
        self,
        settings: LocalSettings,
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
        self._base = f"/apps/{quote(settings.app_id, safe='')}"
        self._settings = settings

    @cached_property
    def _http(self) -> HttpClient:
        from realtime_kit.providers._http import HttpClient  # which those who only sign do without

        settings = self._settings
        return HttpClient(
            self.name,
            _ANY_ADDRESS.get(settings.host, settings.host),
            settings.port,
            tls=settings.tls,
            timeout=settings.timeout,
            refused=_REFUSED,
        )

    def _fields(self, event: Event) -> Mapping[str, Any]:
        return event.ids()

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        # Ours on top of Pusher's API: closed with a code that means "connect again", which makes
        # the client ask for every proof anew.
        body: dict[str, Any] = {"reconnect": True}
        if channel is not None:
            body["channel"] = channel
        self._terminate(user_id, body)

    def _call(
        self, method: Literal["GET", "POST"], path: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        target, body = signed_request(
            self.keys[0], method, self._base + path, params, self._clock()
        )
        answer = self._http.request(
            method,
            target,
            headers={"Content-Type": "application/json"} if body else {},
            body=body,
        )
        return self._read(answer, hint=_HINT)

    def close(self) -> None:
        if "_http" in self.__dict__:
            self._http.close()


def _socket(settings: LocalSettings) -> dict[str, Any]:
    """For browsers. A server that listens everywhere is where the page came from."""
    everywhere = settings.host in _ANY_ADDRESS
    return socket_config(
        cluster=None,
        host=settings.public_host or (None if everywhere else settings.host),
        port=settings.public_port or settings.port,
        tls=settings.tls if settings.public_tls is None else settings.public_tls,
    )
