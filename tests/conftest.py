"""What every test shares: where the browser and Node are, and that nothing hides in CI."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# No test is timed: a busy machine is no failure. (Tests that hang are ended by pytest-timeout.)
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")

CHECKOUT = Path(__file__).resolve().parent.parent
DEADLINE = 15.0  # seconds for what a client reports
IN_CI = os.environ.get("CI") == "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with one reason; in CI nothing is skipped."""
    missing = {
        "browser": None if chromium_path() else "no chromium: apt-get install chromium",
        "node": _why_no_node(),
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and not IN_CI and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    # Last: Playwright keeps an event loop running in the main thread, where others start theirs.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, and so do all of what `osls package` makes once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "packaged" if "/packaged/" in file else file

    config.option.loadscopereorder = False  # browsers stay last
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing is skipped in CI: {report.longrepr}"
    return report


def chromium_path() -> str | None:
    return shutil.which(os.environ.get("CHROMIUM", "chromium"))


def _why_no_node() -> str | None:
    if not shutil.which("node"):
        return "no Node 20 on this machine"
    if not (CHECKOUT / "node_modules").is_dir():
        return "no node_modules: run `make setup`"
    return None


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for tests marked `browser`."""
    path = chromium_path()
    assert path, "chromium is not installed: apt-get install chromium"
    return path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("REALTIME_", "PUSHER_", "ABLY_")):
            monkeypatch.delenv(name)


# --- databases --------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _postgres_program(name: str) -> str | None:
    """Debian keeps all but the client's programs out of PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of the tests' own: the URL of its database. See also `postgres_database`."""
    initdb, postgres = _postgres_program("initdb"), _postgres_program("postgres")
    if not (initdb and postgres):
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    with ExitStack() as clearing:
        place = clearing.enter_context(tempfile.TemporaryDirectory(prefix="postgres-"))
        user: str | None = None
        if os.geteuid() == 0:  # as whom it refuses to run
            user = "nobody"
            shutil.chown(place, user)
        create = [initdb, "-D", f"{place}/data", "-U", "tests", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*create, "--no-sync", "--locale=C"],
            user=user, cwd=place, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        port = _free_port()
        options = [
            f"-cport={port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories=",
            "-cfsync=off", "-cmax_connections=200",
        ]  # fmt: skip
        log = clearing.enter_context(open(f"{place}/log", "w+"))
        server = clearing.enter_context(
            subprocess.Popen(
                [postgres, "-D", f"{place}/data", *options],
                user=user, cwd=place, stdout=log, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        clearing.callback(server.send_signal, signal.SIGINT)  # whoever is connected is dropped
        _wait_for_postgres(server, port, log.name)
        yield f"postgresql+psycopg://tests@127.0.0.1:{port}/postgres"


def _wait_for_postgres(server: subprocess.Popen[bytes], port: int, log: str) -> None:
    import psycopg

    end = time.monotonic() + 2 * DEADLINE
    while True:
        assert server.poll() is None, Path(log).read_text()
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="tests", dbname="postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < end, Path(log).read_text()
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of the tests' own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no Redis on this machine: apt-get install redis-server")
    port = _free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, cwd="/") as server:
        try:
            _wait_for_port(server, port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


def _wait_for_port(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        assert server.poll() is None, f"{server.args} ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"{server.args} does not listen"
            time.sleep(0.02)
        else:
            return


_databases = itertools.count(1)


@pytest.fixture
def postgres_database(postgres_url: str) -> str:
    """The URL of a new and empty database on that PostgreSQL."""
    import sqlalchemy as sa

    name = f"test_{next(_databases)}"
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres_url.replace("/postgres", f"/{name}")


# --- the official JavaScript clients ----------------------------------------------------------


class Agent:
    """Node with pusher-js, laravel-echo and the `pusher` SDK; see `real_clients/agent.mjs`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._reported: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._answers[0].get(timeout=DEADLINE)["answer"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers[message["id"]].put(message)
            else:
                with self._news:
                    self._reported.append(message)
                    self._news.notify_all()

    def __call__(self, command: str, **options: Any) -> Any:
        """The command's answer. Raises `Failed` with what the client threw."""
        number = next(self._ids)
        self._answers[number] = queue.Queue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._answers[number].get(timeout=DEADLINE)
        del self._answers[number]
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["answer"]

    def saw(self, **wanted: Any) -> list[dict[str, Any]]:
        """What was reported so far and has these members."""
        with self._news:
            return [
                message
                for message in self._reported
                if all(message.get(name) == value for name, value in wanted.items())
            ]

    def wait(self, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """The `count`-th report that has these members, once it is there."""
        end = time.monotonic() + DEADLINE
        with self._news:
            while len(found := self.saw(**wanted)) < count:
                left = end - time.monotonic()
                assert left > 0, f"never saw {wanted} ×{count}; last: {self._reported[-9:]}"
                self._news.wait(left)
        return found[count - 1]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """What `condition` returns, once it is true; it is asked again after each report."""
        with self._news:
            value = self._news.wait_for(condition, DEADLINE)
        assert value, f"never saw {what}; last: {self._reported[-9:]}"
        return value

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)


class Failed(Exception):
    """What a JavaScript client threw: `details` has name, message, status and body."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__(details)
        self.details = details


@pytest.fixture(scope="module")
def agent(checkout: Path) -> Iterator[Agent]:
    process = subprocess.Popen(
        ["node", "tests/real_clients/agent.mjs"],
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        agent = Agent(process)
        yield agent
        agent.end()


@pytest.fixture(scope="module")
def failed() -> type[Failed]:
    return Failed


# --- WSGI servers -------------------------------------------------------------------------------


class Wsgi:
    """A WSGI server in processes of its own: its `url`, and what it said."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listening.wait(DEADLINE * 2)
        assert self.url, self.said

    url = ""

    def _read(self) -> None:
        with self._process.stderr as lines:  # type: ignore[union-attr]
            for line in lines:
                self._lines.append(line)
                if found := re.search(r"(?:Listening at:|Running on) (http://\S+:\d+)", line):
                    self.url = self.url or found[1]
                    self._listening.set()
        self._listening.set()

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        finally:
            self._process.kill()
            self._reader.join(DEADLINE)


@pytest.fixture(scope="session")
def wsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Wsgi]]:
    """`wsgi("flask", app, NAME="value")`, or `wsgi("gunicorn", app, "-w", "2")`: a server of the
    application `module:name`."""
    started: list[Wsgi] = []
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REALTIME_", "PUSHER_", "ABLY_", "DEMO_", "FLASK_", "GUNICORN_"))
    }

    def start(server: str, app: str, *arguments: str, **environ: str) -> Wsgi:
        folder = tmp_path_factory.mktemp("wsgi")
        if server == "flask":
            command = ["flask", "--app", app, "run", "--port", "0", *arguments]
        else:
            quiet = ["--graceful-timeout", "1", "--no-control-socket", "--bind", "127.0.0.1:0"]
            command = ["gunicorn", *quiet, *arguments, app]
        one = Wsgi(command, {**clean, "PYTHONUNBUFFERED": "1", **environ}, folder)
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()
