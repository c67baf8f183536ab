"""Ably's specification, RTL: attaching, publishing, what is delivered."""

from __future__ import annotations

import base64

import pytest

from realtime_kit.emulators.ably import modes
from realtime_kit.emulators.ably.wire import Action, Flag

DEFAULT = ["presence", "publish", "subscribe", "presence_subscribe", "annotation_publish"]


def _modes(attached):
    return modes.names(Flag(attached["flags"] & modes.ALL)).split(",")


# --- attach and detach ----------------------------------------------------------------------


def test_rtl4c_attach_is_answered_with_a_serial_and_the_default_modes(rig):
    attached = rig.connect().attach("foo")
    assert attached["action"] == Action.ATTACHED
    assert attached["channel"] == "foo"
    assert attached["channelSerial"].startswith("01700000000000-")
    assert _modes(attached) == DEFAULT
    assert not attached["flags"] & (Flag.RESUMED | Flag.HAS_PRESENCE | Flag.HAS_BACKLOG)
    assert "error" not in attached


def test_rtl4l_rtl4m_modes_are_asked_for_by_flags_and_bounded_by_the_capability(rig):
    client = rig.connect(key=rig.key('{"foo":["subscribe","presence"]}'))
    wanted = int(Flag.PUBLISH | Flag.SUBSCRIBE)
    assert _modes(client.attach("foo", flags=wanted)) == ["subscribe"]
    assert _modes(client.attach("foo")) == ["presence", "subscribe", "presence_subscribe"]


def test_rtl4k1_params_are_told_back_if_they_are_known(rig):
    client = rig.connect()
    params = {"modes": "presence,subscribe", "nonexistent": "x", "delta": "vcdiff"}
    attached = client.attach("foo", params=params, flags=int(Flag.PUBLISH))
    assert attached["params"] == {"modes": "presence,subscribe", "delta": "vcdiff"}
    assert _modes(attached) == ["presence", "subscribe"]
    assert "params" not in client.attach("bar", params={"nonexistent": "x"})


def test_rtl4e_without_a_capability_there_is_an_error_of_the_channel_only(rig):
    client = rig.connect(key=rig.key('{"foo":["history"]}'))
    error = client.attach("foo")
    assert error["action"] == Action.ERROR
    assert error["channel"] == "foo"
    assert error["error"]["code"] == 40160
    assert error["error"]["statusCode"] == 401
    assert not client.closed


@pytest.mark.parametrize(
    "name", ["", ":hell", ",x", " x", "\n", "x\ny", "[x", "[bogus]x", "[]", None]
)
def test_channel_names_have_rules(rig, name):
    client = rig.connect()
    error = client.attach(name)
    assert error["action"] == Action.ERROR
    assert error["error"]["code"] == 40010
    assert client.publish(name or "", {"name": "x"})["error"]["code"] == 40010
    assert client.attach("fine")["action"] == Action.ATTACHED


def test_rtl16a_attaching_again_changes_the_modes_and_loses_nothing(rig):
    client, writer = rig.connect(), rig.connect()
    first = client.attach("foo", flags=int(Flag.PUBLISH))
    again = client.attach("foo", channelSerial=first["channelSerial"])
    assert again["flags"] & Flag.RESUMED
    assert _modes(again) == DEFAULT
    writer.publish("foo", {"name": "x"})
    assert [message["name"] for message in client.messages()] == ["x"]
    assert not client.attach("foo")["flags"] & Flag.RESUMED


def test_rtl5_detach_is_answered_whether_attached_or_not(rig):
    client = rig.connect()
    client.attach("foo")
    assert client.say(Action.DETACH, channel="foo") == [{"action": 13, "channel": "foo"}]
    assert client.say(Action.DETACH, channel="foo") == [{"action": 13, "channel": "foo"}]
    rig.connect().publish("foo", {"name": "x"})
    assert client.messages() == []


def test_a_connection_has_only_so_many_channels(rig_with):
    client = rig_with(channels_per_connection=2).connect()
    client.attach("a")
    client.attach("b")
    assert client.attach("c")["error"]["code"] == 90010
    assert client.attach("a")["action"] == Action.ATTACHED
    client.say(Action.DETACH, channel="a")
    assert client.attach("c")["action"] == Action.ATTACHED


# --- publish --------------------------------------------------------------------------------


def test_rtn7a_each_protocol_message_has_one_ack_with_its_serials(rig):
    client = rig.connect()
    ack = client.publish("foo", {"name": "a"}, {"name": "b"})
    (result,) = ack["res"]
    assert (ack["msgSerial"], ack["count"]) == (0, 1)
    first, second = result["serials"]
    assert (first[-4:], second[-4:]) == (":000", ":001")
    assert first[:-4] == second[:-4]
    assert client.publish("foo", {"name": "c"})["msgSerial"] == 1


