"""One thread per process that watches channels for everybody in it who waits.

A new event costs one look at the log, however many wait for it, and an idle client costs nothing.
Of a source, one question every so often finds out whether there are new rows; then each who waits
reads from its own cursor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice

from realtime_kit.errors import ProviderError
from realtime_kit.history.base import PAGE, Entry, Head, Page, Position, resumed
from realtime_kit.recording import Recorder
from realtime_kit.sources import Context, Cursor, Rows, Sources

INTERVAL = 0.25  # seconds between two looks at a log that other processes write to
BACK_OFF = 2.0  # seconds until the next look at a log that has failed
ABREAST = 2  # threads that are woken at a time
RECENT = 100  # entries of a channel that are kept for those who wait

logger = logging.getLogger("realtime_kit")


class Waiter:
    """Somebody who waits for news of some channels. `failed`: the log cannot be read."""

    def __init__(self, following: Following, channels: tuple[str, ...]) -> None:
        self.channels = channels
        self.failed = False
        self._following = following
        self._state = threading.Lock()
        self._has_news = False
        self._waits = False
        self._waves: list[_Wave] = []
        self._gate = threading.Lock()  # closed; opened once for whoever waits
        self._gate.acquire()

    def wait(self, timeout: float) -> bool:
        """Whether there may be news, since the last call or within `timeout` seconds."""
        with self._state:
            self._waits = waits = not self._has_news
        if waits:
            self._gate.acquire(timeout=max(0.0, timeout))
        with self._state:
            self._waits = False
            self._gate.acquire(blocking=False)  # it may have been opened when the time was up
            found, self._has_news = self._has_news, False
            waves, self._waves = self._waves, []
        for wave in waves:
            wave.roll()
        return found

    def tell(self, wave: _Wave | None = None, *, failed: bool = False) -> bool:
        """There may be news. Whether this has woken somebody, who then lets the wave roll on."""
        with self._state:
            self.failed, self._has_news = failed, True
            if not self._waits:
                return False
            if wave is not None:
                self._waves.append(wave)
            if self._gate.locked():
                self._gate.release()
            return True

    def leave(self) -> None:
        """Wait no longer. May be called again."""
        self._following.forget(self)


class _Wave:
    """Wakes many, a few at a time, each of whom wakes the next: a thousand threads that wake at
    once would fight for the interpreter, which takes several times the work itself."""

    def __init__(self, waiters: Iterable[Waiter]) -> None:
        self._waiters = deque(waiters)
        for _ in range(ABREAST):
            self.roll()

    def roll(self) -> None:
        """Wake one more. Whoever is busy hears of it later, and holds nobody up."""
        with suppress(IndexError):
            while not self._waiters.popleft().tell(self):
                pass


class _Watched:
    """A channel that somebody waits for: its head as last seen, and the entries up to there."""

    def __init__(self) -> None:
        self.waiters: set[Waiter] = set()
        self.is_new = True  # not looked at yet
        self.head: Head | None = None
        self.recent: deque[Entry] = deque(maxlen=RECENT)

    def page(self, after: Position, now_ms: int, begun: int, limit: int) -> Page | None:
        """What came after a position, if it is all here."""
        head = self.head
        start = resumed(after, head, now_ms, begun)
        if head is None or start is None:
            return None
        if start == head.last:
            return Page(head.position)
        if not self.recent or start < (first := self.recent[0].offset) - 1:
            return None
        found = tuple(islice(self.recent, start + 1 - first, start + 1 - first + limit))
        until = start + len(found)
        return Page(Position(head.epoch, until), found, more=until < head.last)

    def has_moved(self, head: Head | None) -> bool:
        """Whether there were events since. That old ones were dropped is no news."""
        return (head and head.position) != (self.head and self.head.position)

    def since(self, head: Head) -> int:
        """Up to where the entries are known, or nobody's any more."""
        known = self.head.last if self.head and self.head.epoch == head.epoch else 0
        return max(known, head.oldest - 1, head.last - RECENT)

    def move(self, head: Head | None, since: int, fresh: list[Entry]) -> bool:
        """The head is here now, `fresh` came after `since`; whether that is news."""
        is_news = self.is_new or self.has_moved(head)
        is_same = head is not None and self.head is not None and head.epoch == self.head.epoch
        if not (is_same and self.recent and self.recent[-1].offset == since):
            self.recent.clear()
        if head and [entry.offset for entry in fresh] == list(range(since + 1, head.last + 1)):
            self.recent.extend(fresh)
        else:  # some were dropped while they were read
            self.recent.clear()
        self.head, self.is_new = head, False
        return is_news


class _Source:
    """A channel out of the database: how far it is known, and when to ask again."""

    def __init__(self) -> None:
        self.waiters: set[Waiter] = set()
        self.known: Cursor | None = None
        self.due = 0.0  # of time.monotonic()


