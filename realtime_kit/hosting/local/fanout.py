"""One channel's subscribers, and how a frame gets to all of them.

Nearly all that a delivery costs is the kernel's, per write, so the way to make deliveries cheap is
to write less often. A frame that finds the channel at rest is written at once. Those that come
while a fan-out is still being written, or shortly after (for as long as it took, at most
`MAX_WAIT`), wait and are written together: faster than that the subscribers could not have been
served one frame at a time. Where waiting gathers nothing, it gets shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

Write = Callable[[bytes], object]


class Timer(Protocol):
    """A delayed call that can be called off; asyncio's `TimerHandle` is one."""

    def cancel(self) -> object: ...


Clock = Callable[[], float]
CallLater = Callable[[float, Callable[[], object]], Timer]

MANY = 64  # subscribers; fewer are written to at once, always
MAX_WAIT = 0.02  # seconds
MAX_BYTES = 65_536  # that wait
_LEAST_PATIENCE = 1 / 16


class Fanout:
    """The subscribers of one channel, by socket id.

    A frame reaches exactly those who were subscribed when it was sent, apart from who left since.
    """

    __slots__ = (
        "_at_rest",
        "_bytes",
        "_call_later",
        "_clock",
        "_patience",
        "_timer",
        "_waiting",
        "writes",
    )

    def __init__(self, clock: Clock, call_later: CallLater) -> None:
        self.writes: dict[str, Write] = {}
        self._clock = clock
        self._call_later = call_later
        self._waiting: list[tuple[bytes, str | None]] = []
        self._bytes = 0
        self._at_rest = 0.0
        self._patience = 1.0
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self.writes)

    def add(self, socket_id: str, write: Write) -> None:
        self.flush()
        self.writes[socket_id] = write

    def remove(self, socket_id: str) -> None:
        del self.writes[socket_id]

    def send(self, frame: bytes, exclude: str | None = None) -> None:
        """Write `frame` to all, or to all but the socket `exclude`."""
        self._waiting.append((frame, exclude))
        self._bytes += len(frame)
        now = self._clock()
        if now >= self._at_rest or self._bytes > MAX_BYTES:
            self.flush()
        elif self._timer is None and self._at_rest < inf:
            self._timer = self._call_later(self._at_rest - now, self._waited)

    def flush(self) -> None:
        """Write what waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        began = self._clock()
        self._write(waiting)
        if len(self.writes) >= MANY:
            # Transports write at the end of the tick: it is over in the next one.
            self._at_rest = inf
            self._call_later(0, lambda: self._written(began))

    def _written(self, began: float) -> None:
        now = self._clock()
        wait = min((now - began) * self._patience, MAX_WAIT)
        self._at_rest = now + wait
        if self._waiting and self._timer is None:
            self._timer = self._call_later(wait, self._waited)

    def _waited(self) -> None:
        self._timer = None
        worth_it = len(self._waiting) > 1
        self._patience = min(1.0, max(_LEAST_PATIENCE, self._patience * (2 if worth_it else 0.5)))
        self.flush()

    def _write(self, waiting: list[tuple[bytes, str | None]]) -> None:
        excluded = {exclude for _, exclude in waiting if exclude in self.writes}
        everything = b"".join([frame for frame, _ in waiting])
        if not excluded:
            write_all(self.writes.values(), everything)
            return
        others = (write for socket_id, write in self.writes.items() if socket_id not in excluded)
        write_all(others, everything)
        for socket_id in excluded:
            rest = b"".join([frame for frame, exclude in waiting if exclude != socket_id])
            if rest:
                write_all([self.writes[socket_id]], rest)


def write_all(writes: Iterable[Write], data: bytes) -> None:
    """One loop, without a `try` or a call of ours for each. A socket that died since the last tick
    raises; its disconnect is on its way, and the loop goes on behind it."""
    remaining = iter(writes)
    while True:
        try:
            for write in remaining:
                write(data)
        except (RuntimeError, OSError):
            continue
        return