def test_rtl6_messages_reach_those_who_are_attached_in_order(rig):
    reader, writer = rig.connect(), rig.connect(clientId="ann")
    reader.attach("foo")
    reader.attach("other")
    ack = writer.publish("foo", {"name": "a", "data": "1"}, {"name": "b", "data": "2"})
    writer.publish("foo", {"name": "c"})
    frame, last = reader.got(Action.MESSAGE)
    assert (frame["channel"], frame["connectionId"]) == ("foo", writer.id)
    assert frame["channelSerial"] == ack["res"][0]["serials"][0][:-4]
    assert frame["channelSerial"] < last["channelSerial"]
    message = frame["messages"][0]
    assert message["id"] == f"{writer.id}:0:0"
    assert (message["clientId"], message["connectionId"]) == ("ann", writer.id)
    assert (message["data"], message["action"], message["timestamp"]) == ("1", 0, rig.now)
    assert message["serial"] == ack["res"][0]["serials"][0]
    assert [m["id"] for m in reader.messages()[1:]] == [f"{writer.id}:0:1", f"{writer.id}:1:0"]


def test_rtl6c1_publishing_needs_the_capability_and_not_an_attachment(rig):
    client = rig.connect(key=rig.key('{"yes":["publish"],"no":["subscribe"]}'))
    assert client.publish("yes", {"name": "x"})["action"] == Action.ACK
    nack = client.publish("no", {"name": "x"})
    assert (nack["action"], nack["count"], nack["msgSerial"]) == (Action.NACK, 1, 1)
    assert nack["error"]["code"] == 40160


def test_publishing_needs_the_mode_where_one_is_attached(rig):
    client = rig.connect()
    client.attach("foo", flags=int(Flag.SUBSCRIBE))
    assert client.publish("foo", {"name": "x"})["error"]["code"] == 40165
    client.attach("foo", flags=int(Flag.PUBLISH))
    assert client.publish("foo", {"name": "x"})["action"] == Action.ACK
    assert client.messages() == []


@pytest.mark.parametrize(
    ("who", "says", "stamped"),
    [("ann", None, "ann"), ("ann", "ann", "ann"), (None, "bob", "bob"), (None, None, None)],
)
def test_rtl6g_messages_carry_the_client_id(rig, who, says, stamped):
    client = rig.connect(**({"clientId": who} if who else {}))
    client.attach("foo")
    message = {"name": "x", **({"clientId": says} if says else {})}
    assert client.publish("foo", message)["action"] == Action.ACK
    assert client.messages()[0].get("clientId") == stamped


@pytest.mark.parametrize("claimed", ["eve", "*", ""])
def test_rtl6g3_a_client_id_that_is_not_ones_own_is_refused(rig, claimed):
    client = rig.connect(clientId="ann")
    client.attach("foo")
    nack = client.publish("foo", {"name": "x", "clientId": "ann"}, {"clientId": claimed})
    assert nack["error"]["code"] == 40012
    assert client.messages() == []


def test_rsl1i_messages_may_be_only_so_large_together(rig):
    client = rig.connect()
    client.attach("foo")
    fits = {"name": "n" * 36, "data": "x" * 65_500}
    assert client.publish("foo", fits)["action"] == Action.ACK
    assert client.publish("foo", fits, {"data": "x"})["error"]["code"] == 40009
    binary = base64.b64encode(b"x" * 65_536).decode()
    assert client.publish("foo", {"data": binary, "encoding": "base64"})["action"] == Action.ACK
    assert len(client.messages()) == 2


def test_rsl1k_a_message_with_the_same_id_is_published_once(rig):
    client = rig.connect()
    client.attach("foo")
    first = client.publish("foo", {"id": "x:0", "name": "a"}, {"id": "x:1", "name": "b"})
    again = client.publish("foo", {"id": "x:0", "name": "a"}, {"id": "x:1", "name": "b"})
    assert again["res"] == first["res"]
    assert client.publish("bar", {"id": "x:0"})["action"] == Action.ACK  # elsewhere it is new
    assert [message["id"] for message in client.messages()] == ["x:0", "x:1"]
    rig.pass_time(120_000)
    client.publish("foo", {"id": "x:0", "name": "a"})
    assert len(client.messages()) == 3


@pytest.mark.parametrize("ids", [("x:0", "x:2"), ("x", "y"), ("x:0", None), ("", "")])
def test_rsl1k3_ids_of_several_messages_have_a_form(rig, ids):
    messages = [{"id": id} if id is not None else {} for id in ids]
    assert rig.connect().publish("foo", *messages)["error"]["code"] == 40031


