"""Messages and presence messages, as they are kept and as they are on the wire.

Source: specification, TM and TP (fields), RSL4 and RSL6 (encoding), TM6 (sizes). Bytes are kept as
bytes: over JSON they travel as base64, and `base64` is then the last step of `encoding`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from realtime_kit.emulators.ably.errors import AblyError

Data = str | bytes | None

CREATE, UPDATE, DELETE, META, SUMMARY, APPEND = range(6)
ABSENT, PRESENT, ENTER, LEAVE, PRESENCE_UPDATE = range(5)


@dataclass(slots=True, kw_only=True)
class Payload:
    """What messages of both kinds carry. Nobody changes one that was published."""

    id: str | None = None
    client_id: str | None = None
    connection_id: str | None = None
    timestamp: int = 0
    data: Data = None
    encoding: str | None = None
    extras: Mapping[str, Any] | None = None
    action: int = 0
    _wire: dict[bool, dict[str, Any]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def wire(self, *, binary: bool) -> dict[str, Any]:
        """The fields that go over the wire, by msgpack or by JSON. Made once: not to be changed."""
        fields = self._wire.get(binary)
        if fields is None:
            fields = self._wire[binary] = self._fields(binary)
        return fields

    def _fields(self, binary: bool) -> dict[str, Any]:
        data, encoding = self.data, self.encoding
        if isinstance(data, bytes) and not binary:
            data = base64.b64encode(data).decode()
            encoding = f"{encoding}/base64" if encoding else "base64"
        fields = {
            "id": self.id,
            "clientId": self.client_id,
            "connectionId": self.connection_id,
            "timestamp": self.timestamp,
            "encoding": encoding,
            "extras": self.extras,
            "action": self.action,
            "data": data,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def size(self) -> int:
        """In bytes, as the limits count it (TM6, TP5)."""
        return _size(self)


@dataclass(slots=True, kw_only=True)
class Message(Payload):
    """`serial` names it for good, `version` (serial, timestamp, …) its latest change."""

    name: str | None = None
    connection_key: str | None = None  # of the connection on whose behalf it is published
    serial: str = ""
    version: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] | None = None

    def _fields(self, binary: bool) -> dict[str, Any]:
        fields = Payload._fields(self, binary)
        more = {
            "name": self.name,
            "serial": self.serial or None,
            "version": self.version,
            "annotations": self.annotations,
        }
        fields.update((name, value) for name, value in more.items() if value is not None)
        return fields

    @property
    def size(self) -> int:
        return _length(self.name) + _size(self)


@dataclass(slots=True, kw_only=True)
class Presence(Payload):
    """A change of the presence set, or a member of it."""

    @property
    def key(self) -> str:
        """Of the member (TP3h)."""
        return f"{self.connection_id}:{self.client_id}"


def read_message(raw: object) -> Message:
    """A message that was sent to be published. Raises `AblyError` 40000, 40012, 40013."""
    fields = _object(raw)
    data, encoding = _data(fields)
    action, version = fields.get("action"), fields.get("version")
    return Message(
        id=_text(fields, "id"),
        name=_text(fields, "name"),
        client_id=_text(fields, "clientId"),
        connection_key=_text(fields, "connectionKey"),
        data=data,
        encoding=encoding,
        extras=_extras(fields),
        action=action if isinstance(action, int) else CREATE,
        serial=_text(fields, "serial") or "",
        version=version if isinstance(version, Mapping) else None,
    )


def read_presence(raw: object) -> Presence:
    """Raises `AblyError` as `read_message` does, and 40003 for an action that is none."""
    fields = _object(raw)
    data, encoding = _data(fields)
    action = fields.get("action")
    if action not in (ENTER, LEAVE, PRESENCE_UPDATE, PRESENT, ABSENT):
        raise AblyError(40003, 400, f"Invalid presence action: {action!r:.40}")
    return Presence(
        id=_text(fields, "id"),
        client_id=_text(fields, "clientId"),
        data=data,
        encoding=encoding,
        extras=_extras(fields),
        action=action,
    )


def wire(payloads: Iterable[Payload], *, binary: bool) -> list[dict[str, Any]]:
    return [payload.wire(binary=binary) for payload in payloads]


def _object(raw: object) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise AblyError(40000, 400, "A message must be an object")
    return raw


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        code = 40012 if name == "clientId" else 40000
        raise AblyError(code, 400, f"Invalid {name}: it must be a string")
    return value


def _extras(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    extras = fields.get("extras")
    if extras is not None and not isinstance(extras, Mapping):
        raise AblyError(40000, 400, "Invalid extras: they must be an object")
    return extras


def _data(fields: Mapping[str, Any]) -> tuple[Data, str | None]:
    data, encoding = fields.get("data"), _text(fields, "encoding") or None
    if isinstance(data, dict | list):
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        return text, f"{encoding}/json" if encoding else "json"
    if data is not None and not isinstance(data, str | bytes):
        raise AblyError(
            40013, 400, "Invalid message data or encoding: data must be text, bytes or JSON"
        )
    if isinstance(data, str) and encoding and encoding.rpartition("/")[2] == "base64":
        return _decoded(data), encoding.rpartition("/")[0] or None
    return data, encoding


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AblyError(
            40013, 400, "Invalid message data or encoding: the data is no base64"
        ) from error


def _size(payload: Payload) -> int:
    return _length(payload.data) + _length(payload.client_id) + _extras_size(payload.extras)


def _length(value: str | bytes | None) -> int:
    if value is None:
        return 0
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else len(value)


def _extras_size(extras: Mapping[str, Any] | None) -> int:
    if not extras:
        return 0
    return _length(json.dumps(extras, separators=(",", ":"), ensure_ascii=False, default=str))
