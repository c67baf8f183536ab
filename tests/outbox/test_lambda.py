"""The relay as a scheduled function."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from realtime_kit import ConfigurationError, Realtime, RealtimeSettings
from realtime_kit.outbox import Queue
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web.aws_relay import relay_handler


class Context:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@pytest.fixture(autouse=True)
def _closed(monkeypatch):
    """A function's connections end with its process."""
    made, make = [], Queue.from_settings

    def remember(settings: RealtimeSettings) -> Queue:
        made.append(make(settings))
        return made[-1]

    monkeypatch.setattr(Queue, "from_settings", remember)
    yield
    for queue in made:
        queue.close()


@pytest.fixture
def realtime(provider: FakeProvider, url: str) -> Realtime:
    return Realtime(provider, settings=RealtimeSettings(environ={"REALTIME_OUTBOX__URL": url}))


@pytest.fixture
def trigger(realtime, engine):
    def commit(*names: str) -> None:
        with Session(engine) as session:
            for name in names:
                realtime.outbox(session).trigger("orders", name, {})
            session.commit()

    return commit


def test_sends_what_is_due(realtime, provider, trigger):
    handler = relay_handler(realtime)
    trigger("1", "2")
    assert handler({}, Context(60)) == {"sent": 2, "put_off": 0, "dead": 0, "waiting": 0}
    assert handler() == {"sent": 0, "put_off": 0, "dead": 0, "waiting": 0}
    assert [sent.name for sent in provider.sent] == ["1", "2"]


def test_begins_nothing_that_it_could_not_end(realtime, provider, trigger):
    trigger("1")
    answer = relay_handler(realtime)({}, Context(10))
    assert answer == {"sent": 0, "put_off": 0, "dead": 0, "waiting": 1}


def test_follows_a_database_that_has_moved(realtime, provider, trigger, tmp_path):
    handler = relay_handler(realtime)
    trigger("1")
    handler()
    there, url = realtime.settings, f"sqlite:///{tmp_path}/other.db"
    realtime._settings = RealtimeSettings(environ={"REALTIME_OUTBOX__URL": url})
    with pytest.raises(ConfigurationError, match="no table realtime_outbox"):
        handler()
    realtime._settings = there
    trigger("2")
    assert handler()["sent"] == 1


def test_needs_a_database(provider):
    realtime = Realtime(provider, settings=RealtimeSettings(environ={}))
    with pytest.raises(ConfigurationError, match="REALTIME_OUTBOX__URL"):
        relay_handler(realtime)()
