"""One client of the embedded server: its WebSocket is read through aiohttp, and written past it.

aiohttp shakes hands and parses what comes; whole frames go straight to the transport. The bound of
what a client may leave unread is the transport's own high-water mark, so that it costs a broadcast
nothing to respect it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import WebSocketError, WSMsgType, web

from realtime_kit.hosting.local.driver import MemoryDriver
from realtime_kit.hosting.local.wire import close_frame, pong_frame, text_frame
from realtime_kit.protocol import frames, session
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import Close, Effect, Perform, Send, run

_log = logging.getLogger("realtime_kit.server")

_PING = text_frame('{"event":"pusher:ping","data":{}}')
_AWAY = text_frame(frames.error("Server is going away, please reconnect", 4200))
_ERROR = '{"event":"pusher:error"'
_LOGGED_ERRORS = 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """`unread`: bytes that may wait for a client before it is cut off. Seconds: `pong`, to answer a
    ping; `close`, to answer a close; `authorization`, to sign in or subscribe to a private channel
    (None: for ever)."""

    unread: int = 1 << 20
    pong: float = 30.0
    close: float = 2.0
    authorization: float | None = None


class ClientSocket:
    """A client, from the handshake to its end. It is the driver's `Socket`."""

    __slots__ = (
        "_app",
        "_bounds",
        "_closing",
        "_connection",
        "_driver",
        "_errors",
        "_loop",
        "_perform",
        "_pinged",
        "_seen",
        "_timers",
        "_transport",
        "_websocket",
        "id",
        "write",
    )

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        socket_id: str,
        bounds: Bounds,
    ) -> None:
        self.id = socket_id
        self.write = transport.write
        self._websocket = websocket
        self._transport = transport
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._driver: MemoryDriver | None = None
        self._perform: Perform = self._refuse
        self._connection: Connection | None = None
        self._closing = False
        self._errors = 0
        self._seen = self._loop.time()
        self._pinged: float | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        transport.set_write_buffer_limits(high=bounds.unread)

    # --- its life ---------------------------------------------------------------------------

    def open(self, driver: MemoryDriver | None, key: str, query: Mapping[str, str]) -> None:
        """Run the protocol's first step. `driver` is that of the app that `key` belongs to."""
        app = None
        if driver is not None:
            app, self._driver = driver.app, driver
            self._perform = driver.performer(self.id, self)
        step = session.connect(app, key=key, query=query, socket_id=self.id)
        self._connection = run(step, self._perform_and_log)
        if app is not None and self._connection is not None:
            self._after("idle", app.activity_timeout, self._check_alive)
            if self._bounds.authorization is not None:
                self._after("authorization", self._bounds.authorization, self._check_authorized)

    def refuse(self, code: int, message: str) -> None:
        """End a client that does what it must not, with a log line. It is told by the error and by
        the close code: some clients know only the one."""
        frame = frames.error(message, code)
        self._log(frame)
        self._write(text_frame(frame))
        self.close(code, message)

    def send_away(self) -> None:
        """The server ends: the client is to come back.

        Code 1001 makes pusher-js try again in a second. 4200 would make it try at once, and after a
        refused attempt it waits for fifteen; but those that only read errors know no 1001.
        """
        self._write(_AWAY)
        self.close(1001, "Server is going away")

    async def serve(self) -> None:
        """Read until the client is gone; then tell those who knew it."""
        try:
            while await self._read():
                self._seen = self._loop.time()
        finally:
            self._leave()
            self._cancel_timers()
            self._transport.close()
            if self._transport.get_write_buffer_size():  # who reads no more is not waited for
                self._loop.call_later(self._bounds.close, self._transport.abort)

    async def _read(self) -> bool:
        """Handle one message; whether there may be another."""
        message = await self._websocket.receive()
        kind = message.type
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            self._receive(message.data)
        elif kind is WSMsgType.PING:
            self._write(pong_frame(message.data))
        elif kind is WSMsgType.CLOSE:
            if not self._closing:
                self._write(close_frame(message.data or 1000))
            return False
        elif kind is not WSMsgType.PONG:
            if isinstance(message.data, WebSocketError):
                _log.warning("%s: closed, %s", self.id, message.data)
            return False
        return True

    def _receive(self, frame: str | bytes) -> None:
        if self._connection is None or self._driver is None or self._closing:
            return  # refused, or on its way out
        step = session.receive(self._driver.app, self._connection, frame)
        self._connection = run(step, self._perform_and_log)

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._driver is not None:
            run(session.disconnect(self._driver.app, connection), self._perform)

    # --- what the driver asks ---------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """End it after what was written before. It leaves its channels in the next tick: this may
        be in the middle of another client's step."""
        if self._closing:
            return
        self._closing = True
        self._write(close_frame(code, reason))
        self._loop.call_soon(self._leave)
        self._cancel_timers()
        self._after("close", self._bounds.close, self._transport.abort)

    def cut_off(self) -> None:
        """It does not read: the transport holds more for it than the bound. Called by the
        transport, in the middle of a broadcast."""
        self._loop.call_soon(self._abort)

    def _abort(self) -> None:
        if not self._transport.is_closing():
            waiting = self._transport.get_write_buffer_size()
            _log.warning("%s: cut off, it left %d bytes unread", self.id, waiting)
            self._transport.abort()

    def _perform_and_log(self, effect: Effect) -> Any:
        if isinstance(effect, Send) and effect.frame.startswith(_ERROR):
            self._log(effect.frame)
        return self._perform(effect)

    def _log(self, what: str) -> None:
        self._errors += 1
        if self._errors <= _LOGGED_ERRORS:  # nobody fills a disk with bad frames
            _log.warning("%s: %.400s", self.id, what)

    def _refuse(self, effect: Effect) -> None:
        """Before there is an app there is nothing to do but to refuse."""
        match effect:
            case Send(frame):
                self._write(text_frame(frame))
            case Close(code, reason):
                self.close(code, reason)
            case _:
                raise TypeError(f"{type(effect).__name__} without an app")

    def _write(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self.write(frame)

    # --- deadlines --------------------------------------------------------------------------

    def _after(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        self._timers[name] = self._loop.call_later(seconds, call)

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _check_alive(self) -> None:
        """Ping after `activity_timeout` of silence, and end what then stays silent."""
        if self._driver is None or self._closing:
            return
        now = self._loop.time()
        if self._pinged is not None and self._seen < self._pinged:
            self.refuse(4201, "Pong reply not received in time")
            return
        wait = self._seen + self._driver.app.activity_timeout - now
        if wait > 0:
            self._pinged = None
        else:
            self._pinged, wait = now, self._bounds.pong
            self._write(_PING)
        self._after("idle", wait, self._check_alive)

    def _check_authorized(self) -> None:
        if self._driver is not None and not self._driver.registry.authorized(self.id):
            self.refuse(4009, "Connection not authorized within timeout")
