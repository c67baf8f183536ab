"""Signing in, events to users, watchlists, ending a user's connections."""

from __future__ import annotations

import json

import pytest

from realtime_kit.events import Limits
from realtime_kit.protocol import signing
from realtime_kit.protocol.app import Key
from realtime_kit.protocol.effects import SignedIn, SignIn

KEY = Key("app-key", "app-secret")


def events(*frames):
    return [frame["data"]["events"] for frame in frames]


def proven(peer, user_data):
    auth = signing.user_auth(KEY, peer.socket_id, user_data)
    return {"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}


def test_signing_in(peers):
    peer = peers()
    user_data = '{"id": "7", "user_info": {"name": "G"}}'
    assert peer.send(proven(peer, user_data)) == [
        {"event": "pusher:signin_success", "data": {"user_data": user_data}}
    ]
    assert peer.stored().user_id == "7"
    assert json.loads(peer.stored().user_info) == {"name": "G"}


def test_signing_in_again(peers, error):
    peer = peers()
    peer.sign_in("7")
    assert peer.sign_in("7")[0]["event"] == "pusher:signin_success"
    assert peer.sign_in("8") == [error("Connection is already signed in as another user")]
    assert peer.stored().user_id == "7"


def test_a_user_may_have_as_many_connections_as_the_host_allows(peers, error):
    peer = peers()
    perform, excess = peer.perform, SignedIn(accepted=False, excess=True)
    peer.perform = lambda effect: excess if isinstance(effect, SignIn) else perform(effect)
    assert peer.sign_in("7") == [error("This user has as many connections as a user may have")]
    assert peer.stored().user_id is None


@pytest.mark.parametrize("auth", [None, "", "rubbish", 5, ["a:b"]])
def test_a_proof_of_another_form(peers, error, auth):
    sent = peers().send(
        {"event": "pusher:signin", "data": {"auth": auth, "user_data": '{"id":"1"}'}}
    )
    assert sent == [error("Invalid format: auth must have the format key:signature")]


def test_a_proof_that_does_not_verify(peers, error):
    peer = peers()
    data = {"auth": "nope:0", "user_data": '{"id":"1"}'}
    assert peer.send({"event": "pusher:signin", "data": data}) == [
        error("Invalid key in signin auth data: 'nope'")
    ]
    data = {"auth": "app-key:0", "user_data": '{"id":"1"}'}
    assert peer.send({"event": "pusher:signin", "data": data}) == [
        error(
            "Invalid signature: Expected HMAC SHA256 hex digest of "
            f'{peer.socket_id}::user::{{"id":"1"}}, but got 0'
        )
    ]
    assert peer.stored().user_id is None


@pytest.mark.parametrize("user_data", [None, 5, {"id": "1"}, []])
def test_user_data_is_no_string(peers, error, user_data):
    sent = peers().send(
        {"event": "pusher:signin", "data": {"auth": "app-key:0", "user_data": user_data}}
    )
    assert sent == [error("Invalid signin: user_data must be a string of JSON")]


@pytest.mark.parametrize("user_data", ["", "5", "[]", "{", '{"id":"1","user_info":1e999}'])
def test_user_data_is_no_object(peers, error, user_data):
    peer = peers()
    assert peer.send(proven(peer, user_data)) == [
        error("Invalid user_data: it must be a JSON object")
    ]


@pytest.mark.parametrize("user_id", ["", None, 5, True, []])
def test_the_id_is_a_string(peers, error, user_id):
    assert peers().sign_in(user_id) == [error("Invalid user_data: id must be a non-empty string")]


def test_the_id_is_bounded(peers, error):
    peer = peers()
    assert peer.sign_in("u" * 129) == [error("User id of 129 characters; the limit is 128")]
    assert peer.sign_in("u" * 128)[0]["event"] == "pusher:signin_success"


# --- events to users


def test_a_user_s_events(world, peers):
    peer, tab, other = peers(), peers(), peers()
    for one, user_id in ((peer, "7"), (tab, "7"), (other, "8")):
        one.sign_in(user_id)
        (sent,) = one.subscribe(f"#server-to-user-{user_id}")
        assert sent["event"] == "pusher_internal:subscription_succeeded"
    world.trigger("#server-to-user-7", "e", "1")
    event = {"event": "e", "channel": "#server-to-user-7", "data": "1"}
    assert (peer.take(), tab.take(), other.take()) == ([event], [event], [])
    assert world.webhooks == []
    assert world.http("GET", "/channels") == (200, {"channels": {}})


@pytest.mark.parametrize("user_id", [None, "8", "77"])
def test_a_user_s_events_are_for_that_user_alone(world, peers, error, user_id):
    peer = peers()
    if user_id:
        peer.sign_in(user_id)
    channel = "#server-to-user-7"
    assert peer.subscribe(channel, **peer.proof(channel)) == [
        error(f"{channel} is only for the connection that is signed in as that user")
    ]
    world.trigger(channel, "e", "1")
    assert peer.take() == []


# --- watchlists


def test_a_watchlist(peers):
    watched, watcher = peers(), peers()
    watched.sign_in("2")
    sent = watcher.sign_in("1", watchlist=["2", "3"])
    assert sent[0]["event"] == "pusher:signin_success"
    assert sent[1:] == [
        {
            "event": "pusher_internal:watchlist_events",
            "data": {"events": [{"name": "online", "user_ids": ["2"]}]},
        }
    ]
    third = peers()
    assert len(third.sign_in("3")) == 1
    assert events(*watcher.take()) == [[{"name": "online", "user_ids": ["3"]}]]
    third.go()
    assert events(*watcher.take()) == [[{"name": "offline", "user_ids": ["3"]}]]
    watched.go()
    assert events(*watcher.take()) == [[{"name": "offline", "user_ids": ["2"]}]]


def test_online_is_one_connection_or_more(peers):
    watcher, tab1, tab2 = peers(), peers(), peers()
    assert len(watcher.sign_in("1", watchlist=["2"])) == 1
    tab1.sign_in("2")
    tab2.sign_in("2")
    tab2.sign_in("2")
    assert events(*watcher.take()) == [[{"name": "online", "user_ids": ["2"]}]]
    tab1.go()
    assert watcher.take() == []
    tab2.go()
    assert events(*watcher.take()) == [[{"name": "offline", "user_ids": ["2"]}]]


def test_presence_alone_is_not_online(peers):
    watcher, member = peers(), peers()
    watcher.sign_in("1", watchlist=["2"])
    member.enter("presence-a", "2")
    assert watcher.take() == []


def test_who_watches_oneself_is_online(peers):
    sent = peers().sign_in("1", watchlist=["1"])
    assert events(*sent[1:]) == [[{"name": "online", "user_ids": ["1"]}]]


def test_a_longer_watchlist_is_cut_and_said(make_world, error):
    world = make_world(limits=Limits(watchlist=2))
    watcher = world.connect()
    sent = watcher.sign_in("1", watchlist=["2", "3", "4"])
    assert sent[0]["event"] == "pusher:signin_success"
    assert sent[1] == error("Watchlist limit exceeded: 2 users at most", 4302)
    assert watcher.closed is None
    world.connect().sign_in("3")
    assert len(watcher.take()) == 1
    world.connect().sign_in("4")
    assert watcher.take() == []


def test_repetitions_do_not_count(make_world):
    world = make_world(limits=Limits(watchlist=2))
    assert len(world.connect().sign_in("1", watchlist=["2", "2", "3", "3"])) == 1


@pytest.mark.parametrize("watchlist", ["2", {"2": 1}, [2], ["2", None], True, 0])
def test_a_watchlist_is_an_array_of_ids(peers, error, watchlist):
    peer = peers()
    assert peer.sign_in("1", watchlist=watchlist) == [
        error("Invalid user_data: watchlist must be an array of user ids")
    ]
    assert peer.stored().user_id is None


# --- ending a user's connections


def test_terminating(world, peers, error):
    peer, tab, other = peers(), peers(), peers()
    peer.sign_in("7")
    tab.sign_in("7")
    other.sign_in("8")
    for one in (peer, tab, other):
        one.take()
    assert world.http("POST", "/users/7/terminate_connections", {}) == (200, {})
    reason = "You got disconnected by the app."
    assert peer.take() == tab.take() == [error(reason, 4009)]
    assert peer.closed == tab.closed == (4009, reason)
    assert (other.take(), other.closed) == ([], None)


def test_terminating_without_a_body(world, peers):
    peer = peers()
    peer.sign_in("7")
    assert world.http("POST", "/users/7/terminate_connections") == (200, {})
    assert peer.closed[0] == 4009


def test_asking_for_the_proofs_again(world, peers, error):
    peer, tab, member = peers(), peers(), peers()
    peer.sign_in("7")
    tab.sign_in("7")
    peer.join("private-a")
    member.enter("presence-a", "7")
    for one in (peer, tab, member):
        one.take()
    path = "/users/7/terminate_connections"
    assert world.http("POST", path, {"reconnect": True, "channel": "private-a"}) == (200, {})
    assert peer.take() == [error("Authorize again", 4200)]
    assert peer.closed == (4200, "Authorize again")
    assert (tab.closed, member.closed) == (None, None)
    assert world.http("POST", path, {"reconnect": True}) == (200, {})
    assert tab.closed == member.closed == (4200, "Authorize again")


def test_nobody_to_terminate(world):
    assert world.http("POST", "/users/7/terminate_connections", {}) == (200, {})


def test_user_ids_in_paths_are_unescaped(world, peers):
    peer = peers()
    peer.sign_in("auth0|7/é")
    assert world.http("POST", "/users/auth0%7C7%2F%C3%A9/terminate_connections", {}) == (200, {})
    assert peer.closed[0] == 4009


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"reconnect": "yes"}, "Invalid parameter: reconnect must be a boolean\n"),
        ({"reconnect": 1}, "Invalid parameter: reconnect must be a boolean\n"),
        ({"channel": 5}, "Invalid parameter: channel must be a string\n"),
        (
            {"channel": "a b"},
            "Invalid parameter: channel name 'a b' may hold only letters, digits and "
            "- _ = @ , . ;\n",
        ),
    ],
)
def test_terminating_with_a_wrong_body(world, body, text):
    assert world.http("POST", "/users/7/terminate_connections", body) == (400, text)
