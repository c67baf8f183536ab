"""Protocol messages: actions, flags, and frames of JSON or msgpack.

Source: specification, TR (ProtocolMessage) and RTN2a; one protocol message is one frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import IntEnum, IntFlag
from math import isinf
from typing import Any

import msgpack

from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import Payload, wire


class Action(IntEnum):
    HEARTBEAT = 0
    ACK = 1
    NACK = 2
    CONNECT = 3
    CONNECTED = 4
    DISCONNECT = 5
    DISCONNECTED = 6
    CLOSE = 7
    CLOSED = 8
    ERROR = 9
    ATTACH = 10
    ATTACHED = 11
    DETACH = 12
    DETACHED = 13
    PRESENCE = 14
    MESSAGE = 15
    SYNC = 16
    AUTH = 17
    ACTIVATE = 18
    OBJECT = 19
    OBJECT_SYNC = 20
    ANNOTATION = 21


class Flag(IntFlag):
    HAS_PRESENCE = 1 << 0
    HAS_BACKLOG = 1 << 1
    RESUMED = 1 << 2
    TRANSIENT = 1 << 4
    ATTACH_RESUME = 1 << 5
    HAS_OBJECTS = 1 << 7
    PRESENCE = 1 << 16
    PUBLISH = 1 << 17
    SUBSCRIBE = 1 << 18
    PRESENCE_SUBSCRIBE = 1 << 19
    ANNOTATION_PUBLISH = 1 << 21
    ANNOTATION_SUBSCRIBE = 1 << 22
    OBJECT_SUBSCRIBE = 1 << 24
    OBJECT_PUBLISH = 1 << 25


class Frame:
    """A protocol message to send, to one or to many: encoded once for each format."""

    __slots__ = ("_binary", "_json", "fields", "key", "payloads")

    def __init__(
        self,
        action: Action,
        payloads: Sequence[Payload] = (),
        key: str = "messages",
        **fields: object,
    ) -> None:
        self.fields: dict[str, Any] = {"action": int(action)}
        self.fields.update((name, value) for name, value in fields.items() if value is not None)
        self.payloads = payloads
        self.key = key
        self._json: str | None = None
        self._binary: bytes | None = None

    @property
    def action(self) -> Action:
        return Action(self.fields["action"])

    def message(self, *, binary: bool = False) -> dict[str, Any]:
        """The fields as they are sent."""
        if not self.payloads:
            return self.fields
        return {**self.fields, self.key: wire(self.payloads, binary=binary)}

    def encode(self, *, binary: bool) -> str | bytes:
        if binary:
            if self._binary is None:
                self._binary = pack(self.message(binary=True))
            return self._binary
        if self._json is None:
            self._json = to_json(self.message())
        return self._json

    def __repr__(self) -> str:
        return f"<{self.action.name} {to_json(self.message()):.200}>"


def decode(frame: str | bytes) -> dict[str, Any]:
    """What a client sent: text is JSON, bytes are msgpack. Raises `AblyError` 40000."""
    try:
        message = from_json(frame) if isinstance(frame, str) else unpack(frame)
    except (ValueError, RecursionError) as error:
        raise AblyError(40000, 400, "Invalid frame: it cannot be decoded") from error
    if not isinstance(message, Mapping) or type(message.get("action")) is not int:
        raise AblyError(40000, 400, "Invalid frame: it must be an object with an action")
    return dict(message)


def to_json(value: object) -> str:
    """Of what `unpack` gave, too: what has no JSON form becomes text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_text)


def from_json(text: str | bytes) -> Any:
    """Raises `ValueError`, also for what could not be written again: half characters, NaN, and
    numbers without end."""
    text = text if isinstance(text, str) else text.decode()
    value = json.loads(text, parse_constant=_no_number, parse_int=_integer, parse_float=_float)
    if "\\u" in text:  # only an escape can be half a character
        to_json(value).encode()
    return value


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes) -> Any:
    """Raises `ValueError`, also for maps whose keys are no text."""
    try:
        return msgpack.unpackb(data, raw=False, object_hook=_with_text_keys)
    except msgpack.UnpackException as error:
        raise ValueError("no msgpack") from error


def _with_text_keys(found: dict[Any, Any]) -> dict[str, Any]:
    if not all(type(key) is str for key in found):
        raise ValueError("keys must be text")
    return found


def _integer(text: str) -> int | float:
    """What has more than the 64 bits of msgpack is a float, as it is in JavaScript."""
    whole = int(text)
    return whole if -(2**63) <= whole < 2**64 else _float(text)


def _float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("a number without end is no JSON")
    return number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
