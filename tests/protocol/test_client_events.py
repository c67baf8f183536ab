"""Client events and their rules."""

from __future__ import annotations

import json

import pytest

from realtime_kit.channels import kind_of
from realtime_kit.events import Limits

TOO_LARGE = (
    "The data content of this event exceeds the allowed maximum (10240 bytes). "
    "See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info"
)


def event(channel, data, name="client-e"):
    return {"event": name, "channel": channel, "data": data}


@pytest.mark.parametrize("channel", ["private-a", "private-cache-a", "private-encrypted-a"])
@pytest.mark.parametrize(
    "data", [{"x": 1}, "text", '{"x":1}', 5, None, [1, "é"], True, 1.5, "", {}, "\ud800"]
)
def test_it_is_relayed_with_the_type_that_the_sender_used(peers, channel, data):
    sender, other = peers(), peers()
    sender.join(channel)
    other.join(channel)
    other.take()
    assert sender.send(event(channel, data)) == []
    assert other.take() == [event(channel, data)]


def test_the_sender_is_named_on_presence_channels(peers):
    sender, other = peers(), peers()
    sender.enter("presence-a", "7")
    other.enter("presence-a", "8")
    sender.take()
    other.send(event("presence-a", 1))
    assert sender.take() == [{**event("presence-a", 1), "user_id": "8"}]


def test_a_forged_sender_is_not_relayed(peers):
    sender, other = peers(), peers()
    sender.join("private-a")
    other.join("private-a")
    sender.send({**event("private-a", 1), "user_id": "admin", "socket_id": "1.1"})
    assert other.take()[-1] == event("private-a", 1)


def test_the_app_must_allow_it(make_world, error):
    peer = make_world(client_events=False).connect()
    peer.join("private-a")
    assert peer.send(event("private-a", 1)) == [
        error(
            "To send client events, you must enable this feature in the Settings page of your "
            "dashboard."
        )
    ]


@pytest.mark.parametrize("name", ["e", "Client-e", "", "client", "x:y", "pusher", "é\ud800"])
def test_the_prefix(peers, error, name):
    peer = peers()
    peer.join("private-a")
    assert peer.send(event("private-a", 1, name)) == [
        error("Client event rejected - client events must be prefixed by 'client-'")
    ]


@pytest.mark.parametrize("channel", ["a", "cache-a", "#server-to-user-1", "#watchers-of-1", ""])
def test_only_where_a_proof_is_needed(peers, error, channel):
    peer = peers()
    peer.sign_in("1")
    peer.subscribe(channel)
    assert peer.send(event(channel, 1)) == [
        error("Client event rejected - only supported on private and presence channels")
    ]


def test_a_name_that_is_too_long_is_not_kept(peers, error):
    kept = kind_of.cache_info().currsize
    for number in range(3):
        assert peers().send(event(f"private-{number}-" + "a" * 155, 1)) == [
            error("Client event rejected - only supported on private and presence channels")
        ]
    assert kind_of.cache_info().currsize == kept


@pytest.mark.parametrize("channel", ["private-a", "presence-a"])
def test_the_sender_must_be_subscribed(peers, error, channel):
    peer, other = peers(), peers()
    other.enter(channel, "1")
    other.take()
    message = f"Cannot broadcast client event (connection not subscribed to channel {channel})"
    assert peer.send(event(channel, 1)) == [error(message)]
    peer.enter(channel, "2")
    peer.leave(channel)
    other.take()
    assert peer.send(event(channel, 1)) == [error(message)]
    assert other.take() == []


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "client-e"},
        {"event": "client-e", "data": 1},
        {"event": "client-e", "channel": "private-a"},
        {"event": "client-e", "channel": 5, "data": 1},
        {"event": "client-e", "channel": None, "data": 1},
        {"event": "client-e", "channel": ["private-a"], "data": 1},
    ],
)
def test_missing_members(peers, error, frame):
    peer = peers()
    peer.join("private-a")
    assert peer.send(frame) == [error("Invalid client event (must contain channel and data)")]


def test_ten_a_second(world, peers, error):
    sender, other = peers(), peers()
    sender.join("private-a")
    other.join("private-a")
    other.take()
    limited = [error("Client event rejected due to rate limit", 4301)]
    for number in range(10):
        assert sender.send(event("private-a", number)) == []
    assert sender.send(event("private-a", 10)) == limited
    assert sender.closed is None
    assert len(other.take()) == 10
    # Others have buckets of their own, and this one fills again.
    assert other.send(event("private-a", 0)) == []
    world.clock.advance(0.1)
    assert sender.send(event("private-a", 11)) == [event("private-a", 0)]
    assert sender.send(event("private-a", 12)) == limited


def test_the_data_is_bounded_in_bytes(peers, error):
    sender, other = peers(), peers()
    sender.join("private-a")
    other.join("private-a")
    other.take()
    assert sender.send(event("private-a", "é" * 5120)) == []
    assert sender.send(event("private-a", "é" * 5121)) == [error(TOO_LARGE)]
    assert sender.send(event("private-a", {"x": "a" * (10240 - 8)})) == []
    assert sender.send(event("private-a", {"x": "a" * (10240 - 7)})) == [error(TOO_LARGE)]
    assert len(other.take()) == 2


def test_the_limits_are_the_app_s(make_world):
    peer = make_world(limits=Limits(data=10), client_events_per_second=1).connect()
    peer.join("private-a")
    (sent,) = peer.send(event("private-a", "a" * 11))
    assert "(10 bytes)" in sent["data"]["message"]
    assert peer.send(event("private-a", "a" * 10)) == []
    assert peer.send(event("private-a", "a"))[0]["data"]["code"] == 4301


def test_long_names(peers, error):
    peer = peers()
    peer.join("private-a")
    assert peer.send(event("private-a", 1, "client-" + "e" * 193)) == []
    assert peer.send(event("private-a", 1, "client-" + "e" * 194)) == [
        error("Event name of 201 characters; the limit is 200")
    ]


def test_numbers_that_json_cannot_say_again(peers, error):
    peer = peers()
    peer.join("private-a")
    frame = '{"event":"client-e","channel":"private-a","data":1e999}'
    assert peer.send(frame) == [error("Received invalid JSON")]


def test_it_is_encoded_once(world, peers):
    sender, *others = (peers() for _ in range(5))
    for peer in (sender, *others):
        peer.join("private-a")
    world.encoded.clear()
    sender.send(event("private-a", 1))
    assert world.encoded == ['{"event":"client-e","channel":"private-a","data":1}']
    assert [len(peer.take()) for peer in others] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("data", "text"), [({"x": 1}, '{"x":1}'), ("x", "x"), ('{"x":1}', '{"x":1}'), (5, "5")]
)
def test_the_webhook_carries_the_data_as_a_string(world, peers, data, text):
    peer = peers()
    peer.join("private-a")
    peer.enter("presence-a", "7")
    world.webhooks.clear()
    peer.send(event("private-a", data))
    peer.send(event("presence-a", data))
    notice = {
        "name": "client_event",
        "channel": "private-a",
        "event": "client-e",
        "data": text,
        "socket_id": peer.socket_id,
    }
    assert world.webhooks == [notice, {**notice, "channel": "presence-a", "user_id": "7"}]
    assert json.loads(json.dumps(world.webhooks)) == world.webhooks
