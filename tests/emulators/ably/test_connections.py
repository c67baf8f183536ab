"""Ably's specification, RTN: connections, from CONNECTED to the end."""

from __future__ import annotations

import pytest

from realtime_kit.emulators.ably.app import Key
from realtime_kit.emulators.ably.wire import Action


def test_rtn4_a_client_is_told_who_it_is(rig):
    client = rig.connect(clientId="ann")
    details = client.connected["connectionDetails"]
    assert details["clientId"] == "ann"
    assert details["connectionKey"].startswith(client.id + "!")
    assert details["maxMessageSize"] == 65_536
    assert details["maxFrameSize"] == 524_288
    assert details["connectionStateTtl"] == 120_000
    assert details["maxIdleInterval"] == 15_000
    assert "error" not in client.connected


def test_rtn14_a_bad_key_is_told_by_error_and_the_end(rig):
    client = rig.connect(key="local0.dev:wrong")
    (error,) = client.frames
    assert error["action"] == Action.ERROR
    assert "channel" not in error
    assert error["error"]["code"] == 40101
    assert error["error"]["statusCode"] == 401
    assert client.closed
    assert client.say(Action.HEARTBEAT) == []


def test_rtn13_a_heartbeat_is_echoed_with_its_id(rig):
    client = rig.connect()
    assert client.say(Action.HEARTBEAT, id="x1") == [{"action": 0, "id": "x1"}]
    assert client.say(Action.HEARTBEAT) == [{"action": 0}]


def test_rtn23_something_comes_within_the_idle_interval(rig):
    client = rig.connect()
    rig.pass_time(14_999)
    assert client.got(Action.HEARTBEAT) == []
    rig.pass_time(1)
    assert client.got(Action.HEARTBEAT) == [{"action": 0}]
    rig.pass_time(30_000)
    assert len(client.got(Action.HEARTBEAT)) == 3


def test_rtn23_what_is_sent_counts_as_a_heartbeat(rig):
    client = rig.connect()
    rig.pass_time(10_000)
    client.attach("foo")
    rig.pass_time(10_000)
    assert client.got(Action.HEARTBEAT) == []
    rig.pass_time(5_000)
    assert len(client.got(Action.HEARTBEAT)) == 1


def test_rtn23b_without_heartbeats_the_transport_is_pinged(rig):
    client = rig.connect(heartbeats="false", heartbeatInterval="5000")
    assert client.connected["connectionDetails"]["maxIdleInterval"] == 5_000
    rig.pass_time(15_000)
    assert client.pings == 3
    assert client.got(Action.HEARTBEAT) == []


def test_rtn12_close_is_answered_and_ends_it(rig):
    client = rig.connect()
    assert client.say(Action.CLOSE) == [{"action": 8}]
    assert client.closed
    again = rig.connect(resume=client.key)
    assert again.connected["error"]["code"] == 80008


# --- resume and recover ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["resume", "recover"])
def test_rtn15c6_rtn16d_the_same_id_with_a_new_key(rig, how):
    client = rig.connect()
    client.lose()
    rig.pass_time(119_999)
    again = rig.connect(**{how: client.key})
    assert again.id == client.id
    assert again.key != client.key
    assert "error" not in again.connected


def test_rtn15_a_client_that_missed_its_new_key_has_the_old_one(rig):
    client = rig.connect()
    client.lose()
    rig.connect(resume=client.key).lose()
    assert rig.connect(resume=client.key).id == client.id


def test_rtn15c7_after_two_minutes_it_is_a_new_connection(rig):
    client = rig.connect()
    client.lose()
    rig.pass_time(120_000)
    again = rig.connect(resume=client.key)
    assert again.id != client.id
    assert again.connected["error"]["code"] == 80008


@pytest.mark.parametrize("key", ["_____!ablyjs_test_fake-key____", "nonsense", "", "!", "a!b-9"])
def test_rtn15c7_rtn16l_an_unknown_key_makes_a_new_connection(rig, key):
    client = rig.connect(recover=key)
    assert client.connected["error"]["code"] == 80018
    assert client.connected["error"]["statusCode"] == 400


