"""Many @connections requests at once, from one thread: what a fan-out on Lambda is made of.

Requests are signed by hand and carried by a pool of kept connections: some 30 µs of CPU each, where
boto3 takes a millisecond (`benchmarks/apigateway_fanout.py`). Then the account's quota of requests
is what limits, and the token bucket keeps under it.
"""

from __future__ import annotations

import os
import random as random_numbers
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.connection import Lost
from realtime_kit.hosting.apigateway.delivery import (
    Call,
    Command,
    Delivery,
    Describe,
    Description,
    Schedule,
    Tuning,
    descriptions,
)
from realtime_kit.hosting.apigateway.http1 import Answer
from realtime_kit.hosting.apigateway.pool import MAX_REFUSALS, Pool
from realtime_kit.hosting.apigateway.requests import Endpoint, Signed
from realtime_kit.hosting.apigateway.sigv4 import Credentials, CredentialSource, Signer

# A handshake costs as much CPU as 30 posts: a connection is made for no fewer calls than this.
CALLS_PER_CONNECTION = 4


class Posts:
    """The `Transport` of our own. Thread-safe: one delivery at a time.

    `endpoint` is `https://…/STAGE`; `credentials` is asked before each delivery; `bucket` None is
    no limit. Connections are kept for the next delivery, and dropped after a fork. `tls` None
    trusts what the system trusts. `clock` is monotonic, `wall_clock` seconds since 1970. Only the
    system's resolver keeps a time of its own.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        region: str,
        credentials: CredentialSource,
        bucket: TokenBucket | None = None,
        tuning: Tuning | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._endpoint = Endpoint.parse(endpoint)
        self._signer = Signer("execute-api", region)
        self._source = credentials
        self._bucket = bucket
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random
        self._pool = Pool[Call](self._endpoint, tls=tls, timeout=self._tuning.answer)
        self._second = 0
        self._signed: dict[int, Signed] = {}
        self._lock = Lock()
        self._process = os.getpid()

    def deliver(self, commands: Iterable[Command], *, timeout: float = 10.0) -> Delivery:
        """Do all of it, in order for each connection, within `timeout` seconds.

        See `Transport`. What `credentials` raises is raised.
        """
        self._leave_the_parent()
        with self._lock:
            now = self._clock()
            schedule = Schedule(
                commands,
                now=now,
                timeout=timeout,
                patience=self._tuning.patience,
                random=self._random,
            )
            credentials = self._source()
            self._pool.wake(now, self._wall_clock())
            try:
                self._run(schedule, credentials)
            finally:
                self._end(schedule)
            return schedule.delivery

    def describe(
        self, connection_ids: Sequence[str], *, timeout: float = 10.0
    ) -> dict[str, Description | None]:
        """See `Transport`."""
        return descriptions(self.deliver([Describe(connection_ids)], timeout=timeout))

    def close(self) -> None:
        """Close the connections; a further delivery makes new ones."""
        self._leave_the_parent()
        with self._lock:
            self._pool.close()

    def _leave_the_parent(self) -> None:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._lock = Lock()  # another thread of the parent may have held it
            self._pool.forget()

    def _run(self, schedule: Schedule, credentials: Credentials) -> None:
        pool, clock = self._pool, self._clock
        while (now := clock()) < schedule.deadline:
            for call, lost in pool.expire(now):
                schedule.lost(call, lost.reason, now, whole=lost.whole)
            schedule.wake(now)
            self._send(schedule, credentials, now)
            if schedule.ready and not len(pool) and pool.refusals >= MAX_REFUSALS:
                host = self._endpoint.host_header
                schedule.give_up(f"no connection to {host}: {pool.failure}", now)
            if not schedule.unfinished:
                return
            ended = pool.poll(self._pause(schedule, now), now)
            if ended:
                self._settle(schedule, ended)

    def _settle(self, schedule: Schedule, ended: list[tuple[Call, Answer | Lost]]) -> None:
        now = self._clock()
        for call, outcome in ended:
            if isinstance(outcome, Lost):
                schedule.lost(call, outcome.reason, now, whole=outcome.whole)
                continue
            if outcome.body and isinstance(call.command, Describe):
                call.description = Description.parse(outcome.body)
            reason = outcome.error_type if outcome.status >= 300 else ""
            schedule.answered(call, outcome.status, now, reason=reason)

    def _send(self, schedule: Schedule, credentials: Credentials, now: float) -> None:
        """Give every idle connection a call, as far as there are calls and tokens."""
        if not (ready := schedule.ready):
            return
        pool, bucket = self._pool, self._bucket
        second = int(self._wall_clock())
        if second != self._second:  # a signature is of one second
            self._second = second
            self._signed.clear()
        while ready:
            if not pool.idle:
                self._connect(len(ready), now)
                return
            if bucket is not None and not bucket.take(now):
                return
            call = schedule.take()
            lost = pool.send(self._sign(call, credentials), call, now)
            if lost is not None:
                schedule.lost(call, lost.reason, now, whole=lost.whole)

    def _connect(self, waiting: int, now: float) -> None:
        pool, limit = self._pool, self._tuning.connections
        if len(pool) >= limit:
            return
        calls = waiting + pool.busy
        wanted = min(limit, -(-calls // CALLS_PER_CONNECTION))
        while len(pool) < wanted and pool.refusals < MAX_REFUSALS:
            pool.open(now)

    def _pause(self, schedule: Schedule, now: float) -> float:
        until = min(schedule.deadline, schedule.next_due, self._pool.next_expiry)
        if self._bucket is not None and schedule.ready and self._pool.idle:
            until = min(until, now + self._bucket.wait(now))
        return max(0.0, until - now)

    def _sign(self, call: Call, credentials: Credentials) -> bytes:
        command = call.command
        signed = self._signed.get(id(command))
        if signed is None:
            signed = Signed(
                self._endpoint, self._signer, credentials, self._second, *command.request
            )
            self._signed[id(command)] = signed
        return signed.request(call.quoted_id)

    def _end(self, schedule: Schedule) -> None:
        now = self._clock()
        for call, lost in self._pool.rest(now, self._wall_clock()):
            schedule.lost(call, lost.reason, now, whole=lost.whole)
        schedule.give_up("no time is left", now)
        schedule.delivery.seconds = now - schedule.started
        self._signed.clear()
