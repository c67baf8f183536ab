"""A loopback HTTP server that misbehaves on demand, for tests of what must survive it.

    with FaultServer() as server:
        server.script(Answer(503, b"busy"), Reset(b"HTTP/1.1 200 OK\\r\\nContent-Le"), Hang())
        ...                                  # each request takes the next of the script
    server.received                          # the requests, whole ones only

When the script is over, requests are answered with `default`, or with what `decide` says.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import parse_headers
from io import BufferedReader
from typing import Protocol, Self


class Fault(Protocol):
    """What is done with one request."""

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        """Answer or do not. Returns whether the connection goes on."""


@dataclass(frozen=True)
class Answer:
    """A whole answer. `close`: the connection is closed after it, without a word about it."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        lines = [f"HTTP/1.1 {self.status} Scripted", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + self.body)
        return not self.close


@dataclass(frozen=True)
class Raw:
    """These bytes, whatever they are, then the end of the connection."""

    data: bytes = b""

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        connection.sendall(self.data)
        return False


@dataclass(frozen=True)
class Reset:
    """These bytes, then a TCP reset."""

    after: bytes = b""

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        connection.sendall(self.after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


@dataclass(frozen=True)
class Hang:
    """These bytes, and no more until the server stops."""

    after: bytes = b""

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        connection.sendall(self.after)
        stopped.wait()
        return False


@dataclass(frozen=True)
class Drip:
    """These bytes, one every `interval` seconds: no single read ever waits long."""

    data: bytes
    interval: float = 0.05

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        for place in range(len(self.data)):
            connection.sendall(self.data[place : place + 1])
            if stopped.wait(self.interval):
                return False
        return True


@dataclass(frozen=True)
class Received:
    """One request. Header names are lower-case; `connection` numbers the connections from 0."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


class FaultServer:
    """Listens on a free port of 127.0.0.1 while it is entered. `tls` makes it a TLS server.

    `decide` gives the fault for a request, from the threads of the connections.
    """

    def __init__(
        self,
        *,
        default: Fault | None = None,
        decide: Callable[[Received], Fault] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.received: list[Received] = []
        fallback = default or Answer()
        self.decide = decide or (lambda _: fallback)
        self._script: deque[Fault] = deque()
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._opened = 0
        self._closed = 0
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]

    def script(self, *faults: Fault) -> None:
        """What the next requests get, one each."""
        self._script.extend(faults)

    def wait_closed(self, count: int = 1, *, deadline: float = 5.0) -> None:
        """Until `count` connections are over; `AssertionError` at the deadline (seconds)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed >= count, deadline):
                raise AssertionError(f"{self._closed} connections closed, waited for {count}")

    def wait_received(self, count: int = 1, *, deadline: float = 5.0) -> Received:
        """The request number `count`, once it is there; `AssertionError` at the deadline."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.received) >= count, deadline):
                raise AssertionError(f"{len(self.received)} requests, waited for {count}")
            return self.received[count - 1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # Closing a listener does not wake the thread that accepts on it; a connection does.
        socket.create_connection((self.host, self.port)).close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):  # the client may have reset it
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopped.is_set():
                connection.close()
                return
            number, self._opened = self._opened, self._opened + 1
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with self._changed:
            self._open.add(connection)
        secured = connection
        try:
            if self._tls is not None:
                secured = self._tls.wrap_socket(connection.dup(), server_side=True)
            with secured.makefile("rb") as source:
                while self._exchange(secured, source, number):
                    pass
        except OSError:
            pass  # the client went: that is its answer to most faults
        finally:
            with self._changed:
                self._open.remove(connection)
                secured.close()
                connection.close()
                self._closed += 1
                self._changed.notify_all()

    def _exchange(self, connection: socket.socket, source: BufferedReader, number: int) -> bool:
        line = source.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = {name.lower(): value for name, value in parse_headers(source).items()}
        body = source.read(int(headers.get("content-length", "0")))
        received = Received(line[0], line[1], headers, body, number)
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()
        fault = self._script.popleft() if self._script else self.decide(received)
        return fault.act(connection, self._stopped)


def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
