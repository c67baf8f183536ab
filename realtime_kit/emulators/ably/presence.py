"""The presence set: entering, leaving, and leaving without a word.

Source: specification, RTP2, RTP8 to RTP10, RTP17; docs, "Presence".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably.channel import Channel, Entry
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import (
    ENTER,
    LEAVE,
    PRESENCE_UPDATE,
    Presence,
    read_presence,
)
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.publishing import check_size, client_id_of, denied, user_claim_of
from realtime_kit.emulators.ably.wire import Action, Flag

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App
    from realtime_kit.emulators.ably.connection import Connection


def change(connection: Connection, name: str, raws: Sequence[object], id: str) -> None:
    """Apply what a connection says of its members, all or nothing, and tell the channel.

    `id` is the connection's and the msgSerial. Raises `AblyError`: 40160, 40165, 91001, 91000,
    40012, 91003.
    """
    channel = _allowed(connection, name)
    events = [read_presence(raw) for raw in raws]
    check_size(events, connection.app.limits.message_size)
    for index, event in enumerate(events):
        event.client_id = _client_id(event, connection)
        event.connection_id = connection.id
        event.timestamp = channel.now()
        if event.id is None or not event.id.startswith(f"{connection.id}:"):
            event.id = f"{id}:{index}"
        event.extras = user_claim_of(connection.access, channel.name, event.extras)
    _check_room(channel, events)
    connection.present_on.add(channel.name)
    said = []
    for event in events:
        if _settle(channel, event):
            said.append(event)
            channel.set_presence(event)
    _say(channel, said, id, connection.id)


def leave(channel: Channel, members: Iterable[Presence], app: App) -> None:
    """These members left, and did not say so: ids that do not begin with the connection's tell
    clients that it was said for them (RTP2b1)."""
    by_connection: dict[str | None, list[Presence]] = {}
    for member in members:
        by_connection.setdefault(member.connection_id, []).append(member)
    for connection_id, gone in by_connection.items():
        id = f"{app.token(12)}:0"
        events = [_leave_of(member, f"{id}:{index}", channel) for index, member in enumerate(gone)]
        for event in events:
            channel.set_presence(event)
        _say(channel, events, id, connection_id)


def leave_all(connection: Connection, base: str | None = None) -> None:
    """All members of a connection leave: of one channel, or of all."""
    app = connection.app
    for name in [base] if base is not None else list(connection.present_on):
        connection.present_on.discard(name)
        channel = app.channel(name)
        leave(channel, channel.present(connection_id=connection.id), app)


def _allowed(connection: Connection, name: str) -> Channel:
    base = parse_name(name).base
    if not connection.access.capability.allows("presence", base):
        raise denied(base)
    attachment = connection.attachments.get(name)
    if attachment is None:
        raise AblyError(
            91001, 400, "unable to enter presence channel (invalid channel state: detached)"
        )
    if not attachment.modes & Flag.PRESENCE:
        raise AblyError(
            40165,
            401,
            "Unable to enter, update or leave presence as client did not request the PRESENCE "
            "mode when attaching",
        )
    return attachment.channel


def _client_id(event: Presence, connection: Connection) -> str:
    given = client_id_of(event.client_id, connection.access.client_id)
    if given is None:
        raise AblyError(91000, 400, "unable to enter presence channel (no clientId)")
    return given


def _check_room(channel: Channel, events: Sequence[Presence]) -> None:
    most = channel.limits.presence_members
    new = {event.key for event in events if event.action != LEAVE} - channel.members.keys()
    if new and len(channel.members) + len(new) > most:
        raise AblyError(
            91003,
            400,
            "Unable to enter member to presence channel; "
            f"maximum number of {most} members exceeded",
        )


def _settle(channel: Channel, event: Presence) -> bool:
    """Make of it what it is given who is present; whether there is anything to say."""
    member = channel.members.get(event.key)
    if event.action == LEAVE:
        if member is not None and event.data is None:  # RTP8e
            event.data, event.encoding = member.data, member.encoding
            event.extras = event.extras or member.extras
        return member is not None  # RTP10d
    if event.action != PRESENCE_UPDATE or member is None:  # RTP9b
        event.action = ENTER
    return member is None or member.id != event.id  # RTP17g: came back as it was


def _say(channel: Channel, events: list[Presence], id: str, connection_id: str | None) -> None:
    if not events:
        return
    channel.add(
        Entry(Action.PRESENCE, channel.next_serial(), channel.now(), id, events, connection_id)
    )
    channel.tell_occupancy()


def _leave_of(member: Presence, id: str, channel: Channel) -> Presence:
    timestamp = max(channel.now(), member.timestamp + 1)
    return replace(member, id=id, timestamp=timestamp, action=LEAVE)
