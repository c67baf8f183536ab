"""Asking the HTTP API about channels and members."""

from __future__ import annotations

import pytest


@pytest.fixture
def occupied(peers):
    """Two clients on a channel of each kind; one user twice on a presence channel."""
    one, two = peers(), peers()
    for channel in ("a", "private-b", "cache-c"):
        one.join(channel)
        two.join(channel)
    one.enter("presence-d", "7")
    two.enter("presence-d", "7")
    one.sign_in("7", watchlist=["8"])
    one.subscribe("#server-to-user-7")
    return one, two


def test_channels(world, occupied):
    names = ["a", "cache-c", "presence-d", "private-b"]
    status, answer = world.http("GET", "/channels")
    assert status == 200
    assert answer == {"channels": {name: {} for name in names}}


def test_no_channels(world):
    assert world.http("GET", "/channels") == (200, {"channels": {}})
    assert world.respond(world.request("GET", "/channels")).body == b'{"channels":{}}'


def test_channels_by_prefix(world, occupied):
    assert world.http("GET", "/channels", filter_by_prefix="private-") == (
        200,
        {"channels": {"private-b": {}}},
    )
    info = {"filter_by_prefix": "presence-", "info": "user_count"}
    assert world.http("GET", "/channels", **info) == (
        200,
        {"channels": {"presence-d": {"user_count": 1}}},
    )
    assert world.http("GET", "/channels", info="subscription_count")[1]["channels"]["a"] == {
        "subscription_count": 2
    }


@pytest.mark.parametrize("prefix", [{}, {"filter_by_prefix": "presence"}, {"filter_by_prefix": ""}])
def test_users_are_counted_on_presence_channels_alone(world, prefix):
    assert world.http("GET", "/channels", info="user_count", **prefix) == (
        400,
        "user_count may only be requested for presence channels - "
        "please supply filter_by_prefix begining with presence-\n",
    )


def test_a_list_is_no_prefix(world):
    assert world.http("GET", "/channels", filter_by_prefix=["a"]) == (
        400,
        "Invalid parameter: filter_by_prefix must be a string\n",
    )


def test_a_channel(world, occupied):
    assert world.http("GET", "/channels/a") == (200, {"occupied": True})
    assert world.http("GET", "/channels/nobody") == (200, {"occupied": False})
    assert world.http("GET", "/channels/a", info="subscription_count") == (
        200,
        {"occupied": True, "subscription_count": 2},
    )
    assert world.http("GET", "/channels/presence-d", info="user_count,subscription_count") == (
        200,
        {"occupied": True, "user_count": 1},
    )
    assert world.http("GET", "/channels/presence-x", info="user_count") == (
        200,
        {"occupied": False, "user_count": 0},
    )


def test_what_a_channel_cannot_say(world):
    assert world.http("GET", "/channels/a", info="user_count") == (
        400,
        "Cannot retrieve the user count unless the channel is a presence channel\n",
    )
    assert world.http("GET", "/channels/a", info="cache") == (
        400,
        "Cannot retrieve the cache unless the channel is a cache channel\n",
    )
    assert world.http("GET", "/channels/a%20b") == (
        400,
        "Invalid parameter: channel name 'a b' may hold only letters, digits and - _ = @ , . ;\n",
    )


def test_a_cache(world):
    world.trigger("cache-c", "e", '{"x": 1}')
    world.clock.advance(60)
    assert world.http("GET", "/channels/cache-c", info="cache") == (
        200,
        {"occupied": False, "cache": {"data": '{"x": 1}', "ttl": 1740}},
    )
    assert world.http("GET", "/channels/cache-x", info="cache,subscription_count") == (
        200,
        {"occupied": False, "subscription_count": 0, "cache": None},
    )


def test_users(world, occupied, peers):
    peers().enter("presence-d", "8")
    assert world.http("GET", "/channels/presence-d/users") == (
        200,
        {"users": [{"id": "7"}, {"id": "8"}]},
    )
    assert world.http("GET", "/channels/presence-x/users") == (200, {"users": []})
    assert world.http("GET", "/channels/a/users") == (
        400,
        "Users can only be retrieved for presence channels\n",
    )


@pytest.mark.parametrize("channel", ["presence-a=b@c,d.e;f", "private-encrypted-a", "-"])
def test_every_name(world, peers, channel):
    peers().enter(channel, "1")
    assert world.http("GET", f"/channels/{channel}") == (200, {"occupied": True})
