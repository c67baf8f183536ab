"""A driver that fails: the client is never left with a lie, and others hear what they must."""

from __future__ import annotations

import pytest

from realtime_kit.protocol import effects

UNAVAILABLE = "Temporarily unavailable, please reconnect"
CHANNEL = "presence-room"


@pytest.fixture
def ended(error):
    """The client was told to come back, and sent away."""

    def check(peer, sent):
        assert sent[-1:] == [error(UNAVAILABLE, 4100)]
        assert peer.closed == (4100, UNAVAILABLE)

    return check


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "channel"),
    [
        (effects.Subscribe, "a"),
        (effects.Subscribe, CHANNEL),
        (effects.QueryMembers, CHANNEL),
        (effects.CacheGet, "cache-a"),
    ],
)
def test_a_subscription_that_fails(make_world, ended, kind, channel, when):
    world = make_world()
    peer = world.connect()
    world.fail(kind, when=when)
    ended(peer, peer.enter(channel, "1"))
    world.heal()
    peer.go()
    assert world.left_behind() == {}


def test_a_client_that_cannot_be_told(make_world):
    world = make_world()
    peer = world.connect()
    world.fail(effects.Send)
    assert peer.enter(CHANNEL, "1") == []
    assert peer.closed == (4100, UNAVAILABLE)


@pytest.mark.parametrize("kind", [effects.QueryMembers, effects.Send])
def test_others_hear_of_a_join_whose_client_could_not_be_told(make_world, kind):
    # Its end will be announced, so its beginning must be.
    world = make_world()
    watcher, peer = world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    world.webhooks.clear()
    world.fail(kind)
    peer.enter(CHANNEL, "1")
    world.heal()
    peer.go()
    events = [frame["event"].partition(":")[2] for frame in watcher.take()]
    assert events == ["member_added", "member_removed"]
    assert [webhook["name"] for webhook in world.webhooks] == ["member_added"]
    world.clock.advance(3)
    assert [webhook["name"] for webhook in world.webhooks] == ["member_added", "member_removed"]


@pytest.mark.parametrize("kind", [effects.Broadcast, effects.Notify, effects.QueryPresent])
def test_an_announcement_that_fails_is_the_others_loss(make_world, kind):
    world = make_world()
    watcher, peer = world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    world.fail(kind)
    (sent,) = peer.enter(CHANNEL, "1")
    assert sent["event"] == "pusher_internal:subscription_succeeded"
    assert peer.leave(CHANNEL) == []
    assert (peer.closed, watcher.closed) == (None, None)


def test_one_announcement_that_fails_does_not_stop_the_next(make_world):
    world = make_world(subscription_count=True)
    peer = world.connect()
    world.fail(effects.Broadcast)
    peer.subscribe("a")
    names = [webhook["name"] for webhook in world.webhooks]
    assert names == ["channel_occupied", "subscription_count"]


@pytest.mark.parametrize("kind", [effects.Unsubscribe, effects.SignIn])
def test_leaving_and_signing_in_that_fail(make_world, ended, kind):
    world = make_world()
    peer = world.connect()
    peer.subscribe("a")
    world.fail(kind)
    ended(peer, peer.leave("a") if kind is effects.Unsubscribe else peer.sign_in("1"))
    world.heal()
    peer.go()
    assert world.left_behind() == {}


def test_a_sign_in_whose_client_could_not_be_told(make_world):
    world = make_world()
    watcher, peer = world.connect(), world.connect()
    watcher.sign_in("w", watchlist=["1"])
    world.fail(effects.Send)
    peer.sign_in("1")
    assert peer.closed == (4100, UNAVAILABLE)
    world.heal()
    peer.go()
    names = [frame["data"]["events"][0]["name"] for frame in watcher.take()]
    assert names == ["online", "offline"]


@pytest.mark.parametrize("kind", [effects.Subscribed, effects.Allow, effects.Broadcast])
def test_a_client_event_that_fails_is_refused(make_world, error, kind):
    world = make_world()
    sender, other = world.connect(), world.connect()
    sender.join("private-a")
    other.join("private-a")
    world.fail(kind)
    sent = sender.send({"event": "client-e", "channel": "private-a", "data": 1})
    assert sent == [error("Client event rejected - temporarily unavailable")]
    assert (sender.closed, other.take()) == (None, [])


def test_a_client_event_whose_webhook_fails_is_sent(make_world):
    world = make_world()
    sender, other = world.connect(), world.connect()
    sender.join("private-a")
    other.join("private-a")
    world.fail(effects.Notify)
    assert sender.send({"event": "client-e", "channel": "private-a", "data": 1}) == []
    assert len(other.take()) == 1


def test_a_ping_that_cannot_be_answered(make_world):
    world = make_world()
    peer = world.connect()
    world.fail(effects.Send, effects.Close)
    assert peer.send({"event": "pusher:ping"}) == []
    assert peer.send("rubbish") == []


def test_a_disconnect_that_fails_can_be_run_again(make_world):
    world = make_world()
    watcher, peer = world.connect(), world.connect()
    watcher.enter(CHANNEL, "w")
    peer.enter(CHANNEL, "1")
    watcher.take()
    world.fail(effects.Drop)
    peer.go()
    assert watcher.take() == []
    world.heal()
    peer.go()
    assert [frame["event"] for frame in watcher.take()] == ["pusher_internal:member_removed"]


def test_the_others_hear_of_every_leave_even_if_one_cannot_be_told(make_world):
    world = make_world()
    watcher, peer = world.connect(), world.connect()
    for channel in ("presence-a", "presence-b"):
        watcher.enter(channel, "w")
        peer.enter(channel, "1")
    watcher.take()
    world.faults(
        lambda effect: (
            "before"
            if isinstance(effect, effects.Broadcast) and effect.channel == "presence-a"
            else None
        )
    )
    peer.go()
    assert [frame["channel"] for frame in watcher.take()] == ["presence-b"]


@pytest.mark.parametrize(
    ("kind", "method", "path", "body"),
    [
        (effects.Broadcast, "POST", "/events", {"name": "e", "channels": ["a"], "data": ""}),
        (effects.CacheSet, "POST", "/events", {"name": "e", "channel": "cache-a", "data": ""}),
        (
            effects.Broadcast,
            "POST",
            "/batch_events",
            {"batch": [{"name": "e", "channel": "a", "data": ""}]},
        ),
        (effects.QueryChannels, "GET", "/channels", None),
        (effects.QueryChannel, "GET", "/channels/a", None),
        (effects.QueryMembers, "GET", "/channels/presence-a/users", None),
        (effects.Terminate, "POST", "/users/1/terminate_connections", {}),
    ],
)
def test_a_request_that_fails(make_world, kind, method, path, body):
    world = make_world()
    world.fail(kind)
    assert world.http(method, path, body) == (500, "Internal server error\n")
