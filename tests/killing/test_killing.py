"""Applications, servers, lines and database connections that are killed at any point: every event
reaches every client once and in order, or the client is told how far it has missed some.

Real processes; the same in virtual time, at scale: `tests/testing/test_world.py`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

pytestmark = [pytest.mark.node, pytest.mark.timeout(0 if "SOAK" in os.environ else 240)]

HERE = Path(__file__).parent
EXECUTABLE = Path(sys.executable).parent / "realtime-kit"
CHANNELS = ["one", "two", "private-three"]
SCALE = max(1, int(os.environ.get("SOAK", "1")) // 5)
EVENTS = 60 * SCALE  # on each channel
DEADLINE = 90.0
WIDE, SHORT = "100000/1h", "5/1h"
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

KEYS, ABLY_KEY = "test-key:test-secret", "tests0.key:not-published"
SERVE = ("serve", "--app", f"1:{KEYS}")
# How what stands for the provider is run, and what the application has to know to use it.
PROVIDERS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "local": (SERVE, {"REALTIME_LOCAL__KEYS": KEYS, "REALTIME_PORT": "{port}"}),
    "pusher": (
        SERVE,
        {
            "REALTIME_PUSHER__APP_ID": "1",
            "REALTIME_PUSHER__KEYS": KEYS,
            "REALTIME_PUSHER__HOST": "127.0.0.1",
            "REALTIME_PUSHER__PORT": "{port}",
            "REALTIME_PUSHER__TLS": "false",
        },
    ),
    "ably": (
        ("emulate", "ably", "--key", ABLY_KEY),
        {
            "REALTIME_ABLY__KEY": ABLY_KEY,
            "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY__PORT": "{port}",
            "REALTIME_ABLY__TLS": "false",
        },
    ),
    "aws": (
        ("emulate", "apigateway"),
        {
            "REALTIME_AWS__KEYS": KEYS,
            "REALTIME_AWS__URL": "http://127.0.0.1:{port}",
            "REALTIME_AWS__SOCKET": "ws://127.0.0.1:{port}/dev",
        },
    ),
}
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("REALTIME_", "PUSHER_", "ABLY_", "FLASK_"))
}


def transports(provider: str) -> list[str]:
    return ["ably" if provider == "ably" else "socket", "sse", "poll"]


class Told(NamedTuple):
    """What a client gets of a channel: event `number`, or that it has missed some `up_to` there."""

    what: str
    number: int


class World:
    """An application, what stands for its provider, and a client for each transport."""

    def __init__(self, stack: ExitStack, provider: str, folder: Path, url: str, history: str):
        self.chance = random.Random(f"{SEED}{provider}")  # noqa: S311
        self.transports = transports(provider)
        self.accepted = self.cut = 0
        self.got: dict[tuple[str, str], list[Told]] = defaultdict(list)
        self.states: dict[str, str] = {}
        self.news = threading.Condition()
        self.is_ready = False
        self.is_served = threading.Event()
        self.database = url
        self.path = folder / "log"
        self.log = stack.enter_context(self.path.open("ab"))
        stack.callback(self.end)
        self.command, settings = PROVIDERS[provider]
        self.port = "0"
        self.serve()
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.environ = {
            **CLEAN,
            **{name: value.format(port=self.port) for name, value in settings.items()},
            "REALTIME_PROVIDER": provider,
            "REALTIME_ON_ERROR": "raise",
            "REALTIME_HISTORY__URL": url,
            "HISTORY": history,
        }
        self.apply()
        self.connect()

    # --- processes --------------------------------------------------------------------------

    server: subprocess.Popen[str] | None = None
    application: subprocess.Popen[bytes] | None = None
    clients: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None

    def serve(self) -> None:
        """Run what stands for the provider, where it was before."""
        self.server = subprocess.Popen(
            [EXECUTABLE, *self.command, "--port", self.port],
            env={**CLEAN, "REALTIME_AWS__KEYS": KEYS},
            stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        said = ""
        while "Ctrl-C to stop" not in said:
            line = self.server.stdout.readline()  # type: ignore[union-attr]
            assert line, self.said()
            said += line
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found, said
        self.port = found[1]
        self.is_served.set()

    def apply(self) -> None:
        fd = self.listener.fileno()
        self.application = subprocess.Popen(
            [sys.executable, HERE / "application.py", str(fd)],
            env=self.environ, pass_fds=[fd], stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def connect(self) -> None:
        asked = {"transports": self.transports, "channels": CHANNELS}
        self.clients = subprocess.Popen(
            ["node", "--no-warnings", HERE / "clients.js", json.dumps(asked)],
            env={**CLEAN, "APPLICATION": self.url},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.wait(lambda: self.is_ready)

    def _read(self) -> None:
        for line in self.clients.stdout:  # type: ignore[union-attr]
            told = json.loads(line)
            with self.news:
                if "ready" in told:
                    self.is_ready = True
                elif "state" in told:
                    self.states[told["transport"]] = told["state"]
                else:
                    place = told["transport"], told["channel"]
                    self.got[place].append(Told(told["what"], told["number"]))
                self.news.notify_all()

    def end(self) -> None:
        for process in (self.clients, self.application, self.server):
            if process:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe:
                        pipe.close()
        if self.reader:
            self.reader.join()

    def said(self) -> str:
        return f"SEED={SEED}\n{self.path.read_text()[-8000:]}"

    def wait(self, condition: Callable[..., Any], *values: Any) -> None:
        end = time.monotonic() + DEADLINE
        with self.news:
            while not condition(*values):
                assert time.monotonic() < end, f"{dict(self.left())} {self.said()}"
                assert self.clients.poll() is None, self.said()  # type: ignore[union-attr]
                self.news.wait(1)

    # --- what is killed ---------------------------------------------------------------------

    def kill_application(self) -> None:
        self.application.kill()  # type: ignore[union-attr]
        self.application.wait()  # type: ignore[union-attr]
        self.apply()

    def kill_server(self) -> None:
        self.is_served.clear()
        with self.server as server:  # type: ignore[union-attr]
            server.kill()
        self.serve()

    def cut_line(self) -> None:
        pipe = self.clients.stdin  # type: ignore[union-attr]
        pipe.write(f"{self.chance.choice(self.transports)}\n")  # type: ignore[union-attr]
        pipe.flush()  # type: ignore[union-attr]

    def cut_connections(self) -> None:
        """Those of the application to its database."""
        engine = sa.create_engine(self.database, isolation_level="AUTOCOMMIT")
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with engine.connect() as connection:
            self.cut += connection.execute(sa.text(cut)).scalar_one()
        engine.dispose()

    # --- what goes on meanwhile -------------------------------------------------------------

    def write(self, channel: str) -> None:
        """Trigger 1, 2, 3, … on a channel; each again, with its id, until it is accepted, and now
        and then once more, like one whose answer was lost. It waits for clients that are away and
        have missed some: they are to come back while it goes on."""
        chance = random.Random(f"{SEED}{channel}")  # noqa: S311
        for number in range(1, EVENTS + 1):
            transport, ahead = chance.choice(self.transports), chance.randrange(1, 20)
            self.wait(self.is_near, number - ahead, transport, channel)
            event = {"channels": channel, "name": "x", "data": number, "id": f"{channel}{number}"}
            end = time.monotonic() + DEADLINE
            while not self.post(event) or chance.random() < 0.1:
                assert time.monotonic() < end, self.said()
                self.is_served.wait(DEADLINE)
            with self.news:
                self.accepted += 1
                self.news.notify_all()

    def post(self, event: dict[str, Any]) -> bool:
        """Whether the application has accepted it; if not it was killed, or could not publish."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/trigger", json.dumps(event).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            status = error.status
        except (ConnectionError, urllib.error.URLError):
            return False
        assert status == 503, f"{status} {self.said()}"
        return False

    def run(self, *strikes: Callable[[], None]) -> World:
        """Strike, in any order and at any point, until all has been triggered and has arrived."""
        plan = [*strikes, *[self.cut_line] * 6 * SCALE]
        self.chance.shuffle(plan)
        points = sorted(self.chance.sample(range(EVENTS * len(CHANNELS)), len(plan)))
        with ThreadPoolExecutor(len(CHANNELS)) as pool:
            writing = [pool.submit(self.write, channel) for channel in CHANNELS]
            for point, strike in zip(points, plan, strict=True):
                self.wait(lambda aim: self.accepted >= aim, point)
                strike()
            for written in writing:
                written.result()
        self.wait(lambda: not [*self.left()])
        return self

    def reached(self, *place: str) -> int:
        """The newest that a client has been told of a channel."""
        told = self.got[place]
        return told[-1].number if told else 0

    def is_near(self, number: int, transport: str, channel: str) -> bool:
        is_connected = self.states.get(transport) == "connected"
        return is_connected or self.reached(transport, channel) >= number

    def left(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Who has not got to the end, and how far."""
        for place in itertools.product(self.transports, CHANNELS):
            if (at := self.reached(*place)) < EVENTS:
                yield place, at

    def gaps(self, transport: str) -> int:
        """How many a client was told of; it has every other event once and in order."""
        count = 0
        for channel in CHANNELS:
            at = 0
            for what, number in self.got[transport, channel]:
                if what == "gap":
                    assert number >= at, f"SEED={SEED} {transport} {channel}: {number} after {at}"
                    count += 1
                else:
                    assert number == at + 1, (
                        f"SEED={SEED} {transport} {channel}: {number} after {at}"
                    )
                at = number
            assert at == EVENTS, f"SEED={SEED} {transport} {channel}"
        return count


@contextmanager
def killed(provider: str, folder: Path, *, url: str = "", history: str = WIDE) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, provider, folder, url or f"sqlite:///{folder}/log.db", history)


@pytest.fixture(scope="module", params=PROVIDERS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One in which everything was killed more than once."""
    with killed(request.param, tmp_path_factory.mktemp("killed")) as world:
        return world.run(*([world.kill_application] * 3 + [world.kill_server] * 2) * SCALE)


@pytest.mark.parametrize("place", range(3), ids=["socket", "sse", "poll"])
def test_every_event_once_and_in_order(world: World, place: int) -> None:
    assert world.gaps(world.transports[place]) == 0, f"SEED={SEED}"


def test_database_connections_are_cut(tmp_path: Path, postgres_database: str) -> None:
    with killed("local", tmp_path, url=postgres_database) as world:
        world.run(*[world.cut_connections] * 6 * SCALE, world.kill_application)
    assert world.cut >= 1, f"SEED={SEED}"
    assert [world.gaps(name) for name in world.transports] == [0, 0, 0], f"SEED={SEED}"


def test_what_history_no_longer_has_is_told(tmp_path: Path) -> None:
    with killed("local", tmp_path, history=SHORT) as world:
        world.run(*[world.kill_server] * 2 * SCALE)
    assert sum(map(world.gaps, world.transports)) >= 1, f"SEED={SEED}"
