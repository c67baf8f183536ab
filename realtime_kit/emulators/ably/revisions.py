"""Changing what was published: update, delete, append.

Source: docs, "Updates, deletes and appends"; specification, RSL11 to RSL15 and RTL28 to RTL32. A
change is a publish of its own with the serial of the original; history shows the latest version in
the original's place. Only channels of namespaces with `mutable_messages` have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.channel import Channel, Entry
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import APPEND, DELETE, UPDATE, Message, read_message
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.publishing import (
    Published,
    check_size,
    client_id_of,
    denied,
    user_claim_of,
)
from realtime_kit.emulators.ably.serials import message_serial
from realtime_kit.emulators.ably.wire import Action

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App
    from realtime_kit.emulators.ably.connection import Connection

_OPERATIONS = {UPDATE: "message-update", APPEND: "message-update", DELETE: "message-delete"}


def is_change(raw: object) -> bool:
    """Whether a message that was sent to be published changes another one."""
    return isinstance(raw, Mapping) and raw.get("action") in tuple(_OPERATIONS)


def change(
    app: App,
    channel_name: str,
    raws: Sequence[object],
    *,
    access: Access,
    connection: Connection | None = None,
    message_id: str | None = None,
) -> Published:
    """Change messages, all or none; the serials are those of the versions that came to be.

    Raises `AblyError`: 93002, 40003, 40400, 40160, 40012, 40013, 40009 and those of reading.
    """
    channel = app.channel(parse_name(channel_name).base)
    if not channel.namespace.mutable_messages:
        raise AblyError(
            93002,
            400,
            "Message updates and deletes are only supported on channels with mutable messages "
            "enabled in channel namespace settings",
        )
    changes = [read_message(raw) for raw in raws]
    check_size(changes, app.limits.message_size)
    pairs = [(_original(channel, each, access), each) for each in changes]
    serial, id = channel.next_serial(), message_id or app.token(12)
    made = [
        _made(original, each, message_serial(serial, index), f"{id}:{index}", channel, access)
        for index, (original, each) in enumerate(pairs)
    ]
    publisher = connection.id if connection is not None else None
    entry = Entry(Action.MESSAGE, serial, channel.now(), id, made, publisher)
    if all(each.action == APPEND for each in changes):
        entry.delta = replace(entry, payloads=_deltas(made, changes))
    for version in made:
        channel.revise(version)
    channel.add(entry)
    return Published(channel.name, id, tuple(_version_serial(version) for version in made))


def _original(channel: Channel, change: Message, access: Access) -> Message:
    """The latest version of what is changed, if it may be."""
    if change.action not in _OPERATIONS:
        raise AblyError(40000, 400, "Changes and new messages cannot be published together")
    if not change.serial:
        raise AblyError(40003, 400, "This message lacks a serial")
    original = channel.message(change.serial)
    if original is None:
        raise AblyError(40400, 404, f"No message found with serial {change.serial:.100}")
    own = original.client_id is not None and original.client_id == access.client_id
    operation, allowed = _OPERATIONS[change.action], access.capability.ops(channel.name)
    if f"{operation}-any" not in allowed and not (own and f"{operation}-own" in allowed):
        raise denied(channel.name)
    return original


def _made(
    original: Message, change: Message, serial: str, id: str, channel: Channel, access: Access
) -> Message:
    """The new version: what the change does not say stays as it was."""
    made = replace(
        original,
        id=id,
        action=DELETE if change.action == DELETE else UPDATE,
        version=_version(original, change, serial, channel, access),
    )
    if change.name is not None:
        made.name = change.name
    if change.extras is not None:
        made.extras = user_claim_of(access, channel.name, change.extras)
    if change.action == APPEND:
        made.data = _appended(original, change)
    elif change.data is not None:
        made.data, made.encoding = change.data, change.encoding
    return made


def _deltas(made: Sequence[Message], changes: Sequence[Message]) -> list[Message]:
    """What was appended, without what it was appended to."""
    return [
        replace(full, action=APPEND, data=each.data, encoding=each.encoding)
        for full, each in zip(made, changes, strict=True)
    ]


def _version(
    original: Message, change: Message, serial: str, channel: Channel, access: Access
) -> Mapping[str, Any]:
    given = change.version or {}
    client_id = given.get("clientId")
    if client_id is not None and not isinstance(client_id, str):
        raise AblyError(40012, 400, "Invalid clientId: it must be a string")
    version = {
        "serial": serial,
        "timestamp": max(channel.now(), original.timestamp + 1),
        "clientId": client_id_of(client_id, access.client_id),
        "description": given.get("description"),
        "metadata": given.get("metadata"),
    }
    return {name: value for name, value in version.items() if value is not None}


def _appended(original: Message, change: Message) -> str | bytes | None:
    before, more = original.data, change.data
    if more is None or before is None:
        return before if more is None else more
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if isinstance(before, bytes) and isinstance(more, bytes):
        return before + more
    raise AblyError(
        40013, 400, "Invalid message data or encoding: text is appended to text, bytes to bytes"
    )


def _version_serial(version: Message) -> str:
    return str((version.version or {}).get("serial"))
