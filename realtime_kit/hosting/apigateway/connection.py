"""One non-blocking socket: connecting, TLS, then a request at a time and its answer."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Generic, TypeVar

from realtime_kit.hosting.apigateway.http1 import Answer, AnswerReader, BadAnswer

Job = TypeVar("Job")
Address = tuple[int, int, int, str, Any]  # as getaddrinfo gives it

_READ_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Lost:
    """A request without an answer. `whole`: its last byte was written, so it may have been
    heard."""

    reason: str
    whole: bool


class Connection(Generic[Job]):
    """One socket and what it is at: opening, resting, or the exchange for `job`.

    `advance()` goes on as far as the socket lets it, and returns the answer if it is there now. It
    raises `OSError` or `BadAnswer` if the connection is of no further use.
    """

    __slots__ = (
        "_context",
        "_host",
        "_left",
        "_reader",
        "_socket",
        "_tls",
        "advance",
        "answers",
        "deadline",
        "events",
        "fd",
        "job",
        "opening",
        "rested",
        "watched",
    )

    def __init__(self, address: Address, context: ssl.SSLContext | None, host: str) -> None:
        family, kind, protocol, _, place = address
        self.job: Job | None = None
        self.opening = True
        self.answers = 0
        self.deadline = inf
        self.rested = 0.0
        self.events = self.watched = EVENT_WRITE
        self._context = context
        self._host = host
        self._tls: ssl.SSLSocket | None = None
        self._left = b""
        self._reader = AnswerReader()
        self.advance: Callable[[], Answer | None] = self._connected
        self._socket = socket.socket(family, kind, protocol)
        self.fd = self._socket.fileno()
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.connect(place)
        except BlockingIOError:
            pass
        except OSError:
            self._socket.close()
            raise

    def send(self, request: bytes, job: Job) -> None:
        """Begin an exchange. Raises `OSError` if the connection is dead."""
        self.job = job
        self._left = request
        self._write()

    @property
    def whole(self) -> bool:
        """Whether all of the request is written."""
        return not self._left

    def close(self) -> None:
        self._socket.close()

    def _connected(self) -> None:
        if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        if self._context is None:
            self._opened()
            return
        self._socket = self._tls = self._context.wrap_socket(
            self._socket, server_hostname=self._host, do_handshake_on_connect=False
        )
        self.advance = partial(self._shake_hands, self._tls)
        self._shake_hands(self._tls)

    def _shake_hands(self, tls: ssl.SSLSocket) -> None:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self.events = EVENT_READ
        except ssl.SSLWantWriteError:
            self.events = EVENT_WRITE
        else:
            self._opened()

    def _opened(self) -> None:
        self.opening = False
        self.deadline = inf
        self.events = EVENT_READ
        self.advance = self._exchange

    def _exchange(self) -> Answer | None:
        # Reading comes first: a server that refuses a request may answer before all of it is
        # written, and then take no more of it.
        answer = self._read()
        if answer is None and self._left:
            self._write()
        return answer

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._left)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        self._left = self._left[sent:]
        self.events = EVENT_READ | EVENT_WRITE if self._left else EVENT_READ

    def _read(self) -> Answer | None:
        while True:
            try:
                data = self._socket.recv(_READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            if self.job is None and data:
                raise BadAnswer("an answer that nobody asked for")
            answer = self._reader.feed(data) if data else self._reader.end()
            if answer is not None:
                answer.reusable = answer.reusable and bool(data) and not self._left
                return answer
            if not data:
                raise ConnectionResetError("closed by the other side")
            # What TLS has decrypted already gives no sign on the socket.
            if self._tls is None or not self._tls.pending():
                return None
