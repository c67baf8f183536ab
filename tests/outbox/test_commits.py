"""`trigger_after_commit`: sent by the same process, once the commit has happened."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from realtime_kit import InvalidChannel, ProviderUnavailable, Realtime
from realtime_kit.testing.fakes import FakeProvider, Sent


@pytest.fixture
def engine():
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    return engine


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        yield session


@pytest.fixture
def names(provider):
    return lambda: [event.name for event in provider.sent]


def insert(session: Session, number: int) -> None:
    session.execute(sa.text("INSERT INTO orders VALUES (:id)"), {"id": number})


def test_after_the_commit(realtime, provider, session):
    insert(session, 1)
    given = realtime.trigger_after_commit(
        session, ["a", "b"], "created", {"id": 1}, exclude="1.2", id="x", mutation="m"
    )
    assert (given, provider.sent) == ("x", [])
    session.commit()
    assert provider.sent == [Sent(name, "created", {"id": 1}, "1.2", "x", "m") for name in "ab"]
    session.commit()
    assert len(provider.sent) == 2


def test_before_the_transaction_has_begun(realtime, session, names):
    realtime.trigger_after_commit(session, "a", "one", {})
    session.commit()
    assert names() == ["one"]


def test_in_order_and_in_one_call(realtime, provider, session, names):
    calls = []
    publish = provider.publish
    provider.publish = lambda events, **options: calls.append(len(events)) or publish(events)
    for name in ("one", "two", "three"):
        realtime.trigger_after_commit(session, "a", name, {})
    session.commit()
    assert (names(), calls) == (["one", "two", "three"], [3])


@pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.invalidate])
def test_dropped_without_a_commit(realtime, session, names, end):
    realtime.trigger_after_commit(session, "a", "never", {})
    end(session)
    realtime.trigger_after_commit(session, "a", "later", {})
    session.commit()
    assert names() == ["later"]


class TestSavepoints:
    def test_released(self, realtime, session, names):
        with session.begin_nested():
            realtime.trigger_after_commit(session, "a", "one", {})
        assert names() == []
        session.commit()
        assert names() == ["one"]

    def test_rolled_back(self, realtime, session, names):
        realtime.trigger_after_commit(session, "a", "before", {})
        with session.begin_nested() as savepoint:
            realtime.trigger_after_commit(session, "a", "never", {})
            savepoint.rollback()
        realtime.trigger_after_commit(session, "a", "after", {})
        session.commit()
        assert names() == ["before", "after"]

    def test_released_into_one_that_is_rolled_back(self, realtime, session, names):
        with session.begin_nested() as outer:
            with session.begin_nested():
                realtime.trigger_after_commit(session, "a", "never", {})
            outer.rollback()
        session.commit()
        assert names() == []

    def test_open_when_all_is_committed(self, realtime, session, names):
        session.begin_nested()
        realtime.trigger_after_commit(session, "a", "one", {})
        session.begin_nested()
        realtime.trigger_after_commit(session, "a", "two", {})
        session.get_transaction().commit()
        assert names() == ["one", "two"]

    def test_open_when_all_is_rolled_back(self, realtime, session, names):
        session.begin_nested()
        realtime.trigger_after_commit(session, "a", "never", {})
        session.rollback()
        session.commit()
        assert names() == []

    def test_closed_without_a_word(self, realtime, session, names):
        savepoint = session.begin_nested()
        realtime.trigger_after_commit(session, "a", "never", {})
        savepoint.close()
        session.commit()
        assert names() == []

    def test_a_statement_that_failed_in_it(self, realtime, session, names):
        insert(session, 1)
        with session.begin_nested() as savepoint:
            realtime.trigger_after_commit(session, "a", "never", {})
            with pytest.raises(sa.exc.IntegrityError):
                insert(session, 1)
            savepoint.rollback()
        realtime.trigger_after_commit(session, "a", "one", {})
        session.commit()
        assert names() == ["one"]


def test_a_commit_that_fails(realtime, session, names):
    insert(session, 1)
    realtime.trigger_after_commit(session, "a", "never", {})
    sa.event.listen(session, "before_commit", lambda _: insert(session, 1), once=True)
    with pytest.raises(sa.exc.IntegrityError):
        session.commit()
    session.rollback()
    session.commit()
    assert names() == []


class TestFailures:
    @pytest.fixture
    def down(self, provider):
        provider.failure = ProviderUnavailable("down", provider="fake", retryable=True)

    def test_are_logged(self, realtime, session, down, caplog):
        realtime.trigger_after_commit(session, "a", "one", {})
        session.commit()
        assert (realtime.failures, "not sent: one to a" in caplog.text) == (1, True)

    def test_are_raised_where_that_is_wanted(self, realtime, session, down, provider, names):
        insert(session, 1)
        realtime.trigger_after_commit(session, "a", "one", {}, on_error="raise")
        with pytest.raises(ProviderUnavailable):
            session.commit()
        assert session.execute(sa.text("SELECT count(*) FROM orders")).scalar_one() == 1
        provider.failure = None
        realtime.trigger_after_commit(session, "a", "two", {})
        session.commit()
        assert names() == ["two"]

    def test_of_the_call_are_raised_at_once(self, realtime, session):
        with pytest.raises(InvalidChannel):
            realtime.trigger_after_commit(session, "bad channel", "one", {})


def test_more_than_one_realtime(realtime, provider, session, names):
    other = FakeProvider()
    realtime.trigger_after_commit(session, "a", "one", {})
    Realtime(other).trigger_after_commit(session, "a", "two", {})
    session.commit()
    assert (names(), [event.name for event in other.sent]) == (["one"], ["two"])


def test_a_scoped_session(realtime, engine, names):
    sessions = scoped_session(sessionmaker(engine))
    realtime.trigger_after_commit(sessions, "a", "one", {})
    sessions.commit()
    sessions.remove()
    assert names() == ["one"]


def test_no_connection_is_held_meanwhile(realtime, provider, engine):
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
    held = []
    publish = provider.publish
    provider.publish = lambda events, **options: (
        held.append(engine.pool.checkedout()) or publish(events)
    )
    with Session(engine) as session:
        session.execute(sa.text("SELECT 1"))
        realtime.trigger_after_commit(session, "a", "one", {})
        session.commit()
    assert held == [0]
    engine.dispose()
