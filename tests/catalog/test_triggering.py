"""Typed events and the catalogue on every way that an event takes."""

from __future__ import annotations

import json

import pytest

from realtime_kit import Catalog, ConfigurationError, Event, InvalidEvent, Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest

TOKEN = "t" * 32


@pytest.fixture
def fake():
    return FakeProvider()


@pytest.fixture
def realtime(fake, shop):
    settings = RealtimeSettings.from_mapping({"REALTIME_WEB__TRIGGER_TOKENS": [TOKEN]}, environ={})
    return Realtime(fake, catalog=shop.catalog, settings=settings)


def test_trigger(realtime, fake, shop):
    event = shop.OrderShipped(order_id=42)
    (receipt,) = realtime.trigger(event, exclude="1.2", id="a", mutation="m")
    assert (receipt.channel, receipt.id) == ("private-orders-42", "a")
    (sent,) = fake.sent
    assert (sent.exclude, sent.id, sent.mutation) == ("1.2", "a", "m")
    fake.assert_triggered("private-orders-42", "shipped", {"order_id": 42, "carrier": "post"})


def test_it_needs_no_catalogue(fake, shop):
    Realtime(fake).trigger(shop.TeamChanged(team="a", size=1))
    assert [sent.channel for sent in fake.sent] == ["private-team-a", "staff"]


def test_what_is_triggered_by_name_is_held_to_the_class(realtime, fake):
    realtime.trigger("private-orders-42", "shipped", {})
    fake.assert_triggered("private-orders-42", "shipped", {"order_id": 42, "carrier": "post"})
    realtime.trigger("private-orders-42", "elsewise", {"any": "thing"})
    with pytest.raises(InvalidEvent, match="carrier"):
        realtime.trigger("private-orders-42", "shipped", {"carrier": 1}, on_error="log")
    assert len(fake.sent) == 2


def test_a_batch_may_hold_both(realtime, fake, shop):
    realtime.trigger_batch(
        [shop.OrderShipped(order_id=1), Event(("private-orders-2",), "shipped", {})]
    )
    assert [sent.data["order_id"] for sent in fake.sent] == [1, 2]
    with pytest.raises(InvalidEvent):
        realtime.trigger_batch(
            [shop.OrderShipped(order_id=1), Event(("staff",), "team_changed", 1)]
        )
    assert len(fake.sent) == 2


def test_users(realtime, fake, shop):
    realtime.send_to_user("7", shop.Notice(text="hi"))
    realtime.send_to_user("7", "notice", {"text": "there"})
    assert [sent.data for sent in fake.to_user("7")] == [{"text": "hi"}, {"text": "there"}]
    with pytest.raises(InvalidEvent, match=r"text \(missing\)"):
        realtime.send_to_user("7", "notice", {})
    with pytest.raises(InvalidEvent, match="OrderShipped goes to channels"):
        realtime.send_to_user("7", shop.OrderShipped(order_id=1))
    with pytest.raises(InvalidEvent, match="Notice has no channel"):
        realtime.trigger(shop.Notice(text="hi"))


def test_whispers_of_the_server(realtime, fake):
    realtime.trigger("presence-room-1", "client-typing", {"on": True})
    with pytest.raises(InvalidEvent, match="on"):
        realtime.trigger("presence-room-1", "client-typing", {"on": "perhaps"})
    assert [sent.data for sent in fake.sent] == [{"on": True}]


def test_in_the_background(realtime, fake, shop):
    with pytest.raises(InvalidEvent):
        realtime.trigger("private-orders-1", "shipped", {"x": 1}, background=True)
    realtime.trigger(shop.OrderShipped(order_id=1), background=True)
    assert realtime.flush(10)
    assert [sent.data["order_id"] for sent in fake.sent] == [1]


def test_strict(fake, shop):
    realtime = Realtime(fake, catalog=Catalog(shop.Notice, strict=True))
    with pytest.raises(InvalidEvent, match="not in the catalogue"):
        realtime.trigger(shop.OrderShipped(order_id=1))
    with pytest.raises(InvalidEvent, match="not in the catalogue"):
        realtime.trigger("news", "published", {})
    assert fake.sent == []