def test_rtn15c7_somebody_elses_key_is_of_no_use(rig):
    client = rig.connect(clientId="ann")
    client.lose()
    thief = rig.connect(resume=client.key, clientId="eve")
    assert thief.id != client.id
    assert thief.connected["error"]["code"] == 80011


def test_rtn15_a_forged_secret_is_of_no_use(rig):
    client = rig.connect()
    other = rig.connect()
    forged = client.id + "!" + other.key.partition("!")[2]
    assert rig.connect(resume=forged).connected["error"]["code"] == 80018


def test_rtn15_a_new_transport_takes_over_from_the_old(rig):
    old = rig.connect()
    old.attach("foo")
    new = rig.connect(resume=old.key)
    assert new.id == old.id
    assert old.closed
    assert old.say(Action.HEARTBEAT) == []
    old.session.lost()  # noticed late: it is no more its connection
    assert new.say(Action.HEARTBEAT) == [{"action": 0}]


def test_rtn19a_what_was_sent_before_is_answered_again_and_not_published_again(rig):
    reader = rig.connect()
    reader.attach("foo")
    client = rig.connect()
    first = client.publish("foo", {"name": "a"})
    refused = client.publish(":", {"name": "a"})
    client.lose()
    again = rig.connect(resume=client.key)
    assert again.publish("foo", {"name": "a"}) == first
    assert again.publish(":", {"name": "a"}) == refused
    assert len(reader.messages()) == 1
    assert again.publish("foo", {"name": "b"})["res"][0]["serials"] != first["res"][0]["serials"]


def test_disconnect_of_a_client_keeps_its_state(rig):
    client = rig.connect()
    client.say(Action.DISCONNECT)
    assert client.closed
    assert rig.connect(resume=client.key).id == client.id


# --- frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["", "x", "[]", "{}", '{"action":"15"}', b"\xc1", b"", "[" * 9999])
def test_rtn15j_a_frame_that_cannot_be_read_is_fatal(rig, raw):
    client = rig.connect()
    client.session.receive(raw)
    assert client.frames[-1]["action"] == Action.ERROR
    assert client.frames[-1]["error"]["code"] == 40000
    assert client.closed


def test_a_frame_may_be_only_so_large(rig):
    client = rig.connect()
    client.session.receive("x" * 524_289)
    assert client.frames[-1]["error"]["code"] == 40009


def test_rsf1_an_unknown_action_is_let_be(rig):
    client = rig.connect()
    assert client.say(99) == []
    assert client.say(99, msgSerial=0)[0]["action"] == Action.NACK
    assert not client.closed


# --- credentials on a live connection -------------------------------------------------------


def _token(rig, key=None, **fields):
    """A token of the key, by the pure function behind requestToken."""
    from realtime_kit.emulators.ably.auth import authenticate_key
    from realtime_kit.emulators.ably.tokens import request_token

    key = key or rig.app.keys["local0.dev"]
    access = authenticate_key(rig.world, key.text, rig.now)
    return request_token(rig.app, key, fields, access, rig.now)["token"]


def test_rtn22_a_client_is_asked_for_a_new_token_and_sent_away_when_it_expires(rig):
    client = rig.connect(access_token=_token(rig, ttl=60_000))
    rig.pass_time(29_999)
    assert client.got(Action.AUTH) == []
    rig.pass_time(1)
    assert client.got(Action.AUTH) == [{"action": 17}]
    rig.pass_time(30_000)
    (gone,) = client.got(Action.DISCONNECTED)
    assert gone["error"]["code"] == 40142
    assert gone["error"]["statusCode"] == 401
    assert client.closed
    again = rig.connect(access_token=_token(rig), resume=client.key)
    assert again.id == client.id


def test_rtn22_a_short_token_is_not_asked_for_anew_as_soon_as_it_is_there(rig):
    client = rig.connect(access_token=_token(rig, ttl=20_000))
    for _ in range(3):
        rig.pass_time(4_999)
        assert client.got(Action.AUTH) == []
        rig.pass_time(1)
        assert client.got(Action.AUTH) == [{"action": 17}]
        client.say(Action.AUTH, auth={"accessToken": _token(rig, ttl=20_000)})
        client.frames.clear()