class Following:
    """Reads a recorder's log, and sources, for all who wait. At most `capacity` may, at a time.

    Thread-safe. The thread starts with the first who waits and ends after the last.
    """

    def __init__(
        self,
        recorder: Recorder,
        sources: Sources,
        context: Context,
        *,
        capacity: int = 100,
        interval: float = INTERVAL,
    ) -> None:
        self._recorder = recorder
        self._sources = sources
        self._context = context
        self._capacity = capacity
        self._interval = interval
        self._watched: dict[str, _Watched | _Source] = {}
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
                watched = self._watched.get(name)
                if watched is None:
                    watched = _Source() if self._sources.find(name) else _Watched()
                    self._watched[name] = watched
                watched.waiters.add(waiter)
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

    def read(
        self,
        places: Mapping[str, Position | Cursor | None],
        *,
        limit: int = PAGE,
        fresh: bool = False,
    ) -> dict[str, Page | Rows]:
        """What came after these places on each channel (None: nothing but the newest position).

        Like `Recorder.pages`, out of memory where that has it unless it must be `fresh`; and like
        `Sources.read`.
        """
        found: dict[str, Page | Rows] = {}
        asked: dict[str, Position | None] = {}
        begun, now_ms = self._recorder.begun, self._recorder.now_ms()
        with self._lock:
            for name, after in places.items():
                watched = self._watched.get(name)
                page = None
                if not fresh and isinstance(after, Position) and isinstance(watched, _Watched):
                    page = watched.page(after, now_ms, begun, limit)
                if page is not None:
                    found[name] = page
                elif not isinstance(after, Cursor):
                    asked[name] = after
        if asked:
            found |= self._recorder.pages(asked, limit=limit)
        for name, after in places.items():
            if isinstance(after, Cursor):
                found[name] = self._read_source(name, after)
        return {name: found[name] for name in places}

    def _read_source(self, channel: str, after: Cursor) -> Rows:
        page = self._sources.read(channel, after, self._context)
        if not page.more:
            self._advance(channel, page.position)
        return page

    def _advance(self, channel: str, known: Cursor) -> None:
        """Somebody has read up to here: those who have not are told, once."""
        with self._lock:
            watched = self._watched.get(channel)
            if not isinstance(watched, _Source) or watched.known == known:
                return
            told = list(watched.waiters) if watched.known is not None else []
            watched.known = known
        self._nudge.set()
        _Wave(told)

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._nudge.clear()
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                watched = dict(self._watched)
            logs = [name for name, one in watched.items() if isinstance(one, _Watched)]
            sources = {name: one for name, one in watched.items() if isinstance(one, _Source)}
            try:
                pauses = [self._look(logs), *(self._ask(*item) for item in sources.items())]
            except BaseException:
                with self._lock:
                    self._thread = None
                self._fail(watched)
                raise
            self._nudge.wait(min((pause for pause in pauses if pause is not None), default=None))

    def _ask(self, name: str, source: _Source) -> float | None:
        """Ask a source whether there are new rows, if it is time; seconds until the next time."""
        known, found = source.known, self._sources.find(name)
        if known is None or found is None:
            return None  # whoever waits reads first, and says how far that was
        if (left := source.due - time.monotonic()) > 0:
            return left
        source.due = time.monotonic() + found.every
        try:
            page = self._sources.read(name, known, self._context)
        except Exception:  # the application's own: other channels go on
            logger.exception("streams of %s end, because its source failed", name)
            self._fail([name])
            return found.every
        if page.entries:
            self._advance(name, page.position)
        return found.every

    def _look(self, names: list[str]) -> float | None:
        """See what is new in the log; seconds until the next look (None: until it is told)."""
        if not names:
            return None
        try:
            heads = self._recorder.heads(names)
            for name in names:
                self._compare(name, heads.get(name))
        except ProviderError as error:
            logger.error("streams end, because the event log cannot be read: %s", error)
            self._fail(names)
            return BACK_OFF
        return self._interval if self._recorder.log.shared else None

    def _compare(self, name: str, head: Head | None) -> None:
        with self._lock:
            watched = self._watched.get(name)
            if not isinstance(watched, _Watched):
                return
            if not (watched.is_new or watched.has_moved(head)):
                return
            is_new, since = watched.is_new, watched.since(head) if head else 0
        fresh: list[Entry] = []
        if head is not None and is_new:
            since = head.last  # whoever joins reads for himself what there is
        elif head is not None:
            fresh = self._recorder.log.entries(name, head.epoch, since, head.last)
        with self._lock:
            told = list(watched.waiters) if watched.move(head, since, fresh) else []
        _Wave(told)

    def _fail(self, names: Iterable[str]) -> None:
        with self._lock:
            found = [self._watched[name] for name in names if name in self._watched]
            waiters = {waiter for watched in found for waiter in watched.waiters}
        for waiter in waiters:
            waiter.tell(failed=True)
