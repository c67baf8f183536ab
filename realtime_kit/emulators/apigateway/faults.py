"""What goes wrong, on demand and from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

Share = Literal[
    "hold_back",
    "lose_disconnect",
    "repeat_disconnect",
    "throttle",
    "throttle_table",
    "lose_answer",
    "fail",
    "kill",
    "limit",
    "gone",
    "cut",
    "vanish",
    "repeat_message",
]
Seconds = Literal["hold_back_seconds", "latency"]


@dataclass
class Faults:
    """Nothing goes wrong by default; change these at any time.

    Shares, from 0 to 1:
    - `hold_back`: of messages and `$disconnect`s, those that reach their function late, by up to
      `hold_back_seconds`, so that others overtake them;
    - `lose_disconnect`, `repeat_disconnect`: of the `$disconnect` events;
    - `throttle`: of invocations, those that Lambda refuses; `fail`: those that die before the
      handler runs; `throttle_table`: of requests to the table, those that DynamoDB refuses;
      `lose_answer`: of those that it carries out, the ones whose answer is lost;
    - of `@connections` requests: `limit` are answered 429, `latency` is up to so many seconds
      added; at `gone` the connection turns out to have ended (it is cut off, the answer is 410);
      at `kill` a function that is running dies, and the request with it;
    - of messages either way: `cut` ends the client's network, `vanish` does so without the gateway
      noticing: it answers 200 for that connection until a limit ends it;
    - `repeat_message`: of queue messages, those that are delivered twice. None is ever lost.

    `connect_lag` is seconds that a connection goes on answering 410 after `$connect` returned.

    The same seed draws the same numbers. Each fault has its own, so one does not shift another.
    """

    seed: int = 0
    hold_back: float = 0.0
    hold_back_seconds: float = 0.05
    lose_disconnect: float = 0.0
    repeat_disconnect: float = 0.0
    throttle: float = 0.0
    fail: float = 0.0
    throttle_table: float = 0.0
    lose_answer: float = 0.0
    kill: float = 0.0
    limit: float = 0.0
    latency: float = 0.0
    connect_lag: float = 0.0
    gone: float = 0.0
    cut: float = 0.0
    vanish: float = 0.0
    repeat_message: float = 0.0
    _streams: dict[str, Random] = field(default_factory=dict, init=False, repr=False)
    _kills: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def happens(self, fault: Share) -> bool:
        """Whether it happens this time."""
        share: float = getattr(self, fault)
        return share > 0 and self._stream(fault).random() < share

    def seconds(self, fault: Seconds) -> float:
        """How long it takes this time."""
        most: float = getattr(self, fault)
        return self._stream(fault).uniform(0, most) if most > 0 else 0.0

    def kill_at(self, function: str, request: int) -> None:
        """Kill the function of this name, once, at so many `@connections` requests that come
        while it runs (1: the first). The request dies with it. Of several invocations it is the
        oldest."""
        self._kills[function] = request

    def kills(self, function: str, request: int) -> bool:
        """Whether that is now."""
        if self._kills.get(function) != request:
            return False
        del self._kills[function]
        return True

    def _stream(self, name: str) -> Random:
        if name not in self._streams:
            self._streams[name] = Random(f"{self.seed}:{name}")  # noqa: S311 - no secret
        return self._streams[name]
