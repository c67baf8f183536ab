"""`make soak`: ten thousand events over fifty channels to twenty clients, on every log.

Not collected by itself: its name does not begin with `test_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from realtime_kit.history import EventLog, History
from realtime_kit.history.dynamodb import DynamoLog
from realtime_kit.history.memory import MemoryLog
from realtime_kit.history.sql import SqlLog
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.testing.dynamodb import MemoryDynamoDB
from realtime_kit.testing.world import World

SEEDS = range(max(1, int(os.environ.get("SOAK", "50")) // 25))
HISTORIES = {
    "wide": History(100_000, timedelta(days=1)),
    "short": History(3, timedelta(seconds=15)),
}


def in_sqlite() -> Callable[[], EventLog]:
    log = SqlLog("sqlite://")
    return lambda: log


def in_dynamodb() -> Callable[[], EventLog]:
    db = MemoryDynamoDB()
    db.call("CreateTable", {"TableName": "t", **TABLE})
    return lambda: DynamoLog(Table(db, "t", sleep=lambda _: None), sleep=lambda _: None)


LOGS = {"memory": lambda: MemoryLog, "sqlite": in_sqlite, "dynamodb": in_dynamodb}


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_ten_thousand_events(
    seed: int, history: str, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(
        seed,
        events=10_000,
        channels=50,
        clients=20,
        seconds=900.0,
        history=HISTORIES[history],
        make_log=LOGS[log](),
    )
    summary = world.run()
    with capsys.disabled():
        print(f"\n{log}, {history}: {summary}")
    if history == "wide" and log != "memory":
        assert summary.counts["gaps told"] == 0