def test_too_many_messages_in_a_second_are_refused(rig_with):
    rig = rig_with(inbound_rate=10, inbound_burst=3)
    client = rig.connect()
    assert client.publish("foo", {}, {}, {})["action"] == Action.ACK
    nack = client.publish("foo", {})
    assert (nack["error"]["code"], nack["error"]["statusCode"]) == (42911, 429)
    rig.pass_time(100)
    assert client.publish("foo", {})["action"] == Action.ACK
    assert client.publish("foo", {})["action"] == Action.NACK


def test_a_token_may_bound_what_an_attachment_publishes(rig):
    from dataclasses import replace

    client = rig.connect()
    connection = client.session.connection
    connection.access = replace(connection.access, publish_rates={"chat:*": 2})
    client.attach("chat:1")
    client.attach("other")
    assert client.publish("chat:1", {}, {})["action"] == Action.ACK
    assert client.publish("chat:1", {})["error"]["code"] == 42913
    assert client.publish("other", {}, {}, {})["action"] == Action.ACK
    rig.pass_time(500)
    assert client.publish("chat:1", {})["action"] == Action.ACK


# --- echo -----------------------------------------------------------------------------------


def test_rtl7f_a_connection_may_ask_not_to_hear_itself(rig):
    quiet, other = rig.connect(echo="false"), rig.connect()
    quiet.attach("foo")
    other.attach("foo", params={"echo": "false"})
    quiet.publish("foo", {"name": "q"})
    other.publish("foo", {"name": "o"})
    assert [message["name"] for message in quiet.messages()] == ["o"]
    assert [message["name"] for message in other.messages()] == ["q"]


def test_a_publish_on_behalf_of_a_connection_counts_as_its_own(rig):
    from realtime_kit.emulators.ably.auth import authenticate_key
    from realtime_kit.emulators.ably.errors import AblyError

    access = authenticate_key(rig.world, "local0.dev:secret", rig.now)
    sender, reader = rig.connect(echo="false", clientId="ann"), rig.connect()
    sender.attach("foo")
    reader.attach("foo")
    message = {"name": "x", "connectionKey": sender.key, "clientId": "ann"}
    rig.app.publish("foo", [message], access=access)
    assert sender.messages() == []
    (got,) = reader.messages()
    assert (got["connectionId"], got["clientId"]) == (sender.id, "ann")
    assert "connectionKey" not in got
    for wrong, code in [({"clientId": "eve"}, 40012), ({"connectionKey": "a!b-1"}, 40006)]:
        with pytest.raises(AblyError) as refused:
            rig.app.publish("foo", [message | wrong], access=access)
        assert refused.value.code == code


# --- encodings ------------------------------------------------------------------------------


def test_rsl4_bytes_cross_from_json_to_msgpack_and_back(rig):
    text, binary = rig.connect(), rig.connect(format="msgpack")
    text.attach("foo")
    binary.attach("foo")
    text.publish("foo", {"data": "AAE=", "encoding": "cipher+aes-128-cbc/base64"})
    binary.publish("foo", {"data": b"\x00\x01", "encoding": "cipher+aes-128-cbc"})
    binary.publish("foo", {"data": b"\x00\x01"})
    assert [(m["data"], m.get("encoding")) for m in text.messages()] == [
        ("AAE=", "cipher+aes-128-cbc/base64"),
        ("AAE=", "cipher+aes-128-cbc/base64"),
        ("AAE=", "base64"),
    ]
    assert [(m["data"], m.get("encoding")) for m in binary.messages()] == [
        (b"\x00\x01", "cipher+aes-128-cbc"),
        (b"\x00\x01", "cipher+aes-128-cbc"),
        (b"\x00\x01", None),
    ]


def test_rsl4d3_bare_json_data_is_made_text(rig):
    client = rig.connect()
    client.attach("foo")
    client.publish("foo", {"data": {"a": ["é"]}}, {"data": [1], "extras": {"headers": {"a": 1}}})
    first, second = client.messages()
    assert (first["data"], first["encoding"]) == ('{"a":["é"]}', "json")
    assert (second["data"], second["extras"]) == ("[1]", {"headers": {"a": 1}})


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"data": True}, 40013),
        ({"data": 1}, 40013),
        ({"data": "=x", "encoding": "base64"}, 40013),
        ({"name": 1}, 40000),
        ({"extras": "x"}, 40000),
        ({"clientId": 1}, 40012),
        ("text", 40000),
    ],
)
def test_what_is_no_message_is_refused(rig, message, code):
    assert rig.connect().publish("foo", message)["error"]["code"] == code
