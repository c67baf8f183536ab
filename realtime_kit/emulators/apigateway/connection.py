"""One client's connection, at the gateway's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from realtime_kit.emulators.apigateway import answers, frames
from realtime_kit.emulators.apigateway.documents import Client
from realtime_kit.emulators.apigateway.timeline import Timer
from realtime_kit.hosting.local.wire import close_frame, pong_frame

CLOSE_SECONDS = 2.0  # real ones, for a client to answer a close


@dataclass(frozen=True, slots=True)
class Quotas:
    """ "Quotas for configuring and running a WebSocket API in API Gateway", and of the account.

    Bytes: `frame` and `message` of a client, `data` of a POST to `@connections`, `unread` (which
    AWS does not tell) before a client's buffer counts as full. `url` is characters. Emulated
    seconds: `idle`, `life`. Real seconds: `integration`. `rate` and `burst` of requests and
    messages a second, all APIs and `@connections` together; `connects` are new connections a
    second.
    """

    frame: int = 32 * 1024
    message: int = 128 * 1024
    data: int = 128 * 1024
    unread: int = 1 << 20
    url: int = 4096
    idle: float = 600.0
    life: float = 7200.0
    integration: float = 29.0
    rate: float = 10_000.0
    burst: float = 5_000.0
    connects: float = 500.0


class Listener(Protocol):
    """Who is told what a client does."""

    def on_text(self, connection: Connection, text: str) -> None: ...

    def on_active(self, connection: Connection) -> None: ...

    def on_violation(self, connection: Connection, code: int) -> None: ...

    def on_end(self, connection: Connection, code: int, reason: str) -> None: ...


class Connection:
    """A client, from its handshake on.

    `open`: it can be posted to; not before `$connect` has returned, and not once it has ended.
    `gone`: it has ended. `vanished`: it has, and the gateway does not know. `last_active` is
    emulated time. `lost` is done once there is no socket any more.
    """

    def __init__(self, client: Client, quotas: Quotas, listener: Listener) -> None:
        self.client = client
        self.id = client.connection_id
        self.open = False
        self.gone = False
        self.vanished = False
        self.last_active = client.connected_at
        self.timers: list[Timer] = []
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._quotas = quotas
        self._listener = listener
        self._reader = frames.FrameReader(frame=quotas.frame, message=quotas.message)
        self._transport: asyncio.Transport | None = None
        self._early = b""

    # --- from the socket --------------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """The handshake is over."""
        self._transport = transport
        early, self._early = self._early, b""
        self.on_data(early)

    def on_data(self, data: bytes) -> None:
        if self._transport is None:
            self._early += data
            return
        for received in self._reader.feed(data):
            self._listener.on_active(self)
            match received:
                case frames.Text(text):
                    self._listener.on_text(self, text)
                case frames.Ping(payload):
                    self._write(pong_frame(payload))
                case frames.Violation(code):
                    self._listener.on_violation(self, code)
                case frames.Closing(code, reason):
                    self._answer_close(code, reason)

    def on_lost(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if not self.vanished and self._transport is not None:
            self._listener.on_end(self, *answers.CUT_OFF)

    def _answer_close(self, code: int | None, reason: str) -> None:
        if not self.gone:
            self._write(_EMPTY_CLOSE if code is None else close_frame(code))
            end = answers.NO_STATUS if code is None else (code, reason)
            self._listener.on_end(self, *end)
        if self._transport is not None:
            self._transport.close()

    # --- to the client ----------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the client leaves too much unread to be sent more."""
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() > self._quotas.unread

    def send(self, data: bytes) -> None:
        """Send a text message, in frames of 32 KB."""
        self._write(frames.text_message(data, frame=self._quotas.frame))

    def close(self, code: int, reason: str) -> None:
        """Tell the client; it is cut off if it does not answer."""
        self._write(close_frame(code, reason))
        if self._transport is not None:
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def cut(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


_EMPTY_CLOSE = b"\x88\x00"
