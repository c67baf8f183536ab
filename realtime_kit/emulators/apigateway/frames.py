"""WebSocket frames at the gateway's end, with API Gateway's limits. Pure.

Sources: RFC 6455, 5 and 7.4; "Quotas for configuring and running a WebSocket API": a frame of more
than 32 KB, or a message of more than 128 KB, ends the connection with 1009, a binary one with 1003.
A reader that hands out whole messages alone could not tell how a message was cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
INVALID_TEXT = 1007
MESSAGE_TOO_BIG = 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN = 0x80


@dataclass(frozen=True, slots=True)
class Text:
    """A whole message."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    pass


@dataclass(frozen=True, slots=True)
class Closing:
    """The client's close frame. `code` is None where it gave none."""

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke a rule: close with this code. Nothing but `Closing` comes after it."""

    code: int


Received = Text | Ping | Pong | Closing | Violation


class FrameReader:
    """Reads what a client sends. Limits are bytes; each holds as soon as a header tells."""

    def __init__(self, *, frame: int, message: int) -> None:
        self._max_frame = frame
        self._max_message = message
        self._buffer = bytearray()
        self._skip = 0
        self._partial: bytearray | None = None
        self._broken = False

    def feed(self, data: bytes) -> Iterator[Received]:
        """What these bytes bring. The iterator is to be used up."""
        self._buffer += data
        while True:
            if self._skip:
                skipped = min(self._skip, len(self._buffer))
                del self._buffer[:skipped]
                self._skip -= skipped
            frame = None if self._skip else self._header()
            if frame is None:
                return
            opcode, fin, start, length = frame
            if not self._broken:
                code = self._refuse(opcode, fin, length)
                if code is not None:
                    self._broken = True
                    yield Violation(code)
            if self._broken and opcode != _CLOSE:
                self._skip = start + length
                continue
            if len(self._buffer) < start + length:
                return
            payload = _unmask(
                bytes(self._buffer[start - 4 : start]), bytes(self._buffer[start : start + length])
            )
            del self._buffer[: start + length]
            received = self._take(opcode, fin, payload)
            if received is not None:
                yield received

    def _header(self) -> tuple[int, bool, int, int] | None:
        """Opcode, whether it is the last of a message, where the payload starts, its length."""
        head = self._buffer
        if len(head) < 2:
            return None
        extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        start = 2 + extended + 4
        if len(head) < start:
            return None
        length = int.from_bytes(head[2 : 2 + extended], "big") if extended else head[1] & 0x7F
        return head[0] & 0x0F, bool(head[0] & _FIN), start, length

    def _refuse(self, opcode: int, fin: bool, length: int) -> int | None:
        first, second = self._buffer[0], self._buffer[1]
        masked = second & 0x80
        if first & 0x70 or not masked:
            return PROTOCOL_ERROR
        if opcode in (_CLOSE, _PING, _PONG):
            return None if fin and length < 126 else PROTOCOL_ERROR
        if opcode == _BINARY:
            return UNSUPPORTED_DATA
        if opcode not in (_TEXT, _CONTINUATION):
            return PROTOCOL_ERROR
        begun = 0 if self._partial is None else len(self._partial)
        if (opcode == _CONTINUATION) is (self._partial is None):
            return PROTOCOL_ERROR
        if length > self._max_frame or begun + length > self._max_message:
            return MESSAGE_TOO_BIG
        return None

    def _take(self, opcode: int, fin: bool, payload: bytes) -> Received | None:
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong()
        if opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
            return Closing(code, payload[2:].decode(errors="replace"))
        self._partial = (self._partial or bytearray()) + payload
        if not fin:
            return None
        whole, self._partial = self._partial, None
        try:
            return Text(whole.decode())
        except UnicodeDecodeError:
            self._broken = True
            return Violation(INVALID_TEXT)


def text_message(data: bytes, *, frame: int) -> bytes:
    """A text message in frames of at most `frame` bytes. What is not UTF-8 becomes U+FFFD."""
    payload = data.decode(errors="replace").encode()
    pieces = [payload[at : at + frame] for at in range(0, len(payload), frame)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        bytes(((_CONTINUATION if at else _TEXT) | (_FIN if at == last else 0),))
        + _length(len(piece))
        + piece
        for at, piece in enumerate(pieces)
    )


def _length(length: int) -> bytes:
    if length < 126:
        return bytes((length,))
    if length < 65_536:
        return b"\x7e" + length.to_bytes(2, "big")
    return b"\x7f" + length.to_bytes(8, "big")


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
