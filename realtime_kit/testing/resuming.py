"""The browser client's way to leave no gaps, in Python. Pure.

The rules are written down in `client/resume.js`, which is what browsers run; the numbers in the
comments here are theirs. Change both, or neither: worlds (`world`) are how the rules are tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

HELD = 500
TRIES = 3
GRACE = 0.25  # seconds until the log is asked for a hole
COLLECT = 0.01  # seconds, for subscriptions come one by one


class Arrived(NamedTuple):
    """An event as a frame or an answer brings it. `offset` None: it is outside of history."""

    id: str | None
    name: str
    data: Any
    epoch: str | None = None
    offset: int | None = None


class Place(NamedTuple):
    epoch: str
    offset: int

    @classmethod
    def parse(cls, position: str) -> Place:
        epoch, _, offset = position.rpartition(":")
        return cls(epoch, int(offset))

    @property
    def is_empty(self) -> bool:
        """Whether it is of a channel without events."""
        return self.epoch.startswith("@")

    def ahead(self, place: Place) -> int | None:
        """How far ahead `place` is; None: of another epoch."""
        is_same = self.epoch == place.epoch or self._is_before(place.epoch)  # 1
        return place.offset - self.offset if is_same else None

    def _is_before(self, epoch: str) -> bool:
        if not self.is_empty:
            return False
        begun, found, _ = epoch.partition("_")
        return not (found and begun.isdecimal() and int(begun) > int(self.epoch[1:]))


@dataclass(slots=True)
class _Held:
    event: Arrived
    tries: int


class Track:
    """One channel of one client. `deliver(event, place)` is the application's handler,
    `tell(place)` its `onGap`."""

    def __init__(
        self,
        deliver: Callable[[Arrived, Place | None], object],
        tell: Callable[[Place], object],
    ) -> None:
        self.position: Place | None = None
        self.due = False  # the log is to be asked
        self.held: dict[Place, _Held] = {}
        self._deliver_to = deliver
        self._tell = tell
        self._is_fresh = False  # no frame has come since the log said where it is
        self._is_missing = False  # one was not held, because too many were
        self._is_asking = False
        self._asked_from: Place | None = None
        self._gone: str | None = None  # the epoch that a gap has ended

    def subscribed(self) -> None:
        self.due = True

    def disconnected(self) -> None:  # 9
        self.held.clear()
        self._is_fresh = self._is_asking = self.due = False

    # --- frames -----------------------------------------------------------------------------

    def frame(self, event: Arrived) -> None:
        if event.epoch is None or event.offset is None:
            self._deliver_to(event, None)
            return
        place = Place(event.epoch, event.offset)
        if place.epoch == self._gone:
            return
        ahead = 1 if self.position is None else self.position.ahead(place)  # 2
        if ahead is None or ahead > 1:
            self._hold(event, place)
        elif ahead > 0 or self._is_fresh:
            self._deliver(event, place)
            self.due = self.due or ahead < 0  # 5
            self._drain()

    def _hold(self, event: Arrived, place: Place) -> None:  # 4
        if len(self.held) < HELD:
            # Held while a question is under way, its answer may not know it.
            self.held[place] = _Held(event, -1 if self._is_asking else 0)
        else:
            self._is_missing = True

    def _drain(self) -> None:  # 3
        while self.held and self.position is not None:
            following = self.position._replace(offset=self.position.offset + 1)
            one = self.held.pop(following, None)
            if one is None:
                break
            self._deliver(one.event, following)

    def _deliver(self, event: Arrived, place: Place) -> None:
        self._is_fresh = False
        self.position = place
        self._deliver_to(event, place)

    # --- questions --------------------------------------------------------------------------

    def question(self) -> str:
        """The position to ask from; empty: from now on."""
        self.due = self._is_missing = False
        self._is_asking = True
        self._asked_from = self.position
        return "" if self.position is None else f"{self.position.epoch}:{self.position.offset}"

    def failed(self) -> None:
        """There was no answer to the question."""
        self._is_asking = False
        self.due = True

    def answer(
        self, events: Iterable[Arrived], position: str, *, recovered: bool, more: bool = False
    ) -> None:  # 7
        self._is_asking = False
        self.take(events)
        place, asked_from = Place.parse(position), self._asked_from
        if not recovered and self.position != asked_from:
            self.due = True
        elif not recovered:
            self.lose(place)
            # Those that were held before the question are part of what is lost.
            self.held = {at: one for at, one in self.held.items() if one.tries < 0}
        elif asked_from is None and self.position is not None:
            self.due = self.due or (not place.is_empty and self._is_ahead(place))
        elif self._is_newer(place):
            self.position = place
            self._is_fresh = asked_from is None
        self.due = self.due or more or self._is_missing
        self._sift(more)

    def take(self, events: Iterable[Arrived]) -> None:
        """Deliver what an answer or a stream brings, but for repeats."""
        for event in events:
            assert event.epoch is not None
            assert event.offset is not None
            place = Place(event.epoch, event.offset)
            ahead = self.position.ahead(place) if self.position is not None else None
            if ahead is None or ahead > 0:
                self._deliver(event, place)

    def lose(self, place: Place) -> None:
        if self.position is not None and self.position.epoch != place.epoch:
            self._gone = self.position.epoch
        self._is_fresh = False
        self.position = place
        self._tell(place)

    def _sift(self, more: bool) -> None:
        """Which of the held frames the answer has brought, or should have."""
        assert self.position is not None
        for place in list(self.held):
            ahead = self.position.ahead(place)
            if ahead is not None and ahead <= 0:
                del self.held[place]
        self._drain()
        if more:
            return
        for one in self.held.values():
            one.tries += 1
        late = [place for place, one in self.held.items() if one.tries >= TRIES]  # 8
        events = {place: self.held.pop(place).event for place in late}
        here = [place for place in events if (self.position.ahead(place) or 0) > 0]
        if here:
            self.lose(self.position)
        for place in sorted(here, key=lambda place: place.offset):
            self._deliver(events[place], place)
        self._drain()

    def _is_ahead(self, place: Place) -> bool:
        if self.position is None or self.position.is_empty:
            return True
        ahead = self.position.ahead(place)
        return ahead is None or ahead > 0

    def _is_newer(self, place: Place) -> bool:
        # A channel that has had events has not become one without, whatever an older look says.
        if place.is_empty:
            return self.position is None or self.position.is_empty
        return self._is_ahead(place)
