"""A token bucket. Pure: time is passed in."""

from __future__ import annotations


class TokenBucket:
    """Lets through `rate` a second on average, and `burst` at once. It begins full.

    Kept between calls, because what it protects (an account's quota of requests) is.
    """

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket needs a rate over 0 and a burst of 1 or more")
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one token, if there is one. `now` is in seconds and monotonic."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is a token."""
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self.rate)

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
