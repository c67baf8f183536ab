"""The pool on its own: requests that a socket takes bit by bit, connections that are dead."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from realtime_kit.hosting.apigateway.connection import Lost
from realtime_kit.hosting.apigateway.http1 import Answer
from realtime_kit.hosting.apigateway.pool import Pool
from realtime_kit.hosting.apigateway.requests import Endpoint

LARGE = b"x" * 16_000_000  # more than the system takes for a socket
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[tuple[Pool[str], threading.Thread]]:
    """A pool with one connection that is idle, and the thread that serves it."""

    idle = threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            idle.wait(10)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        endpoint = Endpoint.parse(f"http://127.0.0.1:{listener.getsockname()[1]}")
        pool = Pool[str](endpoint, tls=None, timeout=10.0)
        pool.open(0.0)
        until(pool, lambda: bool(pool.idle))
        idle.set()
        try:
            yield pool, thread
        finally:
            pool.close()
            thread.join(10)


def until(pool: Pool[str], done: Callable[[], bool]) -> list[tuple[str, Answer | Lost]]:
    ended: list[tuple[str, Answer | Lost]] = []
    end = monotonic() + 10
    while not done() and not ended:
        assert monotonic() < end
        ended += pool.poll(0.1, 0.0)
    return ended


def never() -> bool:
    return False


def test_a_request_that_the_socket_takes_bit_by_bit() -> None:
    received, go_on = bytearray(), threading.Event()

    def serve(connection: socket.socket) -> None:
        go_on.wait(10)
        while len(received) < len(LARGE):
            received.extend(connection.recv(1_000_000))
        connection.sendall(OK)

    with serving(serve) as (pool, _):
        assert pool.send(LARGE, "job", 0.0) is None
        (connection,) = pool._all
        assert not connection.whole
        go_on.set()
        ((job, answer),) = until(pool, never)
        assert job == "job"
        assert isinstance(answer, Answer)
        assert pool.idle == [connection]
    assert received == LARGE


def test_an_answer_before_all_is_written() -> None:
    """A server refuses a large request by its head, and reads no more of it."""
    finished = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(OK.replace(b"200 OK", b"413 Too Large"))
        finished.wait(10)

    with serving(serve) as (pool, _):
        pool.send(LARGE, "job", 0.0)
        ((_, answer),) = until(pool, never)
        assert isinstance(answer, Answer)
        assert answer.status == 413
        assert len(pool) == 0, "the rest of the request would be taken for the next one"
        finished.set()


def test_a_request_that_was_not_written_whole_was_not_heard() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(100)

    with serving(serve) as (pool, _):
        pool.send(LARGE, "job", 0.0)
        ((_, lost),) = until(pool, never)
        assert isinstance(lost, Lost)
        assert not lost.whole
        assert len(pool) == 0


def test_a_connection_that_is_dead_when_it_is_used() -> None:
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(serve) as (pool, thread):
        thread.join(10)
        lost = pool.send(b"GET / HTTP/1.1\r\n\r\n", "job", 0.0)
        assert lost is not None
        assert not lost.whole
        assert len(pool) == 0


def test_what_a_call_left_behind_is_not_waited_for() -> None:
    finished = threading.Event()
    with serving(lambda _: finished.wait(10) and None) as (pool, _):
        pool.send(b"GET / HTTP/1.1\r\n\r\n", "job", 0.0)
        assert pool.rest(1.0, 1.0) == [("job", Lost("no time is left", whole=True))]
        assert len(pool) == 0
        finished.set()


@pytest.mark.parametrize("after", [9.9, 10.0])
def test_the_time_for_an_answer(after: float) -> None:
    finished = threading.Event()
    with serving(lambda _: finished.wait(10) and None) as (pool, _):
        pool.send(b"GET / HTTP/1.1\r\n\r\n", "job", 0.0)
        late = [("job", Lost("no answer within 10 s", whole=True))] if after == 10.0 else []
        assert pool.expire(after) == late
        finished.set()
