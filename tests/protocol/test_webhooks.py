"""Webhooks: what the application hears, when, and what it is spared."""

from __future__ import annotations

import json

import pytest

from realtime_kit.protocol import notices

CHANNEL = "presence-room"


def occupied(channel):
    return {"name": "channel_occupied", "channel": channel}


def vacated(channel):
    return {"name": "channel_vacated", "channel": channel}


def member(name, user_id):
    return {"name": name, "channel": CHANNEL, "user_id": user_id}


@pytest.fixture
def heard(world):
    def take():
        taken = list(world.webhooks)
        world.webhooks.clear()
        return taken

    return take


@pytest.mark.parametrize("channel", ["a", "private-a", "private-encrypted-a"])
def test_occupied_and_vacated(world, peers, heard, channel):
    one, two = peers(), peers()
    one.join(channel)
    two.join(channel)
    assert heard() == [occupied(channel)]
    one.leave(channel)
    two.go()
    world.clock.advance(2.9)
    assert heard() == []
    world.clock.advance(0.1)
    assert heard() == [vacated(channel)]


def test_members(world, peers, heard):
    one, tab, two = peers(), peers(), peers()
    one.enter(CHANNEL, "1")
    tab.enter(CHANNEL, "1")
    two.enter(CHANNEL, "2")
    assert heard() == [
        occupied(CHANNEL),
        member("member_added", "1"),
        member("member_added", "2"),
    ]
    one.go()
    tab.go()
    world.clock.advance(3)
    assert heard() == [member("member_removed", "1")]
    two.go()
    world.clock.advance(3)
    assert heard() == [member("member_removed", "2"), vacated(CHANNEL)]


def test_who_comes_straight_back_never_left(world, peers, heard):
    peers().enter(CHANNEL, "w")
    one = peers()
    one.enter(CHANNEL, "1")
    heard()
    one.go()
    world.clock.advance(2)
    two = peers()
    two.enter(CHANNEL, "1")
    world.clock.advance(10)
    assert heard() == []
    two.go()
    world.clock.advance(3)
    assert heard() == [member("member_removed", "1")]


def test_a_channel_that_is_reoccupied_was_never_vacated(world, peers, heard):
    peers().subscribe("a")
    heard()
    for _ in range(3):
        peer = peers()
        peer.subscribe("b")
        peer.go()
        world.clock.advance(1)
    assert heard() == [occupied("b")]
    world.clock.advance(2)
    assert heard() == [vacated("b")]


def test_frames_do_not_wait(world, peers):
    watcher, peer = peers(), peers()
    watcher.enter(CHANNEL, "w")
    peer.enter(CHANNEL, "1")
    watcher.take()
    peer.go()
    assert [frame["event"] for frame in watcher.take()] == ["pusher_internal:member_removed"]


def test_internal_channels_are_not_spoken_of(world, peers, heard):
    peer = peers()
    peer.sign_in("1", watchlist=["2"])
    peer.subscribe("#server-to-user-1")
    peer.go()
    world.clock.advance(10)
    assert heard() == []


def test_the_body():
    events = [notices.channel_occupied("a").event, notices.cache_miss("é").event]
    body = notices.body(events, 1327078148132)
    assert body.startswith(b'{"time_ms":1327078148132,"events":[{"name":"channel_occupied"')
    assert json.loads(body) == {"time_ms": 1327078148132, "events": events}
