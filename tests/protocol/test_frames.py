"""Every frame, to the byte."""

from __future__ import annotations

import json

import pytest

from realtime_kit.events import Limits
from realtime_kit.protocol import frames

CASES = [
    (
        frames.connection_established("208836.27464492", 120),
        r'{"event":"pusher:connection_established","data":"{\"socket_id\":\"208836.27464492\",'
        r'\"activity_timeout\":120}"}',
    ),
    (frames.PONG, '{"event":"pusher:pong","data":"{}"}'),
    (
        frames.error("No", 4001),
        '{"event":"pusher:error","data":{"code":4001,"message":"No"}}',
    ),
    (frames.error("No"), '{"event":"pusher:error","data":{"code":null,"message":"No"}}'),
    (
        frames.subscription_succeeded("a"),
        '{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"a"}',
    ),
    (
        frames.presence_succeeded("presence-a", {"1": '{"name":"é"}', "2": None}),
        r'{"event":"pusher_internal:subscription_succeeded","data":"{\"presence\":{'
        r"\"ids\":[\"1\",\"2\"],\"hash\":{\"1\":{\"name\":\"é\"},\"2\":null},\"count\":2}}"
        r'","channel":"presence-a"}',
    ),
    (
        frames.presence_succeeded("presence-a", {}),
        r'{"event":"pusher_internal:subscription_succeeded","data":"{\"presence\":{\"ids\":[],'
        r'\"hash\":{},\"count\":0}}","channel":"presence-a"}',
    ),
    (
        frames.member_added("presence-a", "1", '{"name":"A"}'),
        r'{"event":"pusher_internal:member_added","data":"{\"user_id\":\"1\",'
        r'\"user_info\":{\"name\":\"A\"}}","channel":"presence-a"}',
    ),
    (
        frames.member_added("presence-a", "1", None),
        r'{"event":"pusher_internal:member_added","data":"{\"user_id\":\"1\"}",'
        r'"channel":"presence-a"}',
    ),
    (
        frames.member_removed("presence-a", '"'),
        r'{"event":"pusher_internal:member_removed","data":"{\"user_id\":\"\\\"\"}",'
        r'"channel":"presence-a"}',
    ),
    (
        frames.subscription_count("a", 3),
        r'{"event":"pusher_internal:subscription_count","data":"{\"subscription_count\":3}",'
        r'"channel":"a"}',
    ),
    (frames.cache_miss("cache-a"), '{"event":"pusher:cache_miss","channel":"cache-a"}'),
    (
        frames.subscription_error("private-a", "No"),
        '{"event":"pusher:subscription_error","data":{"type":"AuthError","error":"No",'
        '"status":401},"channel":"private-a"}',
    ),
    (
        frames.signin_success('{"id":"1"}'),
        r'{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"1\"}"}}',
    ),
    (
        frames.watchlist_event("online", ["1", "2"]),
        '{"event":"pusher_internal:watchlist_events",'
        '"data":{"events":[{"name":"online","user_ids":["1","2"]}]}}',
    ),
    (
        frames.client_event("client-a", "private-a", '{"x":1}', None),
        '{"event":"client-a","channel":"private-a","data":{"x":1}}',
    ),
    (
        frames.client_event("client-a", "presence-a", '"x"', "1"),
        '{"event":"client-a","channel":"presence-a","data":"x","user_id":"1"}',
    ),
    (
        frames.channel_event("e", '{"x": 1}')("a"),
        r'{"event":"e","channel":"a","data":"{\"x\": 1}"}',
    ),
    (
        frames.channel_event("e", "plain é", {"id": "i", "offset": 5})("a"),
        '{"event":"e","channel":"a","data":"plain é","id":"i","offset":5}',
    ),
]


@pytest.mark.parametrize(("frame", "expected"), CASES, ids=range(len(CASES)))
def test_frame(frame, expected):
    assert frame == expected
    assert isinstance(json.loads(frame), dict)


def test_lone_surrogates_travel_as_escapes():
    frame = frames.client_event("client-a", "private-a", frames.encode("\ud800 é"), "\udfff")
    assert frame.encode() == (
        rb'{"event":"client-a","channel":"private-a","data":"\ud800 \u00e9","user_id":"\udfff"}'
    )
    assert frames.encode("é") == '"é"'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_json_cannot_say_is_not_encoded(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        frames.encode(value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "", "{", "\ufeff{}"])
def test_what_is_not_json_is_not_decoded(text):
    with pytest.raises(ValueError, match=r"Expecting|Extra|is not JSON|BOM"):
        frames.decode(text)


def test_depth_is_a_value_error_both_ways():
    with pytest.raises(ValueError, match="nested too deeply"):
        frames.decode("[" * 100_000)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        frames.encode(deep)


def test_sizes_are_bytes():
    assert [frames.size(text) for text in ("abc", "é", "😀", "\ud800")] == [3, 2, 4, 3]


def test_the_largest_frame_holds_the_most_escaped_data():
    limits = Limits()
    data = json.dumps("\0" * limits.data)
    frame = frames.client_event("client-" + "e" * 193, "private-" + "c" * 156, data, None)
    assert frames.size(frame) < frames.max_frame(limits)
