"""Publishing: what a message must be, and how it gets its id and its serial.

Source: specification, RSL1, RTL6; docs, "Idempotent publishing" and "Publish on behalf of a
connection".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.channel import Channel, Entry
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import Message, Payload, read_message
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.serials import message_serial
from realtime_kit.emulators.ably.wire import Action, Flag

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App
    from realtime_kit.emulators.ably.connection import Connection


@dataclass(frozen=True, slots=True)
class Published:
    """`message_id` is what the ids of the messages begin with; a serial for each message."""

    channel: str
    message_id: str
    serials: tuple[str, ...]


def publish(
    app: App,
    channel_name: str,
    raws: Sequence[object],
    *,
    access: Access,
    connection: Connection | None = None,
    message_id: str | None = None,
    modes: Flag | None = None,
) -> Published:
    """Publish messages as they came over the wire, all or none.

    `connection` is set when they came over it; `message_id` is then its id and serial, for messages
    that bring none; `modes` are those of its attachment. Raises `AblyError`: 40160, 40165, 40009,
    40012, 40006, 40031 and those of reading.
    """
    base = parse_name(channel_name).base
    require(access, "publish", base)
    if modes is not None and not modes & Flag.PUBLISH:
        raise AblyError(
            40165,
            401,
            "Unable to publish a message as client did not request the PUBLISH mode when attaching",
        )
    messages = [read_message(raw) for raw in raws]
    check_size(messages, app.limits.message_size)
    channel = app.channel(base)
    publisher = _publisher(app, messages) if connection is None else connection
    for message in messages:
        message.client_id = _client_id(message, access, publisher, connection)
    given = _batch_id(messages)
    if given is not None and (before := _repeated(channel, given, app.now())) is not None:
        return before
    published = _say(
        app, channel, messages, given or message_id or app.token(12), publisher, access
    )
    if given is not None:
        channel.results[given] = (app.now() + app.limits.idempotency, published)
    return published


def _say(
    app: App,
    channel: Channel,
    messages: Sequence[Message],
    id: str,
    publisher: Connection | None,
    access: Access,
) -> Published:
    now, serial = app.now(), channel.next_serial()
    for index, message in enumerate(messages):
        if message.id is None:
            message.id = f"{id}:{index}"
        message.timestamp = now
        message.connection_id = publisher.id if publisher is not None else None
        message.serial = message_serial(serial, index)
        message.version = {"serial": message.serial, "timestamp": now}
        message.action = 0
        message.extras = user_claim_of(access, channel.name, message.extras)
    published = Published(channel.name, id, tuple(message.serial for message in messages))
    if messages:
        publisher_id = publisher.id if publisher is not None else None
        channel.add(Entry(Action.MESSAGE, serial, now, id, messages, publisher_id))
    return published


def require(access: Access, operation: str, channel: str) -> None:
    """Raises `AblyError` 40160 unless the operation is allowed."""
    if not access.capability.allows(operation, channel):
        raise denied(channel)


def denied(channel: str) -> AblyError:
    return AblyError(
        40160, 401, f"Channel denied access based on given capability; channelId = {channel}"
    )


def check_size(payloads: Sequence[Payload], limit: int) -> None:
    """Raises `AblyError` 40009 if together they are larger than one publish may be."""
    size = sum(payload.size for payload in payloads)
    if size > limit:
        raise AblyError(
            40009,
            413,
            f"Maximum message length exceeded; size was {size}; limit is {limit} bytes",
        )


def user_claim_of(
    access: Access, channel: str, extras: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The extras, with what the token says of its user on this channel."""
    claim = access.user_claim(channel)
    return extras if claim is None else {**(extras or {}), "userClaim": claim}


def client_id_of(given: str | None, allowed: str | None) -> str | None:
    """The client id to stamp on what a client with `allowed` sent (RSA7, RSA8). Raises 40012."""
    if given is None:
        return None if allowed == "*" else allowed
    if given in ("", "*"):
        raise AblyError(40012, 400, "Malformed message; invalid clientId")
    if allowed not in ("*", given):
        raise AblyError(40012, 400, "Malformed message; mismatched clientId")
    return given


def _client_id(
    message: Message, access: Access, publisher: Connection | None, connection: Connection | None
) -> str | None:
    client_id = client_id_of(message.client_id, access.client_id)
    if connection is None and publisher is not None:  # on its behalf
        allowed = publisher.access.client_id
        if allowed not in (None, "*") and client_id != allowed:
            raise AblyError(
                40012, 400, "Malformed message; clientId is not that of the connectionKey"
            )
    return client_id


def _publisher(app: App, messages: Sequence[Message]) -> Connection | None:
    """The connection on whose behalf a REST client publishes."""
    keys = {message.connection_key for message in messages if message.connection_key}
    if not keys:
        return None
    if len(keys) > 1:
        raise AblyError(40006, 400, "Malformed message; invalid connectionKey")
    return app.publisher_of(keys.pop())


def _batch_id(messages: Sequence[Message]) -> str | None:
    """What makes a repeated publish known. Several messages have ids `base:0`, `base:1`, … (40031),
    a single one any id."""
    ids = [message.id for message in messages]
    if all(id is None for id in ids):
        return None
    first = ids[0]
    if first is not None and len(ids) == 1:
        base, colon, index = first.rpartition(":")
        return base if colon and index == "0" else first
    base = (first or "").rpartition(":")[0]
    if not base or ids != [f"{base}:{index}" for index in range(len(ids))]:
        raise AblyError(
            40031, 400, "Invalid publish request: ids of messages must be of the form base:index"
        )
    return base


def _repeated(channel: Channel, id: str, now: int) -> Published | None:
    results = channel.results
    while results and next(iter(results.values()))[0] <= now:
        del results[next(iter(results))]
    found = results.get(id)
    return None if found is None else found[1]


def as_messages(body: object) -> list[object]:
    """A body that is one message or a list of them."""
    return list(body) if isinstance(body, list) else [body]
