"""Presence channels: members, several connections of one user, limits."""

from __future__ import annotations

import json

import pytest

from realtime_kit.events import Limits

CHANNEL = "presence-room"


def added(user_id, info=None):
    data = {"user_id": user_id} | ({} if info is None else {"user_info": info})
    return ("pusher_internal:member_added", data)


def removed(user_id):
    return ("pusher_internal:member_removed", {"user_id": user_id})


@pytest.fixture
def told(data):
    """Take a peer's member events on the channel: (event, data)."""

    def take(peer):
        frames = peer.take()
        assert {frame["channel"] for frame in frames} <= {CHANNEL}
        return [(frame["event"], data(frame)) for frame in frames]

    return take


def test_the_members_that_one_is_told(peers, data):
    first, second = peers(), peers()
    (sent,) = first.enter(CHANNEL, "1", {"name": "A"})
    assert sent["event"] == "pusher_internal:subscription_succeeded"
    assert data(sent) == {"presence": {"ids": ["1"], "hash": {"1": {"name": "A"}}, "count": 1}}
    (sent,) = second.enter(CHANNEL, "2")
    assert data(sent) == {
        "presence": {"ids": ["1", "2"], "hash": {"1": {"name": "A"}, "2": None}, "count": 2}
    }


def test_others_are_told_and_the_joiner_is_not(peers, told):
    first, second = peers(), peers()
    first.enter(CHANNEL, "1")
    assert len(second.enter(CHANNEL, "2", {"name": "B"})) == 1
    assert told(first) == [added("2", {"name": "B"})]
    second.leave(CHANNEL)
    assert told(first) == [removed("2")]
    assert told(second) == []


def test_one_user_in_several_tabs_is_one_member(peers, told, data):
    watcher, tab1, tab2 = peers(), peers(), peers()
    watcher.enter(CHANNEL, "w")
    tab1.enter(CHANNEL, "1", {"tab": 1})
    (sent,) = tab2.enter(CHANNEL, "1", {"tab": 2})
    # The first connection's info stands for all of a user's connections.
    assert data(sent)["presence"] == {
        "ids": ["w", "1"],
        "hash": {"w": None, "1": {"tab": 1}},
        "count": 2,
    }
    assert told(watcher) == [added("1", {"tab": 1})]
    assert told(tab1) == []
    tab1.go()
    assert told(watcher) == []
    tab2.leave(CHANNEL)
    assert told(watcher) == [removed("1")]


def test_a_lost_connection_leaves_everything_at_once(peers, told):
    watcher, gone = peers(), peers()
    watcher.enter(CHANNEL, "w")
    gone.enter(CHANNEL, "1")
    told(watcher)
    gone.go()
    assert told(watcher) == [removed("1")]
    gone.go()
    assert told(watcher) == []


def test_numbers_become_strings(world, peers, data):
    (sent,) = peers().join(CHANNEL, '{"user_id":10,"user_info":{"name":"Mr. Channels"}}')
    assert data(sent)["presence"]["ids"] == ["10"]
    assert world.http("GET", f"/channels/{CHANNEL}/users") == (200, {"users": [{"id": "10"}]})


@pytest.mark.parametrize("channel", [CHANNEL, "presence-cache-a"])
@pytest.mark.parametrize("sent", [{}, {"channel_data": ""}, {"channel_data": None}])
def test_channel_data_is_missing(peers, error, channel, sent):
    peer = peers()
    assert peer.subscribe(channel, **{**peer.proof(channel), **sent}) == [
        error(f"{channel} is a presence channel and subscription must include channel_data")
    ]


def test_channel_data_is_no_string(peers, error):
    for channel in (CHANNEL, "private-a"):
        assert peers().subscribe(channel, auth="app-key:0", channel_data={"user_id": "1"}) == [
            error(f"Invalid channel_data for {channel}: it must be a string of JSON")
        ]


