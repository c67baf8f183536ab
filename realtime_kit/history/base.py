"""What an event log is asked and answers: a growing offset per channel, in an epoch. Pure.

A channel's log starts an *epoch* (a random text) with its first event and numbers its events 1, 2,
3, … in it. Old events are dropped by count and by age; the numbers go on. A `Position` says how far
somebody has read. A position is good as long as every event after it is retained; if one is not,
the answer is `recovered=False`, and never a page with a hole in it.

A channel without events has a position too, one that costs no write: `@` and the time, in
milliseconds, at which it had none. A log forgets a channel no sooner than `MEMORY` after its last
event, so whatever epoch is found within that time is the first one since; unless the log itself is
younger. Its epochs then begin with `BEGUN_`, its first time, so that a client to which a channel
was empty before that knows from a frame that it has to ask.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, Self

from realtime_kit.errors import ConfigurationError, InvalidEvent

MEMORY = timedelta(days=1)
EMPTY = "@"
PAGE = 1_000

_POLICY = re.compile(r"(\d+)\s*/\s*(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_POSITION = re.compile(r"(@?[0-9A-Za-z_-]{1,64}):(\d{1,18})", re.ASCII)


class History(NamedTuple):
    """How much a channel's log retains: at most `last` events, none older than `keep`."""

    last: int = 100
    keep: timedelta = timedelta(minutes=2)

    @classmethod
    def parse(cls, given: object) -> History:
        """`100/120s` (also m, h, d), a number of events, or a `History`. Raises `ValueError`."""
        if isinstance(given, cls):
            return given.checked()
        if type(given) is int:
            return cls(given).checked()
        found = _POLICY.fullmatch(given.strip()) if isinstance(given, str) else None
        if found is None:
            raise ValueError("a history is LAST/AGE, such as 100/120s or 500/2h")
        last, age, unit = found.groups()
        return cls(int(last), timedelta(seconds=float(age) * _UNITS[unit])).checked()

    def checked(self) -> History:
        """Itself. Raises `ValueError` for one that retains nothing, or more than logs can say."""
        if not 0 < self.last <= 100_000:
            raise ValueError("a history retains 1 to 100000 events")
        if not timedelta(0) < self.keep <= timedelta(days=366):
            raise ValueError("a history keeps events for more than nothing and at most 366 days")
        return self

    def __str__(self) -> str:
        return f"{self.last}/{self.keep.total_seconds():g}s"

    def cutoff(self, now_ms: int) -> int:
        """Events of this time, in milliseconds, or before are too old."""
        return now_ms - self.keep // timedelta(milliseconds=1)


class Position(NamedTuple):
    """How far a channel was read: everything up to `offset` of `epoch`. Its text is
    `epoch:offset`."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidEvent` for what is no position."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise InvalidEvent("a position is EPOCH:OFFSET, as an earlier answer gave it")
        return cls(found[1], int(found[2]))

    @classmethod
    def before_the_first(cls, now_ms: int) -> Self:
        """Of a channel that has no events at `now_ms`."""
        return cls(f"{EMPTY}{now_ms}", 0)

    def was_empty(self, now_ms: int, begun: int = 0) -> bool:
        """Whether the channel had no events here, so recently that no log has forgotten it, and not
        before the log had `begun`."""
        at = self._empty_at
        return at is not None and at >= begun and now_ms - at < MEMORY // timedelta(milliseconds=1)

    def is_fresh(self, now_ms: int) -> bool:
        """Whether an empty channel's position is good for long enough to be kept."""
        at = self._empty_at
        return at is not None and now_ms - at < MEMORY // timedelta(milliseconds=2)

    @property
    def _empty_at(self) -> int | None:
        at = self.epoch.removeprefix(EMPTY)
        return int(at) if at != self.epoch and at.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Draft(NamedTuple):
    """An event that is to be appended. `data` is the text that travels, ciphertext on encrypted
    channels. `exclude` is the socket id of the connection that must not receive it."""

    id: str
    name: str
    data: str
    mutation: str | None = None
    exclude: str | None = None


class Entry(NamedTuple):
    """An event of a channel's log. `time` is milliseconds since 1970. `position` is where it is if
    that is not an offset in an epoch."""

    offset: int
    time: int
    id: str
    name: str
    data: str
    mutation: str | None = None
    exclude: str | None = None
    position: str | None = None


