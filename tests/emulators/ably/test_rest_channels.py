"""Channels over REST: features spec RSL (publish, history, status), RSP (presence), CHD, CHM."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

# --- publish --------------------------------------------------------------------------------


def test_publish_tells_ids_and_serials(rest: Any) -> None:
    """RSL1, PBR2"""
    done = rest.publish("foo", [{"name": "a", "data": "1"}, {"name": "b", "data": "2"}])
    assert done["channel"] == "foo"
    assert len(done["serials"]) == 2
    assert sorted(done["serials"]) == done["serials"]
    second, first = rest.history("foo")
    assert [first["serial"], second["serial"]] == done["serials"]
    assert [first["id"], second["id"]] == [f"{done['messageId']}:0", f"{done['messageId']}:1"]
    assert (first["name"], first["data"], first["timestamp"]) == ("a", "1", rest.rig.now)


def test_a_channels_name_may_have_any_letters(rest: Any) -> None:
    for name in ("a/b", "a b", "ключ:?&=", "foo%2Fbar", "a+b"):
        assert rest.publish(name, {"name": "x"})["channel"] == name
        assert len(rest.history(name)) == 1


def test_attached_clients_get_what_is_published(rest: Any) -> None:
    client = rest.rig.connect()
    client.attach("foo")
    rest.publish("foo", {"name": "a", "data": {"b": 1}})
    [message] = client.messages("foo")
    assert (message["data"], message["encoding"]) == ('{"b":1}', "json")


def test_bytes_travel_between_the_formats(rest_of: Any) -> None:
    """RSL4, RSL6"""
    rest_of(binary=True).publish("foo", {"data": b"\x00\xff"})
    rest_of().publish("foo", {"data": "AP8=", "encoding": "base64"})
    for message in rest_of(binary=True).history("foo"):
        assert message["data"] == b"\x00\xff"
        assert "encoding" not in message
    for message in rest_of().history("foo"):
        assert (message["data"], message["encoding"]) == ("AP8=", "base64")


def test_a_repeated_publish_is_one(rest: Any) -> None:
    """RSL1k: the first answer again, and nothing is delivered"""
    body = [{"id": "base:0", "name": "a"}, {"id": "base:1", "name": "b"}]
    first = rest.publish("foo", body)
    assert rest.publish("foo", body) == first
    assert len(rest.history("foo")) == 2
    code, status = rest.refused(
        "POST", "/channels/foo/messages", body=[{"id": "x:0"}, {"id": "y:1"}]
    )
    assert (code, status) == (40031, 400)


def test_as_whom_messages_are(rest_of: Any) -> None:
    """RSL1m, RSA7e2: the identity of the request, or the message's own where any is allowed"""
    header = base64.b64encode(b"me").decode()
    mine = rest_of(x_ably_clientid=header)
    mine.publish("foo", {"name": "a"})
    rest_of().publish("foo", [{"name": "b", "clientId": "other"}, {"name": "c"}])
    found = {message["name"]: message.get("clientId") for message in mine.history("foo")}
    assert found == {"a": "me", "b": "other", "c": None}
    body = {"name": "a", "clientId": "you"}
    assert mine.refused("POST", "/channels/foo/messages", body=body) == (40012, 400)
    body = {"name": "a", "clientId": "*"}
    assert rest_of().refused("POST", "/channels/foo/messages", body=body) == (40012, 400)


def test_on_behalf_of_a_connection(rest: Any) -> None:
    """RSL1, "Publish on behalf of a connection": its id, and its echo is its own"""
    client = rest.rig.connect(echo="false")
    client.attach("foo")
    other = rest.rig.connect()
    other.attach("foo")
    rest.publish("foo", {"name": "a", "connectionKey": client.key})
    assert client.messages("foo") == []
    [message] = other.messages("foo")
    assert message["connectionId"] == client.id
    assert "connectionKey" not in message
    body = {"name": "a", "connectionKey": "should.be.wrong"}
    assert rest.refused("POST", "/channels/foo/messages", body=body) == (40006, 400)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (5, (40000, 400)),
        ([5], (40000, 400)),
        ({"data": 5}, (40013, 400)),
        ({"name": 5}, (40000, 400)),
        ({"data": "x" * 65_537}, (40009, 413)),
        ([{"data": "x" * 40_000}, {"data": "x" * 40_000}], (40009, 413)),
        ([{"name": "x"}] * 1001, (40034, 400)),
    ],
)
def test_what_cannot_be_published(rest: Any, body: Any, error: tuple[int, int]) -> None:
    """RSL1i"""
    assert rest.refused("POST", "/channels/foo/messages", body=body) == error
    assert rest.history("foo") == []


