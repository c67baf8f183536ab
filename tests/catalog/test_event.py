"""What a class says of its events, and what is made of one."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from enum import Enum
from types import ModuleType
from typing import Generic, TypeVar
from uuid import UUID

import pytest
from pydantic import AliasChoices, Field, ValidationError, computed_field

from realtime_kit import Catalog, ConfigurationError, InvalidChannel, InvalidEvent, RealtimeEvent
from realtime_kit.events import Event


def test_channels_name_and_data(shop):
    event = shop.OrderShipped(order_id=42).realtime_event(exclude="1.2", id="a", mutation="m")
    assert event.channels == ("private-orders-42",)
    assert event.name == "shipped"
    assert event.data == {"order_id": 42, "carrier": "post"}
    assert (event.exclude, event.id, event.mutation) == ("1.2", "a", "m")


def test_several_channels_and_a_field_that_is_only_in_the_name(shop):
    event = shop.TeamChanged(team="red", size=3).realtime_event()
    assert event.channels == ("private-team-red", "staff")
    assert (event.name, event.data) == ("team_changed", {"size": 3})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("OrderShipped", "order_shipped"), ("HTTPFailed", "http_failed"), ("V2Sent", "v2_sent")],
)
def test_the_default_name_is_the_class_s_in_snake_case(name, expected):
    assert type(name, (RealtimeEvent,), {}, channel="news").realtime_name == expected


def test_data_is_json_by_alias_with_computed_fields():
    class Sent(RealtimeEvent, channel="news"):
        at: datetime = Field(alias="sentAt")
        who: UUID

        @computed_field
        def year(self) -> int:
            return self.at.year

    who = UUID(int=7)
    event = Sent(sentAt=datetime(2026, 1, 2, tzinfo=UTC), who=who)
    assert event.realtime_data() == {
        "sentAt": "2026-01-02T00:00:00Z", "who": str(who), "year": 2026,
    }  # fmt: skip


def test_a_base_gives_its_channel_to_the_classes_of_it():
    class OrderEvent(RealtimeEvent, channel="private-orders-{order_id}"):
        order_id: int

    class Paid(OrderEvent):
        amount: int

    assert Paid(order_id=1, amount=2).realtime_names() == ("private-orders-1",)
    assert Paid.realtime_name == "paid"


def test_a_generic_class_is_one_event():
    Item = TypeVar("Item")

    class Listed(RealtimeEvent, Generic[Item], channel="news"):
        items: list[Item]

    event = Listed[int](items=[1]).realtime_event()
    assert (event.channels, event.name, event.data) == (("news",), "listed", {"items": [1]})


def test_names_of_the_kit_are_no_fields():
    with pytest.raises(ConfigurationError, match=r"Bad\.realtime_name"):
        type("Bad", (RealtimeEvent,), {"__annotations__": {"realtime_name": str}}, channel="news")


def test_computed_channels_are_held_to_the_patterns():
    class Said(RealtimeEvent, channel="private-team-{team}"):
        teams: list[str] = Field(exclude=True)
        text: str

        def realtime_channels(self):
            return [f"private-team-{team}" for team in self.teams]

    assert Said(teams=["a", "b"], text="x").realtime_names() == ("private-team-a", "private-team-b")
    with pytest.raises(InvalidEvent, match="no channel that Said is declared for"):
        Said(teams=["a-b"], text="x").realtime_names()


@pytest.mark.parametrize("value", ["a-b", "a.b", "", "ü", "a\n"])
def test_a_value_cannot_lead_to_another_channel(shop, value):
    with pytest.raises(InvalidChannel, match="team does not fit") as raised:
        shop.TeamChanged(team=value, size=1).realtime_event()
    assert not value or repr(value) not in str(raised.value)


def test_a_value_cannot_change_the_kind_of_channel():
    class Sent(RealtimeEvent, channel="private-{box}-{number}"):
        box: str
        number: int

    assert Sent(box="in", number=1).realtime_names() == ("private-in-1",)
    with pytest.raises(InvalidChannel, match="another kind"):
        Sent(box="encrypted", number=1).realtime_names()


def test_what_can_name_a_channel():
    class Level(Enum):
        HIGH = "high"

    class Sent(RealtimeEvent, channel="{what:any}"):
        what: object

    def named(value):
        return Sent(what=value).realtime_names()

    assert named(Level.HIGH) == ("high",)
    assert named(UUID(int=7)) == (str(UUID(int=7)),)
    for value in (True, 1.5, None, ["a"]):
        with pytest.raises(InvalidChannel, match=r"Sent\.what"):
            named(value)


def test_an_event_does_not_change_and_takes_nothing_unknown(shop):
    event = shop.OrderShipped(order_id=1)
    with pytest.raises(ValidationError):
        event.order_id = 2
    with pytest.raises(ValidationError, match="carier") as raised:
        shop.OrderShipped(order_id=1, carier="a secret")
    assert "a secret" not in str(raised.value)


def test_what_was_never_validated_is_found_when_it_is_sent(shop):
    event = shop.OrderShipped.model_construct(order_id=1, carrier={"a secret": 1})
    with pytest.raises(InvalidEvent, match="not of its fields' types") as raised:
        event.realtime_event()
    assert "a secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"channel": "private-orders-{order_id}"}, ConfigurationError, "{order_id} of"),
        ({"channel": "private orders"}, InvalidChannel, "is neither"),
        ({"channel": "a-{x:nope}"}, InvalidChannel, "unknown converter"),
        ({"name": "pusher:x"}, InvalidEvent, "the protocol's own"),
        ({"name": ""}, InvalidEvent, "non-empty"),
    ],
)
def test_a_class_that_makes_no_sense_is_refused(options, error, says):
    with pytest.raises(error, match=says):
        type("Bad", (RealtimeEvent,), {}, **options)


# --- the catalogue --------------------------------------------------------------------------


def test_a_module_gives_the_classes_that_it_defines(shop):
    module = ModuleType("events")
    module.Imported = shop.Notice
    own = {"__module__": "events"}
    module.Own = type("Own", (RealtimeEvent,), own, channel="news")
    module._Base = type("_Base", (RealtimeEvent,), own, channel="news")
    assert Catalog(module).events == (module.Own,)
    assert Catalog(module, shop.Notice, module.Own).events == (module.Own, shop.Notice)


@pytest.mark.parametrize("wrong", [ModuleType("empty"), int, "events"])
def test_what_has_no_classes_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="no class of events"):
        Catalog(wrong)


def test_two_classes_of_one_name_on_one_channel_are_refused(shop):
    other = type("Other", (shop.OrderShipped,), {}, name="shipped")
    with pytest.raises(ConfigurationError, match="OrderShipped and Other are both 'shipped'"):
        Catalog(shop.OrderShipped, other)


def test_catalogues_know_nothing_of_each_other(shop):
    assert Catalog(shop.Notice).find("private-orders-1", "shipped") is None
    assert shop.catalog.find("private-orders-1", "shipped") is shop.OrderShipped


def checked(catalog, channels, name, data):
    return catalog.checked(Event(channels, name, data, id="a", mutation="m", exclude="1.2"))


def test_data_comes_out_as_the_class_has_it(shop):
    event = checked(shop.catalog, "private-orders-42", "shipped", {"carrier": "ship"})
    assert event.data == {"order_id": 42, "carrier": "ship"}
    assert (event.id, event.mutation, event.exclude) == ("a", "m", "1.2")
    assert shop.catalog.checked(event) is event


@pytest.mark.parametrize(
    "alias", [{"alias": "roomId"}, {"validation_alias": AliasChoices("roomId", "room")}]
)
def test_a_field_that_names_the_channel_may_be_in_the_data_by_its_alias(alias):
    class Said(RealtimeEvent, channel="room-{room_id}"):
        room_id: int = Field(**alias)

    catalog = Catalog(Said)
    for data in ({}, {"roomId": 7}, {"room_id": 7}):
        assert checked(catalog, "room-7", "said", data).data == Said(room_id=7).realtime_data()
    with pytest.raises(InvalidEvent, match="room_id would name another channel"):
        checked(catalog, "room-7", "said", {"roomId": 8})


@pytest.mark.parametrize(
    ("channel", "data", "says"),
    [
        (
            "private-orders-42",
            {"carrier": 7},
            r"shipped on private-orders-42: carrier \(string type",
        ),
        ("private-orders-42", {"note": 1, "x": 2}, r"note \(extra forbidden\), x \("),
        ("private-orders-0", {}, r"order_id \(greater than 0\)"),
        ("private-orders-x", {}, r"order_id \(int parsing\)"),
        ("private-orders-42", {"order_id": 43}, "order_id would name another channel"),
        ("private-orders-042", {}, "order_id would name another channel"),
        ("private-orders-42", "text", "no object"),
        ("private-orders-42", [1], "no object"),
    ],
)
def test_what_is_wrong_is_told_by_field(shop, channel, data, says):
    with pytest.raises(InvalidEvent, match=says):
        checked(shop.catalog, channel, "shipped", data)


def test_a_refusal_never_tells_a_value():
    class Sent(RealtimeEvent, channel="news"):
        scores: dict[str, int]
        who: UUID

    with pytest.raises(InvalidEvent) as raised:
        checked(Catalog(Sent), "news", "sent", {"scores": {"ada@x": "tell"}, "who": "tale"})
    assert str(raised.value) == "sent on news: scores (int parsing), who (uuid parsing)"
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_several_channels_have_one_data(shop):
    both = ["private-orders-1", "private-orders-2"]
    with pytest.raises(InvalidEvent, match="trigger each by itself"):
        checked(shop.catalog, both, "shipped", {})
    event = checked(shop.catalog, ["private-team-a", "private-team-b"], "team_changed", {"size": 1})
    assert event.data == {"size": 1}


def test_what_is_not_described_passes_unless_strict(shop):
    for channel, name in (("private-orders-1", "shiped"), ("elsewhere", "shipped")):
        assert checked(shop.catalog, channel, name, "x").data == "x"
        with pytest.raises(InvalidEvent, match=f"{name} on {channel} is not in the catalogue"):
            checked(Catalog(*shop.kinds, strict=True), channel, name, "x")
    with pytest.raises(InvalidEvent, match="did you mean shipped"):
        checked(Catalog(*shop.kinds, strict=True), "private-orders-1", "shiped", "x")


def test_pydantic_s_models_are_not_loaded_for_who_has_no_events():
    code = "import sys, realtime_kit, realtime_kit.realtime, realtime_kit.web.endpoints\n"
    code += "assert 'realtime_kit.catalog' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
