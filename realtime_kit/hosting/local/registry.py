"""Who is connected, subscribed and signed in, of one app, in memory.

Every method is one atomic decision. Rows vanish when they are empty: what is left after the last
connection is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from realtime_kit.channels import kind_of
from realtime_kit.hosting.local.fanout import CallLater, Clock, Fanout, Write
from realtime_kit.protocol.effects import (
    ChannelState,
    Dropped,
    Joined,
    Left,
    SignedIn,
    SignIn,
    Subscribe,
    watchers_of,
)


class Socket(Protocol):
    """What holds one connection open.

    `write` takes an encoded frame and neither waits nor bounds: the host cuts a slow consumer off.
    `close` ends the connection after what was written before. On a socket that is gone both do
    nothing, or raise `RuntimeError` or `OSError`.
    """

    @property
    def write(self) -> Write: ...

    def close(self, code: int, reason: str) -> None: ...


@dataclass(slots=True)
class _Row:
    """One connection. `channels`: what it is on, in order, and the member that it is there."""

    socket: Socket
    channels: dict[str, str | None] = field(default_factory=dict)
    user_id: str | None = None


@dataclass(slots=True)
class _Member:
    info: str | None
    connections: int = 0


@dataclass(slots=True)
class _Channel:
    fanout: Fanout
    members: dict[str, _Member] = field(default_factory=dict)


class MemoryRegistry:
    """The rows of one app."""

    def __init__(self, clock: Clock, call_later: CallLater) -> None:
        self._clock = clock
        self._call_later = call_later
        self._rows: dict[str, _Row] = {}
        self._channels: dict[str, _Channel] = {}
        self._signed_in: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """Connections."""
        return len(self._rows)

    def connect(self, socket_id: str, socket: Socket, max_connections: int | None) -> bool:
        if max_connections is not None and len(self._rows) >= max_connections:
            return False
        self._rows[socket_id] = _Row(socket)
        return True

    # --- subscriptions ----------------------------------------------------------------------

    def subscribe(self, socket_id: str, wanted: Subscribe) -> Joined:
        row = self._rows.get(socket_id)
        name, user_id = wanted.channel, wanted.user_id
        if row is None or name in row.channels:  # no row: dropped, and must not come back to life
            return Joined(new=False, count=self.channel(name).subscriptions)
        channel = self._channels.get(name)
        occupied = channel is None
        if channel is None:
            channel = _Channel(Fanout(self._clock, self._call_later))
        first = user_id is not None and user_id not in channel.members
        if first and wanted.max_members is not None and len(channel.members) >= wanted.max_members:
            return Joined(new=False, count=len(channel.fanout), refused=True)
        self._channels[name] = channel
        channel.fanout.add(socket_id, row.socket.write)
        row.channels[name] = user_id
        if user_id is not None:
            channel.members.setdefault(user_id, _Member(wanted.user_info)).connections += 1
        return Joined(True, first, occupied, len(channel.fanout))

    def unsubscribe(self, socket_id: str, name: str) -> Left:
        row = self._rows.get(socket_id)
        if row is None or name not in row.channels:
            return Left(name, existed=False, count=self.channel(name).subscriptions)
        return self._leave(socket_id, name, row.channels.pop(name))

    def _leave(self, socket_id: str, name: str, user_id: str | None) -> Left:
        channel = self._channels[name]
        channel.fanout.remove(socket_id)
        last = False
        if user_id is not None:
            member = channel.members[user_id]
            member.connections -= 1
            last = not member.connections
            if last:
                del channel.members[user_id]
        count = len(channel.fanout)
        if not count:
            channel.fanout.flush()  # to nobody: it must not fire later
            del self._channels[name]
        return Left(name, True, user_id, last, vacated=not count, count=count)

    def drop(self, socket_id: str) -> Dropped:
        row = self._rows.pop(socket_id, None)
        if row is None:
            return Dropped()
        left = tuple(self._leave(socket_id, name, user) for name, user in row.channels.items())
        return Dropped(left, row.user_id if self._sign_out(socket_id, row.user_id) else None)

    def subscribed(self, socket_id: str, name: str) -> str | None:
        """The member's user id, "" for who is none, None for who is not subscribed."""
        row = self._rows.get(socket_id)
        return (row.channels[name] or "") if row and name in row.channels else None

    # --- users ------------------------------------------------------------------------------

    def sign_in(self, socket_id: str, wanted: SignIn) -> SignedIn:
        row = self._rows.get(socket_id)
        if row is None or row.user_id not in (None, wanted.user_id):
            return SignedIn(accepted=False)
        online = tuple(user for user in wanted.watchlist if user in self._signed_in)
        connections = self._signed_in.setdefault(wanted.user_id, set())
        first = not connections
        connections.add(socket_id)
        row.user_id = wanted.user_id
        for user_id in wanted.watchlist:
            self.subscribe(socket_id, Subscribe(watchers_of(user_id)))
        return SignedIn(True, first, online)

    def _sign_out(self, socket_id: str, user_id: str | None) -> bool:
        """Whether it was the user's last connection."""
        if user_id is None:
            return False
        connections = self._signed_in[user_id]
        connections.remove(socket_id)
        if connections:
            return False
        del self._signed_in[user_id]
        return True

    def authorized(self, socket_id: str) -> bool:
        """Whether the connection is signed in, or on a channel that needs a proof."""
        row = self._rows.get(socket_id)
        return row is not None and (
            row.user_id is not None or any(kind_of(name).requires_auth for name in row.channels)
        )

    def sockets_of(self, user_id: str, name: str | None) -> list[Socket]:
        """The user's connections: signed in as the user, or the user on some presence channel.
        With `name`, those of them that are on that channel."""
        return [
            row.socket
            for row in self._rows.values()
            if (name is None or name in row.channels)
            and (row.user_id == user_id or user_id in row.channels.values())
        ]

    # --- channels ---------------------------------------------------------------------------

    def fanout(self, name: str) -> Fanout | None:
        """The subscribers of a channel, if it has any."""
        channel = self._channels.get(name)
        return channel.fanout if channel else None

    def flush(self) -> None:
        """Write everything that waits to be written."""
        for channel in self._channels.values():
            channel.fanout.flush()

    def channel(self, name: str) -> ChannelState:
        channel = self._channels.get(name)
        if channel is None:
            return ChannelState()
        return ChannelState(len(channel.fanout), len(channel.members))

    def channels(self, prefix: str) -> dict[str, ChannelState]:
        return {
            name: self.channel(name)
            for name in self._channels
            if name.startswith(prefix) and not name.startswith("#")
        }

    def members(self, name: str) -> dict[str, str | None]:
        channel = self._channels.get(name)
        members = channel.members if channel else {}
        return {user_id: member.info for user_id, member in members.items()}

    def present(self, user_ids: Iterable[str], name: str | None) -> dict[str, str | None]:
        """Those of the users who are members of a channel; without one, who are signed in."""
        if name is None:
            return {user_id: None for user_id in user_ids if user_id in self._signed_in}
        members = self.members(name)
        return {user_id: members[user_id] for user_id in user_ids if user_id in members}
