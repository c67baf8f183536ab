"""What a client may send that is no event of the protocol: an error for it, nothing for others."""

from __future__ import annotations

import json

import pytest

from realtime_kit.events import Limits
from realtime_kit.protocol import frames


@pytest.fixture
def alone(world, peers):
    """Send a frame; another client must notice nothing, and the sender must live on."""

    def send(frame):
        peer, other = peers(), peers()
        peer.subscribe("a")
        other.subscribe("a")
        peer.take(), other.take()
        sent = peer.send(frame)
        assert peer.closed is None
        world.trigger("a", "e", "1")
        assert len(peer.take()) == len(other.take()) == 1
        return sent

    return send


@pytest.mark.parametrize(
    "frame",
    ["", " ", "{", "{}}", "pusher:ping", "NaN", '{"event":NaN}', "\0", "\ud800", "'a'", "\ufeff{}"],
)
def test_no_json(alone, error, frame):
    assert alone(frame) == [error("Received invalid JSON")]


def test_too_deep(alone, error):
    assert alone("[" * 50_000) == [error("Received invalid JSON")]
    assert alone('{"event":' * 5_000) == [error("Received invalid JSON")]


@pytest.mark.parametrize("frame", [b"", b"\xff\xfe", b'{"event":"pusher:ping"}', b"\x00" * 200_000])
def test_binary(alone, error, frame):
    message = "Received invalid JSON: binary frames are not supported"
    assert alone(frame) == [error(message)]


@pytest.mark.parametrize(
    "frame",
    [
        "5",
        "null",
        "[]",
        '"pusher:ping"',
        "true",
        "{}",
        '{"event":null}',
        '{"event":5}',
        '{"event":["pusher:ping"]}',
        '{"event":{}}',
        '{"data":{}}',
    ],
)
def test_no_event(alone, error, frame):
    assert alone(frame) == [error("Invalid message: it must be a JSON object with an event")]


@pytest.mark.parametrize(
    "event",
    [
        "pusher:",
        "pusher:nope",
        "pusher:error",
        "pusher:connection_established",
        "pusher_internal:member_added",
        "pusher_internal:subscription_succeeded",
    ],
)
def test_unknown_events_of_the_protocol(alone, error, event):
    frame = json.dumps({"event": event, "channel": "a", "data": {"channel": "a"}})
    assert alone(frame) == [error(f"Unknown event {event}")]


def test_a_frame_that_is_too_large_is_not_read(world, alone, error):
    limit = frames.max_frame(world.app.limits)
    head, tail = '{"event":"pusher:ping","x":"', '"}'
    largest = head + "x" * (limit - len(head) - len(tail)) + tail
    assert alone(largest)[0]["event"] == "pusher:pong"
    too_large = [error(f"Frame exceeds the allowed maximum ({limit} bytes)")]
    assert alone(largest + " ") == too_large
    assert alone(head + "é" * (limit // 2) + tail) == too_large


def test_the_largest_frame_follows_the_limits(make_world):
    small = make_world(limits=Limits(data=1)).connect()
    assert "(16390 bytes)" in small.send(" " * 16_391)[0]["data"]["message"]


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "pusher:ping"},
        {"event": "pusher:ping", "data": {}},
        {"event": "pusher:ping", "data": ""},
        {"event": "pusher:ping", "data": None, "channel": 5, "more": []},
    ],
)
def test_ping(alone, frame):
    assert alone(json.dumps(frame)) == [{"event": "pusher:pong", "data": "{}"}]


@pytest.mark.parametrize("data", [{}, "", None])
def test_pong(alone, data):
    assert alone(json.dumps({"event": "pusher:pong", "data": data})) == []


def test_repeated_members_and_strange_whitespace(alone):
    assert alone(' \n{"event":"x","event":"pusher:ping"}\t') == [
        {"event": "pusher:pong", "data": "{}"}
    ]
