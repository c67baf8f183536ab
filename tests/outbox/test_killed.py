"""Relays that are killed at any point: what was committed arrives, at least once and in order."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
import websocket
from sqlalchemy.orm import Session

from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.outbox import Queue
from realtime_kit.testing.servers import Served, serve

EXECUTABLE = Path(sys.executable).parent / "realtime-kit"
CHANNELS = [f"c{n}" for n in range(5)]
EVENTS = 400  # of which a fifth is rolled back
DEADLINE = 60.0
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


class Frame(NamedTuple):
    name: str
    id: str
    position: tuple[str, int]


class Subscriber:
    """A client of the embedded server that keeps what it gets, by channel."""

    def __init__(self, served: Served) -> None:
        address = f"ws://127.0.0.1:{served.port}/app/{served.app.key.key}?protocol=7"
        self.socket = websocket.create_connection(address, timeout=DEADLINE)
        self.got: dict[str, list[Frame]] = defaultdict(list)
        self.count = 0
        self.news = threading.Condition()
        for name in CHANNELS:
            message = {"event": "pusher:subscribe", "data": {"channel": name}}
            self.socket.send(json.dumps(message))
        joined = 0
        while joined < len(CHANNELS):
            joined += json.loads(self.socket.recv())["event"].endswith("subscription_succeeded")
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            frame = json.loads(data)
            if frame["event"].startswith("pusher:"):
                self.socket.send(json.dumps({"event": "pusher:pong"}))
                continue
            with self.news:
                found = Frame(frame["event"], frame["id"], (frame["epoch"], frame["offset"]))
                self.got[frame["channel"]].append(found)
                self.count += 1
                self.news.notify_all()

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + DEADLINE
        with self.news:
            while not condition():
                assert time.monotonic() < end, f"SEED={SEED}, got {self.count}"
                self.news.wait(0.2)


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running


@pytest.fixture
def subscriber(served: Served) -> Iterator[Subscriber]:
    subscriber = Subscriber(served)
    yield subscriber
    subscriber.socket.send_close()
    subscriber.thread.join(10)
    subscriber.socket.shutdown()


@pytest.fixture
def environ(served: Served, url: str) -> dict[str, str]:
    history = {"REALTIME_HISTORY__DEFAULT": "1000/1h", "REALTIME_HISTORY__URL": url}
    return {**os.environ, **served.environ, **history}


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start a relay; a killed one's events are there again after half a second."""
    started: list[subprocess.Popen] = []

    def run() -> subprocess.Popen:
        options = ["--lease", "0.5", "--interval", "0.02"]
        started.append(
            subprocess.Popen(
                [EXECUTABLE, "relay", *options], env=environ, cwd=tmp_path, stderr=subprocess.PIPE
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def write(environ: dict[str, str], engine: sa.Engine, channel: str, seed: str) -> list[str]:
    """One transaction for each event, some of which are rolled back; the others' names."""
    chance = random.Random(seed)  # noqa: S311
    realtime = Realtime(settings=RealtimeSettings(environ=environ))
    committed = []
    with Session(engine) as session:
        for n in range(EVENTS // len(CHANNELS)):
            name = f"{channel}-{n}"
            realtime.outbox(session).trigger(channel, name, {"n": n})
            if chance.random() < 0.2:
                session.rollback()
            else:
                session.commit()
                committed.append(name)
    return committed


class Run:
    """Writers, one for each channel, and what they have committed arriving meanwhile."""

    def __init__(self, environ: dict[str, str], engine: sa.Engine, subscriber: Subscriber) -> None:
        self.chance = random.Random(SEED)  # noqa: S311
        self.subscriber = subscriber
        self.queue = Queue(engine)
        self.pool = ThreadPoolExecutor(len(CHANNELS))
        self.writing = {
            name: self.pool.submit(write, environ, engine, name, f"{SEED}{name}")
            for name in CHANNELS
        }

    def is_over(self) -> bool:
        return self.queue.waiting() == 0 and all(
            result.done()
            and {frame.name for frame in self.subscriber.got[name]} >= {*result.result()}
            for name, result in self.writing.items()
        )

    def go_on(self) -> None:
        """Until some more events have arrived."""
        aim = self.subscriber.count + self.chance.randrange(1, 20)
        self.subscriber.wait(lambda: self.subscriber.count >= aim or self.is_over())

    def end(self, relay: subprocess.Popen) -> None:
        """Until all has arrived, as it was committed."""
        self.subscriber.wait(self.is_over)
        relay.send_signal(signal.SIGTERM)
        _, said = relay.communicate(timeout=30)
        assert (relay.returncode, b"0 given up; 0 waiting" in said) == (0, True), said.decode()
        for name, result in self.writing.items():
            committed = result.result()
            frames = self.subscriber.got[name]
            first = dict.fromkeys(frame.name for frame in frames)
            assert list(first) == committed, f"SEED={SEED}"
            # A repeat is the same event at the same place.
            assert len({frame[1:] for frame in frames}) == len(first), f"SEED={SEED}"
            offsets = {frame.name: frame.position[1] for frame in frames}
            assert [offsets[each] for each in committed] == list(range(1, len(first) + 1))


@pytest.fixture
def world(environ, engine, subscriber) -> Iterator[Run]:
    run = Run(environ, engine, subscriber)
    yield run
    run.pool.shutdown()


def test_killed_again_and_again(world, start):
    for _ in range(4):
        victims = [start() for _ in range(world.chance.choice([1, 1, 2]))]
        world.go_on()
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
    world.end(start())


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_its_connections_are_cut(environ, engine, world, start, url):
    cut = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'relay'"
    )
    environ |= dict.fromkeys(
        ("REALTIME_OUTBOX__URL", "REALTIME_HISTORY__URL"), f"{url}?application_name=relay"
    )
    relay, ended = start(), 0
    for _ in range(8):
        world.go_on()
        with engine.connect() as connection:
            ended += connection.execute(cut).scalar_one()
    world.end(relay)
    assert ended >= 1
