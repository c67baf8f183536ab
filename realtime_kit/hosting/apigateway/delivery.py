"""What is to be done to many connections, in which order, how often, and what became of it.

Pure: what carries the requests (sockets of our own, or boto3) asks `Schedule` for the next one and
tells it how each ended.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, inf
from typing import Protocol

from realtime_kit.errors import PayloadTooLarge
from realtime_kit.hosting.apigateway.requests import Method, quoted

# "Quotas for WebSocket APIs"; `Data` of PostToConnection.
MAX_FRAME = 128 * 1024

# A call is given up once it was so often lost, or answered with 5xx.
MAX_FAILURES = 4
# Seconds before a further try: doubled each time up to the second number, and jittered.
PAUSE_THROTTLED = 0.05, 1.0
PAUSE_FAILED = 0.05, 1.0
PAUSE_TOO_EARLY = 0.025, 0.4

HELD_BACK = "what was to come before it was not delivered"


@dataclass(frozen=True, slots=True)
class Message:
    """A frame for connections: UTF-8, of at most 128 KB.

    `repeatable`: receiving it twice does no harm, so it is sent again when it is not known whether
    it arrived. `grace` is seconds in which 410 means that `$connect` has not returned yet.
    """

    frame: bytes = field(repr=False)
    to: Sequence[str]
    repeatable: bool = False
    grace: float = 0.0

    def __post_init__(self) -> None:
        if len(self.frame) > MAX_FRAME:
            raise PayloadTooLarge(
                f"a frame of {len(self.frame)} bytes, as it is sent; API Gateway takes {MAX_FRAME}",
                size=len(self.frame),
                limit=MAX_FRAME,
            )

    @property
    def request(self) -> tuple[Method, bytes]:
        return "POST", self.frame


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close connections, after what comes before it for them. There is no close code to give."""

    to: Sequence[str]
    repeatable = True
    grace = 0.0

    @property
    def request(self) -> tuple[Method, bytes]:
        return "DELETE", b""


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask about connections."""

    to: Sequence[str]
    repeatable = True
    grace = 0.0

    @property
    def request(self) -> tuple[Method, bytes]:
        return "GET", b""


Command = Message | Disconnect | Describe


@dataclass(frozen=True, slots=True)
class Description:
    """What API Gateway knows of a connection. Times are seconds since 1970."""

    connected_at: float
    last_active_at: float
    source_ip: str
    user_agent: str

    @classmethod
    def parse(cls, body: bytes) -> Description | None:
        """None for what is no such description."""
        try:
            given = json.loads(body)
            return cls(
                datetime.fromisoformat(given["connectedAt"]).timestamp(),
                datetime.fromisoformat(given["lastActiveAt"]).timestamp(),
                given["identity"]["sourceIp"],
                given["identity"].get("userAgent", ""),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(eq=False, slots=True)
class Call:
    """One command to one connection.

    `status` is the last HTTP status, `reason` says why it was not delivered. `maybe_sent`: it may
    have been, all the same. `seconds` is the time from the start of the delivery to its end.
    `description` is the answer to `Describe`.
    """

    command: Command
    connection_id: str
    quoted_id: bytes
    tries: int = 0
    failures: int = 0
    status: int | None = None
    reason: str = ""
    maybe_sent: bool = False
    seconds: float = 0.0
    description: Description | None = None
    throttled_at: float | None = None
    following: Call | None = field(default=None, repr=False)


@dataclass(slots=True)
class Delivery:
    """What became of each call: every one is in exactly one of the four lists, in the order in
    which they ended.

    `gone`: there is no such connection any more. `throttled`: not sent, given up after 429
    answers (the account's quota, or a client that does not read). `failed`: anything else. The
    calls to a connection after one that was throttled or failed are not made, and are in the same
    list: so what is delivered again, in order, overtakes nothing. `requests` counts every request,
    `throttles` the 429 answers among them, `seconds` is the time of it all.
    """

    delivered: list[Call] = field(default_factory=list)
    gone: list[Call] = field(default_factory=list)
    throttled: list[Call] = field(default_factory=list)
    failed: list[Call] = field(default_factory=list)
    requests: int = 0
    throttles: int = 0
    seconds: float = 0.0

    @property
    def gone_ids(self) -> set[str]:
        """The connections to forget."""
        return {call.connection_id for call in self.gone}

    @property
    def undelivered(self) -> list[Call]:
        """What another delivery may still bring about."""
        return self.throttled + self.failed

    def latency(self, share: float = 0.99) -> float:
        """Seconds within which this share of what was delivered was."""
        times = sorted(call.seconds for call in self.delivered)
        return times[max(0, ceil(share * len(times)) - 1)] if times else 0.0


class Schedule:
    """The calls of one delivery. Those to one connection are made one by one, in order.

    `now` is monotonic seconds everywhere. `timeout` is seconds for the whole; `patience` for how
    long 429 is answered with another try. `random` gives numbers from 0 up to 1.
    """

    def __init__(
        self,
        commands: Iterable[Command],
        *,
        now: float,
        timeout: float,
        patience: float,
        random: Callable[[], float],
    ) -> None:
        self.delivery = Delivery()
        self.started = now
        self.deadline = now + timeout
        self.unfinished = 0
        self.ready: deque[Call] = deque()
        self._patience = patience
        self._random = random
        self._later: list[tuple[float, int, Call]] = []
        self._paused = 0
        self._plan(commands)

    def _plan(self, commands: Iterable[Command]) -> None:
        last: dict[str, Call] = {}
        for command in commands:
            for connection_id in dict.fromkeys(command.to):
                call = Call(command, connection_id, quoted(connection_id))
                before = last.get(connection_id)
                last[connection_id] = call
                self.unfinished += 1
                if before is None:
                    self.ready.append(call)
                else:
                    before.following = call

    @property
    def next_due(self) -> float:
        """When the next pause ends; infinite if there is none."""
        return self._later[0][0] if self._later else inf

    def wake(self, now: float) -> None:
        """Put what has paused for long enough in `ready`."""
        while self._later and self._later[0][0] <= now:
            self.ready.append(heapq.heappop(self._later)[2])

    def take(self) -> Call:
        """The next call to make, out of `ready`; `answered` or `lost` is to follow."""
        call = self.ready.popleft()
        call.tries += 1
        self.delivery.requests += 1
        return call

    def answered(self, call: Call, status: int, now: float, *, reason: str = "") -> None:
        """There was an answer; `reason` is AWS's name of the error, if it gave one."""
        delivery = self.delivery
        call.status = status
        if 200 <= status < 300:
            self._end(call, delivery.delivered, now)
            return
        call.reason = f"{status} {reason}".rstrip()
        if status == 410:
            if now - self.started < call.command.grace:
                self._again(call, delivery.failed, now, PAUSE_TOO_EARLY)
            else:
                self._end(call, delivery.gone, now)
        elif status == 429:
            delivery.throttles += 1
            if call.throttled_at is None:
                call.throttled_at = now
            if now - call.throttled_at < self._patience:
                self._again(call, delivery.throttled, now, PAUSE_THROTTLED)
            else:
                self._end(call, delivery.throttled, now)
        elif status >= 500:
            self._failed(call, now, whole=True)
        else:
            self._end(call, delivery.failed, now)

    def lost(self, call: Call, reason: str, now: float, *, whole: bool) -> None:
        """There was no answer. `whole`: the request may have been heard."""
        call.reason = reason
        call.status = None
        self._failed(call, now, whole=whole)

    def _failed(self, call: Call, now: float, *, whole: bool) -> None:
        call.failures += 1
        call.maybe_sent = call.maybe_sent or whole
        if (whole and not call.command.repeatable) or call.failures >= MAX_FAILURES:
            self._end(call, self.delivery.failed, now)
        elif whole or call.failures > 1:
            self._again(call, self.delivery.failed, now, PAUSE_FAILED)
        else:  # a kept connection that was dead: another is at hand
            self.ready.append(call)

    def give_up(self, reason: str, now: float) -> None:
        """End what is not ended, because of `reason`; nothing is under way any more."""
        waiting = [*self.ready, *(entry[2] for entry in self._later)]
        self.ready.clear()
        self._later.clear()
        while waiting:
            for call in waiting:
                throttled = call.status == 429
                if not throttled:
                    call.reason = call.reason or reason
                self._end(call, self.delivery.throttled if throttled else self.delivery.failed, now)
            # A failure lets a disconnection follow.
            waiting = [*self.ready]
            self.ready.clear()

    def _again(
        self, call: Call, otherwise: list[Call], now: float, pause: tuple[float, float]
    ) -> None:
        """Another try after a jittered pause; `otherwise` if no time is left for it."""
        # Half of the pause is certain, or it might be none; and no power of a large number.
        longest = min(pause[1], pause[0] * 2 ** min(call.tries - 1, 16))
        due = now + longest * (0.5 + 0.5 * self._random())
        if due < self.deadline:
            self._paused += 1
            heapq.heappush(self._later, (due, self._paused, call))
        else:
            self._end(call, otherwise, now)

    def _end(self, call: Call, outcome: list[Call], now: float) -> None:
        delivery = self.delivery
        following: Call | None = call
        while following is not None:
            call = following
            call.seconds = now - self.started
            outcome.append(call)
            self.unfinished -= 1
            following = call.following
            if following is None:
                return
            # Closing does not depend on what was to be said before.
            closes = isinstance(following.command, Disconnect) and outcome is not delivery.gone
            if closes or outcome is delivery.delivered:
                self.ready.append(following)
                return
            following.reason = call.reason if outcome is delivery.gone else HELD_BACK


def descriptions(delivery: Delivery) -> dict[str, Description | None]:
    """What the answers to `Describe` say."""
    found: dict[str, Description | None] = dict.fromkeys(delivery.gone_ids)
    for call in delivery.delivered:
        if call.description is not None:
            found[call.connection_id] = call.description
    return found


@dataclass(frozen=True, slots=True)
class Tuning:
    """`connections` at most, seconds until an `answer`, and seconds of `patience` with 429."""

    connections: int = 64
    answer: float = 3.0
    patience: float = 5.0


class Transport(Protocol):
    """Carries commands to the connections of one deployment."""

    def deliver(self, commands: Iterable[Command], *, timeout: float = 10.0) -> Delivery:
        """Do all of it, in order for each connection, within `timeout` seconds.

        What fails on the way is in the answer, never raised. Raises `ValueError`, before anything
        is sent, for what is no id of a connection.
        """

    def describe(
        self, connection_ids: Sequence[str], *, timeout: float = 10.0
    ) -> dict[str, Description | None]:
        """What is known of connections: None for one that is gone; one about which there was no
        answer is not in it."""

    def close(self) -> None:
        """Let go of the connections to API Gateway."""