def test_another_class_cannot_pass_for_the_one_that_is_described(realtime, shop):
    other = type("Other", (shop.TeamChanged,), {}, name="shipped", channel="private-orders-{team}")
    with pytest.raises(InvalidEvent, match="is a OrderShipped, not a Other"):
        realtime.trigger(other(team="1", size=1))


@pytest.mark.parametrize(
    "arguments", [("news",), ("news", "published"), (None, "shipped"), (None, None, {})]
)
def test_half_an_event_is_refused(realtime, shop, arguments):
    first, *rest = arguments
    with pytest.raises(TypeError, match="typed event"):
        realtime.trigger(first or shop.OrderShipped(order_id=1), *rest)


def test_the_class_in_the_place_of_an_event(realtime, shop):
    kind = shop.OrderShipped
    for send in (
        lambda: realtime.trigger(kind),
        lambda: realtime.trigger(kind, "shipped", {}),
        lambda: realtime.trigger_batch([kind]),
        lambda: realtime.send_to_user("7", kind),
    ):
        with pytest.raises(InvalidEvent, match=r"OrderShipped\(…\)"):
            send()


def test_the_endpoint(realtime, fake):
    def post(**event):
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        body = json.dumps({"channels": ["private-orders-1"], "name": "shipped", **event}).encode()
        request = HttpRequest("POST", "/trigger", headers=headers, body=body)
        return endpoints.dispatch(realtime, request, lambda: None)

    assert post(data={}).status == 200
    assert fake.sent[0].data == {"order_id": 1, "carrier": "post"}
    refused = post(data={"carrier": ["a secret"]})
    assert refused.status == 400
    said = json.loads(refused.body)["error"]
    assert said == "shipped on private-orders-1: carrier (string type)"


def test_the_outbox_is_held_to_it_once(realtime, fake, shop):
    """What has been relayed is output: a computed member of it is none that the class takes."""
    sa = pytest.importorskip("sqlalchemy")
    from pydantic import computed_field
    from sqlalchemy.orm import Session

    from realtime_kit.outbox import Relay, create_tables

    class Counted(shop.OrderShipped, name="counted"):
        @computed_field
        def twice(self) -> int:
            return 2 * self.order_id

    realtime.catalog = Catalog(Counted, strict=True)
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    create_tables(engine)
    with Session(engine) as session, session.begin():
        outbox = realtime.outbox(session)
        outbox.trigger(Counted(order_id=1), mutation="m")
        outbox.trigger_batch([Counted(order_id=2), Event(("private-orders-3",), "counted", {})])
        with pytest.raises(InvalidEvent):
            outbox.trigger("private-orders-4", "counted", {"twice": 8})
    with Session(engine) as session, session.begin():
        session.connection()
        realtime.trigger_after_commit(session, Counted(order_id=5))
        realtime.trigger_after_commit(session, "private-orders-6", "counted", {})
        with pytest.raises(InvalidEvent):
            realtime.trigger_after_commit(session, "private-orders-6", "counted", {"x": 1})
    assert Relay(realtime, engine).drain().sent == 3
    assert sorted(sent.data["twice"] for sent in fake.sent) == [2, 4, 6, 10, 12]
    engine.dispose()


def test_flask(fake, shop):
    flask = pytest.importorskip("flask")
    from realtime_kit.flask import FlaskRealtime

    app = flask.Flask(__name__)
    app.testing = True
    app.config["REALTIME_PROVIDER"] = fake
    rt = FlaskRealtime(app, catalog=shop.catalog)

    @app.post("/ship")
    def ship():
        rt.trigger(shop.OrderShipped(order_id=1), to_others=True)
        rt.trigger_batch([shop.OrderShipped(order_id=2)])
        rt.send_to_user("7", shop.Notice(text="hi"))
        with pytest.raises(InvalidEvent):
            rt.trigger("private-orders-1", "shipped", {"x": 1})
        return {}

    assert app.test_client().post("/ship", headers={"X-Socket-ID": "1.2"}).status_code == 200
    assert [sent.exclude for sent in fake.sent] == ["1.2", None, None]
    assert len(fake.sent) == 3
    with pytest.raises(ConfigurationError, match="catalog"):
        FlaskRealtime(realtime=Realtime(fake), catalog=shop.catalog)
