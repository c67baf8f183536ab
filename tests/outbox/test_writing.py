"""Events in the caller's own transaction."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from realtime_kit import (
    ConfigurationError,
    Event,
    InvalidChannel,
    InvalidEvent,
    PayloadTooLarge,
    Realtime,
    RealtimeSettings,
    Unsupported,
)
from realtime_kit.outbox import Queue, Relay, metadata
from realtime_kit.testing.fakes import FakeProvider, Sent


@pytest.fixture
def sent(make_relay, provider):
    """What is sent now."""

    def drain() -> list[Sent]:
        make_relay().drain()
        found = list(provider.sent)
        provider.clear()
        return found

    return drain


def test_sent_after_the_commit(realtime, session, sent):
    outbox = realtime.outbox(session)
    outbox.trigger("orders", "created", {"id": 1}, exclude="1.2", id="a", mutation="m")
    assert sent() == []
    session.commit()
    assert sent() == [Sent("orders", "created", {"id": 1}, "1.2", "a", "m")]
    assert sent() == []


def test_not_sent_after_a_rollback(realtime, session, sent):
    realtime.outbox(session).trigger("orders", "created", {})
    session.rollback()
    assert sent() == []
    session.commit()
    assert sent() == []


def test_not_sent_without_a_commit(realtime, engine, sent):
    with Session(engine) as session:
        realtime.outbox(session).trigger("orders", "created", {})
    assert sent() == []


def test_goes_down_with_its_savepoint(realtime, session, sent):
    outbox = realtime.outbox(session)
    outbox.trigger("orders", "before", {})
    with session.begin_nested() as savepoint:
        outbox.trigger("orders", "never", {})
        savepoint.rollback()
    with session.begin_nested():
        outbox.trigger("orders", "inside", {})
    session.commit()
    assert [event.name for event in sent()] == ["before", "inside"]


@pytest.mark.parametrize(
    "data",
    [{"a": [1, 2.5, None]}, "text", '{"like": "JSON"}', "", "NaN", 7, None, [], {"é": "\u2028🙂"}],
)
def test_data_arrives_as_it_was(realtime, session, sent, data):
    realtime.outbox(session).trigger("orders", "created", data)
    session.commit()
    assert [event.data for event in sent()] == [data]


def test_data_is_that_of_the_call(realtime, session, sent):
    data: dict[str, Any] = {"items": [1]}
    realtime.outbox(session).trigger("orders", "created", data)
    data["items"].append(2)
    session.commit()
    assert sent()[0].data == {"items": [1]}


def test_ids_are_answered_and_kept(realtime, session, sent):
    outbox = realtime.outbox(session)
    ids = outbox.trigger_batch([Event(("a", "b"), "one", {}), Event(("a",), "two", {}, id="mine")])
    ids.append(outbox.trigger("a", "three", {}))
    session.commit()
    assert ids[1] == "mine"
    assert len(set(ids)) == 3
    assert [(event.channel, event.id) for event in sent()] == [
        ("a", ids[0]), ("b", ids[0]), ("a", "mine"), ("a", ids[2]),
    ]  # fmt: skip


def test_to_a_user(realtime, session, sent):
    realtime.outbox(session).send_to_user("7", "notice", {"n": 1}, id="x")
    session.commit()
    assert sent() == [Sent("#server-to-user-7", "notice", {"n": 1}, id="x")]


def test_to_a_user_where_the_provider_cannot(realtime, provider, session):
    provider.capabilities = frozenset()
    with pytest.raises(Unsupported, match="send to a user"):
        realtime.outbox(session).send_to_user("7", "notice", {})


@pytest.mark.parametrize(
    ("channels", "name", "data", "error"),
    [
        ("bad channel", "created", {}, InvalidChannel),
        ([], "created", {}, InvalidEvent),
        ("orders", "", {}, InvalidEvent),
        ("orders", "created", object(), InvalidEvent),
        ("orders", "created", "x" * 10_241, PayloadTooLarge),
    ],
)
@pytest.mark.parametrize("keeps", [False, True])
def test_what_is_wrong_is_raised_at_once(session, sent, channels, name, data, error, keeps):
    environ = {"REALTIME_HISTORY__DEFAULT": "9/1m"} if keeps else {}
    realtime = Realtime(FakeProvider(), settings=RealtimeSettings(environ=environ))
    with pytest.raises(error):
        realtime.outbox(session).trigger(channels, name, data)
    session.commit()
    assert sent() == []


def test_what_is_numbered_already(realtime, session):
    with pytest.raises(InvalidEvent, match="numbered when it is sent"):
        realtime.outbox(session).trigger_batch([Event(("a",), "b", {}, epoch="e", offset=1)])


def test_a_scoped_session(realtime, engine, sent):
    sessions = scoped_session(sessionmaker(engine))
    realtime.outbox(sessions).trigger("orders", "created", {})
    sessions.commit()
    sessions.remove()
    assert len(sent()) == 1


def test_numbered_in_the_order_of_the_locks(url, engine):
    """What the session holds is flushed before the event gets its number."""
    statements: list[str] = []

    def listen(*given: Any) -> None:
        statements.append(given[2].split()[2])

    base = sa.orm.declarative_base()
    order = type(
        "Order", (base,), {"__tablename__": "orders", "id": sa.Column(sa.Integer, primary_key=True)}
    )
    with Session(engine) as session:
        sa.event.listen(engine, "before_cursor_execute", listen)
        session.add(order(id=1))
        Realtime(FakeProvider()).outbox(session).trigger("orders", "created", {})
        session.commit()
    assert statements == ["orders", "realtime_outbox"]


def test_a_relay_needs_the_tables(realtime, tmp_path):
    with pytest.raises(ConfigurationError, match="no table realtime_outbox and no realtime_outbox"):
        Relay(realtime, f"sqlite:///{tmp_path}/empty.db")


def test_where_the_settings_say(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    for name in ("REALTIME_OUTBOX__URL", "REALTIME_HISTORY__URL"):
        found = Queue.from_settings(RealtimeSettings(environ={name: url}))
        assert str(found.engine.url) == url
    with pytest.raises(ConfigurationError, match="REALTIME_OUTBOX__URL"):
        Queue.from_settings(RealtimeSettings(environ={}))


def test_migrations_find_the_tables():
    assert set(metadata.tables) == {"realtime_outbox", "realtime_outbox_turn"}