def test_rtn22_there_is_no_time_to_ask_when_little_is_left(rig):
    client = rig.connect(access_token=_token(rig, ttl=5_000))
    rig.pass_time(5_000)
    assert client.got(Action.AUTH) == []
    assert client.closed


def test_rtc8a_auth_is_answered_with_connected_and_moves_the_expiry(rig):
    client = rig.connect(access_token=_token(rig, ttl=60_000, clientId="ann"))
    new = _token(rig, ttl=3_600_000, clientId="ann")
    (answer,) = client.say(Action.AUTH, auth={"accessToken": new})
    assert answer["action"] == Action.CONNECTED
    assert answer["connectionId"] == client.id
    rig.pass_time(60_000)
    assert not client.closed


def test_rtc8a1_new_rights_are_had_at_once_and_lost_ones_end_the_attachment(rig):
    client = rig.connect(access_token=_token(rig, capability='{"foo":["subscribe"]}'))
    client.attach("foo")
    assert client.publish("foo", {"name": "x"})["error"]["code"] == 40160
    new = _token(rig, capability='{"foo":["publish","subscribe"]}')
    client.say(Action.AUTH, auth={"accessToken": new})
    assert client.publish("foo", {"name": "x"})["action"] == Action.ACK
    other = _token(rig, capability='{"bar":["subscribe"]}')
    answers = client.say(Action.AUTH, auth={"accessToken": other})
    assert [answer["action"] for answer in answers] == [Action.CONNECTED, Action.ERROR]
    assert answers[1]["channel"] == "foo"
    assert answers[1]["error"]["code"] == 40160
    assert not client.closed
    rig.connect().publish("foo", {"name": "unseen"})
    assert [message["name"] for message in client.messages()] == ["x"]


def test_rsa15_auth_as_somebody_else_is_fatal(rig):
    client = rig.connect(access_token=_token(rig, clientId="ann"))
    answers = client.say(Action.AUTH, auth={"accessToken": _token(rig, clientId="eve")})
    assert answers[-1]["action"] == Action.ERROR
    assert answers[-1]["error"]["code"] == 40102
    assert client.closed


@pytest.mark.parametrize("auth", [None, {}, {"accessToken": 1}, {"accessToken": "local0.nope"}])
def test_rtc8a2_a_bad_token_is_fatal_and_not_to_be_renewed(rig, auth):
    client = rig.connect(access_token=_token(rig))
    answers = client.say(Action.AUTH, auth=auth)
    assert answers[-1]["error"]["code"] == 40101
    assert client.closed


def test_rsa17_a_revoked_token_ends_its_connections(rig):
    from realtime_kit.emulators.ably.auth import authenticate_key
    from realtime_kit.emulators.ably.tokens import revoke_tokens

    key = Key("local0.rev", "secret", revocable_tokens=True)
    rig.app.keys[key.name] = key
    ann = rig.connect(access_token=_token(rig, key, clientId="ann"))
    bob = rig.connect(access_token=_token(rig, key, clientId="bob"))
    rig.pass_time(1)
    access = authenticate_key(rig.world, key.text, rig.now)
    revoke_tokens(rig.app, key, access, {"targets": ["clientId:ann"]}, rig.now)
    assert ann.frames[-1]["action"] == Action.DISCONNECTED
    assert ann.frames[-1]["error"]["code"] == 40141
    assert ann.closed
    assert not bob.closed
    revoke_tokens(
        rig.app, key, access, {"targets": ["clientId:bob"], "allowReauthMargin": True}, rig.now
    )
    assert bob.frames[-1]["action"] == Action.AUTH
    rig.pass_time(30_000)
    assert bob.frames[-1]["error"]["code"] == 40141


def test_two_apps_know_nothing_of_each_other(rig):
    rig.world.add_app("other0", [Key("other0.dev", "secret")])
    here, there = rig.connect(), rig.connect(key="other0.dev:secret")
    here.attach("foo")
    there.attach("foo")
    here.publish("foo", {"name": "x"})
    assert len(here.messages()) == 1
    assert there.messages() == []
    assert rig.connect(key="other0.dev:secret", resume=here.key).connected["error"]["code"] == 80018
