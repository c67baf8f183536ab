"""Every kind of event log, for the tests that all of them pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime_kit.history import EventLog
from realtime_kit.history.dynamodb import DynamoLog
from realtime_kit.history.memory import MemoryLog
from realtime_kit.history.sql import SqlLog
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

_numbers = itertools.count()  # moto's tables are the process's


def dynamo_log(db: DynamoDB) -> DynamoLog:
    name = f"history-{next(_numbers)}"
    db.call("CreateTable", {"TableName": name, **TABLE})
    return DynamoLog(Table(db, name))


MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], EventLog]] = {
    "memory": lambda _, __: MemoryLog(),
    "sqlite": lambda _, directory: SqlLog(f"sqlite:///{directory}/log.db"),
    "dynamodb": lambda _, __: dynamo_log(MemoryDynamoDB()),
    "moto": lambda _, __: dynamo_log(MotoDynamoDB()),
    "postgresql": lambda request, _: SqlLog(request.getfixturevalue("postgres_database")),
}


@pytest.fixture(params=MAKERS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    made = MAKERS[request.param](request, tmp_path)
    yield made
    made.close()