@pytest.mark.parametrize(
    "channel_data", ["5", "[]", '"x"', "{", "null", "NaN", "[" * 999 + "]" * 9, '{"user_id":1e999']
)
def test_channel_data_is_no_object(peers, error, channel_data):
    assert peers().join(CHANNEL, channel_data) == [
        error(f"Invalid channel_data for {CHANNEL}: it must be a JSON object")
    ]


def test_user_info_that_json_cannot_say_again(peers, error):
    assert peers().join(CHANNEL, '{"user_id":"1","user_info":1e999}') == [
        error(f"Invalid channel_data for {CHANNEL}: it must be a JSON object")
    ]


@pytest.mark.parametrize("user_id", ["", None, True, 1.5, [], {}])
def test_a_member_needs_an_id(peers, error, user_id):
    assert peers().enter(CHANNEL, user_id) == [
        error(f"channel_data for {CHANNEL} must include a user_id")
    ]


def test_the_signature_is_looked_at_first(peers):
    (sent,) = peers().subscribe(CHANNEL, auth="app-key:0", channel_data="rubbish")
    assert sent["data"]["message"].startswith("Invalid signature")


def test_limits_of_a_member(peers, error):
    peer = peers()
    assert peer.enter(CHANNEL, "u" * 129) == [error("User id of 129 characters; the limit is 128")]
    text = json.dumps({"user_id": "1", "user_info": "é"}, ensure_ascii=False)
    over = text.replace("é", "é" * ((1024 - len(text)) // 2 + 1))
    assert peer.join(CHANNEL, over) == [
        error(f"channel_data for {CHANNEL} exceeds the allowed maximum (1024 bytes)")
    ]
    assert len(peer.join(CHANNEL, over.replace("é", "", 1))) == 1


def test_a_full_channel(make_world, error):
    world = make_world(limits=Limits(presence_members=2))
    one, two, three = (world.connect() for _ in range(3))
    one.enter(CHANNEL, "1")
    two.enter(CHANNEL, "2")
    full = [error(f"{CHANNEL} is full: a presence channel has at most 2 members")]
    assert three.enter(CHANNEL, "3") == full
    assert world.http("GET", f"/channels/{CHANNEL}", info="user_count")[1]["user_count"] == 2
    # Another tab of a member is no new member.
    assert three.enter(CHANNEL, "2")[0]["event"] == "pusher_internal:subscription_succeeded"
    three.leave(CHANNEL)
    two.leave(CHANNEL)
    assert three.enter(CHANNEL, "3")[0]["event"] == "pusher_internal:subscription_succeeded"


def test_a_signed_in_user_needs_no_channel_data(peers, told, data):
    watcher, peer = peers(), peers()
    watcher.enter(CHANNEL, "w")
    peer.sign_in("7", user_info={"name": "G"}, watchlist=[])
    (sent,) = peer.join(CHANNEL)
    assert data(sent)["presence"]["hash"] == {"w": None, "7": {"name": "G"}}
    assert told(watcher) == [added("7", {"name": "G"})]


def test_a_signed_in_user_without_info(peers, data):
    peer = peers()
    peer.sign_in("7")
    (sent,) = peer.join(CHANNEL)
    assert data(sent)["presence"]["hash"] == {"7": None}


def test_a_signed_in_user_still_needs_the_proof(peers):
    peer = peers()
    peer.sign_in("7")
    (sent,) = peer.subscribe(CHANNEL, auth="app-key:0")
    assert sent["data"]["message"].startswith("Invalid signature")


def test_the_limit_counts_for_a_signed_in_user_too(peers, error):
    peer = peers()
    peer.sign_in("7", user_info="x" * 1024)
    assert peer.join(CHANNEL) == [
        error(f"channel_data for {CHANNEL} exceeds the allowed maximum (1024 bytes)")
    ]


def test_ids_and_info_that_utf8_cannot_carry(peers, told, data):
    watcher, peer = peers(), peers()
    watcher.enter(CHANNEL, "w")
    peer.enter(CHANNEL, "\ud800", {"name": "\udfff"})
    assert told(watcher) == [added("\ud800", {"name": "\udfff"})]
    peer.go()
    assert told(watcher) == [removed("\ud800")]
