"""A database with an outbox, and time that tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.history.sql import make_engine
from realtime_kit.outbox import Queue, Relay, create_tables
from realtime_kit.testing.fakes import FakeProvider

DATABASES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": lambda _, directory: f"sqlite:///{directory}/shop.db",
    "postgresql": lambda request, _: str(request.getfixturevalue("postgres_database")),
}


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database, of each kind, with an outbox and a table `orders` of the application's."""
    url = DATABASES[request.param](request, tmp_path)
    engine = make_engine(url)
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)"))
    engine.dispose()
    return url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


class Clock:
    def __init__(self) -> None:
        self.now = 1_764_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def realtime(provider: FakeProvider) -> Realtime:
    return Realtime(provider, settings=RealtimeSettings(environ={}))


@pytest.fixture
def make_relay(realtime: Realtime, engine: sa.Engine, clock: Clock) -> Callable[..., Relay]:
    """A relay; back-off is 1, 2, 4, … 60 s sharp."""

    def make(**options: object) -> Relay:
        given = {"chance": lambda: 0.0, "attempts": 3, **options}
        return Relay(realtime, Queue(engine, clock=clock), **given)

    return make