@pytest.mark.parametrize("name", ["", ":foo", " foo", ",foo", "[foo", "a\nb"])
def test_what_is_no_channel(rest: Any, name: str) -> None:
    path = f"/channels/{quote(name, safe='')}/messages"
    assert rest.refused("POST", path, body={"name": "x"}) == (40010, 400)
    assert rest.refused("GET", path) == (40010, 400)


def test_the_hook_of_tests_to_refuse(rest: Any) -> None:
    error = rest.refused("POST", "/channels/foo/messages", "_forceNack=true", {"name": "x"})
    assert error == (40099, 400)


@pytest.mark.parametrize(
    ("content", "body", "data", "encoding"),
    [
        ("text/plain", "söme text".encode(), "söme text", None),
        ("application/json", b'{"some":"json"}', '{"some":"json"}', "json"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff", None),
    ],
)
def test_a_body_may_be_the_data_itself(
    rest_of: Any, content: str, body: bytes, data: Any, encoding: str | None
) -> None:
    """ "Unenveloped publish" """
    rest = rest_of(binary=True)
    status, _ = rest.ask(
        "POST",
        "/channels/foo/messages",
        "enveloped=false&name=n",
        body,
        content_type=content,
        x_ably_messageid="own",
        x_ably_clientid=base64.b64encode(b"me").decode(),
    )
    assert status == 201
    [message] = rest.history("foo")
    assert (message["data"], message.get("encoding")) == (data, encoding)
    assert (message["name"], message["id"], message["clientId"]) == ("n", "own", "me")


# --- history --------------------------------------------------------------------------------


def test_history_of_an_interval(rest: Any) -> None:
    """RSL2b1: both ends belong to it"""
    times = []
    for name in "abc":
        times.append(rest.rig.now)
        rest.publish("foo", {"name": name})
        rest.rig.pass_time(100)

    def names(query: str) -> str:
        return "".join(message["name"] for message in rest.history("foo", query))

    assert names("") == "cba"
    assert names("direction=forwards") == "abc"
    assert names(f"start={times[1]}") == "cb"
    assert names(f"end={times[1]}") == "ba"
    assert names(f"start={times[1]}&end={times[1]}") == "b"


@pytest.mark.parametrize("spelling", ["from_serial", "fromSerial"])
def test_history_until_a_channel_was_attached(rest: Any, spelling: str) -> None:
    """RTL10b, RTL10d"""
    rest.publish("foo", {"name": "before"})
    serial = rest.rig.connect().attach("foo")["channelSerial"]
    rest.publish("foo", {"name": "after"})
    found = rest.history("foo", f"{spelling}={quote(serial)}")
    assert [message["name"] for message in found] == ["before"]


def test_history_is_also_called_history(rest: Any) -> None:
    rest.publish("foo", {"name": "a"})
    assert rest("GET", "/channels/foo/history") == rest.history("foo")


def test_a_channel_with_parameters_is_the_channel(rest: Any) -> None:
    rest.publish("[?rewind=1]foo", {"name": "a"})
    assert len(rest.history("foo")) == 1


# --- presence -------------------------------------------------------------------------------


def enter(rig: Any, channel: str, *clients: str, data: str | None = None) -> list[Any]:
    found = []
    for client_id in clients:
        client = rig.connect(clientId=client_id)
        client.attach(channel)
        client.presence(channel, {"action": 2, "data": data})
        found.append(client)
    return found


def test_who_is_present(rest: Any) -> None:
    """RSP3, TP2: as `present`, with id, connection and time"""
    client, _ = enter(rest.rig, "foo", "a", "b", data="hi")
    members = rest("GET", "/channels/foo/presence")
    assert sorted(member["clientId"] for member in members) == ["a", "b"]
    assert {member["action"] for member in members} == {1}
    [mine] = [member for member in members if member["clientId"] == "a"]
    assert (mine["connectionId"], mine["data"]) == (client.id, "hi")
    assert mine["id"] == f"{client.id}:0:0"
    assert mine["timestamp"] == rest.rig.now


def test_members_may_be_asked_for(rest: Any) -> None:
    """RSP3a"""
    a, b = enter(rest.rig, "foo", "a", "b")

    def ids(query: str) -> list[str]:
        return [member["clientId"] for member in rest("GET", "/channels/foo/presence", query)]

    assert ids("clientId=a") == ["a"]
    assert ids(f"connectionId={b.id}") == ["b"]
    assert ids(f"connectionId={a.id}&clientId=b") == []
    assert len(ids("limit=1")) == 1
    assert rest.refused("GET", "/channels/foo/presence", "limit=1001") == (40003, 400)


def test_pages_of_members_survive_who_leaves(rest: Any) -> None:
    enter(rest.rig, "foo", *"abcd")
    status, first = rest.ask("GET", "/channels/foo/presence", "limit=2")
    assert status == 200
    last = first[-1]
    rest.rig.app.channel("foo").members.pop(f"{last['connectionId']}:{last['clientId']}")
    cursor = quote(f"{last['connectionId']}:{last['clientId']}")
    second = rest("GET", "/channels/foo/presence", f"limit=2&cursor={cursor}")
    assert sorted(m["clientId"] for m in [*first, *second]) == list("abcd")


def test_who_came_and_went(rest: Any) -> None:
    """RSP4, RSP4b"""
    [client] = enter(rest.rig, "foo", "a", data="in")
    client.presence("foo", {"action": 4, "data": "changed"})
    client.presence("foo", {"action": 3})
    events = rest("GET", "/channels/foo/presence/history")
    assert [event["action"] for event in events] == [3, 4, 2]
    forwards = rest("GET", "/channels/foo/presence/history", "direction=forwards&limit=2")
    assert [event["data"] for event in forwards] == ["in", "changed"]
    cursor = quote(forwards[-1]["id"])
    query = f"direction=forwards&limit=2&cursor={cursor}"
    assert [event["action"] for event in rest("GET", "/channels/foo/presence/history", query)] == [
        3
    ]
    assert rest.history("foo") == []


# --- status and enumeration -----------------------------------------------------------------


def test_the_status_of_a_channel(rest: Any) -> None:
    """RSL8a, CHD2, CHS2, CHO2, CHM2"""
    enter(rest.rig, "foo", "a")
    rest.rig.connect().attach("foo", flags=1 << 18)
    details = rest("GET", "/channels/foo")
    assert details["channelId"] == "foo"
    assert details["status"]["isActive"] is True
    metrics = details["status"]["occupancy"]["metrics"]
    assert {name: metrics[name] for name in ("connections", "subscribers", "publishers")} == {
        "connections": 2,
        "subscribers": 2,
        "publishers": 1,
    }
    assert (metrics["presenceMembers"], metrics["presenceConnections"]) == (1, 1)
    assert metrics["presenceSubscribers"] == 1
    assert set(metrics) >= {"objectPublishers", "objectSubscribers"}


def test_the_channels_that_are_active(rest: Any) -> None:
    for name in ("b:1", "a", "b:2"):
        rest.publish(name, {"name": "x"})
    rest.history("asked-for-only")
    assert rest("GET", "/channels") == ["a", "b:1", "b:2"]
    assert rest("GET", "/channels", "prefix=b%3A") == ["b:1", "b:2"]
    assert rest("GET", "/channels", "limit=2") == ["a", "b:1"]
    assert rest("GET", "/channels", "limit=2&cursor=b:1") == ["b:2"]
    detailed = rest("GET", "/channels", "by=value&prefix=a")
    assert [channel["channelId"] for channel in detailed] == ["a"]
    assert rest.refused("GET", "/channels", "by=size") == (40003, 400)


def test_clients_of_old_versions_get_details(rest_of: Any) -> None:
    rest_of().publish("a", {"name": "x"})
    old = rest_of(x_ably_version="2")
    assert [channel["channelId"] for channel in old("GET", "/channels")] == ["a"]
    assert old("GET", "/channels", "by=id") == ["a"]
    assert rest_of()("GET", "/channels", "v=1.2")[0]["channelId"] == "a"


def test_channels_that_fell_silent_are_not_active(rest: Any) -> None:
    rest.publish("foo", {"name": "x"})
    rest.rig.pass_time(10 * 60_000)
    assert rest("GET", "/channels") == []


# --- who may --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "method", "path"),
    [
        ("publish", "POST", "/channels/foo/messages"),
        ("history", "GET", "/channels/foo/messages"),
        ("history", "GET", "/channels/foo/presence/history"),
        ("subscribe", "GET", "/channels/foo/presence"),
        ("channel-metadata", "GET", "/channels/foo"),
    ],
)
def test_each_needs_its_operation(rig: Any, rest_of: Any, op: str, method: str, path: str) -> None:
    """RSA6; 40160"""
    others = json.dumps({"foo": ["stats"], "bar": ["*"]})
    body = {"name": "x"}
    assert rest_of(rig.key(others)).refused(method, path, body=body) == (40160, 401)
    allowed = rest_of(rig.key(json.dumps({"foo": [op]})))
    assert allowed.ask(method, path, body=body)[0] in (200, 201)


def test_to_list_channels_takes_all_of_them(rig: Any, rest_of: Any) -> None:
    assert rest_of(rig.key('{"foo":["*"]}')).refused("GET", "/channels") == (40160, 401)
    assert rest_of(rig.key('{"*":["channel-metadata"]}'))("GET", "/channels") == []
