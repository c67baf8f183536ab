"""CPU of one delivery to 1,000 event streams: `GET /events` against flask-sse with Redis.

Both are a Flask application under gunicorn, one process with a thread for each stream, as each
project says that it is run; the same event goes to the same clients, one after the other, and the
next when all have it. What is counted is the CPU of the worker (user and system), of the peer with
that of its Redis, per event that a client received; and the memory that a stream takes.

flask-sse is installed into .cache; Redis is Debian's `redis-server`.
"""

from __future__ import annotations

import http.client
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks._harness import Result, compare, main
from benchmarks._servers import Server, free_ports, wait_for
from benchmarks._swarm import allow_many_sockets

STREAMS = 1_000
EVENTS = 20  # of one measurement
HOME = Path(__file__).resolve().parent.parent / ".cache" / "flask-sse"


def install() -> Path:
    """The folder of the peer's packages; installed once, into the checkout's `.cache`."""
    if not (HOME / "flask_sse.py").is_file():
        print("installing flask-sse into .cache (first run only)", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(HOME)]
        subprocess.run([*command, "flask-sse==1.0.0"], check=True)
    return HOME


class Clients:
    """Open streams, and how many events each has received."""

    def __init__(self, port: int, path: str) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        self.received = 0
        for _ in range(STREAMS):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            self._sockets[one.fileno()] = one
            self._poll.register(one, select.EPOLLIN)

    def wait_for(self, count: int) -> None:
        """Until they have received so many events in all."""
        end = time.monotonic() + 60
        while self.received < count:
            for number, _ in self._poll.poll(1):
                text = self._tails.get(number, b"") + self._sockets[number].recv(65_536)
                self.received += text.count(b"\ndata:")
                self._tails[number] = text[-5:]
            if time.monotonic() > end:
                sys.exit(f"{self.received} of {count} events within a minute")

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()


class Site:
    """A server with its streams open."""

    def __init__(self, name: str, port: int, path: str, redis: Server | None) -> None:
        self._port = port
        self.worker = Server(int(self.ask("GET", "/pid")), port)
        self._redis = redis
        before = self._memory()
        self.clients = Clients(port, path)
        self._wait(name)
        self.kib_each = (self._memory() - before) / STREAMS
        self.microseconds()  # warm up

    def _wait(self, name: str) -> None:
        end = time.monotonic() + 120
        while int(self.ask("GET", "/streams")) < STREAMS:
            if time.monotonic() > end:
                sys.exit(f"{name} did not open {STREAMS} streams within two minutes")
            time.sleep(0.1)

    def ask(self, method: str, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        text = answer.read().decode()
        connection.close()
        return text

    def _cpu(self) -> float:
        return self.worker.cpu() + (self._redis.cpu() if self._redis else 0)

    def _memory(self) -> float:
        """KiB that are resident, of the worker and of Redis."""
        pids = [self.worker.pid, *([self._redis.pid] if self._redis else [])]
        found = 0
        for pid in pids:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return found

    def microseconds(self) -> float:
        """CPU of one delivery."""
        before = self._cpu()
        start = self.clients.received
        for number in range(1, EVENTS + 1):
            self.ask("POST", "/say")
            self.clients.wait_for(start + number * STREAMS)
        return (self._cpu() - before) / (EVENTS * STREAMS) * 1e6


@contextmanager
def redis() -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("the peer needs Redis: apt-get install redis-server")
    (port,) = free_ports(1)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/"]
    with _process([*command, "--appendonly", "no"], dict(os.environ), port) as pid:
        yield Server(pid, port)


@contextmanager
def gunicorn(app: str, environ: dict[str, str]) -> Iterator[int]:
    """One process with enough threads; its port."""
    (port,) = free_ports(1)
    options = {
        "--bind": f"127.0.0.1:{port}",
        "--worker-class": "gthread",
        "--threads": str(STREAMS + 20),
        "--worker-connections": str(STREAMS * 2),
        "--graceful-timeout": "1",
        "--log-level": "critical",
    }
    command = [sys.executable, "-m", "gunicorn", f"benchmarks._sse_apps:{app}()"]
    command += [word for option in options.items() for word in option]
    with _process([*command, "--no-control-socket"], {**os.environ, **environ}, port):
        yield port


@contextmanager
def _process(command: list[str], environ: dict[str, str], port: int) -> Iterator[int]:
    output: int | None = subprocess.DEVNULL
    with subprocess.Popen(command, env=environ, stdout=output, stderr=output) as process:
        try:
            wait_for(process, port)
            yield process.pid
        finally:
            process.terminate()


def measure(pairs: int) -> Result:
    allow_many_sockets()
    with ExitStack() as opened:
        mine = opened.enter_context(gunicorn("ours", {}))
        store = opened.enter_context(redis())
        there = {"PYTHONPATH": str(install()), "REDIS_URL": f"redis://127.0.0.1:{store.port}"}
        theirs = opened.enter_context(gunicorn("peer", there))
        ours = Site("ours", mine, "/realtime/events?channel=news", None)
        opened.callback(ours.clients.close)
        peer = Site("flask-sse", theirs, "/stream?channel=news", store)
        opened.callback(peer.clients.close)
        return compare(
            "sse",
            ours.microseconds,
            peer.microseconds,
            unit="µs of CPU per delivery",
            better="lower",
            bar=1.0,
            pairs=pairs,
            details={
                "streams": STREAMS,
                "KiB per stream": f"{ours.kib_each:.1f} against {peer.kib_each:.1f}",
            },
        )


if __name__ == "__main__":
    main(measure, __doc__)
