"""Frames, and what no frame may do to the emulator. Source: specification, TR and RSL4."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import read_message, read_presence
from realtime_kit.emulators.ably.serials import Serials
from realtime_kit.emulators.ably.wire import Action, Frame, decode, pack, to_json


@pytest.mark.parametrize(
    "frame",
    [
        '{"action":15,"channel":"\\ud800"}',
        '{"action":15,"count":NaN}',
        '{"action":15,"extras":{"n":1e999}}',
        f'{{"action":15,"extras":{{"n":{"9" * 400}}}}}',
        '{"action":true}',
        msgpack.packb({"action": 15, b"key": 1}),
        msgpack.packb({"action": 15, "extras": {1: 2}}),
        msgpack.packb([15]),
        b"\x81",
    ],
)
def test_what_could_not_be_passed_on_is_not_let_in(frame):
    with pytest.raises(AblyError) as refused:
        decode(frame)
    assert refused.value.code == 40000


def test_a_number_that_is_too_long_is_one_of_javascript():
    (number,) = decode('{"action":15,"extras":[123456789012345678901]}')["extras"]
    assert msgpack.unpackb(pack(number)) == 1.2345678901234568e20


def test_frames_are_written_once_for_each_format():
    message = read_message({"name": "x", "data": b"\x00"})
    frame = Frame(Action.MESSAGE, [message], channel="foo", error=None)
    text, binary = frame.encode(binary=False), frame.encode(binary=True)
    assert json.loads(text) == {
        "action": 15,
        "channel": "foo",
        "messages": [
            {"name": "x", "data": "AA==", "encoding": "base64", "timestamp": 0, "action": 0}
        ],
    }
    assert msgpack.unpackb(binary)["messages"][0]["data"] == b"\x00"
    assert frame.encode(binary=False) is text
    assert frame.encode(binary=True) is binary


def test_a_msg_serial_of_0_is_written():
    assert json.loads(Frame(Action.ACK, msgSerial=0, count=1).encode(binary=False)) == {
        "action": 1,
        "msgSerial": 0,
        "count": 1,
    }


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ({}, 0),
        ({"name": "ab", "data": "é", "clientId": "c"}, 5),
        ({"data": "AAE=", "encoding": "base64"}, 2),
        ({"data": {"a": 1}, "extras": {"b": [1]}}, 7 + 9),
    ],
)
def test_tm6_sizes(message, size):
    assert read_message(message).size == size


def test_tp5_sizes_of_presence():
    assert read_presence({"action": 2, "clientId": "ann", "data": "xy"}).size == 5


def test_serials_sort_in_the_order_in_which_they_were_made():
    serials = Serials("abc")
    times = [5, 5, 7, 6, *([9] * 2_000), 10]
    made = [serials.next(when) for when in times]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert made[0] == "00000000000005-000@abc"


_plain = st.none() | st.booleans() | st.integers(-5, 30) | st.text(max_size=5)
_names = st.sampled_from(["foo", "[?rewind=1]foo", "[meta]x", ":x", ""])
_values = st.recursive(
    _plain | st.binary(max_size=4) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_payload = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a:0", "a:1", "b"]) | _values,
        "name": _values,
        "data": _values,
        "encoding": st.sampled_from(["json", "utf-8/base64", "base64"]) | _values,
        "clientId": st.sampled_from(["ann", "*", ""]) | _values,
        "extras": _values,
        "action": st.integers(0, 5) | _values,
        "connectionKey": _values,
    },
)
_message = st.fixed_dictionaries(
    {"action": st.sampled_from([int(a) for a in Action if a not in (5, 7, 17)] + [99, -1])},
    optional={
        "channel": _names | _values,
        "messages": st.lists(_payload, max_size=3) | _values,
        "presence": st.lists(_payload, max_size=3) | _values,
        "flags": st.integers(0, 1 << 26) | _values,
        "params": st.dictionaries(
            st.sampled_from(["rewind", "modes", "occupancy", "echo"]), _values
        )
        | _values,
        "msgSerial": st.integers(0, 3) | _values,
        "channelSerial": _values,
        "auth": _values,
        "id": _values,
    },
)


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list) else value


@given(st.lists(_message, max_size=12), st.booleans())
def test_whatever_is_said_is_answered_and_can_be_read_by_others(rig_with, messages, binary):
    rig = rig_with()
    others = [rig.connect(), rig.connect(format="msgpack")]
    for other in others:
        other.attach("foo")  # what reaches it is encoded when it is sent
    client = rig.connect(**({"format": "msgpack"} if binary else {}), clientId="ann")
    for message in messages:
        client.session.receive(pack(message) if binary else to_json(_json(message)))
    assert not client.closed
    for other in others:
        assert other.say(Action.HEARTBEAT, id="1") == [{"action": 0, "id": "1"}]
    for channel in rig.app.channels.values():
        assert len(channel.history()) == len({message.serial for message in channel.history()})
