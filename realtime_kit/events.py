"""Events, their exact sizes, and the limits that a provider declares. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from realtime_kit import channels as channel_names
from realtime_kit.channels import Kind, kind_of
from realtime_kit.errors import InvalidEvent, PayloadTooLarge

RESERVED = "_rk"
ID_LIMIT = 255  # characters of an id: what a column of a database holds


# A tuple, because a dataclass costs a cold start half a millisecond, five times as much.
class Limits(NamedTuple):
    """What a provider accepts. Bytes are of UTF-8; the defaults are Pusher's production values.

    Source: Pusher Channels, "Server API: Publishing events" and "Presence channels: Limitations".
    """

    channel_name: int = 164
    event_name: int = 200
    data: int = 10_240
    channels_per_trigger: int = 100
    events_per_batch: int = 10
    presence_members: int = 100
    presence_user: int = 1_024
    user_id: int = 128
    watchlist: int = 100


@dataclass(frozen=True, slots=True)
class Event:
    """A name and JSON data for one or more channels.

    `id` names the event for de-duplication and idempotent retry; Realtime fills it in.
    `epoch` and `offset` place it in a channel's history. `mutation` is the id of the client's
    optimistic update that this event settles. `exclude` is the socket id of a connection that
    must not receive it.
    """

    channels: tuple[str, ...]
    name: str
    data: Any
    id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    mutation: str | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        given: object = self.channels
        names = (given,) if isinstance(given, str) else tuple(self.channels)
        object.__setattr__(self, "channels", names)

    def payload(self) -> str:
        """The data as the text that goes on the wire; see `encode`."""
        return encode(self.data)

    def ids(self) -> dict[str, str | int]:
        """The members that travel beside the data, under the names of the wire protocol."""
        pairs = (
            ("id", self.id),
            ("offset", self.offset),
            ("epoch", self.epoch),
            ("mutation", self.mutation),
        )
        return {name: value for name, value in pairs if value is not None}


class CheckedEvent(Event):
    """One whose data has been held to the catalogue, and is not again: it is output by now."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider took an event for one channel. `info` is what was asked for with `info=`."""

    channel: str
    id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    info: Mapping[str, int] = field(default_factory=dict)


def encode(data: Any) -> str:
    """`data` as JSON text, in the form that the official Pusher SDK sends.

    Clients parse the text once and fall back to the raw text, so a string that is not JSON travels
    as it is (like the SDK sends it), and one that would be read as JSON is quoted: whatever is
    triggered is what a handler receives. One with a NUL, which PostgreSQL stores nowhere, is quoted
    as well. Raises `InvalidEvent` for what JSON cannot say.
    """
    if isinstance(data, str):
        is_quoted = _reads_as_json(data) or "\0" in data
        return json.dumps(data, ensure_ascii=False) if is_quoted else data
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"the event's data is not JSON: {error}") from error
    return text


def decode(text: str) -> Any:
    """What `encode` was given, as clients read it: JSON, or else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _reads_as_json(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"the event's data is not valid Unicode: {error.reason}") from error
    try:
        # Clients read numbers of any length; Python's int() has a limit, and would call it no JSON.
        json.loads(text, parse_int=len)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def size(text: str) -> int:
    """Bytes of `text` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def check(event: Event, limits: Limits, *, payload: str | None = None) -> str:
    """Refuse before the wire what the provider would refuse after it; return the payload's text.

    Raises `InvalidChannel`, `InvalidEvent` or `PayloadTooLarge`.
    """
    if not event.channels:
        raise InvalidEvent("an event needs at least one channel")
    for name in event.channels:
        channel_names.validate(name, limit=limits.channel_name)
    check_name(event.name, limits)
    _check_texts(event)
    _check_mix(event.channels)
    text = event.payload() if payload is None else payload
    length = size(text)
    if length > limits.data:
        raise PayloadTooLarge(
            f"the data of event {event.name!r} is {length} bytes; the limit is {limits.data}",
            size=length,
            limit=limits.data,
        )
    return text


def check_name(name: str, limits: Limits) -> None:
    """Raise `InvalidEvent` unless `name` can be the name of a triggered event."""
    if not name or not isinstance(name, str):
        raise InvalidEvent("an event's name is a non-empty string")
    if len(name) > limits.event_name:
        raise InvalidEvent(
            f"event name of {len(name)} characters; the limit is {limits.event_name}"
        )
    if name.startswith(("pusher:", "pusher_internal:")):
        raise InvalidEvent(f"event name {name!r}: the prefixes pusher: are the protocol's own")


def _check_texts(event: Event) -> None:
    """Ids and names have to be text wherever they are kept: in JSON, and in databases."""
    for what in ("id", "mutation"):
        given: object = getattr(event, what)
        if given is None:
            continue
        if not isinstance(given, str) or not 0 < len(given) <= ID_LIMIT:
            raise InvalidEvent(f"{what}= is a string of 1 to {ID_LIMIT} characters")
        if not given.isprintable():
            raise InvalidEvent(f"{what}= has a character that cannot be printed")
    if "\0" in event.name or any("\ud800" <= letter <= "\udfff" for letter in event.name):
        raise InvalidEvent("an event's name has no NUL, and no half of a character")


def _check_mix(names: Iterable[str]) -> None:
    names = tuple(names)
    # One ciphertext is made with one channel's key (Pusher: "Encrypted channels: Limitations").
    if len(names) > 1 and any(kind_of(name).is_encrypted for name in names):
        raise InvalidEvent("an event on an encrypted channel goes to that one channel alone")


def is_server_to_user(name: str) -> bool:
    """Whether `name` is the channel of one signed-in user."""
    return kind_of(name) is Kind.SERVER_TO_USER
