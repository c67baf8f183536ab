"""Channels whose events are rows of the application's database, without any provider."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from realtime_kit import ConfigurationError, InvalidEvent, Realtime, RealtimeSettings, Row
from realtime_kit.sources import Cursor
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest, HttpResponse

PATIENCE = 10.0
CHANNEL = "private-notes-7"
notes = sa.Table(
    "notes",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user", sa.Integer),
    sa.Column("at", sa.Integer),
    sa.Column("text", sa.String),
)


@pytest.fixture
def engine(tmp_path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
    notes.metadata.create_all(made)
    yield made
    made.dispose()


def write(engine: sa.Engine, *rows: tuple[int, str], user: int = 7) -> None:
    with engine.begin() as connection:
        values = [{"user": user, "at": at, "text": text} for at, text in rows]
        connection.execute(sa.insert(notes), values)


@pytest.fixture
def realtime(engine) -> Iterator[Realtime]:
    made = Realtime(settings=RealtimeSettings(environ={"REALTIME_PROVIDER": "null"}))
    made.channel_rule("private-notes-{user_id:int}")(lambda user, user_id: user == user_id)

    @made.source("private-notes-{user_id:int}", every=0.02, page=3)
    def unread(after: Any, limit: int, user_id: int) -> Iterator[Row]:
        query = sa.select(notes).where(notes.c.user == user_id).order_by(notes.c.at, notes.c.id)
        if after is not None:
            query = query.where(sa.tuple_(notes.c.at, notes.c.id) > sa.tuple_(*after))
        with engine.connect() as connection:
            for note in connection.execute(query.limit(limit)):
                yield Row([note.at, note.id], "noted", {"text": note.text}, id=f"note-{note.id}")

    yield made
    made.close()


def ask(realtime: Realtime, position: str = "", user: int = 7, **more: Any) -> HttpResponse:
    query = f"channel={CHANNEL}&position={position}"
    headers = {"accept": more.pop("accept", "application/json")}
    request = HttpRequest("GET", "/events", headers, query_string=query, **more)
    return endpoints.dispatch(realtime, request, lambda: user)


def texts(answer: HttpResponse) -> list[str]:
    return [event["data"]["text"] for event in json.loads(answer.body)["events"]]


def test_page_by_page_and_rows_of_the_same_time(realtime, engine):
    write(engine, *((5, f"n{n}") for n in range(7)))
    write(engine, (5, "another's"), user=8)
    found, position = [], ""
    for _ in range(4):
        answer = ask(realtime, position)
        found.append(texts(answer))
        position = json.loads(answer.body)["position"]
    assert found == [["n0", "n1", "n2"], ["n3", "n4", "n5"], ["n6"], []]
    write(engine, (5, "later"))
    assert texts(ask(realtime, position)) == ["later"]


def test_who_may_read_it(realtime, engine):
    assert ask(realtime, user=8).status == 403
    assert json.loads(ask(realtime).body)["channels"][CHANNEL]["recovered"] is True


def test_an_event_says_where_it_is(realtime, engine):
    write(engine, (5, "a"))
    (event,) = json.loads(ask(realtime).body)["events"]
    assert Cursor.parse(event["position"]) == Cursor([5, 1])
    assert (event["id"], event["name"]) == ("note-1", "noted")
    assert "offset" not in event


def test_followed_by_several(realtime, engine):
    write(engine, *((5, f"n{n}") for n in range(4)))
    streams = [ask(realtime, accept="*/*", waits=True).stream for _ in range(2)]
    seen: list[list[str]] = [[], []]

    def read_until(last: str) -> None:
        for stream, found in zip(streams, seen, strict=True):
            while last not in found:
                for block in next(stream).decode().split("\n\n"):
                    found += [
                        json.loads(line[6:])["data"]["text"]
                        for line in block.splitlines()
                        if line.startswith("data: ")
                    ]

    read_until("n3")
    write(engine, (5, "late"), (6, "later"))
    read_until("later")
    assert seen == [["n0", "n1", "n2", "n3", "late", "later"]] * 2
    for stream in streams:
        stream.close()


def test_one_asks_for_all_who_wait_and_nobody_while_nobody_waits(realtime, monkeypatch):
    asked: queue.Queue[threading.Thread] = queue.Queue()
    read = realtime.sources.read

    def noted(*arguments: Any) -> Any:
        asked.put(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(realtime.sources, "read", noted)
    streams = [ask(realtime, accept="*/*", waits=True).stream for _ in range(5)]
    for stream in streams:
        next(stream)  # which reads what there is
    while not asked.empty():
        asked.get()
    (thread,) = {asked.get(timeout=PATIENCE) for _ in range(10)}
    assert thread is not threading.current_thread()
    for stream in streams:
        assert thread.is_alive()
        stream.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_source_that_fails_ends_its_streams(realtime, engine, caplog):
    stream = ask(realtime, accept="*/*", waits=True).stream
    next(stream)
    notes.drop(engine)
    assert list(stream)[-1].startswith(b"event: realtime:end")
    assert "its source failed" in caplog.text


def test_what_is_no_cursor(realtime):
    for text in ("a:1", "~%", "~" + "a" * 2000):
        assert ask(realtime, text).status == 400
    with pytest.raises(InvalidEvent):
        Cursor.parse("~_")


@pytest.mark.parametrize("value", [None, 1, "é", [1, "x"], {"a": None}])
def test_cursors_and_back(value):
    assert Cursor.parse(str(Cursor(value))) == Cursor(value)


def test_a_function_that_cannot_be_one():
    realtime = Realtime()
    with pytest.raises(ConfigurationError, match="after, limit, user_id"):
        realtime.source("private-notes-{user_id}")(lambda after: [])
    with pytest.raises(ConfigurationError, match="above 0"):
        realtime.source("news", every=0)(lambda after, limit: [])


def test_one_that_goes_in_circles():
    realtime = Realtime(settings=RealtimeSettings(environ={"REALTIME_PROVIDER": "null"}))
    realtime.source("news")(lambda after, limit: [Row(1, "moved", {})])
    request = HttpRequest("GET", "/events", {"accept": "application/json"}, {"channel": "news"})
    first = json.loads(endpoints.dispatch(realtime, request, lambda: None).body)
    again = HttpRequest(
        "GET", "/events", request.headers, {"channel": "news", "position": first["position"]}
    )
    with pytest.raises(ConfigurationError, match="up to its cursor again"):
        endpoints.dispatch(realtime, again, lambda: None)
