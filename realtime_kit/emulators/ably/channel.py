"""A channel: what was said on it, who is attached, who is present.

Messages and presence events share one order. Each has a channel serial, by which a client that was
away says what it has seen (specification, RTL4c1, RTL15b).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.messages import CREATE, LEAVE, PRESENT, Message, Payload, Presence
from realtime_kit.emulators.ably.serials import (
    Serials,
    channel_serial_of,
    is_channel_serial,
    series_of,
)
from realtime_kit.emulators.ably.timers import Timers
from realtime_kit.emulators.ably.wire import Action, Flag, Frame

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import Namespace
    from realtime_kit.emulators.ably.attachment import Attachment
    from realtime_kit.emulators.ably.publishing import Published


@dataclass(slots=True)
class Entry:
    """One thing that was said: the messages or the presence events of one publish.

    `id` is what their ids begin with, `publisher` the connection that said it.
    """

    action: Action
    serial: str
    timestamp: int
    id: str
    payloads: Sequence[Payload]
    publisher: str | None = None
    delta: Entry | None = None  # the same, for those who have what came before
    _frames: dict[str, Frame] = field(init=False, default_factory=dict, repr=False)

    @property
    def message_serials(self) -> list[str]:
        return [payload.serial for payload in self.payloads if isinstance(payload, Message)]

    def frame(self, name: str) -> Frame:
        """For those who are attached under this name."""
        frame = self._frames.get(name)
        if frame is None:
            frame = self._frames[name] = self.frame_of(name, self.payloads)
        return frame

    def frame_of(self, name: str, payloads: Sequence[Payload]) -> Frame:
        """The same with some of the payloads."""
        return Frame(
            self.action,
            payloads,
            "messages" if self.action == Action.MESSAGE else "presence",
            id=self.id,
            channel=name,
            channelSerial=self.serial,
            connectionId=self.publisher,
            timestamp=self.timestamp,
        )


class Channel:
    """`serial` is that of what was said last; `members` are by `Presence.key`."""

    def __init__(
        self, name: str, *, namespace: Namespace, timers: Timers, series: str, limits: Limits
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.limits = limits
        self.attachments: dict[tuple[str, str], Attachment] = {}
        self.members: dict[str, Presence] = {}
        self.results: dict[str, tuple[int, Published]] = {}  # of publishes with ids, until when
        self.entries: deque[Entry] = deque()
        self.versions: dict[str, list[Message]] = {}  # of messages that were changed, oldest first
        self._timers = timers
        self._serials = Serials(series)
        self._floor = self.serial = self._serials.next(timers.clock())
        self.observers: list[Callable[[Entry], object]] = []  # of webhooks and the like

    # --- what is said -----------------------------------------------------------------------

    def next_serial(self) -> str:
        return self._serials.next(self._timers.clock())

    def add(self, entry: Entry) -> None:
        """Keep it and tell those who are attached. Its serial is from `next_serial`."""
        self.serial = entry.serial
        self.entries.append(entry)
        self._prune()
        for attachment in tuple(self.attachments.values()):
            attachment.deliver(entry)
        for observer in self.observers:
            observer(entry)

    def since(self, serial: str) -> list[Entry] | None:
        """What was said after `serial`; None if that is not known any more (90003)."""
        self._prune()
        known = is_channel_serial(serial) and series_of(serial) == self._serials.series
        if not known or not self._floor <= serial <= self.serial:
            return None
        return [entry for entry in self.entries if entry.serial > serial]

    def history(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        forwards: bool = False,
        until: str | None = None,
    ) -> list[Message]:
        """The messages of `start` to `end` (ms since 1970, both inclusive), the latest first.
        `until`: not what was said after this channel serial (untilAttach, RTL10b)."""
        found = [
            self.versions[payload.serial][-1] if payload.serial in self.versions else payload
            for entry in self._between(start, end, until)
            for payload in entry.payloads
            if isinstance(payload, Message) and payload.action == CREATE
        ]
        return found if forwards else found[::-1]

    def message(self, serial: str) -> Message | None:
        """Its latest version."""
        versions = self.versions_of(serial)
        return versions[-1] if versions else None

    def versions_of(self, serial: str) -> list[Message]:
        """All versions of a message, the oldest first; none if it is not known."""
        if serial in self.versions:
            return self.versions[serial]
        at = channel_serial_of(serial)
        for entry in self.kept():
            if entry.serial == at:
                return [
                    payload
                    for payload in entry.payloads
                    if isinstance(payload, Message)
                    and payload.serial == serial
                    and payload.action == CREATE
                ]
        return []

    def revise(self, version: Message) -> None:
        """A version of a message that is known is the latest now."""
        versions = self.versions.setdefault(version.serial, self.versions_of(version.serial))
        versions.append(version)

    def presence_history(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        forwards: bool = False,
        until: str | None = None,
    ) -> list[Presence]:
        """The presence events, as `history` (RTP12, RSP4)."""
        found = [
            payload
            for entry in self._between(start, end, until)
            for payload in entry.payloads
            if isinstance(payload, Presence)
        ]
        return found if forwards else found[::-1]

    def kept(self) -> deque[Entry]:
        """All that is still known, oldest first. Not to be changed."""
        self._prune()
        return self.entries

    def _between(self, start: int | None, end: int | None, until: str | None) -> Iterator[Entry]:
        self._prune()
        for entry in self.entries:
            if start is not None and entry.timestamp < start:
                continue
            if end is not None and entry.timestamp > end:
                continue
            if until is None or entry.serial <= until:
                yield entry

    def _prune(self) -> None:
        limits = self.limits
        kept = self.namespace.persisted or self.namespace.mutable_messages
        age = limits.persisted if kept else limits.history
        oldest = self._timers.clock() - age
        while self.entries and (
            self.entries[0].timestamp < oldest or len(self.entries) > limits.retained
        ):
            gone = self.entries.popleft()
            self._floor = gone.serial
            for payload in gone.payloads if self.versions else ():
                if isinstance(payload, Message) and payload.action == CREATE:
                    self.versions.pop(payload.serial, None)

    # --- who is present ---------------------------------------------------------------------

    def set_presence(self, event: Presence) -> None:
        """Apply an event to the set of members."""
        if event.action == LEAVE:
            self.members.pop(event.key, None)
        else:
            self.members[event.key] = event

    def present(
        self, *, client_id: str | None = None, connection_id: str | None = None
    ) -> list[Presence]:
        """The members, as `present` events; their ids are those of their latest event."""
        return [
            _as_present(member)
            for member in self.members.values()
            if client_id in (None, member.client_id)
            and connection_id in (None, member.connection_id)
        ]

    def now(self) -> int:
        return self._timers.clock()

    # --- how many ---------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether anybody is attached or present, or anything was said lately."""
        self._prune()
        return bool(self.attachments or self.members or self.entries)

    def metrics(self) -> dict[str, int]:
        """Occupancy (CHM2)."""
        modes = [attachment.modes for attachment in self.attachments.values()]

        def having(flag: Flag) -> int:
            return sum(1 for mode in modes if mode & flag)

        return {
            "connections": len({connection for connection, _ in self.attachments}),
            "publishers": having(Flag.PUBLISH),
            "subscribers": having(Flag.SUBSCRIBE),
            "presenceConnections": having(Flag.PRESENCE),
            "presenceMembers": len(self.members),
            "presenceSubscribers": having(Flag.PRESENCE_SUBSCRIBE),
            "objectPublishers": having(Flag.OBJECT_PUBLISH),
            "objectSubscribers": having(Flag.OBJECT_SUBSCRIBE),
        }

    def tell_occupancy(self) -> None:
        """Somebody came or went: tell those who want to know."""
        if any("occupancy" in attachment.params for attachment in self.attachments.values()):
            metrics = self.metrics()
            for attachment in tuple(self.attachments.values()):
                attachment.tell_occupancy(metrics)


def _as_present(member: Presence) -> Presence:
    return member if member.action == PRESENT else replace(member, action=PRESENT)
