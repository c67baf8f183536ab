"""Subscribing and unsubscribing on every kind of channel, and who is refused with which words."""

from __future__ import annotations

import json

import pytest

from realtime_kit.protocol import signing
from realtime_kit.protocol.app import App, Key
from realtime_kit.protocol.effects import Joined, Subscribe

SUCCEEDED = "pusher_internal:subscription_succeeded"
PROVEN = [
    "private-a",
    "private-cache-a",
    "private-encrypted-a",
    "private-encrypted-cache-a",
]


def succeeded(channel):
    return {"event": SUCCEEDED, "data": "{}", "channel": channel}


@pytest.mark.parametrize("channel", ["a", "A_z-0=@,.;", "x-private-a", "presence", "a" * 164])
def test_public_channels_need_no_proof(peers, channel):
    assert peers().subscribe(channel, auth="") == [succeeded(channel)]


def test_a_public_channel_needs_not_even_the_member_auth(peers):
    peer = peers()
    assert peer.subscribe("a") == [succeeded("a")]
    assert peer.subscribe("b", auth="rubbish", channel_data="rubbish") == [succeeded("b")]


def test_data_may_come_as_a_string(peers):
    sent = peers().send({"event": "pusher:subscribe", "data": '{"channel":"a"}'})
    assert sent == [succeeded("a")]


@pytest.mark.parametrize("channel", PROVEN)
def test_private_channels_need_the_proof(peers, error, channel):
    peer = peers()
    assert peer.subscribe(channel) == [error(f"Auth info required to subscribe to {channel}")]
    assert peer.subscribe(channel, auth="") == [
        error(f"Auth info required to subscribe to {channel}")
    ]
    assert peer.join(channel)[0] == succeeded(channel)


@pytest.mark.parametrize("channel", PROVEN)
def test_channel_data_is_part_of_a_private_channel_s_proof(peers, error, channel):
    peer = peers()
    auth = signing.channel_auth(Key("app-key", "app-secret"), peer.socket_id, channel)
    text = f"{peer.socket_id}:{channel}:{{}}"
    assert peer.subscribe(channel, auth=auth, channel_data="{}") == [
        error(
            f"Invalid signature: Expected HMAC SHA256 hex digest of {text}, "
            f"but got {auth.partition(':')[2]}"
        )
    ]
    assert peer.join(channel, "{}")[0] == succeeded(channel)


@pytest.mark.parametrize("auth", ["rubbish", 5, ["app-key:x"], {"a": 1}, True])
def test_a_proof_of_another_form(peers, error, auth):
    assert peers().subscribe("private-a", auth=auth) == [
        error(
            "Auth value for subscription to private-a is invalid: "
            "should be of format 'key:signature'"
        )
    ]


def test_a_proof_by_an_unknown_key(peers, error):
    assert peers().subscribe("private-a", auth="nope:00") == [
        error("Invalid key in subscription auth data: 'nope'")
    ]


def test_a_proof_of_something_else(peers, error):
    peer, other = peers(), peers()
    given = other.proof("private-a")["auth"].partition(":")[2]
    text = f"{peer.socket_id}:private-a"
    message = f"Invalid signature: Expected HMAC SHA256 hex digest of {text}, but got {given}"
    assert peer.subscribe("private-a", auth=f"app-key:{given}") == [error(message)]


@pytest.mark.parametrize("signature", ["", "é", "\ud800", "0" * 5000])
def test_strange_signatures(peers, signature):
    (sent,) = peers().subscribe("private-a", auth=f"app-key:{signature}")
    assert sent["data"]["message"].startswith("Invalid signature: Expected HMAC SHA256 hex digest")
    assert sent["data"]["message"].endswith(f"but got {signature}")


def test_every_key_of_the_app_proves(make_world):
    world = make_world()
    world.app = App("1", (Key("new", "a"), Key("app-key", "app-secret")))
    peer = world.connect()
    auth = signing.channel_auth(Key("new", "a"), peer.socket_id, "private-a")
    assert peer.subscribe("private-a", auth=auth) == [succeeded("private-a")]
    assert peer.join("private-b") == [succeeded("private-b")]


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("", "a channel name cannot be empty"),
        ("a" * 165, "channel name of 165 characters; the limit is 164"),
        ("a b", "may hold only letters, digits and - _ = @ , . ;"),
        ("é", "may hold only letters, digits and - _ = @ , . ;"),
        ("a\n", "may hold only letters, digits and - _ = @ , . ;"),
        ("\ud800", "may hold only letters, digits and - _ = @ , . ;"),
        ("private-a/b", "may hold only letters, digits and - _ = @ , . ;"),
        ("#a", "may hold only letters, digits and - _ = @ , . ;"),
        ("#watchers-of-7", "may hold only letters, digits and - _ = @ , . ;"),
        ("#server-to-user-", "may hold only letters, digits and - _ = @ , . ;"),
    ],
)
def test_names(peers, channel, reason):
    (sent,) = peers().subscribe(channel)
    assert sent["event"] == "pusher:error"
    assert sent["data"]["code"] is None
    assert sent["data"]["message"].startswith("Invalid channel: ")
    assert sent["data"]["message"].endswith(reason)


