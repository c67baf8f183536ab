"""Cache channels: the last event of the server, or a miss."""

from __future__ import annotations

import pytest

KINDS = ["cache-a", "private-cache-a", "private-encrypted-cache-a"]


@pytest.mark.parametrize("channel", KINDS)
def test_a_miss_comes_right_after_succeeded(peers, channel):
    sent = peers().join(channel)
    assert sent == [
        {"event": "pusher_internal:subscription_succeeded", "data": "{}", "channel": channel},
        {"event": "pusher:cache_miss", "channel": channel},
    ]


@pytest.mark.parametrize("channel", KINDS)
def test_the_last_event_comes_right_after_succeeded(world, peers, channel):
    world.trigger(channel, "e", "1")
    world.trigger(channel, "f", '{"x":"é"}', id="i", offset=3)
    event = {"event": "f", "channel": channel, "data": '{"x":"é"}', "id": "i", "offset": 3}
    assert peers().join(channel)[1:] == [event]


def test_presence_cache_channels(world, peers):
    world.trigger("presence-cache-a", "e", "1")
    sent = peers().enter("presence-cache-a", "1")
    assert [frame["event"] for frame in sent] == ["pusher_internal:subscription_succeeded", "e"]


@pytest.mark.parametrize("channel", ["a", "x-cache-a", "private-x-cache-a", "cache"])
def test_other_channels_keep_nothing(world, peers, channel):
    world.trigger(channel, "e", "1")
    assert len(peers().join(channel)) == 1


def test_it_is_kept_for_half_an_hour(world, peers):
    world.trigger("cache-a", "e", "1")
    world.clock.advance(1799)
    assert peers().subscribe("cache-a")[1]["event"] == "e"
    world.clock.advance(1)
    assert peers().subscribe("cache-a")[1]["event"] == "pusher:cache_miss"


def test_who_is_excluded_finds_it_in_the_cache_all_the_same(world, peers):
    peer = peers()
    peer.subscribe("cache-a")
    peer.take()
    world.trigger("cache-a", "e", "1", socket_id=peer.socket_id)
    assert peer.take() == []
    peer.leave("cache-a")
    assert peer.subscribe("cache-a")[1]["event"] == "e"


def test_client_events_are_not_kept(world, peers):
    one, two = peers(), peers()
    one.join("private-cache-a")
    two.join("private-cache-a")
    one.send({"event": "client-e", "channel": "private-cache-a", "data": 1})
    assert two.take()[-1]["event"] == "client-e"
    assert peers().join("private-cache-a")[1]["event"] == "pusher:cache_miss"


def test_many_misses_are_one_webhook_for_a_while(world, peers):
    miss = {"name": "cache_miss", "channel": "cache-a"}
    for _ in range(3):
        peers().subscribe("cache-a")
    peers().subscribe("cache-b")
    assert world.webhooks.count(miss) == 1
    assert world.webhooks.count({**miss, "channel": "cache-b"}) == 1
    # If the application did not answer, the next one asks again.
    world.clock.advance(10)
    peers().subscribe("cache-a")
    assert world.webhooks.count(miss) == 2
