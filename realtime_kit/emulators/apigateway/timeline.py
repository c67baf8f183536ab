"""Emulated time: real, faster than real, or moved by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable


class Timer:
    """A call to come."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    @property
    def cancelled(self) -> bool:
        return self._call is None

    def fire(self) -> None:
        if self._call is not None:
            self._call()


class Timeline:
    """`time()` is seconds since 1970, `speed` times as fast as the clock; with 0 it stands still
    but for `jump`. Timers belong to one event loop; `time` is for any thread."""

    def __init__(
        self,
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed < 0:
            raise ValueError("time does not run backwards: speed is 0 or more")
        self._speed = speed
        self._monotonic = monotonic
        self._from = clock()
        self._at = monotonic()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.Handle | None = None

    def time(self) -> float:
        return self._from + (self._monotonic() - self._at) * self._speed

    @property
    def next_due(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    @property
    def is_due(self) -> bool:
        """Whether a call is to be made now."""
        due = self.next_due
        return due is not None and due <= self.time()

    def call_at(self, when: float, call: Callable[[], object]) -> Timer:
        timer = Timer(when, call)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        self._arm()
        return timer

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return self.call_at(self.time() + delay, call)

    def jump(self, when: float) -> None:
        """Make it `when`, if it is not later already. What is due runs in `run_due`."""
        self._from += max(0.0, when - self.time())

    def run_due(self) -> None:
        """Make the calls whose time has come, in order."""
        while self.is_due:
            heapq.heappop(self._timers)[2].fire()
        self._arm()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arm()

    def stop(self) -> None:
        self._loop = None
        self._timers.clear()
        self._disarm()

    def _arm(self) -> None:
        self._disarm()
        due = self.next_due
        if self._loop is None or due is None:
            return
        wait = due - self.time()
        if wait <= 0:
            self._handle = self._loop.call_soon(self.run_due)
        elif self._speed:
            self._handle = self._loop.call_later(wait / self._speed, self.run_due)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
