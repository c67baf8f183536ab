"""A connection's attachment to a channel: what it asked for, and what it is sent.

Source: specification, RTL4, RTL12; docs, "Channel options" (rewind, occupancy, echo).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably import modes
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.limits import Allowance
from realtime_kit.emulators.ably.messages import Message, Presence
from realtime_kit.emulators.ably.wire import Action, Flag, Frame, to_json

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.channel import Channel, Entry
    from realtime_kit.emulators.ably.connection import Connection

_KNOWN = ("rewind", "rewindLimit", "delta", "modes", "occupancy", "echo")
_SECONDS = {"s": 1, "m": 60}
_MAX_REWIND = 100
_REWIND = re.compile(r"(\d{1,9})([sm]?)", re.ASCII)


class Attachment:
    """`name` is the channel's as the client wrote it, with qualifiers; `wanted` are the modes that
    it asked for, `modes` those that its capability leaves of them."""

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        name: str,
        params: Mapping[str, str],
        flags: object,
    ) -> None:
        self.connection = connection
        self.channel = channel
        self.name = name
        self.params = {key: params[key] for key in _KNOWN if key in params}
        self.wanted = modes.requested(flags, params)
        self.modes = Flag(0)
        self.echo = connection.echo and params.get("echo") != "false"
        self.allowance: Allowance | None = None  # of messages, if the token bounds their rate
        self._metrics: dict[str, int] = {}
        self._known: set[str] = set()  # serials of mutable messages that it has whole

    def refresh(self) -> bool:
        """Work out the modes anew from what the connection may; whether they changed."""
        access, name = self.connection.access, self.channel.name
        rate = access.publish_rate(name)
        self.allowance = None if rate is None else Allowance(rate, max(rate, 1), self.channel.now())
        before, operations = self.modes, access.capability.ops(name)
        self.modes = modes.allowed(self.wanted, operations)
        return self.modes != before

    # --- what it is sent --------------------------------------------------------------------

    def deliver(self, entry: Entry) -> None:
        """Send what was said, if it is meant for this connection."""
        if not self.takes(entry):
            return
        serials = entry.message_serials if self.channel.namespace.mutable_messages else ()
        known = entry.delta is not None and self._known.issuperset(serials)
        self.connection.send((entry.delta if known and entry.delta else entry).frame(self.name))
        self._known.update(serials)

    def takes(self, entry: Entry) -> bool:
        own = entry.publisher is not None and entry.publisher == self.connection.id
        if entry.action == Action.MESSAGE:
            return bool(self.modes & Flag.SUBSCRIBE) and (self.echo or not own)
        return own or bool(self.modes & Flag.PRESENCE_SUBSCRIBE)

    def attached(
        self,
        serial: str,
        *,
        resumed: bool = False,
        backlog: bool = False,
        error: AblyError | None = None,
    ) -> Frame:
        """The answer to ATTACH."""
        flags = self.modes
        if self.members():
            flags |= Flag.HAS_PRESENCE
        if resumed:
            flags |= Flag.RESUMED
        if backlog:
            flags |= Flag.HAS_BACKLOG
        params = dict(self.params)
        if "modes" in params:
            params["modes"] = modes.names(self.modes, params["modes"])
        return Frame(
            Action.ATTACHED,
            channel=self.name,
            channelSerial=serial,
            flags=int(flags),
            params=params or None,
            error=error.info() if error is not None else None,
        )

    def members(self) -> list[Presence]:
        """Those whom it may see: its own always (RTP17a)."""
        own = None if self.modes & Flag.PRESENCE_SUBSCRIBE else self.connection.id
        return self.channel.present(connection_id=own)

    def sync(self) -> list[Frame]:
        """All members, in pages; the last one has no cursor (RTP18)."""
        members, size = self.members(), self.channel.limits.sync_page
        sequence = self.connection.app.token(8)
        return [
            self._page(members[start : start + size], sequence, start, len(members))
            for start in range(0, max(len(members), 1), size)
        ]

    def _page(self, members: list[Presence], sequence: str, start: int, total: int) -> Frame:
        end = start + len(members)
        return Frame(
            Action.SYNC,
            members,
            "presence",
            channel=self.name,
            channelSerial=f"{sequence}:{end if end < total else ''}",
            timestamp=self.channel.now(),
        )

    # --- what it missed ---------------------------------------------------------------------

    def rewind(self) -> list[Frame]:
        """The messages that it asked for with `rewind`, oldest first. Raises `AblyError` 40000."""
        text = self.params.get("rewind")
        if text is None or not self.modes & Flag.SUBSCRIBE:
            return []
        match = _REWIND.fullmatch(text)
        limit = _number(self.params.get("rewindLimit"))
        if match is None or limit is None:
            raise AblyError(40000, 400, f"Invalid rewind parameter: {text:.40}")
        amount, unit = int(match[1]), match[2]
        start = self.channel.now() - amount * _SECONDS[unit] * 1000 if unit else None
        most = min(limit, _MAX_REWIND if unit else amount)
        return self._latest(most, start)

    def _latest(self, count: int, start: int | None) -> list[Frame]:
        frames: list[Frame] = []
        for entry in reversed(self.channel.kept()):
            if count <= 0 or (start is not None and entry.timestamp < start):
                break
            if entry.action == Action.MESSAGE:
                payloads = entry.payloads[-count:]
                frames.append(entry.frame_of(self.name, payloads))
                count -= len(payloads)
        return frames[::-1]

    # --- occupancy --------------------------------------------------------------------------

    def tell_occupancy(self, metrics: Mapping[str, int]) -> None:
        """Send the counts to who asked for them and does not have these yet."""
        wanted = self.params.get("occupancy", "")
        if not wanted.startswith("metrics") or not self.modes & Flag.SUBSCRIBE:
            return
        only = wanted.partition(".")[2]
        shown = {name: count for name, count in metrics.items() if only in ("", name)}
        if shown == self._metrics:
            return
        self._metrics = shown
        now = self.channel.now()
        id = self.connection.app.token(10)
        message = Message(
            id=f"{id}:0:0",
            name="[meta]occupancy",
            timestamp=now,
            data=to_json({"metrics": shown}),
            encoding="json",
            action=3,
        )
        self.connection.send(
            Frame(Action.MESSAGE, [message], id=f"{id}:0", channel=self.name, timestamp=now)
        )


def _number(text: str | None) -> int | None:
    if text is None:
        return _MAX_REWIND
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
