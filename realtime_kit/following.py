"""One thread per process that watches channels' logs for everybody in it who waits.

A new event costs one look at the log, whoever many wait for it, and an idle client costs nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from itertools import islice

from realtime_kit.errors import ProviderError
from realtime_kit.history.base import PAGE, Entry, Head, Page, Position, resumed
from realtime_kit.recording import Recorder

INTERVAL = 0.25  # seconds between two looks at a log that other processes write to
BACK_OFF = 2.0  # seconds until the next look at a log that has failed
RECENT = 500  # entries of a channel that are kept for those who wait

logger = logging.getLogger("realtime_kit")


class Waiter:
    """Somebody who waits for news of some channels. `failed`: the log cannot be read."""

    def __init__(self, following: Following, channels: tuple[str, ...]) -> None:
        self.channels = channels
        self.failed = False
        self._following = following
        self._news = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Whether there may be news, since the last call or within `timeout` seconds."""
        found = self._news.wait(timeout)
        self._news.clear()
        return found

    def tell(self, *, failed: bool = False) -> None:
        """There may be news."""
        self.failed = failed
        self._news.set()

    def leave(self) -> None:
        """Wait no longer. May be called again."""
        self._following.forget(self)


class _Watched:
    """A channel that somebody waits for: its head as last seen, and the entries up to there."""

    def __init__(self) -> None:
        self.waiters: set[Waiter] = set()
        self.is_new = True  # not looked at yet
        self.head: Head | None = None
        self.recent: deque[Entry] = deque(maxlen=RECENT)

    def page(self, after: Position, now_ms: int, limit: int) -> Page | None:
        """What came after a position, if it is all here."""
        start = resumed(after, self.head, now_ms) if self.recent else None
        if self.head is None or start is None or start < (first := self.recent[0].offset) - 1:
            return None
        found = tuple(islice(self.recent, start + 1 - first, start + 1 - first + limit))
        until = start + len(found)
        return Page(Position(self.head.epoch, until), found, more=until < self.head.last)

    def has_moved(self, head: Head | None) -> bool:
        """Whether there were events since. That old ones were dropped is no news."""
        return (head and head.position) != (self.head and self.head.position)

    def since(self, head: Head) -> int:
        """The last entry that is here already."""
        continues = self.head is not None and self.head.epoch == head.epoch and self.recent
        return self.recent[-1].offset if continues else max(head.oldest - 1, head.last - RECENT)

    def move(self, head: Head | None, fresh: list[Entry]) -> bool:
        """The head is here now, `fresh` came since; whether that is news."""
        is_news = self.is_new or self.has_moved(head)
        whole = [entry.offset for entry in (*islice(self.recent, len(self.recent)), *fresh)]
        if head is None or whole != list(range(head.last - len(whole) + 1, head.last + 1)):
            self.recent.clear()
        else:
            self.recent.extend(fresh)
        self.head, self.is_new = head, False
        return is_news


class Following:
    """Reads a recorder's log once for all who wait. At most `capacity` may, at a time.

    Thread-safe. The thread starts with the first who waits and ends after the last.
    """

    def __init__(
        self, recorder: Recorder, *, capacity: int = 100, interval: float = INTERVAL
    ) -> None:
        self._recorder = recorder
        self._capacity = capacity
        self._interval = interval
        self._watched: dict[str, _Watched] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._nudge = threading.Event()
        self._thread: threading.Thread | None = None
        recorder.on_append(self._nudge.set)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    def join(self, channels: Iterable[str]) -> Waiter | None:
        """Start to wait; None if too many do. Read after this, and what comes then is told."""
        waiter = Waiter(self, tuple(dict.fromkeys(channels)))
        with self._lock:
            if self._waiting >= self._capacity:
                return None
            self._waiting += 1
            for name in waiter.channels:
                self._watched.setdefault(name, _Watched()).waiters.add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="realtime-kit-following", daemon=True
                )
                self._thread.start()
        self._nudge.set()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        with self._lock:
            is_here = False
            for name in waiter.channels:
                watched = self._watched.get(name)
                if watched is not None and waiter in watched.waiters:
                    is_here = True
                    watched.waiters.discard(waiter)
                    if not watched.waiters:
                        del self._watched[name]
            self._waiting -= is_here
            if not self._watched:
                self._nudge.set()

    def read(self, channel: str, after: Position, *, limit: int = PAGE) -> Page:
        """Like `Recorder.read`, out of memory where that has it."""
        with self._lock:
            watched = self._watched.get(channel)
            page = watched.page(after, self._recorder.now_ms(), limit) if watched else None
        return page or self._recorder.read(channel, after, limit=limit)

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        shared = self._recorder.log.shared
        while True:
            self._nudge.clear()
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                names = list(self._watched)
            pause: float | None = self._interval if shared else None
            try:
                self._look(names)
            except ProviderError as error:
                logger.error("streams end, because the event log cannot be read: %s", error)
                self._fail()
                pause = BACK_OFF
            except BaseException:
                with self._lock:
                    self._thread = None
                self._fail()
                raise
            self._nudge.wait(pause)

    def _look(self, names: list[str]) -> None:
        heads = self._recorder.heads(names)
        for name in names:
            head = heads.get(name)
            with self._lock:
                watched = self._watched.get(name)
                if watched is None or not (watched.is_new or watched.has_moved(head)):
                    continue
                since = watched.since(head) if head else 0
            fresh: list[Entry] = []
            if head is not None and not watched.is_new:
                fresh = self._recorder.log.entries(name, head.epoch, since, head.last)
            with self._lock:
                told = list(watched.waiters) if watched.move(head, fresh) else []
            for waiter in told:
                waiter.tell()

    def _fail(self) -> None:
        with self._lock:
            waiters = {waiter for watched in self._watched.values() for waiter in watched.waiters}
        for waiter in waiters:
            waiter.tell(failed=True)
