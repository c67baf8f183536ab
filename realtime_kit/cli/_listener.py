"""A client of the Pusher Channels protocol that only listens, for `realtime-kit listen`.

Sources: Pusher Channels, "Pusher Channels Protocol" (version 7), "Encrypted channels".
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from realtime_kit import __version__
from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.channels import SERVER_TO_USER, Kind, kind_of, validate
from realtime_kit.errors import ProviderUnavailable, Rejected, Unsupported, missing_extra
from realtime_kit.providers.base import AuthRequest, Provider

try:
    from aiohttp import (
        ClientError,
        ClientSession,
        ClientWebSocketResponse,
        WSMsgType,
    )
except ModuleNotFoundError as error:
    raise missing_extra("server", "`realtime-kit listen`") from error

HANDSHAKE = 15.0  # seconds until connection_established must have come
PONG = 30.0  # seconds until a ping must have been answered
LONGEST_PAUSE = 30.0  # seconds between two attempts to connect
FINAL = range(4000, 4100)  # codes that mean: do not come back

# What the protocol tells a client, under the names that client libraries give it.
_TOLD = {
    "pusher_internal:member_added": "pusher:member_added",
    "pusher_internal:member_removed": "pusher:member_removed",
    "pusher_internal:subscription_count": "pusher:subscription_count",
    "pusher:cache_miss": "pusher:cache_miss",
}


@dataclass(frozen=True, slots=True)
class Received:
    """One event. `data` is decoded; `user_id` is the sender of a client event, if it is known."""

    channel: str
    event: str
    data: Any
    user_id: str | None = None


class _Lost(Exception):
    """The connection is gone, and may be made again."""


class Listener:
    """Listens to channels until it is cancelled, across lost connections.

    `on_event` is called with each event, `notice` with lines for a person. `user_id` is who it is
    on presence channels.
    """

    def __init__(
        self,
        provider: Provider,
        channels: Iterable[str],
        *,
        user_id: str,
        on_event: Callable[[Received], object],
        notice: Callable[[str], object],
    ) -> None:
        self._provider = provider
        self._channels = tuple(dict.fromkeys(map(validate, channels)))
        self._user_id = user_id
        self._on_event = on_event
        self._notice = notice
        self._url = _url(provider)
        self._failures: int | None = None  # since the last connection; None: there was none yet
        self._pending: set[str] = set()
        self._secrets: dict[str, str] = {}

    async def run(self) -> None:
        """Raises `ProviderUnavailable` if the first connection fails, and `Rejected` if the server
        refuses the key or a channel."""
        async with ClientSession() as http:
            while True:
                try:
                    async with http.ws_connect(self._url) as websocket:
                        await self._talk(websocket)
                except (ClientError, OSError, _Lost) as error:  # TimeoutError is an OSError
                    await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        number = error.errno if isinstance(error, OSError) else None
        # asyncio's own text for a refused connection is a call of a function.
        why = os.strerror(number) if number else str(error) or "no answer in time"
        if self._failures is None:
            raise ProviderUnavailable(
                f"no connection to {self._url.partition('?')[0]}: {why}. Is the server running?",
                provider=self._provider.name,
                retryable=True,
            ) from error
        longest = min(LONGEST_PAUSE, 2.0**self._failures)
        seconds = random.uniform(longest / 4, longest)  # noqa: S311 - so that not all come at once
        self._failures += 1
        self._notice(f"connection lost: {why}; again in {seconds:.1f} s")
        await asyncio.sleep(seconds)

    # --- one connection ---------------------------------------------------------------------

    async def _talk(self, websocket: ClientWebSocketResponse) -> None:
        self._pending = set(self._channels)
        frame = await self._read(websocket, HANDSHAKE)
        if frame.get("event") != "pusher:connection_established":
            raise self._refusal(frame)
        try:
            established = _decoded(frame["data"])
            socket_id, quiet = str(established["socket_id"]), float(established["activity_timeout"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._refusal({}) from error
        self._failures = 0
        await self._subscribe(websocket, socket_id)
        while True:
            await self._handle(websocket, await self._next(websocket, quiet))

    async def _next(self, websocket: ClientWebSocketResponse, quiet: float) -> dict[str, Any]:
        """The next frame; after `quiet` seconds without one the server has to show it is there."""
        try:
            return await self._read(websocket, quiet)
        except TimeoutError:
            await websocket.send_json({"event": "pusher:ping", "data": {}})
            return await self._read(websocket, PONG)

    async def _read(self, websocket: ClientWebSocketResponse, seconds: float) -> dict[str, Any]:
        message = await websocket.receive(timeout=seconds)
        if message.type is WSMsgType.TEXT:
            frame = _decoded(message.data)
            if not isinstance(frame, dict):
                raise self._refusal({})
            return frame
        code = websocket.close_code
        if code in FINAL:
            raise self._rejected(str(message.extra or "the connection was closed"), code)
        raise _Lost(f"closed with {code}")

    async def _subscribe(self, websocket: ClientWebSocketResponse, socket_id: str) -> None:
        own = [name for name in self._channels if kind_of(name) is Kind.SERVER_TO_USER]
        others = [name for name in self._channels if name not in own]
        for name in own:
            identity = SignIn(name.removeprefix(SERVER_TO_USER))
            data = self._provider.sign_in(socket_id, identity)
            await websocket.send_json({"event": "pusher:signin", "data": dict(data)})
        proofs = self._prove(socket_id, others)
        for name in others + own:
            data = {"channel": name, **proofs.get(name, {})}
            self._secrets[name] = data.pop("shared_secret", "")
            await websocket.send_json({"event": "pusher:subscribe", "data": data})

    def _prove(self, socket_id: str, channels: list[str]) -> Mapping[str, Mapping[str, str]]:
        me = Member(self._user_id, {"name": self._user_id})
        grants = tuple(
            Grant(me if kind_of(name).is_presence else None, channel=name)
            for name in channels
            if kind_of(name).requires_auth
        )
        if not grants:
            return {}
        return self._provider.authorize(AuthRequest(self._user_id, socket_id, grants)).channels

    async def _handle(self, websocket: ClientWebSocketResponse, frame: dict[str, Any]) -> None:
        event, channel = str(frame.get("event")), frame.get("channel")
        if event == "pusher:ping":
            await websocket.send_json({"event": "pusher:pong", "data": {}})
        elif event == "pusher:error":
            refusal = self._refusal(frame)
            if self._pending or refusal.code in FINAL:
                raise refusal
            self._notice(str(refusal))
        elif event == "pusher_internal:subscription_succeeded" and isinstance(channel, str):
            self._pending.discard(channel)
            self._notice(f"listening to {channel}")
        elif isinstance(channel, str) and (event in _TOLD or not event.startswith("pusher")):
            data = self._read_data(channel, frame.get("data"))
            user_id = frame.get("user_id")
            self._on_event(Received(channel, _TOLD.get(event, event), data, user_id))

    def _read_data(self, channel: str, data: Any) -> Any:
        found = _decoded(data)
        secret = self._secrets.get(channel)
        if secret and isinstance(found, dict) and "ciphertext" in found:
            return _decoded(_decrypt(found, secret))
        return found

    def _refusal(self, frame: dict[str, Any]) -> Rejected:
        data = frame.get("data")
        if frame.get("event") != "pusher:error" or not isinstance(data, dict):
            return self._rejected("what answers there is no server of the Pusher protocol", None)
        return self._rejected(str(data.get("message")), data.get("code"))

    def _rejected(self, message: str, code: int | None) -> Rejected:
        return Rejected(message, provider=self._provider.name, code=code)


def _url(provider: Provider) -> str:
    config = provider.client_config().get("socket")
    if config is None:
        raise Unsupported(
            f"provider {provider.name!r} has no socket of the Pusher protocol to listen on"
        )
    host = config["host"] or "127.0.0.1"
    return (
        f"{'wss' if config['tls'] else 'ws'}://{f'[{host}]' if ':' in host else host}"
        f":{config['port']}{config['path']}/app/{quote(config['key'], safe='')}"
        f"?protocol=7&client=realtime-kit&version={__version__}"
    )


def _decoded(data: Any) -> Any:
    """As clients do: parsed once if it is text that reads as JSON, else as it is."""
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data


def _decrypt(data: Mapping[str, str], secret: str) -> str:
    try:
        from nacl.secret import SecretBox
    except ModuleNotFoundError as error:
        raise missing_extra("encryption", "an encrypted channel") from error
    box = SecretBox(b64decode(secret))
    return box.decrypt(b64decode(data["ciphertext"]), b64decode(data["nonce"])).decode()
