"""One thread that makes calls later, in order, never more than a bounded number waiting."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

CAPACITY = 1_000
IDLE_SECONDS = 10.0

logger = logging.getLogger("realtime_kit")


class Worker:
    """Thread-safe. The thread starts with the first call, and ends when it is idle for a while."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._calls: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False

    def submit(self, call: Callable[[], object]) -> bool:
        """Queue a call. False: too many wait already, and this one was not taken."""
        with self._changed:
            if len(self._calls) >= self._capacity:
                return False
            self._calls.append(call)
            if self._thread is None:
                # A daemon: whoever must not lose calls at exit flushes, for a bounded time.
                self._thread = threading.Thread(
                    target=self._run, name="realtime-kit-background", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return True

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every call is done, at most `timeout` seconds. False: some are not."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._calls or self._busy), timeout)

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # a call that fails must not end those that wait
                logger.exception("a background call failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._calls, IDLE_SECONDS):
                self._thread = None
                return None
            self._busy = True
            return self._calls.popleft()