@pytest.mark.parametrize("channel", ["a", "private-a"])
def test_a_second_subscription_is_refused(peers, error, channel):
    peer = peers()
    peer.join(channel)
    assert peer.join(channel) == [error(f"Existing subscription to channel {channel}")]


def test_a_second_subscription_delivers_nothing_twice(world, peers):
    peer = peers()
    peer.subscribe("a")
    peer.subscribe("a")
    peer.take()
    world.trigger("a", "e", "1")
    assert peer.take() == [{"event": "e", "channel": "a", "data": "1"}]


def test_unsubscribing_ends_it(world, peers):
    peer = peers()
    peer.subscribe("a")
    assert peer.leave("a") == []
    world.trigger("a", "e", "1")
    assert peer.take() == []
    assert peer.subscribe("a") == [succeeded("a")]


@pytest.mark.parametrize("channel", ["a", "private-a", "", "é", "#server-to-user-7"])
def test_unsubscribing_from_nothing(peers, error, channel):
    assert peers().leave(channel) == [
        error(f"No current subscription to channel {channel}, or subscription in progress")
    ]


def test_a_watchlist_is_not_the_client_s_to_end(peers, error):
    watcher, watched = peers(), peers()
    watcher.sign_in("1", watchlist=["2"])
    assert watcher.leave("#watchers-of-2") == [
        error("No current subscription to channel #watchers-of-2, or subscription in progress")
    ]
    watched.sign_in("2")
    assert watcher.take()[0]["data"]["events"] == [{"name": "online", "user_ids": ["2"]}]


@pytest.mark.parametrize("event", ["pusher:subscribe", "pusher:unsubscribe"])
def test_the_channel_is_missing(peers, error, event):
    peer = peers()
    for data in ({}, {"channel": None}, {"channel": 5}, {"channel": ["a"]}):
        expected = [error(f"Invalid message: {event} must contain a channel")]
        assert peer.send({"event": event, "data": data}) == expected


@pytest.mark.parametrize("event", ["pusher:subscribe", "pusher:unsubscribe", "pusher:signin"])
def test_the_data_is_no_object(peers, error, event):
    peer = peers()
    expected = [error(f"Invalid message: the data of {event} must be an object")]
    assert peer.send({"event": event}) == expected
    for data in (None, 5, [], "5", "[]", True):
        assert peer.send({"event": event, "data": data}) == expected
    for data in ("", "{", "…", "NaN", "[" * 9_000):
        assert peer.send({"event": event, "data": data}) == [
            error(f"Received invalid JSON in the data of {event}")
        ]


def test_the_channel_itself_is_told_why_if_the_app_wants_it(make_world, error):
    peer = make_world(subscription_error=True).connect()
    message = "Auth info required to subscribe to private-a"
    told = {"type": "AuthError", "error": message, "status": 401}
    assert peer.subscribe("private-a") == [
        {"event": "pusher:subscription_error", "data": told, "channel": "private-a"},
        error(message),
    ]
    # What is subscribed did not fail, and what names no channel has no channel to tell.
    peer.join("private-a")
    assert peer.join("private-a") == [error("Existing subscription to channel private-a")]
    assert len(peer.subscribe(None)) == 1


def test_a_connection_may_have_as_many_subscriptions_as_its_host_allows(peers, error):
    peer = peers()
    perform, excess = peer.perform, Joined(new=False, excess=True)
    peer.perform = lambda effect: excess if isinstance(effect, Subscribe) else perform(effect)
    message = "This connection has as many subscriptions as it may have"
    assert peer.subscribe("a") == [error(message)]
    assert peer.closed is None


def test_frames_of_a_channel_reach_its_subscribers_alone(world, peers):
    one, two, three = peers(), peers(), peers()
    one.subscribe("a")
    two.subscribe("a")
    three.subscribe("b")
    for peer in (one, two, three):
        peer.take()
    world.trigger("a", "e", json.dumps({"x": 1}))
    assert one.take() == two.take() == [{"event": "e", "channel": "a", "data": '{"x": 1}'}]
    assert three.take() == []
