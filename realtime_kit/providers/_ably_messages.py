"""Events as messages of Ably, and how many of them go into one request. Pure but for the random
id of an event without one.

An event is one message:

    {"name": "shipped", "data": "{\\"eta\\": 3}", "encoding": "json", "id": "EVENTID:0",
     "extras": {"headers": {"id": "EVENTID", "offset": 7, "epoch": "…", "mutation": "…"}}}

Text travels as it is and anything else as JSON, which Ably's SDKs decode (RSL4). The `id` makes a
repeat within two minutes the same message (RSL1k); without `:0` it is the event's own. The headers
are there for an event that answers an optimistic update or has a place in a history, under the
names that they have in the Pusher protocol of the other providers.

An event that excludes its sender has the sender's `connectionKey`, and its `clientId` if it has
one: Ably takes it for a message of that connection, which asked not to hear its own (`echo=false`).
"""

from __future__ import annotations

import json
import os
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from realtime_kit.errors import InvalidEvent, PayloadTooLarge, missing_extra
from realtime_kit.events import Event, Limits, check, encode, size
from realtime_kit.providers.ably_names import ably_name
from realtime_kit.providers.base import SOCKET_ID

MAX_BODY = 2 * 1024 * 1024 - 64 * 1024
"""Bytes of a batch. Ably takes less than 2 MiB (docs, "Message batching")."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_BLOCK = 16


class Sender(NamedTuple):
    """The connection that must not receive an event."""

    connection_key: str
    client_id: str | None


class Part(NamedTuple):
    """An event for some of its channels. `place` is the event's in the call: the same event may be
    there twice. `body` is its BatchSpec as JSON."""

    place: int
    event: Event
    channels: tuple[str, ...]
    message: Mapping[str, Any]
    body: str

    @classmethod
    def of(
        cls, place: int, event: Event, channels: tuple[str, ...], message: Mapping[str, Any]
    ) -> Part:
        spec = {"channels": [ably_name(name) for name in channels], "messages": message}
        return cls(place, event, channels, message, _JSON(spec))

    @property
    def has_sender(self) -> bool:
        return "connectionKey" in self.message

    def without_sender(self, channels: tuple[str, ...]) -> Part:
        """For `channels` alone, to everybody there. The sender's word for who it is goes too: it
        was Ably that would have checked it against the connection."""
        fields = ("connectionKey", "clientId")
        message = {name: value for name, value in self.message.items() if name not in fields}
        return Part.of(self.place, self.event, channels, message)


def read_sender(socket_id: str) -> Sender | None:
    """What a client sends as its socket id: base64url of JSON `{"connectionKey", "clientId"}`, the
    convention of Ably's own Laravel broadcaster. None for anything else."""
    try:
        decoded = urlsafe_b64decode(socket_id + "=" * (-len(socket_id) % 4))
        found = json.loads(decoded)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    key, client_id = found.get("connectionKey"), found.get("clientId")
    if not (isinstance(key, str) and key and isinstance(client_id, str | None)):
        return None
    return Sender(key, client_id or None)


def is_reader(socket_id: str) -> bool:
    """Whether it names a page that reads `GET /events`, and so has no connection to Ably: it is
    left out there, and nobody here."""
    return SOCKET_ID.fullmatch(socket_id) is not None


def compose(event: Event, limits: Limits, secret: bytes | None) -> dict[str, Any]:
    """The event as a message, without its id. `secret` is the key of an encrypted channel.

    Raises what `publish` raises of an event that cannot be sent.
    """
    is_text = isinstance(event.data, str)
    encoded = encode(event.data)  # of a text only to refuse what is no Unicode
    text = event.data if is_text else encoded
    check(event, limits, payload=text)
    message: dict[str, Any] = {"name": event.name, "data": text}
    encoding = "" if is_text else "json"
    raw = size(text)
    if secret is not None:
        sealed = _encrypt(text.encode(), secret)
        raw = len(sealed)
        message["data"] = b64encode(sealed).decode()
        encoding = f"{encoding}/utf-8/cipher+aes-256-cbc/base64".lstrip("/")
    if encoding:
        message["encoding"] = encoding
    if event.exclude is not None:
        sender = read_sender(event.exclude)
        if sender is None and not is_reader(event.exclude):
            raise InvalidEvent(
                f"exclude={event.exclude!r} is not a socket id on Ably: base64url of JSON "
                '{"connectionKey": "…", "clientId": "…" or null}'
            )
        if sender is not None:
            message["connectionKey"] = sender.connection_key
            if sender.client_id is not None:
                message["clientId"] = sender.client_id
    if event.mutation is not None or event.offset is not None:
        message["extras"] = {"headers": event.ids()}
    _check_size(message, raw, limits)
    return message


def plan(events: Sequence[tuple[Event, Mapping[str, Any]]], limits: Limits) -> list[list[Part]]:
    """The parts of each request: at most 100 channels of all of them together, a number of events,
    and a number of bytes (docs, "Message batching: Batch requests")."""
    requests: list[list[Part]] = []
    names: set[str] = set()
    length = 0
    for place, (event, composed) in enumerate(events):
        message = {**composed, "id": f"{event.id or os.urandom(12).hex()}:0"}
        for channels in _chunks(event.channels, limits.channels_per_trigger):
            part = Part.of(place, event, channels, message)
            added = size(part.body) + 1
            full = not requests or (
                len(names | set(channels)) > limits.channels_per_trigger
                or len(requests[-1]) >= limits.events_per_batch
                or length + added > MAX_BODY
            )
            if full:
                requests.append([])
                names, length = set(), 0
            requests[-1].append(part)
            names |= set(channels)
            length += added
    return requests


def body_of(parts: Sequence[Part]) -> str:
    """What is posted to `/messages`."""
    return f"[{','.join(part.body for part in parts)}]"


def message_body(part: Part) -> str:
    """What is posted to `/channels/NAME/messages`."""
    return _JSON(part.message)


def _check_size(message: Mapping[str, Any], raw: int, limits: Limits) -> None:
    """Ably counts name, data, client id and extras together (TO3l8), binary data as bytes."""
    total = raw + size(message["name"]) + size(message.get("clientId", ""))
    if "extras" in message:
        total += size(_JSON(message["extras"]))
    if total > limits.data:
        raise PayloadTooLarge(
            f"the message of event {message['name']!r} is {total} bytes with its name, data, "
            f"client id and extras; the limit is {limits.data}",
            size=total,
            limit=limits.data,
        )


def _encrypt(data: bytes, key: bytes) -> bytes:
    """AES-256-CBC with PKCS#7 under a fresh vector, which goes before it (RSL5)."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ModuleNotFoundError as error:
        raise missing_extra("encryption", "an encrypted channel") from error
    vector = os.urandom(_BLOCK)
    padding = _BLOCK - len(data) % _BLOCK
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(vector)).encryptor()
    return vector + encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()


def _chunks(names: tuple[str, ...], length: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(names), length):
        yield names[start : start + length]
