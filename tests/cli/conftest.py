"""The real executable, as a process of its own, with an environment and a directory of its own."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from realtime_kit.cli import main
from realtime_kit.testing.servers import Served, serve

EXECUTABLE = Path(sys.executable).parent / "realtime-kit"
DEADLINE = 30.0


class Process:
    """A running command; what it prints is kept line by line."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((popen.stdout, self.out), (popen.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        stream.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what it has printed or will print."""

        def find() -> re.Match[str] | None:
            return re.search(pattern, "\n".join([*self.out, *self.err]))

        with self._changed:
            found = self._changed.wait_for(find, DEADLINE)
        assert found, f"never printed {pattern!r}:\n{self.text}"
        return found

    @property
    def text(self) -> str:
        return "\n".join([*self.out, *self.err])

    def wait(self) -> int:
        """Its exit code; everything that it printed is there afterwards."""
        code = self.popen.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def end(self, number: int = signal.SIGINT) -> int:
        self.popen.send_signal(number)
        return self.wait()


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """What the commands of a test get; the test may add to it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REALTIME_", "PUSHER_", "ABLY_", "FLASK_"))
        and name not in ("PORT", "NO_COLOR")
    }
    return {**kept, "DEMO_DB": str(tmp_path / "demo.db")}


@pytest.fixture
def start(environment, tmp_path) -> Iterator[Callable[..., Process]]:
    """Start a command; whatever still runs is ended with the test."""
    started: list[Process] = []

    def start_one(
        *arguments: str, env: Mapping[str, str] | None = None, stdout: int = subprocess.PIPE
    ) -> Process:
        popen = subprocess.Popen(
            [str(EXECUTABLE), *arguments],
            env={**environment, **(env or {})},
            cwd=tmp_path,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(Process(popen))
        return started[-1]

    yield start_one
    for process in started:
        if process.popen.poll() is None:
            process.popen.terminate()
            try:
                process.wait()
            except subprocess.TimeoutExpired:
                process.popen.kill()
        process.wait()


@pytest.fixture
def run(environment, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command to its end."""

    def run_one(*arguments: str, env=None, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(EXECUTABLE), *arguments],
            env={**environment, **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE,
            **options,
        )

    return run_one


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def served(environment) -> Iterator[Served]:
    """An embedded server; commands of the test find it through their environment."""
    with serve() as running:
        environment |= running.environ
        yield running


@pytest.fixture
def invoke(environment, monkeypatch, tmp_path) -> Callable[..., Result]:
    """Run a command to its end in this process, which is ten times faster."""
    monkeypatch.chdir(tmp_path)

    def invoke_one(*arguments: str, env=None, **options) -> Result:
        return CliRunner().invoke(main, arguments, env={**environment, **(env or {})}, **options)

    return invoke_one


@pytest.fixture
def until() -> Callable[..., object]:
    """Ask again until the answer is true, and return it."""

    def wait_until(ask: Callable[[], object]) -> object:
        deadline = time.monotonic() + DEADLINE
        while not (answer := ask()):
            assert time.monotonic() < deadline, f"{ask} stayed {answer!r}"
            threading.Event().wait(0.05)
        return answer

    return wait_until


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that is run in this process sets up the logging of a whole process."""
    logger = logging.getLogger("realtime_kit")
    before = logger.level, logger.propagate, [*logger.handlers]
    yield
    level, logger.propagate, logger.handlers = before
    logger.setLevel(level)
