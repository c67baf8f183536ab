"""Subscription counts: off unless the app wants them; at most one each five seconds above 100."""

from __future__ import annotations

import pytest

from realtime_kit.protocol import effects, session
from realtime_kit.protocol.effects import run

COUNT = "pusher_internal:subscription_count"


@pytest.fixture
def counting(make_world):
    return make_world(subscription_count=True)


@pytest.fixture
def counts(data):
    """Take the counts that a client was told."""

    def take(frames):
        return [data(frame)["subscription_count"] for frame in frames if frame["event"] == COUNT]

    return take


def heard(world):
    """Take the counts that the application was told."""
    taken = [hook["subscription_count"] for hook in world.webhooks if hook["name"] == COUNT[16:]]
    world.webhooks.clear()
    return taken


def test_they_are_off(world, peers):
    peer = peers()
    assert len(peer.subscribe("a")) == 1
    assert [hook["name"] for hook in world.webhooks] == ["channel_occupied"]
    assert run(session.announce_count(world.app, "a"), peer.perform) is None
    assert peer.take() == []


@pytest.mark.parametrize("channel", ["a", "private-a", "cache-a"])
def test_every_change_is_told_at_once(counting, counts, channel):
    one, two = counting.connect(), counting.connect()
    assert counts(one.join(channel)) == [1]
    assert counts(two.join(channel)) == [2]
    assert counts(one.take()) == [2]
    one.leave(channel)
    assert (counts(one.take()), counts(two.take())) == ([], [1])
    two.go()
    assert heard(counting) == [1, 2, 1, 0]


def test_the_frame_comes_after_succeeded(counting):
    events = [frame["event"] for frame in counting.connect().subscribe("cache-a")]
    assert events == ["pusher_internal:subscription_succeeded", "pusher:cache_miss", COUNT]


def test_presence_and_internal_channels_are_not_counted(counting):
    peer = counting.connect()
    assert len(peer.enter("presence-a", "1")) == 1
    peer.sign_in("1", watchlist=["2"])
    assert len(peer.subscribe("#server-to-user-1")) == 1
    peer.go()
    assert heard(counting) == []


@pytest.mark.crowd
def test_above_a_hundred_they_are_gathered(counting, counts):
    peers = [counting.connect() for _ in range(104)]
    for peer in peers[:100]:
        peer.subscribe("a")
    assert counts(peers[0].take())[-1] == 100
    heard(counting)
    for peer in peers[100:]:
        peer.subscribe("a")
    assert (counts(peers[0].take()), heard(counting)) == ([], [])
    counting.clock.advance(4.9)
    assert counts(peers[0].take()) == []
    counting.clock.advance(0.1)
    assert (counts(peers[0].take()), heard(counting)) == ([104], [104])
    counting.clock.advance(10)
    assert counts(peers[0].take()) == []
    # The last change is never lost, and the next five seconds begin with it.
    peers[103].go()
    counting.clock.advance(5)
    assert counts(peers[0].take()) == [103]


@pytest.mark.crowd
def test_what_changes_while_one_waits_is_told_by_it(counting, counts):
    peers = [counting.connect() for _ in range(101)]
    for peer in peers:
        peer.subscribe("a")
    counting.clock.advance(3)
    peers[0].take()
    for peer in peers[50:]:
        peer.go()
    assert counts(peers[0].take())[-1] == 50
    counting.clock.advance(2)
    assert counts(peers[0].take()) == [50]
    counting.clock.advance(10)
    assert counts(peers[0].take()) == []


def test_a_count_that_cannot_be_read_is_told_later(counting, counts):
    peer = counting.connect()
    peer.subscribe("a")
    perform = counting.watched(counting.driver.perform)
    counting.fail(effects.QueryChannel)
    run(session.announce_count(counting.app, "a"), perform)
    assert peer.take() == []
    counting.heal()
    counting.clock.advance(5)
    assert counts(peer.take()) == [1]
