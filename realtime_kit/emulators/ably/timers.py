"""Calls to come, by an injected clock: what waits is in one heap, and nobody sleeps here."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since 1970."""


class Timer:
    """A call to come."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Timers:
    """`changed` is told whenever the first call to come may be another one than before."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed: Callable[[], object] = lambda: None
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()

    def after(self, milliseconds: int, call: Callable[[], object]) -> Timer:
        """Call in so many milliseconds."""
        return self.at(self.clock() + milliseconds, call)

    def at(self, when: int, call: Callable[[], object]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        self.changed()
        return timer

    @property
    def next_due(self) -> int | None:
        """When the next call is due, in milliseconds since 1970."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self) -> None:
        """Make the calls whose time has come, in order."""
        while (due := self.next_due) is not None and due <= self.clock():
            _, _, timer = heapq.heappop(self._heap)
            if timer.call is not None:
                timer.call()
