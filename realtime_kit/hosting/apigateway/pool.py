"""Non-blocking sockets to one host, kept alive, watched by one selector: no thread, no event loop.

A connection carries one request at a time. Between two calls, which on Lambda may be minutes and a
freeze apart, sockets rest; before the next they are looked at, and dropped if they are not what
they were.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from functools import cached_property
from math import inf
from selectors import DefaultSelector
from typing import Any, Generic

from realtime_kit.hosting.apigateway.connection import Address, Connection, Job, Lost
from realtime_kit.hosting.apigateway.http1 import Answer, BadAnswer
from realtime_kit.hosting.apigateway.requests import Endpoint

# A connection that a NAT or a load balancer forgot gives no sign of it.
MAX_IDLE_SECONDS = 30.0
ADDRESSES_SECONDS = 60.0
# So many connections in a row were not made, or closed before they were of use.
MAX_REFUSALS = 3


class Pool(Generic[Job]):
    """The connections to one endpoint. Not thread-safe.

    `idle` are those that can carry a request now. `timeout` is seconds for a connection to be made
    and for an answer to come.
    """

    def __init__(self, endpoint: Endpoint, *, tls: ssl.SSLContext | None, timeout: float) -> None:
        self.idle: list[Connection[Job]] = []
        self.next_expiry = inf
        self.refusals = 0
        self.failure = ""
        self._endpoint = endpoint
        self._tls = tls
        self._timeout = timeout
        self._all: set[Connection[Job]] = set()
        self._addresses: list[Address] = []
        self._addresses_until = -inf
        self._rested: tuple[float, float] | None = None
        self._selector = DefaultSelector()
        # A pool that nobody closed goes without a ResourceWarning.
        weakref.finalize(self, _close_sockets, self._all).atexit = False

    def __len__(self) -> int:
        return len(self._all)

    @property
    def busy(self) -> int:
        """How many connections carry a request."""
        return sum(each.job is not None for each in self._all)

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        if not self._endpoint.tls:
            return None
        return self._tls or ssl.create_default_context()

    def wake(self, now: float, wall: float) -> None:
        """Before a call: let go of connections that rested for too long or have ended.

        Two clocks, because the monotonic one stands still while Lambda freezes the process.
        """
        self.refusals = 0
        if self._rested is not None:
            rested = max(now - self._rested[0], wall - self._rested[1])
            if rested > MAX_IDLE_SECONDS or wall < self._rested[1]:
                self.close()
        for connection in [each for each in self.idle if now - each.rested > MAX_IDLE_SECONDS]:
            self._drop(connection)
        self.poll(0, now)

    def rest(self, now: float, wall: float) -> list[tuple[Job, Lost]]:
        """After a call: what was still being asked is given up."""
        self._rested = (now, wall)
        busy = [(each, each.job) for each in self._all if each.job is not None]
        return [self._lose(each, job, "no time is left") for each, job in busy]

    def open(self, now: float) -> None:
        """Begin to make one more connection."""
        try:
            address = self._address(now)
            connection = Connection[Job](address, self._context, self._endpoint.host)
        except OSError as error:
            self._refused(error)
            return
        connection.deadline = now + self._timeout
        self.next_expiry = min(self.next_expiry, connection.deadline)
        self._all.add(connection)
        self._selector.register(connection.fd, connection.events, connection)

    def send(self, request: bytes, job: Job, now: float) -> Lost | None:
        """Send a request on an idle connection: how it was lost, if it was at once."""
        connection = self.idle.pop()
        connection.deadline = now + self._timeout
        if connection.deadline < self.next_expiry:
            self.next_expiry = connection.deadline
        try:
            connection.send(request, job)
        except OSError as error:
            return self._lose(connection, job, _why(error))[1]
        if connection.events != connection.watched:
            self._watch(connection)
        return None

    def poll(self, timeout: float, now: float) -> list[tuple[Job, Answer | Lost]]:
        """Wait until something happens, or for `timeout` seconds: what ended, and how.

        A connection that comes to rest has rested since `now`, the time of the call.
        """
        ended: list[tuple[Job, Answer | Lost]] = []
        for key, _ in self._selector.select(timeout):
            connection: Connection[Job] = key.data
            job, opening = connection.job, connection.opening
            try:
                answer = connection.advance()
            except (OSError, BadAnswer) as error:
                if job is not None:
                    ended.append(self._lose(connection, job, _why(error)))
                else:
                    if not connection.answers:
                        self._refused(error)
                    self._drop(connection)
                continue
            if answer is not None and job is not None:
                ended.append((job, answer))
                connection.job = None
                connection.answers += 1
                self.refusals = 0
                if not answer.reusable:
                    self._drop(connection)
                    continue
                self._idle(connection, now)
            elif opening and not connection.opening:
                self._idle(connection, now)
            if connection.events != connection.watched:
                self._watch(connection)
        return ended

    def expire(self, now: float) -> list[tuple[Job, Lost]]:
        """Give up connections that were not made, and requests not answered, in time."""
        if now < self.next_expiry:
            return []
        lost = []
        for connection in [each for each in self._all if each.deadline <= now]:
            if connection.job is not None:
                why = f"no answer within {self._timeout:g} s"
                lost.append(self._lose(connection, connection.job, why))
            else:
                self._refused(TimeoutError(f"not connected within {self._timeout:g} s"))
                self._drop(connection)
        self.next_expiry = min((each.deadline for each in self._all), default=inf)
        return lost

    def forget(self) -> None:
        """After a fork: these sockets, and what watches them, are the parent's."""
        _close_sockets(self._all)
        self.idle.clear()
        self._selector.close()
        self._selector = DefaultSelector()

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._all):
            self._drop(connection)

    def _idle(self, connection: Connection[Job], now: float) -> None:
        connection.deadline = inf
        connection.rested = now
        self.idle.append(connection)

    def _watch(self, connection: Connection[Job]) -> None:
        self._selector.modify(connection.fd, connection.events, connection)
        connection.watched = connection.events

    def _lose(self, connection: Connection[Job], job: Job, reason: str) -> tuple[Job, Lost]:
        self._drop(connection)
        return job, Lost(reason, connection.whole)

    def _drop(self, connection: Connection[Job]) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        self._all.discard(connection)
        self._selector.unregister(connection.fd)
        connection.close()

    def _refused(self, error: Exception) -> None:
        self.refusals += 1
        self.failure = _why(error)

    def _address(self, now: float) -> Address:
        if now >= self._addresses_until or not self._addresses:
            endpoint = self._endpoint
            found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            self._addresses = list[Address](found)
            self._addresses_until = now + ADDRESSES_SECONDS
        # In turn: a service's addresses share its load, and one of them may be dead.
        self._addresses.append(self._addresses.pop(0))
        return self._addresses[-1]


def _close_sockets(connections: set[Any]) -> None:
    while connections:
        connections.pop().close()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
