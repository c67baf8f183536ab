"""Events: what goes on the wire, its exact size, and what is refused before it."""

from __future__ import annotations

import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.errors import InvalidChannel, InvalidEvent, PayloadTooLarge
from realtime_kit.events import Event, Limits, check, check_name, encode, is_server_to_user, size

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def received(text: str):
    """What a handler gets: clients parse once, and fall back to the text (pusher-js)."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON in a browser")

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


class TestEncode:
    @given(json_values)
    def test_what_is_triggered_is_what_a_handler_receives(self, data):
        assert received(encode(data)) == data

    @given(json_values.map(json.dumps) | st.sampled_from(["NaN", " 1", "1 ", "-", '"', "[", "{}"]))
    def test_text_that_reads_as_json_stays_text(self, text):
        assert received(encode(text)) == text

    def test_the_form_is_that_of_the_official_sdk(self):
        assert encode({"a": [1, "é"]}) == '{"a": [1, "é"]}'
        assert encode("plain text") == "plain text"
        assert encode("") == ""
        assert encode("42") == '"42"'
        assert encode(42) == "42"

    def test_a_nul_is_quoted(self):
        assert encode("a\0b") == '"a\\u0000b"'

    def test_numbers_beyond_pythons_limit_are_json_too(self):
        digits = "9" * (sys.get_int_max_str_digits() + 1)
        assert encode(digits) == f'"{digits}"'

    def test_nesting_beyond_pythons_limit(self):
        brackets = "[" * 200_000
        assert encode(brackets) == f'"{brackets}"'
        nested: list[object] = []
        for _ in range(200_000):
            nested = [nested]
        with pytest.raises(InvalidEvent, match="is not JSON"):
            encode(nested)

    @pytest.mark.parametrize(
        "data", [math.nan, math.inf, {"x": -math.inf}, object(), {1, 2}, {(1, 2): 3}, b"bytes"]
    )
    def test_what_json_cannot_say(self, data):
        with pytest.raises(InvalidEvent, match="is not JSON"):
            encode(data)

    @pytest.mark.parametrize("data", ["\ud800", {"x": "\ud800"}, ["\udfff"]])
    def test_half_a_character(self, data):
        with pytest.raises(InvalidEvent):
            encode(data)

    def test_a_circle(self):
        circle: list[object] = []
        circle.append(circle)
        with pytest.raises(InvalidEvent, match="is not JSON"):
            encode(circle)


class TestSize:
    @pytest.mark.parametrize(
        ("data", "bytes_on_the_wire"),
        [
            ("a" * 100, 100),
            ("é" * 100, 200),
            ("€" * 100, 300),
            ("😀" * 100, 400),
            ({"a": "😀"}, 13),
            ("line\nbreak", 10),
            (["line\nbreak"], 15),
            (['"'], 6),
            ("true", 6),
        ],
    )
    def test_is_of_the_bytes(self, data, bytes_on_the_wire):
        assert size(encode(data)) == bytes_on_the_wire

    @given(st.text())
    def test_equals_utf8(self, text):
        assert size(text) == len(text.encode())

    @pytest.mark.parametrize("character", ["a", "é", "😀", "\n"])
    def test_the_limit_is_exact(self, character):
        """At the limit it passes, one byte over it does not, whatever the characters cost."""
        width = len(json.dumps(character, ensure_ascii=False).encode()) - 2
        room = Limits().data - len('[""]')
        full = character * (room // width) + "a" * (room % width)
        assert size(check(Event("orders", "shipped", [full]), Limits())) == 10_240
        with pytest.raises(PayloadTooLarge, match="10241 bytes; the limit is 10240") as caught:
            check(Event("orders", "shipped", [full + "a"]), Limits())
        assert (caught.value.size, caught.value.limit) == (10_241, 10_240)


class TestCheck:
    def test_returns_the_payload(self):
        assert check(Event("orders", "shipped", {"id": 1}), Limits()) == '{"id": 1}'
        assert check(Event("orders", "shipped", None), Limits(), payload="given") == "given"

    def test_a_given_payload_is_measured_too(self):
        with pytest.raises(PayloadTooLarge):
            check(Event("orders", "shipped", None), Limits(data=4), payload="given")

    def test_no_channel(self):
        with pytest.raises(InvalidEvent, match="at least one channel"):
            check(Event((), "shipped", {}), Limits())

    def test_each_channel_is_validated(self):
        with pytest.raises(InvalidChannel, match="a b"):
            check(Event(("orders", "a b"), "shipped", {}), Limits())
        with pytest.raises(InvalidChannel, match="the limit is 5"):
            check(Event("orders", "shipped", {}), Limits(channel_name=5))

    def test_any_number_of_channels(self):
        names = tuple(f"orders-{n}" for n in range(1_000))
        check(Event(names, "shipped", {}), Limits())

    @pytest.mark.parametrize("other", ["orders", "private-encrypted-b"])
    def test_an_encrypted_channel_is_alone(self, other):
        check(Event("private-encrypted-a", "shipped", {}), Limits())
        with pytest.raises(InvalidEvent, match="one channel alone"):
            check(Event(("private-encrypted-a", other), "shipped", {}), Limits())

    def test_the_name_at_its_limit(self):
        check_name("n" * 200, Limits())
        with pytest.raises(InvalidEvent, match="201 characters; the limit is 200"):
            check_name("n" * 201, Limits())

    @pytest.mark.parametrize("name", ["", None, 7, ["shipped"]])
    def test_the_name_is_text(self, name):
        with pytest.raises(InvalidEvent, match="non-empty string"):
            check_name(name, Limits())

    @pytest.mark.parametrize("name", ["pusher:ping", "pusher_internal:member_added"])
    def test_the_protocols_own_names(self, name):
        with pytest.raises(InvalidEvent, match="the protocol's own"):
            check_name(name, Limits())

    @pytest.mark.parametrize("what", ["id", "mutation"])
    @pytest.mark.parametrize("text", ["x" * 256, "a\0b", "a\nb", "\ud800", 7, ""])
    def test_ids_are_text_that_a_database_takes(self, what, text):
        with pytest.raises(InvalidEvent, match=f"{what}= "):
            check(Event(("a",), "e", {}, **{what: text}), Limits())
        check(Event(("a",), "e", {}, **{what: "ä" * 255}), Limits())

    @pytest.mark.parametrize("name", ["a\0b", "\ud800"])
    def test_names_are_text_that_a_database_takes(self, name):
        with pytest.raises(InvalidEvent, match="an event's name has"):
            check(Event(("a",), name, {}), Limits())


class TestEvent:
    def test_one_channel_or_several(self):
        assert Event("orders", "shipped", {}).channels == ("orders",)
        assert Event(["a", "b"], "shipped", {}).channels == ("a", "b")
        assert Event((name for name in "ab"), "shipped", {}).channels == ("a", "b")

    def test_ids_are_those_that_are_there(self):
        assert Event("orders", "shipped", {}).ids() == {}
        event = Event("orders", "shipped", {}, id="e", epoch="p", offset=0, mutation="m")
        assert event.ids() == {"id": "e", "epoch": "p", "offset": 0, "mutation": "m"}

    def test_payload(self):
        assert Event("orders", "shipped", {"a": 1}).payload() == '{"a": 1}'

    def test_server_to_user(self):
        assert is_server_to_user("#server-to-user-7")
        assert not is_server_to_user("server-to-user-7")


def test_the_limits_are_productions():
    limits = Limits()
    assert (limits.channel_name, limits.event_name, limits.data) == (164, 200, 10_240)
    assert (limits.channels_per_trigger, limits.events_per_batch) == (100, 10)
    assert (limits.presence_members, limits.presence_user, limits.user_id) == (100, 1_024, 128)
    assert limits.watchlist == 100
