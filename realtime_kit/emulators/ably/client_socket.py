"""One client of the emulator: a WebSocket, what befalls it, and what of it is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.faults import Faults, Rule
from realtime_kit.emulators.ably.session import Session
from realtime_kit.emulators.ably.wire import Action, Frame, decode
from realtime_kit.emulators.ably.world import World

Write = Callable[[str, str | None, Mapping[str, Any]], None]

_UNREAD = 20_000  # frames that may wait for a client before it is cut off
CLOSE_SECONDS = 2.0


class _Ping:
    """A heartbeat of the transport."""


class _End:
    """Nothing follows."""


class ClientSocket:
    """It is the session's `Socket`. `log` is called with kind, connection id and detail."""

    def __init__(
        self,
        world: World,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        params: Mapping[str, str],
        faults: Faults,
        log: Write,
    ) -> None:
        self._websocket = websocket
        self._transport = transport
        self._params = params
        self._binary = params.get("format") == "msgpack"
        self._faults = faults
        self._log = log
        self._session = Session(world, self)
        self._queue: asyncio.Queue[Frame | _Ping | _End | float] = asyncio.Queue()
        self._ended = False
        self._id: str | None = None

    # --- its life ---------------------------------------------------------------------------

    async def serve(self) -> None:
        """Until the client is gone, or was sent away."""
        writer = asyncio.create_task(self._write())
        try:
            if await self._open():
                await self._read()
        finally:
            self._session.lost()
            self.close()
            _, late = await asyncio.wait([writer], timeout=CLOSE_SECONDS)
            if late:
                writer.cancel()
                self._transport.abort()
            self._log("closed", self._id, {})

    async def _open(self) -> bool:
        for rule in self._befalling("connect"):
            match rule.fault:
                case "delay":
                    await asyncio.sleep(rule.seconds)
                case "drop":
                    self.abort()
                    return False
                case _:
                    self.send(Frame(Action.ERROR, error=rule.error.info()))
                    return False
        self._session.open(self._params)
        return not self._ended

    async def _read(self) -> None:
        async for message in self._websocket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            if not await self._receive(message.data):
                return

    async def _receive(self, raw: str | bytes) -> bool:
        """Whether there may be another."""
        fields = _fields(raw)
        self._log("in", self._id, {**_what(fields), "frame": _without_secrets(fields)})
        after: list[Rule] = []
        for rule in self._befalling("in", **_what(fields)):
            match rule.fault:
                case "delay":
                    await asyncio.sleep(rule.seconds)
                case "drop":
                    self.abort()
                    return False
                case "refuse":
                    self._refuse(fields, rule.error)
                    return True
                case "suppress":
                    return True
                case _:
                    after.append(rule)
        self._session.receive(raw)
        for rule in after:
            self._then(rule)
        return not self._ended

    def abort(self) -> None:
        """End it without a word."""
        self._ended = True
        self._queue.put_nowait(_End())
        self._transport.abort()

    # --- what the session asks --------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        if self._ended:
            return
        if frame.action == Action.CONNECTED:
            self._id = str(frame.fields["connectionId"])
        what = _what(frame.fields)
        after: list[Rule] = []
        for rule in self._befalling("out", **what):
            match rule.fault:
                case "delay":
                    self._queue.put_nowait(rule.seconds)
                case "drop":
                    self.abort()
                    return
                case "suppress":
                    return
                case _:
                    after.append(rule)
        self._log("out", self._id, {**what, "frame": _without_secrets(frame.message())})
        self._queue.put_nowait(frame)
        if self._queue.qsize() > _UNREAD:
            self.abort()
        for rule in after:
            self._then(rule)

    def ping(self) -> None:
        self._queue.put_nowait(_Ping())

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            self._queue.put_nowait(_End())

    # --- parts ------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while not isinstance(item := await self._queue.get(), _End):
                if isinstance(item, float):
                    await asyncio.sleep(item)
                elif isinstance(item, _Ping):
                    await self._websocket.ping()
                elif isinstance(encoded := item.encode(binary=self._binary), bytes):
                    await self._websocket.send_bytes(encoded)
                else:
                    await self._websocket.send_str(encoded)
            await self._websocket.close()
        except ConnectionError:  # it is gone: the reader sees that too
            self._ended = True

    def _befalling(self, way: Any, **what: Any) -> list[Rule]:
        rules = self._faults.of(way, connection_id=self._id, **what)
        for rule in rules:
            self._log("fault", self._id, {"fault": rule.fault, "way": way, **what})
        return rules

    def _then(self, rule: Rule) -> None:
        """What a rule does after the frame that matched."""
        if rule.fault == "inject":
            fields = dict(rule.frame)
            self._queue.put_nowait(Frame(Action(fields.pop("action")), **fields))
        elif rule.fault == "expire" and (connection := self._session.connection) is not None:
            connection.disconnect(AblyError(40142, 401, "Token expired"))

    def _refuse(self, fields: Mapping[str, Any], error: AblyError) -> None:
        serial = fields.get("msgSerial")
        if serial is not None:
            self.send(Frame(Action.NACK, msgSerial=serial, count=1, error=error.info()))
        else:
            self.send(Frame(Action.ERROR, channel=fields.get("channel"), error=error.info()))


def _fields(raw: str | bytes) -> Mapping[str, Any]:
    try:
        return decode(raw)
    except AblyError:
        return {}


def _what(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"action": fields.get("action"), "channel": fields.get("channel")}


def _without_secrets(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**fields, "auth": "…"} if "auth" in fields else fields
