"""One HTTP/1.1 client for the providers: pooled, kept alive, bounded in time and in size.

Our own, because the base installation has no HTTP library, and because the ones there are time out
per read (a server that drips holds a request for ever), retry what may have been sent, and cost
many times the work that is done here (`requests`: 645 of the Pusher SDK's 750 µs for an event).
The standard library's parser still reads the answers; only the socket underneath it is watched.
"""

from __future__ import annotations

import io
import os
import select
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from http.client import HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.providers._answer import Answer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

MAX_BODY = 8 * 1024 * 1024
MAX_IDLE_CONNECTIONS = 16
# A connection that a NAT or a load balancer forgot gives no sign of it: their limits start at 60 s.
MAX_IDLE_SECONDS = 30.0


class HttpClient:
    """Requests to one host. Thread-safe; connections are made on first use, dropped after a fork.

    `timeout` is seconds for a whole request: connecting, TLS, writing, and the whole answer (the
    system's resolver alone keeps its own time). System CAs. No redirects: a signature is made for
    one path. A request is repeated only after a kept connection that turned out to be dead: if its
    last byte was not written, or if it is `repeatable`. `provider` names the errors; `refused` is
    what to do if nobody listens.
    """

    def __init__(
        self,
        provider: str,
        host: str,
        port: int,
        *,
        tls: bool,
        timeout: float,
        refused: str = "",
    ) -> None:
        self.provider = provider
        self.timeout = timeout
        self._host = host.strip("[]")
        self._port = port
        self._tls = tls
        self._refused = refused
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.origin = f"{'https' if tls else 'http'}://{shown}:{port}"
        default = port == (443 if tls else 80)
        self._host_header = shown if default else f"{shown}:{port}"
        self._idle: deque[_Connection] = deque(maxlen=MAX_IDLE_CONNECTIONS)
        self._process = os.getpid()

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        repeatable: bool = False,
    ) -> Answer:
        """Send one request and read its answer. Raises `ProviderUnavailable` if there is none.

        `repeatable`: who gets it bears it twice, so that it is sent again, once, if a kept
        connection ends before the answer: the server was closing it when the request came.
        """
        message = self._message(method, target, headers, body)
        deadline = monotonic() + self.timeout
        kept = self._reuse()
        if kept is not None and self._written(kept, message, deadline):
            try:
                return self._answer(kept, method, deadline)
            except ProviderUnavailable as error:
                if not repeatable or isinstance(error.__cause__, TimeoutError):
                    raise
        connection = self._connect(deadline)
        try:
            connection.write(message, deadline)
        except OSError as error:
            connection.close()
            raise self._unavailable(error, "while the request was written") from error
        return self._answer(connection, method, deadline)

    def _answer(self, connection: _Connection, method: str, deadline: float) -> Answer:
        try:
            answer, reusable = connection.read(method, deadline)
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unavailable(
                error, "before the answer was there", maybe_sent=True
            ) from error
        if reusable:
            self._keep(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _message(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host_header}"]
        lines.append("User-Agent: realtime-kit")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a request line or header holds a line break")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _reuse(self) -> _Connection | None:
        """The connection used last that is still open at the other end, if there is one."""
        if self._process != os.getpid():
            # The sockets are the parent's as well: what one writes, the other would read.
            self._process = os.getpid()
            self.close()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread may have taken the last one
                return None
            if connection.is_alive():
                return connection
            connection.close()

    def _written(self, connection: _Connection, message: bytes, deadline: float) -> bool:
        try:
            connection.write(message, deadline)
        except OSError:  # its last byte is not out: no server has the request
            connection.close()
            return False
        return True

    def _keep(self, connection: _Connection) -> None:
        connection.idle_since = monotonic()
        if len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self, deadline: float) -> _Connection:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._unavailable(error, f"the name {self._host} was not found") from error
        failure: OSError = TimeoutError()
        try:
            for place, address in enumerate(found):
                try:
                    # Each address gets its share, so that a dead first one does not use up all.
                    return self._open(address, deadline, share=len(found) - place)
                except OSError as error:
                    failure = error
            raise self._unavailable(failure, "while connecting") from failure
        finally:
            del failure  # it holds this frame, which holds itself

    def _open(self, address: _Address, deadline: float, *, share: int) -> _Connection:
        family, kind, protocol, _, place = address
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline) / share)
            sock.connect(place)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Connection(self._secured(sock, deadline))
        except OSError:
            sock.close()
            raise

    def _secured(self, sock: socket.socket, deadline: float) -> socket.socket:
        if not self._tls:
            return sock
        sock.settimeout(_left(deadline))
        return self._context.wrap_socket(sock, server_hostname=self._host)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _unavailable(
        self, error: Exception, when: str, *, maybe_sent: bool = False
    ) -> ProviderUnavailable:
        if isinstance(error, TimeoutError):
            what = f"no answer within {self.timeout:g} s, {when}"
        elif isinstance(error, ConnectionRefusedError):
            what = f"nobody listens there. {self._refused}".rstrip()
        elif isinstance(error, ssl.SSLCertVerificationError):
            what = f"its certificate is not valid: {error.verify_message}"
        elif isinstance(error, OSError):
            what = f"{error.strerror or 'connection closed'}, {when}"
        else:
            what = f"an answer that is not HTTP or not whole ({type(error).__name__}), {when}"
        return ProviderUnavailable(
            f"{self.origin}: {what}",
            provider=self.provider,
            retryable=True,
            maybe_sent=maybe_sent,
        )


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.idle_since = monotonic()
        # A pool that nobody closed goes with its client, without a ResourceWarning.
        weakref.finalize(self, sock.close).atexit = False

    def is_alive(self) -> bool:
        """Whether it may be used again. What is readable now is the end, or nothing asked for."""
        if monotonic() - self.idle_since > MAX_IDLE_SECONDS:
            return False
        if not hasattr(select, "poll"):  # Windows; `select` has a limit on descriptors elsewhere
            return not select.select([self._socket], [], [], 0)[0]
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def write(self, message: bytes, deadline: float) -> None:
        left = memoryview(message)
        while left:
            self._socket.settimeout(_left(deadline))
            left = left[self._socket.send(left) :]

    def read(self, method: str, deadline: float) -> tuple[Answer, bool]:
        """The answer, and whether the connection can be used again."""
        # All that HTTPResponse wants of a socket is a file to read.
        source = cast(socket.socket, _Source(self._socket, deadline))
        with HTTPResponse(source, method=method) as response:
            response.begin()
            if response.length is not None and response.length > MAX_BODY:
                raise IncompleteRead(b"", response.length)
            # Without an amount a body of known length that is cut short is an error.
            body = response.read(None if response.length is not None else MAX_BODY + 1)
            if len(body) > MAX_BODY:
                raise IncompleteRead(b"")
            headers: dict[str, str] = {}
            for name, value in response.getheaders():
                before = headers.get(field := name.lower())
                headers[field] = value if before is None else f"{before}, {value}"
            return Answer(response.status, body, headers), not response.will_close

    def close(self) -> None:
        self._socket.close()


class _Source(io.RawIOBase):
    """A socket as a file that is given up at the deadline, however the bytes drip."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._socket.settimeout(_left(self._deadline))
        return self._socket.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