class Head(NamedTuple):
    """Where a channel's log is: its last offset, and the lowest one that may be retained
    (`last + 1`: none is). Whether that is too old, its time says."""

    epoch: str
    last: int
    oldest: int

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.last)


class Page(NamedTuple):
    """Events after a position, oldest first, and the position after them.

    `recovered` False: some after the given position are lost; then there are no entries, and
    `position` is the newest. `more`: there are further ones to be read from `position`.
    """

    position: Position
    entries: tuple[Entry, ...] = ()
    recovered: bool = True
    more: bool = False


class EventLog(ABC):
    """Recent events of each channel. Thread-safe. Times are milliseconds since 1970.

    Raises `ProviderUnavailable` (provider "history") where the log's own store fails.
    """

    shared: bool = True  # whether other processes see the same log
    begun: int = 0  # it does not know what was before this time: an "empty" of then says nothing

    @abstractmethod
    def append(
        self, channel: str, drafts: Sequence[Draft], history: History, now_ms: int
    ) -> list[Position]:
        """Number the events and retain them, all or none; the position of each.

        Atomic under concurrent writers: no number is given twice, none is left out, and readers
        see the events in the order of their numbers. An id that is retained already is not appended
        again: its old position is the answer, so that a repeated trigger is the same event.
        """

    @abstractmethod
    def heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        """Where these channels are, in as few requests as the store allows. Channels that have no
        events are left out."""

    @abstractmethod
    def entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        """The retained events with `after < offset <= until`, oldest first."""

    def position(self, channel: str, history: History, now_ms: int) -> Position:
        """The newest position of a channel."""
        head = self.heads({channel: history}, now_ms).get(channel)
        return head.position if head else Position.before_the_first(now_ms)

    def read(
        self,
        channel: str,
        after: Position | None,
        history: History,
        now_ms: int,
        *,
        limit: int = PAGE,
    ) -> Page:
        """What came after a position; None: nothing but the newest position."""
        head = self.heads({channel: history}, now_ms).get(channel)
        return self.page(channel, after, head, history, now_ms, limit=limit)

    def page(
        self,
        channel: str,
        after: Position | None,
        head: Head | None,
        history: History,
        now_ms: int,
        *,
        limit: int = PAGE,
    ) -> Page:
        """`read`, where the channel's head is known already."""
        newest = head.position if head else Position.before_the_first(now_ms)
        if after is None:
            return Page(newest)
        start = resumed(after, head, now_ms, self.begun)
        if start is None:
            return Page(newest, recovered=False)
        if head is None:
            return Page(after if after.is_fresh(now_ms) else newest)
        if start == head.last:
            return Page(newest)
        until = min(head.last, start + limit)
        found = tuple(self.entries(channel, head.epoch, start, until))
        if [entry.offset for entry in found] != list(range(start + 1, until + 1)):
            return Page(newest, recovered=False)  # dropped since the head was read
        if found[0].time <= history.cutoff(now_ms):
            return Page(newest, recovered=False)
        return Page(Position(head.epoch, until), found, more=until < head.last)

    def close(self) -> None:  # noqa: B027 - a log in memory holds nothing
        """Let go of connections. The log is usable again afterwards."""


def resumed(after: Position, head: Head | None, now_ms: int, begun: int = 0) -> int | None:
    """The offset from which a reader at `after` goes on, in a log that has `begun` then; None if
    events after it are lost."""
    was_empty = after.was_empty(now_ms, begun)
    if head is None:
        return 0 if was_empty else None
    offset = 0 if was_empty else after.offset
    if not was_empty and after.epoch != head.epoch:
        return None
    return offset if head.oldest - 1 <= offset <= head.last else None


def policy(given: object, where: str) -> History:
    """`History.parse`, for a setting or an argument named `where`. Raises `ConfigurationError`."""
    try:
        return History.parse(given)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def unique(drafts: Iterable[Draft]) -> dict[str, Draft]:
    """By id. The first of a repeated one counts."""
    found: dict[str, Draft] = {}
    for draft in drafts:
        found.setdefault(draft.id, draft)
    return found
