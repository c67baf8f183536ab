"""What a reader of the earlier document can no longer rely on, and what it need not mind."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Any, Literal, NotRequired, Optional

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from realtime_kit import Catalog, ConfigurationError, RealtimeEvent
from realtime_kit.catalog.asyncapi import asyncapi
from realtime_kit.catalog.changes import compare
from realtime_kit.catalog.schema import document


def event(annotations, *, name="said", channel="news"):
    body = {"__annotations__": annotations}
    return type("Said", (RealtimeEvent,), body, name=name, channel=channel)


def changes(old, new, write=document):
    return compare(write(Catalog(*old)), write(Catalog(*new)))


def model(**annotations):
    return type("Model", (BaseModel,), {"__annotations__": annotations})


class Two(Enum):
    A = "a"
    B = "b"


class Three(Enum):
    A = "a"
    B = "b"
    C = "c"


class Tree(BaseModel):
    below: Optional[Tree]  # noqa: UP045 - a name that is not there yet
    size: int


class OtherTree(BaseModel):
    below: Optional[OtherTree]  # noqa: UP045
    size: str


class Must(TypedDict):
    x: int


class May(TypedDict):
    x: NotRequired[int]


BREAKING = [
    (int, str, "data.x: was integer, is string"),
    (int, float, "data.x: was integer, is number"),
    (int, int | None, "data.x: may be null now"),
    (int, int | str, "data.x: was integer, is string"),
    (int | str, int | str | bool, "data.x: was integer, is boolean"),
    (int, Any, "data.x: was integer, is anything"),
    (datetime, date, "data.x: was string (date-time), is string (date)"),
    (datetime, str, "data.x: was string (date-time), is string"),
    (Two, Three, "data.x: may be 'c' now"),
    (Two, str, "data.x: was one of 'a', 'b', may be any string"),
    (Literal["a"], Literal["b"], "data.x: may be 'b' now"),
    (Literal["a"], Literal["a", None], "data.x: may be null now"),
    (Literal["a", 1], Literal["a", True], "data.x: was string, is boolean"),
    (Literal["a", 1], Literal["a"] | int, "data.x: was one of 1, may be any integer"),
    (str, Literal["a", 1], "data.x: was string, is integer"),
    (list[int], list[str], "data.x[]: was integer, is string"),
    (tuple[int, str], tuple[int, int], "data.x[1]: was string, is integer"),
    (tuple[int, str], tuple[int], "data.x: had 2 items, has 1"),
    (tuple[int], tuple[int, str], "data.x: had 1 items, has 2"),
    (tuple[int, str], list[int], "data.x: had 2 items, has 0"),
    (list[int], tuple[int, str], "data.x[1]: was integer, is string"),
    (dict[str, int], dict[str, str], "data.x.*: was integer, is string"),
    (dict[str, int], model(a=int, b=str), "data.x.b: was integer, is string"),
    (model(a=int), dict[str, int], "data.x.a: the field is gone"),
    (model(a=int, b=int), model(a=int), "data.x.b: the field is gone"),
    (model(a=int) | None, model(a=str) | None, "data.x.a: was integer, is string"),
    (
        list[model(a=model(b=int))],
        list[model(a=model(b=str))],
        "data.x[].a.b: was integer, is string",
    ),
    (Must, May, "data.x.x: may be missing now"),
    (Tree, OtherTree, "data.x.size: was integer, is string"),
    (int, list[int], "data.x: was integer, is array"),
]

COMPATIBLE = [
    (int, int),
    (float, int),
    (int | None, int),
    (int | str, str),
    (Any, int),
    (str, datetime),
    (Three, Two),
    (str, Two),
    (Literal["a", "b"], Literal["a"]),
    (Literal["a", 1], Literal[1]),
    (Literal["a"] | None, Literal["a", None]),
    (list[int | str], list[int]),
    (list[int], tuple[int, int]),
    (dict[str, float], dict[str, int]),
    (dict[str, int], model(a=int)),
    (May, Must),
    (Tree, Tree),
    (model(a=int) | None, model(a=int)),
]  # fmt: skip


def write_both():
    return pytest.mark.parametrize("write", [document, asyncapi], ids=["json", "asyncapi"])


@write_both()
@pytest.mark.parametrize(("old", "new", "line"), BREAKING)
def test_what_breaks_a_reader(old, new, line, write):
    found = changes([event({"x": old})], [event({"x": new})], write)
    assert found.breaking == [f"news said {line}"]


@write_both()
@pytest.mark.parametrize(("old", "new"), COMPATIBLE)
def test_what_a_reader_need_not_mind(old, new, write):
    assert changes([event({"x": old})], [event({"x": new})], write) == ([], [])


def test_fields_events_and_channels_may_be_added():
    old = [event({"x": int})]
    new = [event({"x": int, "y": int}), event({}, name="more"), event({}, channel="other")]
    assert changes(old, new) == (
        [], ["news said data.y: field", "news more: event", "other said: event"],
    )  # fmt: skip


def test_none_of_them_may_go():
    old = [event({"x": int}), event({}, name="more"), event({}, channel="other")]
    assert changes(old, [event({})]).breaking == [
        "news more: the event is gone",
        "news said data.x: the field is gone",
        "other: the channel is gone",
    ]


def test_a_field_that_is_no_longer_in_the_data_is_gone():
    hidden = type(
        "Said", (RealtimeEvent,),
        {"__annotations__": {"x": int}, "x": Field(exclude=True)}, name="said", channel="news",
    )  # fmt: skip
    assert changes([event({"x": int})], [hidden]).breaking == [
        "news said data.x: the field is gone"
    ]


def test_a_variable_may_be_renamed_and_the_data_of_users_is_looked_at():
    old = event({"a": str}, channel="orders-{a}")
    new = type("Said", (old,), {"__annotations__": {"b": str}}, name="said", channel="orders-{b}")
    notice = {"name": "notice", "channel": None}
    users = event({"text": str}, **notice), event({"text": int}, **notice)
    for write in (document, asyncapi):
        assert changes([old], [new], write).breaking == []
        (line,) = changes([users[0]], [users[1]], write).breaking
        assert line == "#server-to-user-{user_id} notice data.text: was string, is integer"


def test_bounds_and_descriptions_are_no_reader_s_business():
    old, new = (
        type("Said", (RealtimeEvent,), {"__annotations__": {"x": int}, "x": field}, channel="news")
        for field in (Field(gt=0, lt=9), Field(description="any", title="X"))
    )
    assert changes([old], [new]) == ([], [])


def test_browsers_send_whispers_so_that_either_side_may_be_the_older():
    name = {"name": "client-typing", "channel": "presence-room"}
    on, more = event({"on": bool}, **name), event({"on": bool, "who": str}, **name)
    assert changes([on], [more]).breaking == [
        "presence-room client-typing data.who: the field is gone (from pages of before)"
    ]
    may = (
        event({"on": bool, "way": May}, **name),
        event({"on": bool, "way": TypedDict("W", {})}, **name),
    )
    assert changes([may[1]], [may[0]]).breaking == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"channels": []},
        {"channels": {"news": {"said": {"$ref": "#/$defs/Lost"}}}},
        {"asyncapi": "3.0.0", "channels": {"a": 1}},
        {
            "asyncapi": "3.0.0",
            "channels": {"a": {"address": "a", "messages": {"b": {"$ref": "#"}}}},
        },
    ],
)
def test_another_document_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="none that `realtime-kit types` wrote"):
        compare(wrong, document(Catalog(event({}))))
