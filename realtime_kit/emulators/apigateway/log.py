"""What happened, for assertions, and what it would have cost."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

METERED = 32 * 1024  # bytes that are billed as one message
DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `time` is emulated, in seconds since 1970."""

    time: float
    kind: str
    connection_id: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def has(self, wanted: Mapping[str, Any]) -> bool:
        known = {"connection_id": self.connection_id, **self.detail}
        return all(known.get(name) == value for name, value in wanted.items())


class Log:
    """The latest entries, oldest first. For any thread.

    Kinds, and what is in `detail`:
    `connected`, `refused` (status), `message` (route, body), `sent` (size), `error` (message),
    `closed` (code, reason), `disconnect` (outcome: sent, lost or repeated), `invoked` (function),
    `returned` (function), `failed` (function, error), `management` (method, status),
    `queued`, `delivered`, `dead` (queue, message_id), `http` (method, path, status),
    `fault` (fault).
    """

    def __init__(self, *, limit: int = 100_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[Entry]:
        with self._changed:
            return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def of(self, kind: str, **wanted: Any) -> list[Entry]:
        """The entries of a kind whose details, or connection id, are these."""
        with self._changed:
            return [e for e in self._entries if e.kind == kind and e.has(wanted)]

    def wait(
        self, kind: str, *, count: int = 1, deadline: float = DEADLINE, **wanted: Any
    ) -> Entry:
        """The `count`-th such entry, once it is there; `AssertionError` at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.of(kind, **wanted)) >= count, deadline)
            found = self.of(kind, **wanted)
            if len(found) < count:
                last = [f"{entry.kind} {dict(entry.detail)}" for entry in list(self._entries)[-9:]]
                raise AssertionError(
                    f"{len(found)} of {count} × {kind} {wanted} in {deadline:g} s; last: {last}"
                )
            return found[count - 1]


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars, us-east-1, November 2026, on demand and without a free tier; Lambda on arm64."""

    million_messages: float = 1.00
    million_connection_minutes: float = 0.25
    million_http_requests: float = 1.00
    million_invocations: float = 0.20
    gigabyte_second: float = 0.0000133334
    million_queue_requests: float = 0.40
    million_table_reads: float = 0.125
    million_table_writes: float = 0.625


@dataclass(slots=True)
class Usage:
    """What AWS would bill. A message counts once for each 32 KB, in both directions.

    `connection_seconds` counts connections that have ended. `gigabyte_seconds` are of this
    machine's time. `table_reads` and `table_writes` are DynamoDB's request units, roughly: see
    `services.request_units`.
    """

    messages_in: int = 0
    messages_out: int = 0
    connection_seconds: float = 0.0
    connections: int = 0
    management_requests: int = 0
    http_requests: int = 0
    invocations: int = 0
    gigabyte_seconds: float = 0.0
    queue_requests: int = 0
    table_reads: float = 0.0
    table_writes: float = 0.0

    @property
    def messages(self) -> int:
        return self.messages_in + self.messages_out

    def dollars(self, prices: Prices | None = None) -> float:
        prices = prices or Prices()
        return (
            self.messages * prices.million_messages
            + self.connection_seconds / 60 * prices.million_connection_minutes
            + self.http_requests * prices.million_http_requests
            + self.invocations * prices.million_invocations
            + self.queue_requests * prices.million_queue_requests
            + self.table_reads * prices.million_table_reads
            + self.table_writes * prices.million_table_writes
        ) / 1e6 + self.gigabyte_seconds * prices.gigabyte_second


def metered(size: int) -> int:
    """How many messages one of `size` bytes is billed as."""
    return max(1, ceil(size / METERED))
