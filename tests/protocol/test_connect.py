"""Connecting: protocol versions, refusals by frame and by close code, quotas."""

from __future__ import annotations

import pytest

from realtime_kit.protocol import effects
from realtime_kit.protocol.app import App, Key


def refused(world, peer, app, key="app-key", query=None):
    assert not world.open(peer, app, key, {"protocol": "7"} if query is None else query)
    assert peer.connection is None
    assert world.left_behind() == {}
    return peer.take(), peer.closed


@pytest.mark.parametrize("version", ["4", "5", "6", "7", "07"])
def test_protocols_4_to_7_are_served(world, data, version):
    peer = world.peer()
    assert world.open(peer, world.app, "app-key", {"protocol": version, "client": "js"})
    (frame,) = peer.take()
    assert frame["event"] == "pusher:connection_established"
    assert data(frame) == {"socket_id": peer.socket_id, "activity_timeout": 120}
    assert peer.stored().protocol == int(version)
    assert peer.closed is None


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({}, 4008, "No protocol version supplied"),
        ({"protocol": ""}, 4008, "No protocol version supplied"),
        ({"version": "1.0"}, 4008, "No protocol version supplied"),
        ({"protocol": "x"}, 4006, "Invalid version string format"),
        ({"protocol": "7.0"}, 4006, "Invalid version string format"),
        ({"protocol": "²"}, 4006, "Invalid version string format"),
        ({"protocol": "9" * 9999}, 4006, "Invalid version string format"),
        ({"protocol": "-7"}, 4006, "Invalid version string format"),
        ({"protocol": "3"}, 4007, "Unsupported protocol version"),
        ({"protocol": "8"}, 4007, "Unsupported protocol version"),
    ],
)
def test_other_protocols_are_refused(world, error, query, code, message):
    sent, closed = refused(world, world.peer(), world.app, query=query)
    assert sent == [error(message, code)]
    assert closed == (code, message)


def test_an_unknown_key_is_told_so_in_production_s_words(world, error):
    message = "App key nope not in this cluster. Did you forget to specify the cluster?"
    sent, closed = refused(world, world.peer(), None, key="nope")
    assert sent == [error(message, 4001)]
    assert closed == (4001, message)


def test_a_close_reason_fits_a_close_frame(world):
    sent, closed = refused(world, world.peer(), None, key="é" * 500)
    assert sent[0]["data"]["message"].startswith("App key ééé")
    assert closed == (4001, ("App key " + "é" * 57))


def test_a_key_that_utf8_cannot_carry(world):
    _, closed = refused(world, world.peer(), None, key="\ud800")
    assert closed[1].startswith("App key ? not in this cluster")


def test_a_disabled_app_refuses(make_world, error):
    world = make_world(enabled=False)
    sent, closed = refused(world, world.peer(), world.app)
    assert sent == [error("Application disabled", 4003)]
    assert closed == (4003, "Application disabled")


def test_the_connection_quota(make_world, error):
    world = make_world(max_connections=1)
    first, second = world.peer(), world.peer()
    assert world.open(first, world.app, "app-key", {"protocol": "7"})
    assert not world.open(second, world.app, "app-key", {"protocol": "7"})
    assert second.take() == [error("Application is over connection quota", 4004)]
    assert second.closed == (4004, "Application is over connection quota")
    first.go()
    third = world.connect()
    assert third.closed is None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", [effects.Connect, effects.Send])
def test_a_failing_driver_sends_the_client_away_for_a_second(make_world, effect, when):
    world = make_world()
    world.fail(effect, when=when)
    peer = world.peer()
    assert not world.open(peer, world.app, "app-key", {"protocol": "7"})
    # Never 42xx in a handshake: clients would come back without any delay, for ever.
    assert peer.closed == (4100, "Temporarily unavailable, please reconnect")
    assert world.left_behind() == {}


def test_every_effect_may_fail(make_world):
    world = make_world()
    world.fail(object)
    peer = world.peer()
    assert not world.open(peer, world.app, "app-key", {"protocol": "7"})
    assert not world.open(peer, None, "app-key", {"protocol": "7"})
    assert peer.closed is None
    assert peer.take() == []


def test_any_key_of_an_app_connects(make_world):
    app = App("9", (Key("new", "a"), Key("old", "b")))
    world = make_world()
    world.app = app
    peer = world.peer()
    assert world.open(peer, app, "old", {"protocol": "7"})
