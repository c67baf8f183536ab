"""The recipes of docs/jobs.md, as they stand there, in workers of Celery and RQ."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from realtime_kit.history.sql import SqlLog
from realtime_kit.outbox import create_tables
from realtime_kit.testing.servers import Served, serve

BIN = Path(sys.executable).parent
DEADLINE = 60.0
RECIPE = re.compile(r"^```python\n# (\w+)\.py:(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def log(url: str) -> Iterator[SqlLog]:
    log = SqlLog(url)
    yield log
    log.close()


@pytest.fixture
def environ(
    served: Served, url: str, redis_url: str, tmp_path: Path, checkout: Path
) -> dict[str, str]:
    import redis

    for name, code in RECIPE.findall((checkout / "docs" / "jobs.md").read_text()):
        (tmp_path / f"{name}.py").write_text(f"#{code}")
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return {
        **os.environ,
        **served.environ,
        "BROKER_URL": redis_url,
        "RQ_REDIS_URL": redis_url,
        "REALTIME_HISTORY__DEFAULT": "100/1h",
        "REALTIME_HISTORY__URL": url,
    }


@pytest.fixture
def ask(environ: dict[str, str], tmp_path: Path) -> Callable[[str], None]:
    """Run a line of Python, as the application that asks for a job."""

    def run(line: str) -> None:
        subprocess.run(
            [sys.executable, "-c", line], cwd=tmp_path, env=environ, check=True, timeout=60
        )

    return run


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path):
    @contextmanager
    def run(*command: str, **env: str) -> Iterator[None]:
        with open(tmp_path / "worker.log", "w") as log:
            process = subprocess.Popen(
                [BIN / command[0], *command[1:]], cwd=tmp_path, env={**environ, **env},
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    return run


@pytest.fixture
def wait_for(log: SqlLog, tmp_path: Path) -> Callable[[str, int], list[tuple[str, str]]]:
    """The events of a channel, by name and id, once there are so many."""

    def wait(channel: str, count: int) -> list[tuple[str, str]]:
        end = time.monotonic() + DEADLINE
        query = sa.text("SELECT name, id FROM realtime_events WHERE channel = :name ORDER BY 1, 2")
        while True:
            with log.engine.connect() as connection:
                found = [tuple(row) for row in connection.execute(query, {"name": channel})]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, (tmp_path / "worker.log").read_text()
            time.sleep(0.1)

    return wait


CELERY = ("celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO")
RQ = ("rq", "worker", "--with-scheduler")
ORDERS = {
    "celery": "import tasks; tasks.make_report.apply_async((7,), task_id='job')",
    "rq": "import jobs; jobs.order_report(7)",
}


@pytest.mark.parametrize(("kind", "command"), [("celery", CELERY), ("rq", RQ)])
class TestWorkers:
    def test_a_job_tells_of_its_work(self, ask, worker, wait_for, kind, command):
        ask(ORDERS[kind])
        with worker(*command, REALTIME_ON_ERROR="log"):
            found = wait_for("private-reports-7", 4)
        assert [name for name, _ in found] == ["progress"] * 3 + ["ready"]
        assert found[3][1].endswith("-ready")

    def test_a_retried_job_sends_the_same_event(
        self, ask, worker, wait_for, served, log, kind, command
    ):
        """The first attempt finds no server; the log has the event already."""
        ask(ORDERS[kind])
        with worker(*command, REALTIME_LOCAL__PORT="1"):
            first = wait_for("private-reports-7", 4)
        with worker(*command):
            found = wait_for("private-reports-7", 7)
        assert [event for event in found if event[0] == "ready"] == [first[3]]


def test_the_relay_as_a_job(ask, worker, wait_for, served, url, log):
    create_tables(log.engine)
    with Session(log.engine) as session:
        served.realtime().outbox(session).trigger("orders", "created", {}, id="a")
        session.commit()
    with worker("celery", "-A", "relaying", "worker", "--concurrency", "1"):
        ask("import relaying; relaying.relay.delay()")
        assert wait_for("orders", 1) == [("created", "a")]
