"""What happened, for assertions, and what it would have cost.

Kinds of the log, and what is in `detail`:
`connected`, `refused` (status), `message` (route, body), `sent` (size), `error` (message),
`closed` (code, reason), `disconnect` (outcome: sent, lost or repeated), `invoked` (function),
`returned` (function), `failed` (function, error), `management` (method, status),
`queued`, `delivered`, `dead` (queue, message_id), `http` (method, path, status),
`fault` (fault).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from realtime_kit.emulators.log import Entry, Log

__all__ = ["METERED", "Entry", "Log", "Prices", "Usage", "metered"]

METERED = 32 * 1024  # bytes that are billed as one message


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
