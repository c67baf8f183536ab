"""Capabilities: Ably, "Capabilities"; features spec RSA6, TK2b, TD5."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.emulators.ably.capability import OPERATIONS, Capability, closest
from realtime_kit.emulators.ably.errors import AblyError


def of(grants: dict[str, list[str]]) -> Capability:
    return Capability.parse(json.dumps(grants))


@pytest.mark.parametrize(
    ("resource", "channel", "matches"),
    [
        ("*", "foo", True),
        ("*", "foo:bar:baz", True),
        ("*", "[meta]log", False),
        ("*", "[queue]app-q", False),
        ("namespace:*", "namespace:channel", True),
        ("namespace:*", "namespace:channel:other", True),
        ("namespace:*", "namespace", False),
        ("foo:*:baz", "foo:bar:baz", True),
        ("foo:*:baz", "foo:bar:bam:baz", False),
        ("foo:*:baz", "foo:baz", False),
        ("foo*", "foobar", False),
        ("foo*", "foo*", True),
        ("foo", "foo", True),
        ("foo", "Foo", False),
        ("foo", "foo:bar", False),
        ("[meta]*", "[meta]log", True),
        ("[meta]*", "log", False),
        ("[queue]*", "[queue]app-q", True),
        ("[*]*", "[meta]log", True),
        ("[*]*", "log:x", True),
        ("[*]log", "[meta]other", False),
        ("foo", "[?rewind=1]foo", True),
        ("[meta]log", "[meta?rewind=1]log", True),
        ("foo", "[filter=Zm9v]foo", True),
        ("[odd", "[odd", True),
    ],
)
def test_which_channels_a_resource_matches(resource: str, channel: str, matches: bool) -> None:
    assert of({resource: ["publish"]}).allows("publish", channel) is matches


def test_operations_of_all_matching_resources_count() -> None:
    granted = of({"a:*": ["publish"], "*:b": ["history"], "c": ["*"]})
    assert granted.ops("a:b") == {"publish", "history"}
    assert granted.ops("c") == OPERATIONS
    assert granted.ops("d") == frozenset()
    assert granted.allows("presence", "c")
    assert not granted.allows("presence", "a:b")


@pytest.mark.parametrize(
    ("grants", "everywhere"),
    [
        ({"*": ["stats"]}, True),
        ({"*": ["*"]}, True),
        ({"[*]*": ["stats"]}, True),
        ({"[*]*": ["*"]}, True),
        ({"foo:*": ["*"]}, False),
        ({"*": ["publish"]}, False),
        ({"*": ["publish"], "[*]*": ["stats"]}, True),
    ],
)
def test_operations_of_the_app_count_on_the_wildcard_only(
    grants: dict[str, list[str]], everywhere: bool
) -> None:
    assert of(grants).allows_everywhere("stats") is everywhere


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"*"',
        "null",
        '{"a": []}',
        '{"a": "publish"}',
        '{"a": ["publish_"]}',
        '{"a": ["*", "publish"]}',
        '{"a": [1]}',
        '{"": ["publish"]}',
        '{"\\ud800": ["publish"]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_capability_is_40000(text: str) -> None:
    with pytest.raises(AblyError) as refused:
        Capability.parse(text)
    assert (refused.value.code, refused.value.status) == (40000, 400)


def test_the_canonical_form_is_sorted_and_has_no_spaces() -> None:
    given = Capability.parse('{ "b": ["subscribe", "publish"], "a": ["*"] }')
    assert given.canonical() == '{"a":["*"],"b":["publish","subscribe"]}'
    assert given.source == '{ "b": ["subscribe", "publish"], "a": ["*"] }'
    assert Capability.parse(given.canonical()) == given


@pytest.mark.parametrize(
    ("asked", "key", "granted"),
    [
        (
            {"your-namespace:user-123": ["subscribe"], "notifications": ["*"], "private": ["*"]},
            {
                "your-namespace:*": ["publish", "subscribe", "presence"],
                "notifications": ["subscribe", "history"],
                "alerts": ["subscribe"],
            },
            {"your-namespace:user-123": ["subscribe"], "notifications": ["subscribe", "history"]},
        ),
        (
            {"channel2": ["*"]},
            {"channel2": ["publish", "subscribe"]},
            {"channel2": ["publish", "subscribe"]},
        ),
        ({"channel2": ["presence", "subscribe"]}, {"channel2": ["*"]}, None),
        ({"a:*": ["publish"]}, {"*:b": ["publish"]}, {"a:b": ["publish"]}),
        ({"a:*": ["publish"]}, {"*:b:*": ["publish"]}, {"a:b:*": ["publish"]}),
        ({"*": ["publish"]}, {"[*]*": ["publish"]}, {"*": ["publish"]}),
        ({"[meta]*": ["subscribe"]}, {"[*]*": ["*"]}, {"[meta]*": ["subscribe"]}),
        ({"*": ["*"]}, {"*": ["*"]}, {"*": ["*"]}),
    ],
)
def test_a_token_gets_what_it_asks_for_and_its_key_has(
    asked: dict[str, list[str]], key: dict[str, list[str]], granted: dict[str, list[str]] | None
) -> None:
    """RSA6; "Capabilities", "Ably Token with intersection of capabilities"."""
    assert of(asked).intersect(of(key)) == of(asked if granted is None else granted)


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ({"canpublish:test": ["subscribe"]}, {"canpublish:*": ["publish"]}),
        ({"channelx": ["publish"]}, {"channel2": ["publish"]}),
        ({"a:*": ["publish"]}, {"a": ["publish"]}),
        ({"a": ["publish"]}, {"[meta]a": ["publish"]}),
        ({}, {"*": ["*"]}),
    ],
)
def test_nothing_in_common_is_40160(asked: dict[str, list[str]], key: dict[str, list[str]]) -> None:
    with pytest.raises(AblyError) as refused:
        of(asked).intersect(of(key))
    assert (refused.value.code, refused.value.status) == (40160, 401)


def test_the_closest_resource_speaks_for_a_channel() -> None:
    values = {"*": "guest", "chat:*": "member", "chat:lobby": "moderator", "a:*:c": "odd"}
    assert closest(values, "chat:lobby") == "moderator"
    assert closest(values, "chat:other") == "member"
    assert closest(values, "elsewhere") == "guest"
    assert closest(values, "[meta]log") is None


# --- for all capabilities and channels ------------------------------------------------------

_qualifiers = st.sampled_from(["", "[meta]", "[*]"])
_resources = st.builds(
    lambda qualifier, segments: qualifier + ":".join(segments),
    _qualifiers,
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3),
)
_operations = st.one_of(
    st.just(["*"]),
    st.lists(st.sampled_from(["publish", "subscribe", "history"]), min_size=1, unique=True),
)
_capabilities = st.dictionaries(_resources, _operations, min_size=1, max_size=4).map(of)
_channels = st.builds(
    lambda qualifier, segments: qualifier + ":".join(segments),
    st.sampled_from(["", "[meta]"]),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4),
)


def _common(one: Capability, other: Capability, channel: str) -> frozenset[str]:
    try:
        return one.intersect(other).ops(channel)
    except AblyError:
        return frozenset()


@given(_capabilities, _capabilities, _channels)
def test_the_intersection_allows_exactly_what_both_allow(
    one: Capability, other: Capability, channel: str
) -> None:
    assert _common(one, other, channel) == one.ops(channel) & other.ops(channel)
    assert _common(other, one, channel) == _common(one, other, channel)


@given(_capabilities, _channels)
def test_the_intersection_with_itself_or_with_everything_changes_nothing(
    one: Capability, channel: str
) -> None:
    assert one.intersect(one).ops(channel) == one.ops(channel)
    assert one.intersect(of({"[*]*": ["*"]})) == one


@given(_capabilities)
def test_the_canonical_form_is_read_as_the_same(one: Capability) -> None:
    assert Capability.parse(one.canonical()) == one
    assert Capability.parse(one.canonical()).canonical() == one.canonical()
