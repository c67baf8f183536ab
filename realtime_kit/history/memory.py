"""The event log of one process, in memory: for development, tests and a single worker."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from threading import Lock

from realtime_kit.history.base import (
    MEMORY,
    Draft,
    Entry,
    EventLog,
    Head,
    History,
    Position,
    unique,
)

_SWEEP_EVERY = 1_000  # appends
_MEMORY_MS = MEMORY // timedelta(milliseconds=1)


class MemoryLog(EventLog):
    """Bounded by the histories of its channels; channels are forgotten a day after their last
    event. A fork or a restart starts every channel anew, which readers are told."""

    shared = False

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._appends = 0
        self._lock = Lock()

    def append(
        self, channel: str, drafts: Sequence[Draft], history: History, now_ms: int
    ) -> list[Position]:
        with self._lock:
            self._begin(now_ms)
            self._appends += 1
            if self._appends % _SWEEP_EVERY == 0:
                self._forget(now_ms)
            log = self._channels.get(channel)
            if log is None:
                log = self._channels[channel] = _Channel(f"{self.begun}_{os.urandom(9).hex()}")
            log.drop(history, now_ms)  # an id that is no longer retained is a new event's
            log.append(unique(drafts), now_ms)
            found = [Position(log.epoch, log.offsets[draft.id]) for draft in drafts]
            log.drop(history, now_ms)
            log.history = history
            return found

    def heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        with self._lock:
            self._begin(now_ms)
            found = {}
            for name, history in wanted.items():
                log = self._channels.get(name)
                if log is not None:
                    log.drop(history, now_ms)
                    found[name] = Head(log.epoch, log.last, log.last - len(log.entries) + 1)
            return found

    def entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        with self._lock:
            log = self._channels.get(channel)
            if log is None or log.epoch != epoch or not log.entries:
                return []
            first = log.entries[0].offset
            return list(islice(log.entries, max(0, after + 1 - first), max(0, until + 1 - first)))

    def _begin(self, now_ms: int) -> None:
        # An earlier process may have said "empty" of a channel that had events afterwards.
        self.begun = min(self.begun or now_ms, now_ms)

    def _forget(self, now_ms: int) -> None:
        old = now_ms - _MEMORY_MS
        for name, log in list(self._channels.items()):
            log.drop(log.history, now_ms)
            if not log.entries and log.time <= old:
                del self._channels[name]


class _Channel:
    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.last = 0
        self.time = 0  # of the last event
        self.history = History()  # of the last append
        self.entries: deque[Entry] = deque()
        self.offsets: dict[str, int] = {}  # by id, of the entries

    def append(self, drafts: Mapping[str, Draft], now_ms: int) -> None:
        for draft in drafts.values():
            if draft.id not in self.offsets:
                self.last += 1
                self.entries.append(Entry(self.last, now_ms, *draft))
                self.offsets[draft.id] = self.last
        self.time = max(self.time, now_ms)

    def drop(self, history: History, now_ms: int) -> None:
        cutoff = history.cutoff(now_ms)
        while self.entries and (len(self.entries) > history.last or self.entries[0].time <= cutoff):
            del self.offsets[self.entries.popleft().id]
