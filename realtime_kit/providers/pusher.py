"""Pusher Channels, or another server of its HTTP API, through the official `pusher` package.

The SDK builds and signs every request, so that the vendor's semantics stay the vendor's; requests
go out through `_Backend`, on the SDK's own hook. Where its methods cannot say what is meant, its
own request object is built (`Request`); each place says which defect of 3.3.4 makes it so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode

from realtime_kit.errors import ConfigurationError, missing_extra
from realtime_kit.events import RESERVED, Event, Limits, encode
from realtime_kit.providers._answer import Answer
from realtime_kit.providers.base import Capability
from realtime_kit.providers.channels_api import ChannelsApiProvider
from realtime_kit.providers.channels_protocol import master_key, signing_keys, socket_config
from realtime_kit.settings import PusherSettings, RealtimeSettings

_HINT = (
    "Compare the app id, key, secret and cluster with the dashboard's (REALTIME_PUSHER__APP_ID, "
    "REALTIME_PUSHER__KEYS, REALTIME_PUSHER__CLUSTER)"
)


class PusherProvider(ChannelsApiProvider):
    """Delivers through Pusher Channels.

    `disconnect_user` and `revoke` reach connections that are signed in, like Pusher's API, which
    knows no others. It has no narrower end either: `revoke`, with `channel=` too, closes all of the
    user's connections with 4009, and the page has to connect again.
    """

    name: ClassVar[str] = "pusher"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        return cls(settings.pusher)

    def __init__(
        self,
        settings: PusherSettings,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        settings.require()
        # The SDK's own rule, told as what to set rather than as "Invalid app id".
        if not re.fullmatch("[0-9]+", settings.app_id):
            raise ConfigurationError(
                f"pusher.app_id (REALTIME_PUSHER__APP_ID) is {settings.app_id!r}: the pusher SDK "
                "takes digits only"
            )
        super().__init__(
            keys=signing_keys(settings.keys),
            limits=limits,
            encryption_master_key=master_key(settings.encryption_master_key),
            socket=_socket(settings),
            clock=clock,
        )
        self._settings = settings

    def _text(self, event: Event) -> str:
        return encode(_with_ids(event))

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        self.disconnect_user(user_id)

    def _call(
        self, method: Literal["GET", "POST"], path: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        # Built by hand for every call, because the SDK's methods
        # - trigger: counts data by sys.getsizeof, so one emoji among 8,000 letters is "Too much
        #   data"; has no `info`;
        # - trigger_batch: writes into the caller's events, lets more than 10 pass, has no `info`;
        # - channels_info, channel_info: as good as this;
        # - terminate_user_connections: leaves /apps/ID out of the path, which answers 404.
        client = self._client
        from pusher.http import Request

        request = Request(client, method, f"/apps/{client.app_id}{path}", params)
        return self._read(client.http.send_request(request), hint=_HINT)

    @cached_property
    def _client(self) -> Any:
        """The half of the SDK that sends. `pusher.Pusher` makes two clients with a pool each, and
        the other one signs for browsers, which needs no SDK."""
        try:
            from pusher.pusher_client import PusherClient
        except ModuleNotFoundError as error:
            raise missing_extra("pusher", "provider 'pusher'") from error
        settings, key = self._settings, self.keys[0]
        return PusherClient(
            settings.app_id,
            key.key,
            key.secret,
            ssl=settings.tls,
            host=settings.host,
            # Apart from the host: `Pusher.from_url` makes `host:6001:80` of a URL with a port.
            port=settings.port,
            timeout=settings.timeout,
            cluster=settings.cluster,
            backend=_Backend,
        )

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.http.close()


class _Backend:
    """What the SDK calls `backend`: sends its requests through our HTTP client.

    The stock one spends 645 of 750 µs in `requests`, trusts a CA file of its own instead of the
    system's, has no time limit on a whole answer, and lets `requests`' errors through bare.
    """

    def __init__(self, client: Any) -> None:
        from realtime_kit.providers._http import HttpClient

        self._http = HttpClient(
            PusherProvider.name,
            client.host,
            client.port,
            tls=client.ssl,
            timeout=client.timeout,
        )

    def send_request(self, request: Any) -> Answer:
        # `request.url` does not escape: a value with & or # would be another request.
        query = urlencode(sorted(request.query_params.items()), quote_via=quote, safe=",")
        return self._http.request(
            request.method, f"{request.path}?{query}", headers=request.headers, body=request.body
        )

    def close(self) -> None:
        self._http.close()


def _with_ids(event: Event) -> Any:
    """The data, with the ids in it if the event needs them: on Pusher only data travels.

    An event needs them in a channel with history, or as the answer to an optimistic update.
    """
    if event.mutation is None and event.offset is None:
        return event.data
    pairs = (("id", event.id), ("o", event.offset), ("e", event.epoch), ("m", event.mutation))
    ids = {name: value for name, value in pairs if value is not None}
    # An object whose only member is `d` would be taken for what wraps other data.
    if isinstance(event.data, Mapping) and event.data.keys() != {"d"}:
        return {**event.data, RESERVED: ids}
    return {RESERVED: ids, "d": event.data}


def _socket(settings: PusherSettings) -> dict[str, Any]:
    """For browsers: the cluster's own host, or that of the server that stands in for Pusher."""
    tls = settings.tls if settings.public_tls is None else settings.public_tls
    own_port = settings.port if settings.host and tls == settings.tls else None
    return socket_config(
        cluster=settings.cluster,
        host=settings.public_host or settings.host or f"ws-{settings.cluster}.pusher.com",
        port=settings.public_port or own_port or (443 if tls else 80),
        tls=tls,
    )
