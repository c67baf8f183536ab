"""Ably's specification, RTP: entering, leaving, and who is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.emulators.ably.wire import Action, Flag

ABSENT, PRESENT, ENTER, LEAVE, UPDATE = range(5)


def test_rtp8_entering_is_acknowledged_and_told_to_all(rig):
    ann, bob = rig.connect(clientId="ann"), rig.connect(clientId="bob")
    ann.attach("foo")
    bob.attach("foo")
    ack = ann.presence("foo", {"action": ENTER, "data": "here"})
    assert (ack["action"], ack["msgSerial"], ack["count"]) == (Action.ACK, 0, 1)
    for client in (ann, bob):
        (frame,) = client.got(Action.PRESENCE)
        (event,) = frame["presence"]
        assert frame["connectionId"] == ann.id
        assert frame["channelSerial"]
        assert event["id"] == f"{ann.id}:0:0"
        assert (event["clientId"], event["connectionId"]) == ("ann", ann.id)
        assert (event["action"], event["data"], event["timestamp"]) == (ENTER, "here", rig.now)


def test_rtp1_who_attaches_is_told_who_is_there(rig):
    ann, bob = rig.connect(clientId="ann"), rig.connect()
    assert not ann.attach("foo")["flags"] & Flag.HAS_PRESENCE
    ann.presence("foo", {"action": ENTER, "data": "x"})
    attached, sync = bob.say(Action.ATTACH, channel="foo")
    assert attached["flags"] & Flag.HAS_PRESENCE
    assert sync["action"] == Action.SYNC
    assert sync["channelSerial"].endswith(":")
    (member,) = sync["presence"]
    assert (member["action"], member["clientId"], member["data"]) == (PRESENT, "ann", "x")
    assert member["id"] == f"{ann.id}:0:0"


def test_rtp18_many_members_come_in_pages_of_one_sequence(rig_with):
    rig = rig_with(sync_page=2)
    crowd = rig.connect()
    crowd.attach("foo")
    for name in "abcde":
        crowd.presence("foo", {"action": ENTER, "clientId": name})
    pages = rig.connect().say(Action.ATTACH, channel="foo")[1:]
    assert [len(page["presence"]) for page in pages] == [2, 2, 1]
    sequences, cursors = zip(*(page["channelSerial"].split(":") for page in pages), strict=True)
    assert len(set(sequences)) == 1
    assert cursors == ("2", "4", "")


def test_rtp18_a_client_may_ask_for_a_sync(rig):
    ann = rig.connect(clientId="ann")
    ann.attach("foo")
    assert ann.say(Action.SYNC, channel="foo")[0].get("presence", []) == []
    ann.presence("foo", {"action": ENTER})
    first = ann.say(Action.SYNC, channel="foo")[0]
    second = ann.say(Action.SYNC, channel="foo")[0]
    assert [member["clientId"] for member in first["presence"]] == ["ann"]
    assert first["channelSerial"] != second["channelSerial"]


def test_rtp9_updating_enters_who_was_not_there(rig):
    ann = rig.connect(clientId="ann")
    ann.attach("foo")
    ann.presence("foo", {"action": UPDATE, "data": "1"})
    ann.presence("foo", {"action": UPDATE, "data": "2"})
    assert ann.members() == [(ENTER, "ann"), (UPDATE, "ann")]
    assert rig.app.channel("foo").present()[0].data == "2"


def test_rtp8e_leaving_without_data_carries_the_last(rig):
    ann = rig.connect(clientId="ann")
    ann.attach("foo")
    ann.presence("foo", {"action": ENTER, "data": {"a": 1}})
    ann.presence("foo", {"action": LEAVE})
    event = ann.frames[-2]["presence"][0]
    assert (event["action"], event["data"], event["encoding"]) == (LEAVE, '{"a":1}', "json")
    assert rig.app.channel("foo").present() == []


def test_rtp10d_who_is_not_there_may_leave(rig):
    ann = rig.connect(clientId="ann")
    ann.attach("foo")
    assert ann.presence("foo", {"action": LEAVE})["action"] == Action.ACK
    assert ann.members() == []


def test_rtp14_one_connection_may_be_many_members(rig):
    crowd, other = rig.connect(), rig.connect()
    crowd.attach("foo")
    other.attach("foo")
    crowd.presence("foo", {"action": ENTER, "clientId": "a"}, {"action": ENTER, "clientId": "b"})
    other.presence("foo", {"action": ENTER, "clientId": "a"})
    channel = rig.app.channel("foo")
    assert [m.client_id for m in channel.present(connection_id=crowd.id)] == ["a", "b"]
    assert len(channel.present(client_id="a")) == 2


@pytest.mark.parametrize(
    ("params", "event", "code"),
    [
        ({}, {}, 91000),
        ({"clientId": "ann"}, {"clientId": "eve"}, 40012),
        ({"clientId": "ann"}, {"clientId": "*"}, 40012),
        ({"clientId": "ann"}, {"action": 9}, 40003),
        ({"clientId": "ann"}, {"data": "x" * 65_537}, 40009),
    ],
)
def test_rtp8i_rtp8j_who_cannot_enter(rig, params, event, code):
    client = rig.connect(**params)
    client.attach("foo")
    nack = client.presence("foo", {"action": ENTER, **event})
    assert (nack["action"], nack["count"]) == (Action.NACK, 1)
    assert nack["error"]["code"] == code
    assert client.members() == []


def test_rtp8h_presence_needs_capability_mode_and_attachment(rig):
    client = rig.connect(key=rig.key('{"foo":["presence","subscribe"],"bar":["subscribe"]}'))
    enter = {"action": ENTER, "clientId": "ann"}
    assert client.presence("foo", enter)["error"]["code"] == 91001
    client.attach("foo", flags=int(Flag.SUBSCRIBE))
    assert client.presence("foo", enter)["error"]["code"] == 40165
    client.attach("bar")
    assert client.presence("bar", enter)["error"]["code"] == 40160


def test_rtp17a_ones_own_members_are_told_without_the_mode(rig):
    silent, other = rig.connect(clientId="ann"), rig.connect(clientId="bob")
    silent.attach("foo", flags=int(Flag.PRESENCE))
    other.attach("foo")
    other.presence("foo", {"action": ENTER})
    silent.presence("foo", {"action": ENTER})
    assert silent.members() == [(ENTER, "ann")]
    again = silent.say(Action.ATTACH, channel="foo", flags=int(Flag.PRESENCE))
    assert [member["clientId"] for member in again[1]["presence"]] == ["ann"]


def test_a_channel_has_room_for_so_many_members(rig_with):
    client = rig_with(presence_members=2).connect()
    client.attach("foo")
    client.presence("foo", *({"action": ENTER, "clientId": name} for name in "ab"))
    assert client.presence("foo", {"action": ENTER, "clientId": "c"})["error"]["code"] == 91003
    assert client.presence("foo", {"action": UPDATE, "clientId": "a"})["action"] == Action.ACK


# --- leaving without a word -----------------------------------------------------------------


def _two(rig, **params):
    ann, bob = rig.connect(clientId="ann", **params), rig.connect()
    ann.attach("foo")
    bob.attach("foo")
    ann.presence("foo", {"action": ENTER, "data": "x"})
    return ann, bob


def test_rtp2b1_who_is_lost_leaves_after_15_seconds_and_did_not_say_so(rig):
    ann, bob = _two(rig)
    ann.lose()
    rig.pass_time(14_999)
    assert bob.members() == [(ENTER, "ann")]
    rig.pass_time(1)
    assert bob.members() == [(ENTER, "ann"), (LEAVE, "ann")]
    event = bob.got(Action.PRESENCE)[-1]["presence"][0]
    assert not event["id"].startswith(ann.id + ":")
    assert (event["connectionId"], event["data"]) == (ann.id, "x")
    assert event["timestamp"] > rig.now - 15_000


def test_remain_present_for_is_the_clients_choice(rig):
    ann, bob = _two(rig, remainPresentFor="60000")
    ann.lose()
    rig.pass_time(59_999)
    assert bob.members() == [(ENTER, "ann")]
    rig.pass_time(1)
    assert bob.members()[-1] == (LEAVE, "ann")


def test_who_comes_back_in_time_never_left(rig):
    ann, bob = _two(rig)
    entered = ann.got(Action.PRESENCE)[0]["presence"][0]
    ann.lose()
    rig.pass_time(14_000)
    again = rig.connect(clientId="ann", resume=ann.key)
    again.serial = ann.serial
    again.attach("foo", channelSerial=ann.got(Action.PRESENCE)[-1]["channelSerial"])
    rig.pass_time(60_000)
    back = {"action": ENTER, "id": entered["id"], "data": "x"}  # RTP17g
    assert again.presence("foo", back)["action"] == Action.ACK
    assert bob.members() == [(ENTER, "ann")]
    assert rig.app.channel("foo").present()[0].id == entered["id"]


@pytest.mark.parametrize("how", [Action.CLOSE, Action.DETACH])
def test_who_closes_or_detaches_leaves_at_once(rig, how):
    ann, bob = _two(rig)
    ann.say(how, **({"channel": "foo"} if how == Action.DETACH else {}))
    assert bob.members() == [(ENTER, "ann"), (LEAVE, "ann")]


def test_rtp19_presence_events_are_missed_like_messages(rig):
    ann, bob = _two(rig)
    serial = bob.got(Action.PRESENCE)[-1]["channelSerial"]
    bob.lose()
    ann.presence("foo", {"action": UPDATE, "data": "y"})
    again = rig.connect(resume=bob.key)
    frames = again.say(Action.ATTACH, channel="foo", channelSerial=serial)
    assert [frame["action"] for frame in frames] == [
        Action.ATTACHED,
        Action.PRESENCE,
        Action.SYNC,
    ]
    assert again.members() == [(UPDATE, "ann"), (PRESENT, "ann")]


def test_rsp4_presence_has_a_history(rig):
    ann, _ = _two(rig)
    ann.presence("foo", {"action": LEAVE, "data": "bye"})
    events = rig.app.channel("foo").presence_history()
    assert [(event.action, event.data) for event in events] == [(LEAVE, "bye"), (ENTER, "x")]


# --- what holds whatever happens ------------------------------------------------------------

_deeds = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["enter", "update", "leave", "detach", "lose", "wait", "say"]),
        st.sampled_from("ab"),
    ),
    max_size=40,
)


@given(_deeds)
def test_whoever_watches_knows_who_is_there_and_hears_all_in_one_order(rig_with, deeds):
    """The watchers apply RTP2 to what they are sent; serials only grow."""
    rig = rig_with()
    watchers = [rig.connect(), rig.connect(format="msgpack")]
    for watcher in watchers:
        watcher.attach("foo")
    actors = [rig.connect() for _ in range(3)]
    for number, deed, name in deeds:
        actors[number] = _do(rig, actors[number], deed, name)
    rig.pass_time(130_000)
    there = {member.key for member in rig.app.channel("foo").present()}
    heard = [_heard(watcher) for watcher in watchers]
    assert heard[0][0] == heard[1][0] == there
    assert heard[0][1] == heard[1][1] == sorted(set(heard[0][1]))
    live = {actor.id for actor in actors if not actor.closed}
    assert {key.partition(":")[0] for key in there} <= live


def _do(rig, actor, deed, name):
    if actor.closed:
        before, actor = actor, rig.connect(resume=actor.key)
        actor.serial = before.serial
    if "foo" not in actor.session.connection.attachments:
        actor.attach("foo")
    match deed:
        case "enter" | "update" | "leave":
            action = {"enter": ENTER, "update": UPDATE, "leave": LEAVE}[deed]
            actor.presence("foo", {"action": action, "clientId": name})
        case "detach":
            actor.say(Action.DETACH, channel="foo")
        case "lose":
            actor.lose()
        case "wait":
            rig.pass_time(9_000)
        case "say":
            actor.publish("foo", {"name": name})
    return actor


def _heard(watcher):
    members, serials = set(), []
    for frame in watcher.frames:
        if frame["action"] not in (Action.PRESENCE, Action.MESSAGE):
            continue
        serials.append(frame["channelSerial"])
        for event in frame.get("presence", ()):
            key = f"{event['connectionId']}:{event['clientId']}"
            (members.discard if event["action"] == LEAVE else members.add)(key)
    return members, serials
