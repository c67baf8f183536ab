"""What Ably allows. Source: docs, "Limits"; specification, "Connection state".

Sizes are in bytes, times in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of an app. `inbound_rate`: messages a second that one connection may publish,
    `inbound_burst` at once; None: as many as it likes."""

    message_size: int = 65_536
    frame_size: int = 524_288
    inbound_rate: int | None = 50
    inbound_burst: int = 200
    channels_per_connection: int = 200
    presence_members: int = 250
    sync_page: int = 100
    connection_ttl: int = 120_000
    idle_interval: int = 15_000
    presence_grace: int = 15_000
    idempotency: int = 120_000
    history: int = 120_000
    persisted: int = 24 * 3_600_000
    retained: int = 10_000  # entries of one channel, however young
    token_warning: int = 30_000
    token_warning_least: int = 5_500


class Allowance:
    """A bucket of messages: `rate` flow in each second, and `burst` are the most that it holds."""

    __slots__ = ("_burst", "_left", "_rate", "_when")

    def __init__(self, rate: float, burst: float, now: int) -> None:
        self._rate = rate
        self._left = self._burst = burst
        self._when = now

    def take(self, count: int, now: int) -> bool:
        """Whether there were so many; else none is taken."""
        self._left = min(self._burst, self._left + (now - self._when) * self._rate / 1000)
        self._when = now
        if count > self._left:
            return False
        self._left -= count
        return True
