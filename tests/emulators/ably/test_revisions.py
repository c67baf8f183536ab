"""Changing messages. Ably's specification, RSL11 to RSL15 and RTL28 to RTL32."""

from __future__ import annotations

import pytest

from realtime_kit.emulators.ably.app import Namespace
from realtime_kit.emulators.ably.wire import Action

CREATE, UPDATE, DELETE, _, _, APPEND = range(6)


@pytest.fixture
def rig(rig):
    rig.app.namespaces["mutable"] = Namespace("mutable", mutable_messages=True)
    return rig


CHANNEL = "mutable:foo"


def _published(client, **message):
    return client.publish(CHANNEL, message)["res"][0]["serials"][0]


def test_rtl32_an_update_is_published_with_the_serial_of_the_original(rig):
    writer, reader = rig.connect(clientId="ann"), rig.connect()
    reader.attach(CHANNEL)
    serial = _published(writer, name="a", data="old", extras={"headers": {"x": 1}})
    rig.pass_time(5)
    operation = {"description": "why", "metadata": {"a": "b"}}
    ack = writer.publish(
        CHANNEL, {"action": UPDATE, "serial": serial, "data": "new", "version": operation}
    )
    (version,) = ack["res"][0]["serials"]
    created, updated = reader.messages()
    assert created["version"] == {"serial": serial, "timestamp": created["timestamp"]}
    assert (updated["action"], updated["serial"]) == (UPDATE, serial)
    assert (updated["name"], updated["data"], updated["clientId"]) == ("a", "new", "ann")
    assert updated["extras"] == {"headers": {"x": 1}}
    assert updated["timestamp"] == created["timestamp"]
    assert updated["version"] == {
        "serial": version,
        "timestamp": rig.now,
        "clientId": "ann",
        **operation,
    }
    assert version > serial


def test_rsl2_history_has_the_latest_version_in_the_originals_place(rig):
    writer = rig.connect()
    first, _ = _published(writer, name="a", data="1"), _published(writer, name="b", data="2")
    writer.publish(CHANNEL, {"action": UPDATE, "serial": first, "data": "3"})
    writer.publish(CHANNEL, {"action": DELETE, "serial": first})
    channel = rig.app.channel(CHANNEL)
    found = channel.history(forwards=True)
    assert [(m.name, m.data, m.action) for m in found] == [("a", "3", DELETE), ("b", "2", CREATE)]
    versions = channel.versions_of(first)
    assert [(m.data, m.action) for m in versions] == [("1", CREATE), ("3", UPDATE), ("3", DELETE)]


def test_an_append_is_whole_for_who_has_not_what_came_before(rig):
    writer, early, late = rig.connect(), rig.connect(), rig.connect()
    early.attach(CHANNEL)
    serial = _published(writer, data="Hello")
    late.attach(CHANNEL)
    for more in (" big", " world"):
        writer.publish(CHANNEL, {"action": APPEND, "serial": serial, "data": more})
    assert [(m["action"], m["data"]) for m in early.messages()] == [
        (CREATE, "Hello"),
        (APPEND, " big"),
        (APPEND, " world"),
    ]
    assert [(m["action"], m["data"]) for m in late.messages()] == [
        (UPDATE, "Hello big"),
        (APPEND, " world"),
    ]
    assert rig.app.channel(CHANNEL).message(serial).data == "Hello big world"


@pytest.mark.parametrize(
    ("channel", "change", "code"),
    [
        ("fixed:foo", {"action": UPDATE}, 93002),
        (CHANNEL, {"action": UPDATE, "serial": ""}, 40003),
        (CHANNEL, {"action": UPDATE, "serial": "01700000000000-000@x:000"}, 40400),
        (CHANNEL, {"action": APPEND, "data": "AA==", "encoding": "base64"}, 40013),
        (CHANNEL, {"action": UPDATE, "version": {"clientId": "eve"}}, 40012),
        (CHANNEL, {"action": UPDATE, "version": {"clientId": 1}}, 40012),
    ],
)
def test_what_cannot_be_changed(rig, channel, change, code):
    client = rig.connect(clientId="ann")
    serial = _published(client, data="text")
    nack = client.publish(channel, {"serial": serial, **change})
    assert nack["error"]["code"] == code
    assert rig.app.channel(CHANNEL).message(serial).action == CREATE


def test_new_messages_and_changes_do_not_mix(rig):
    client = rig.connect()
    serial = _published(client, data="x")
    nack = client.publish(CHANNEL, {"action": UPDATE, "serial": serial}, {"data": "new"})
    assert nack["error"]["code"] == 40000


@pytest.mark.parametrize(
    ("operations", "whose", "action", "answer"),
    [
        ('"message-update-own"', "ann", UPDATE, Action.ACK),
        ('"message-update-own"', "ann", APPEND, Action.ACK),
        ('"message-update-own"', "bob", UPDATE, Action.NACK),
        ('"message-update-own"', "ann", DELETE, Action.NACK),
        ('"message-update-any"', "bob", UPDATE, Action.ACK),
        ('"message-delete-any"', "bob", DELETE, Action.ACK),
        ('"message-delete-own"', "bob", DELETE, Action.NACK),
        ('"publish"', "ann", UPDATE, Action.NACK),
    ],
)
def test_changing_has_capabilities_of_its_own(rig, operations, whose, action, answer):
    serial = _published(rig.connect(clientId=whose), data="x")
    ann = rig.connect(key=rig.key(f'{{"*":[{operations}]}}'), clientId="ann")
    got = ann.publish(CHANNEL, {"action": action, "serial": serial, "data": "y"})
    assert got["action"] == answer
    if answer == Action.NACK:
        assert got["error"]["code"] == 40160


def test_versions_are_forgotten_with_their_message(rig):
    client = rig.connect()
    serial = _published(client, data="x")
    client.publish(CHANNEL, {"action": UPDATE, "serial": serial, "data": "y"})
    rig.pass_time(24 * 3_600_000 + 10)
    channel = rig.app.channel(CHANNEL)
    assert channel.history() == []
    assert channel.versions_of(serial) == []
    assert channel.versions == {}
