"""Every kind of event log, for the tests that all of them pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime_kit.history import EventLog
from realtime_kit.history.memory import MemoryLog
from realtime_kit.history.sql import SqlLog

MAKERS: dict[str, Callable[[pytest.FixtureRequest, Path], EventLog]] = {
    "memory": lambda _, __: MemoryLog(),
    "sqlite": lambda _, directory: SqlLog(f"sqlite:///{directory}/log.db"),
    "postgresql": lambda request, _: SqlLog(request.getfixturevalue("postgres_database")),
}


@pytest.fixture(params=MAKERS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    made = MAKERS[request.param](request, tmp_path)
    yield made
    made.close()
