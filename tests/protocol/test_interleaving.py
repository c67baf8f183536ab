"""Steps whose effects interleave, as when each frame is a function call of its own: whatever the
order in which frames went out, what a client was told last is so."""

from __future__ import annotations

import pytest

from realtime_kit.protocol import effects
from realtime_kit.protocol.effects import Broadcast, QueryPresent, Send

CHANNEL = "presence-room"


@pytest.fixture
def world(table_world):
    return table_world()


def names(frames):
    return [frame["event"].partition(":")[2] for frame in frames]


def test_a_reload_whose_leave_is_told_last(world, data):
    watcher, old, new = world.connect(), world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    old.enter(CHANNEL, "1", {"n": 1})
    watcher.take()
    leaving = old.going()
    leaving.until(Broadcast)
    new.enter(CHANNEL, "1", {"n": 2})
    leaving.finish()
    frames = watcher.take()
    assert names(frames) == ["member_added", "member_removed", "member_added"]
    assert data(frames[-1]) == {"user_id": "1", "user_info": {"n": 2}}


def test_a_join_that_is_told_after_its_leave(world):
    watcher, peer = world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    joining = peer.start("subscribe", channel=CHANNEL, **peer.member(CHANNEL, "1"))
    joining.until(Broadcast)
    peer.leave(CHANNEL)
    joining.finish()
    told = names(watcher.take())
    assert told[-3:] == ["member_removed", "member_added", "member_removed"]
    # A driver that does not know whether who joins is alive tells of the join with the leave.
    assert told[:-3] in ([], ["member_added"])


def test_it_is_told_until_it_is_so(world):
    watcher, one, two = world.connect(), world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    joining = one.start("subscribe", channel=CHANNEL, **one.member(CHANNEL, "1"))
    joining.until(Broadcast)
    one.leave(CHANNEL)
    joining.until(QueryPresent)
    joining.advance()
    assert isinstance(joining.next, Broadcast)
    two.enter(CHANNEL, "1")
    joining.finish()
    assert names(watcher.take())[-2:] == ["member_removed", "member_added"]


@pytest.mark.parametrize("gone", [True, False])
def test_who_comes_or_goes_while_one_is_told_the_members(world, data, gone):
    one, other = world.connect(), world.connect()
    if gone:
        other.enter(CHANNEL, "2")
    joining = one.start("subscribe", channel=CHANNEL, **one.member(CHANNEL, "1"))
    joining.until(Send)
    other.go() if gone else other.enter(CHANNEL, "2")
    joining.finish()
    early, succeeded, *after = one.take()
    change = "member_removed" if gone else "member_added"
    assert early["event"] == f"pusher_internal:{change}"
    assert data(succeeded)["presence"]["ids"] == (["2", "1"] if gone else ["1"])
    assert names(after) == [change]


def test_who_comes_and_goes_while_one_is_told_who_came(world):
    one, other = world.connect(), world.connect()
    joining = one.start("subscribe", channel=CHANNEL, **one.member(CHANNEL, "1"))
    joining.until(Send)
    other.enter(CHANNEL, "2")
    joining.advance()
    joining.until(Send)
    other.go()
    joining.finish()
    assert names(one.take()) == [
        "member_added",
        "subscription_succeeded",
        "member_removed",
        "member_added",
        "member_removed",
    ]


@pytest.mark.parametrize("older", [True, False])
def test_an_event_that_overtakes_the_cached_one(world, older):
    peer = world.connect()
    if older:
        world.trigger("cache-a", "e", "1")
    joining = peer.start("subscribe", channel="cache-a")
    joining.until(Send)
    joining.advance()
    joining.until(Send)
    world.trigger("cache-a", "e", "2")
    joining.finish()
    last = peer.take()[-1]
    # A miss asks for an event, and that one came.
    assert last["event"] == ("e" if older else "pusher:cache_miss")
    assert not older or last["data"] == "2"


def test_a_cached_event_that_ends_while_it_is_sent(world):
    world.trigger("cache-a", "e", "1")
    peer = world.connect()
    joining = peer.start("subscribe", channel="cache-a")
    joining.until(effects.CacheGet)
    joining.advance()
    world.clock.advance(1800)
    joining.finish()
    assert [frame["event"] for frame in peer.take()][1:] == ["e"]


def events(peer):
    return [
        (event["name"], *event["user_ids"])
        for frame in peer.take()
        if frame["event"] == "pusher_internal:watchlist_events"
        for event in frame["data"]["events"]
    ]


def test_a_reload_of_a_watched_user(world):
    watcher, old, new = world.connect(), world.connect(), world.connect()
    watcher.sign_in("w", watchlist=["1"])
    old.sign_in("1")
    leaving = old.going()
    leaving.until(Broadcast)
    new.sign_in("1")
    leaving.finish()
    assert events(watcher) == [("online", "1"), ("online", "1"), ("offline", "1"), ("online", "1")]


def test_who_comes_or_goes_while_one_is_told_who_is_online(world):
    watcher, one, two = world.connect(), world.connect(), world.connect()
    one.sign_in("1")
    signing_in = watcher.start("signin", **watcher.identity("w", watchlist=["1", "2"]))
    signing_in.until(Send)
    signing_in.advance()
    one.go()
    two.sign_in("2")
    signing_in.finish()
    assert events(watcher) == [
        ("offline", "1"),
        ("online", "2"),
        ("online", "1"),
        ("offline", "1"),
        ("online", "2"),
    ]


def test_a_count_that_was_overtaken_is_told_again(table_world, data):
    world = table_world(subscription_count=True)
    one, two = world.connect(), world.connect()
    joining = one.start("subscribe", channel="a")
    joining.until(Broadcast)
    two.subscribe("a")
    joining.finish()
    assert [data(frame)["subscription_count"] for frame in one.take()[-2:]] == [2, 1]
    world.clock.advance(5)
    assert [data(frame)["subscription_count"] for frame in one.take()] == [2]


def test_a_frame_that_comes_after_the_end_brings_nothing_back(world):
    peer = world.connect()
    joining = peer.start("subscribe", channel=CHANNEL, **peer.member(CHANNEL, "1"))
    signing_in = peer.start("signin", **peer.identity("1"))
    peer.go()
    joining.finish()
    signing_in.finish()
    assert world.left_behind() == {}
