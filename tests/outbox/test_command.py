"""`realtime-kit relay`, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from realtime_kit import Rejected
from realtime_kit.cli import main
from realtime_kit.outbox import Queue, create_tables
from realtime_kit.testing.servers import Served, serve

EXECUTABLE = Path(sys.executable).parent / "realtime-kit"
APP = """
from flask import Flask
from realtime_kit.flask import FlaskRealtime

app = Flask(__name__)
app.debug = True
rt = FlaskRealtime(app)
rt.channel_rule("kept", history="5/1h")(lambda user: True)
realtime = app.extensions["realtime"]
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running


@pytest.fixture
def environ(served: Served, url: str) -> dict[str, str]:
    return {**os.environ, **served.environ, "REALTIME_OUTBOX__URL": url}


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run_one(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [EXECUTABLE, "relay", *arguments],
            env={**environ, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    return run_one


@pytest.fixture
def trigger(served: Served, engine: sa.Engine) -> Callable[..., None]:
    realtime = served.realtime()

    def commit(*names: str, channel: str = "orders") -> None:
        with Session(engine) as session:
            for name in names:
                realtime.outbox(session).trigger(channel, name, {})
            session.commit()

    return commit


@pytest.fixture
def tables(engine) -> None:
    create_tables(engine)


def test_without_tables(run):
    done = run("--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no table realtime_outbox" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_makes_them(run, trigger):
    for _ in range(2):
        assert run("--create-tables").returncode == 0
    trigger("1")


def test_without_a_database(run):
    done = run(REALTIME_OUTBOX__URL="")
    assert (done.returncode, "set REALTIME_OUTBOX__URL" in done.stderr) == (1, True)


def test_a_password_is_not_shown(run, tmp_path):
    done = run("--create-tables", "--database", f"sqlite://user:hidden@/{tmp_path}/x.db")
    assert "hidden" not in done.stdout + done.stderr


def test_once(run, tables, trigger):
    trigger("1", "2")
    done = run("--once")
    assert (done.returncode, done.stderr) == (0, "2 sent, 0 put off, 0 given up; 0 waiting\n")


def test_once_and_it_failed(run, tables, trigger, environ):
    trigger("1")
    done = run("--once", REALTIME_LOCAL__PORT="1")
    assert done.returncode == 1
    assert "0 sent, 1 put off, 0 given up; 1 waiting" in done.stderr


def test_until_it_is_told_to_stop(tables, trigger, environ, tmp_path, engine):
    process = subprocess.Popen(
        [EXECUTABLE, "relay", "--interval", "0.05"], env=environ, cwd=tmp_path,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "the relay runs; Ctrl-C to stop\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, said) == (0, "0 sent, 0 put off, 0 given up; 0 waiting\n")


@pytest.mark.parametrize("name", ["shop", "shop:app", "shop:realtime"])
def test_with_the_rules_of_an_app(run, tables, trigger, tmp_path, engine, url, name):
    (tmp_path / "shop.py").write_text(APP)
    trigger("1", channel="kept")
    done = run(name, "--once", REALTIME_HISTORY__URL=url)
    assert done.returncode == 0, done.stderr
    with engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT channel, name FROM realtime_events")).all()
    assert kept == [("kept", "1")]


def test_a_history_that_nobody_else_would_see(run, tables, tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    done = run("shop", "--once")
    assert (done.returncode, "set REALTIME_HISTORY__URL" in done.stderr) == (1, True)


def test_an_app_without_the_extension(run, tables, tmp_path):
    (tmp_path / "plain.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    done = run("plain:app", "--once")
    assert (done.returncode, "without FlaskRealtime" in done.stderr) == (2, True)
    assert run("no_such_module:app").returncode == 2


class TestDead:
    @pytest.fixture
    def numbers(self, tables, trigger, engine) -> list[int]:
        trigger("1", "2", "3")
        queue = Queue(engine)
        error = Rejected("no", provider="local", status=400)
        queue.give_up(queue.take("relay", 9, 60), "relay", f"Rejected: {error}")
        return [dead.seq for dead in queue.dead()]

    @pytest.fixture
    def call(self, environ) -> Callable[..., Result]:
        return lambda *arguments: CliRunner().invoke(main, ["relay", *arguments], env=environ)

    def test_listed(self, call, numbers):
        done = call("--dead")
        assert [line.split()[0] for line in done.stdout.splitlines()] == list(map(str, numbers))
        assert "orders  1  1 attempts  Rejected: no (local, status 400)" in done.stdout
        entries = [json.loads(line) for line in call("--dead", "--json").stdout.splitlines()]
        assert [(entry["seq"], entry["name"]) for entry in entries] == [
            (numbers[0], "1"), (numbers[1], "2"), (numbers[2], "3"),
        ]  # fmt: skip

    def test_replayed(self, call, numbers, engine):
        assert "1 will be sent again" in call("--replay", str(numbers[1])).stderr
        assert [row.name for row in Queue(engine).take("relay", 9, 60)] == ["2"]
        assert "2 will be sent again" in call("--replay", "all").stderr
        assert call("--dead").stderr == "no event was given up\n"

    def test_discarded(self, call, numbers, engine):
        assert "2 deleted" in call("--discard", f"{numbers[0]},{numbers[2]}").stderr
        assert [dead.name for dead in Queue(engine).dead()] == ["2"]
        assert "1 deleted" in call("--discard", "all").stderr

    @pytest.mark.parametrize("given", [["--replay", "x"], ["--discard", ""], ["--dead", "--once"]])
    def test_asked_for_in_a_wrong_way(self, call, numbers, engine, given):
        assert call(*given).exit_code == 2
        assert len(Queue(engine).dead()) == 3
