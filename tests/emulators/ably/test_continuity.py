"""Ably's specification, RTL: what was missed, what is rewound, what is kept."""

from __future__ import annotations

import pytest

from realtime_kit.emulators.ably.wire import Action, Flag

# --- continuity -----------------------------------------------------------------------------


def _names(client, channel=None):
    return [message["name"] for message in client.messages(channel)]


def test_rtl4c1_what_was_missed_is_sent_after_attached(rig):
    client, writer = rig.connect(), rig.connect()
    client.attach("foo")
    writer.publish("foo", {"name": "seen"})
    serial = client.frames[-1]["channelSerial"]
    client.lose()
    writer.publish("foo", {"name": "a"}, {"name": "b"})
    writer.publish("foo", {"name": "c"})
    again = rig.connect(resume=client.key)
    attached = again.attach("foo", channelSerial=serial)
    assert attached["flags"] & Flag.RESUMED
    assert "error" not in attached
    assert _names(again) == ["a", "b", "c"]
    assert again.got(Action.MESSAGE)[-1]["channelSerial"] > serial


def test_rtl4c1_continuity_does_not_need_the_same_connection(rig):
    writer = rig.connect()
    serial = rig.connect().attach("foo")["channelSerial"]
    writer.publish("foo", {"name": "a"})
    fresh = rig.connect()
    assert fresh.attach("foo", channelSerial=serial)["flags"] & Flag.RESUMED
    assert _names(fresh) == ["a"]


def test_rtl4c1_an_idle_channel_is_continuous_for_ever(rig):
    serial = rig.connect().attach("foo")["channelSerial"]
    rig.pass_time(24 * 3_600_000)
    assert rig.connect().attach("foo", channelSerial=serial)["flags"] & Flag.RESUMED


def test_rtl12_what_is_no_longer_known_is_a_loss_of_continuity(rig):
    writer = rig.connect()
    serial = rig.connect().attach("foo")["channelSerial"]
    writer.publish("foo", {"name": "a"})
    rig.pass_time(120_001)
    lost = rig.connect()
    attached = lost.attach("foo", channelSerial=serial)
    assert not attached["flags"] & Flag.RESUMED
    assert attached["error"]["code"] == 90003
    assert attached["error"]["statusCode"] == 404
    assert _names(lost) == []


@pytest.mark.parametrize("serial", ["nonsense", "01700000000000-000@another000", "9" * 14])
def test_rtl12_a_serial_of_another_life_is_a_loss_of_continuity(rig, serial):
    attached = rig.connect().attach("foo", channelSerial=serial)
    assert not attached["flags"] & Flag.RESUMED
    assert attached["error"]["code"] == 90003


def test_rtl7f_what_is_ones_own_is_missed_like_any_other_unless_it_is_not_echoed(rig):
    for echo, expected in [("true", ["mine"]), ("false", [])]:
        client = rig.connect(echo=echo)
        serial = client.attach("foo" + echo)["channelSerial"]
        client.publish("foo" + echo, {"name": "mine"})
        client.lose()
        again = rig.connect(resume=client.key, echo=echo)
        again.attach("foo" + echo, channelSerial=serial)
        assert _names(again) == expected


# --- rewind and qualifiers ------------------------------------------------------------------


def test_rewind_by_number_on_the_first_attach_only(rig):
    writer, client = rig.connect(), rig.connect()
    writer.publish("foo", {"name": "a"}, {"name": "b"})
    writer.publish("foo", {"name": "c"})
    attached = client.attach("foo", params={"rewind": "2"})
    assert attached["flags"] & Flag.HAS_BACKLOG
    assert attached["params"] == {"rewind": "2"}
    assert _names(client) == ["b", "c"]
    client.attach("foo", params={"rewind": "2"})
    assert _names(client) == ["b", "c"]


def test_rewind_by_time_with_a_limit(rig):
    writer, client, few = rig.connect(), rig.connect(), rig.connect()
    for name in "abc":
        writer.publish("foo", {"name": name})
        rig.pass_time(10_000)
    client.attach("foo", params={"rewind": "25s"})
    few.attach("foo", params={"rewind": "2m", "rewindLimit": "1"})
    assert _names(client) == ["b", "c"]
    assert _names(few) == ["c"]


def test_rtl4j2_there_is_no_rewind_for_who_was_attached_before(rig):
    writer, client = rig.connect(), rig.connect()
    writer.publish("foo", {"name": "a"})
    client.attach("foo", params={"rewind": "1"}, flags=int(Flag.ATTACH_RESUME))
    assert _names(client) == []


def test_rewind_of_nothing_has_no_backlog(rig):
    assert not rig.connect().attach("foo", params={"rewind": "1"})["flags"] & Flag.HAS_BACKLOG


@pytest.mark.parametrize("rewind", ["x", "-1", "1h", "", "1.5"])
def test_rewind_must_be_readable(rig, rewind):
    error = rig.connect().attach("foo", params={"rewind": rewind})
    assert (error["action"], error["error"]["code"]) == (Action.ERROR, 40000)


def test_a_qualified_name_is_the_same_channel_under_its_own_name(rig):
    writer, client = rig.connect(), rig.connect()
    writer.publish("foo", {"name": "a"})
    name = "[?rewind=1]foo"
    assert client.attach(name)["channel"] == name
    writer.publish("foo", {"name": "b"})
    client.publish(name, {"name": "c"})
    assert _names(client, name) == ["a", "b", "c"]
    assert {frame["channel"] for frame in client.got(Action.MESSAGE)} == {name}


def test_occupancy_is_told_when_it_changes(rig):
    client, other = rig.connect(), rig.connect(clientId="ann")
    client.attach("foo", params={"occupancy": "metrics"})
    client.attach("bar", params={"occupancy": "metrics.subscribers"})
    other.attach("foo")
    other.presence("foo", {"action": 2})
    other.lose()
    told = [m for m in client.messages("foo") if m["name"] == "[meta]occupancy"]
    assert told[0]["encoding"] == "json"
    assert '"connections":1' in told[0]["data"]
    assert '"connections":2' in told[1]["data"]
    assert '"presenceMembers":1' in told[2]["data"]
    assert '"connections":1' in told[3]["data"]
    assert [m["data"] for m in client.messages("bar")] == ['{"metrics":{"subscribers":1}}']


# --- history --------------------------------------------------------------------------------


def test_rtl10b_history_until_attach_ends_where_the_attachment_begins(rig):
    writer, client = rig.connect(), rig.connect()
    writer.publish("foo", {"name": "before"})
    serial = client.attach("foo")["channelSerial"]
    writer.publish("foo", {"name": "after"})
    channel = rig.app.channel("foo")
    assert [m.name for m in channel.history(until=serial)] == ["before"]
    assert [m.name for m in channel.history()] == ["after", "before"]
    assert [m.name for m in channel.history(forwards=True)] == ["before", "after"]


def test_rsl2_history_is_of_two_minutes_or_persisted(rig):
    writer = rig.connect()
    writer.publish("foo", {"name": "x"})
    writer.publish("persisted:foo", {"name": "x"})
    between = rig.now
    rig.pass_time(120_001)
    writer.publish("persisted:foo", {"name": "y"})
    assert rig.app.channel("foo").history() == []
    kept = rig.app.channel("persisted:foo")
    assert [m.name for m in kept.history()] == ["y", "x"]
    assert [m.name for m in kept.history(end=between)] == ["x"]
    assert [m.name for m in kept.history(start=between + 1)] == ["y"]
