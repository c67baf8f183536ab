"""Sending events over the HTTP API."""

from __future__ import annotations

import json

import pytest

from realtime_kit.events import Limits

TOO_LARGE = (
    "The data content of this event exceeds the allowed maximum (10240 bytes). "
    "See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info\n"
)


def event(**changes):
    return {"name": "e", "channel": "a", "data": "1", **changes}


@pytest.fixture
def on(peers):
    """A client that is subscribed to the channels."""

    def connect(*channels):
        peer = peers()
        for channel in channels:
            peer.enter(channel, peer.socket_id)
        return peer

    return connect


@pytest.mark.parametrize("name", ["channels", "channel"])
@pytest.mark.parametrize("value", [["a"], "a"])
def test_channel_or_channels(world, on, name, value):
    peer = on("a")
    assert world.http("POST", "/events", {"name": "e", "data": "1", name: value}) == (200, {})
    assert peer.take() == [{"event": "e", "channel": "a", "data": "1"}]


@pytest.mark.parametrize("data", ['{"x": 1.0}', "plain", "", '"q"', "é😀", "\ud800", "\0", "NaN"])
def test_data_travels_as_the_string_it_is(world, on, data):
    peer = on("a")
    world.trigger("a", "e", data)
    assert peer.take() == [{"event": "e", "channel": "a", "data": data}]


def test_many_channels_each_once(world, on):
    peer = on("a", "private-b", "presence-c")
    world.encoded.clear()
    body = event(channels=["a", "private-b", "presence-c", "a", "nobody-is-here"])
    assert world.http("POST", "/events", body) == (200, {})
    assert [frame["channel"] for frame in peer.take()] == ["a", "private-b", "presence-c"]
    assert len(world.encoded) == 3


def test_a_broadcast_is_encoded_once_for_all(world, on):
    for _ in range(5):
        on("a")
    world.encoded.clear()
    world.trigger("a", "e", "1")
    assert world.encoded == ['{"event":"e","channel":"a","data":"1"}']


def test_excluding_a_connection(world, on):
    one, two = on("a", "b"), on("a", "b")
    body = event(channels=["a", "b"], socket_id=one.socket_id)
    assert world.http("POST", "/events", body) == (200, {})
    assert (len(one.take()), len(two.take())) == (0, 2)
    assert world.http("POST", "/events", event(socket_id="999.999")) == (200, {})
    assert (len(one.take()), len(two.take())) == (1, 1)


def test_parameters_in_the_query(world, on):
    one, two = on("a", "b"), on("a", "b")
    params = {"name": "e", "channels": ["a", "b"], "data": "1", "socket_id": one.socket_id}
    assert world.http("POST", "/events", **params) == (200, {})
    assert (len(one.take()), len(two.take())) == (0, 2)
    # The body's come over them.
    assert world.http("POST", "/events", {"data": "2", "channels": ["a"]}, **params) == (200, {})
    assert two.take() == [{"event": "e", "channel": "a", "data": "2"}]


def test_members_beside_the_data(world, on):
    peer = on("a")
    extra = {"id": "i", "offset": 7, "epoch": "x", "mutation": "m"}
    assert world.http("POST", "/events", event(**extra)) == (200, {})
    assert peer.take() == [{"event": "e", "channel": "a", "data": "1", **extra}]
    assert world.http("POST", "/events", event(offset=0, id=None, other=1)) == (200, {})
    assert peer.take() == [{"event": "e", "channel": "a", "data": "1", "offset": 0}]


def test_the_old_form(world, on):
    one, two = on("a"), on("a")
    path = "/channels/a/events"
    body = '{"é":1}'.encode()
    answer = world.http("POST", path, body, name="e", socket_id=one.socket_id)
    assert answer == (202, "202 ACCEPTED\n")
    assert one.take() == []
    assert two.take() == [{"event": "e", "channel": "a", "data": '{"é":1}'}]
    assert world.http("POST", path, name="e", channels=["b"]) == (202, "202 ACCEPTED\n")
    assert two.take() == [{"event": "e", "channel": "a", "data": ""}]
    assert world.http("POST", path, b"\xff", name="e") == (400, "Invalid UTF-8 in the body\n")
    assert world.http("POST", path, b"1") == (400, "Missing required parameter: name\n")


# --- info


def test_info_of_the_channels(world, on):
    on("a", "presence-b")
    on("a", "presence-b")
    body = event(channels=["a", "presence-b", "c"], info="subscription_count,user_count")
    assert world.http("POST", "/events", body) == (
        200,
        {
            "channels": {
                "a": {"subscription_count": 2},
                "presence-b": {"user_count": 2},
                "c": {"subscription_count": 0},
            }
        },
    )
    assert world.http("POST", "/events", {**body, "info": "user_count , other"}) == (
        200,
        {"channels": {"a": {}, "presence-b": {"user_count": 2}, "c": {}}},
    )
    assert world.http("POST", "/events", {**body, "info": ""}) == (200, {})


def test_info_of_a_batch_is_aligned(world, on):
    on("a")
    batch = [event(info="subscription_count"), event(), event(channel="b", info="user_count")]
    assert world.http("POST", "/batch_events", {"batch": batch}) == (
        200,
        {"batch": [{"subscription_count": 1}, {}, {}]},
    )


# --- batches


def test_a_batch(world, on):
    one, two = on("a", "b"), on("a", "b")
    batch = [
        event(id="1"),
        event(channel="b", data="2", socket_id=one.socket_id),
        event(channels=["a"], channel=None, name="f", mutation="m"),
    ]
    assert world.http("POST", "/batch_events", {"batch": batch}) == (200, {})
    first = {"event": "e", "channel": "a", "data": "1", "id": "1"}
    second = {"event": "e", "channel": "b", "data": "2"}
    third = {"event": "f", "channel": "a", "data": "1", "mutation": "m"}
    assert one.take() == [first, third]
    assert two.take() == [first, second, third]
    assert world.http("POST", "/batch_events", {"batch": []}) == (200, {})


def test_a_batch_is_checked_before_the_first_event_goes(world, on):
    peer = on("a")
    batch = [event(), event(data="x" * 10241)]
    assert world.http("POST", "/batch_events", {"batch": batch}) == (413, TOO_LARGE)
    assert peer.take() == []


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ([event()] * 11, "Batch too large (11 > 10)"),
        (None, "Missing required parameter: batch"),
        ({}, "Missing required parameter: batch"),
        ("[]", "Missing required parameter: batch"),
        ([5], "Invalid parameter: batch must be an array of objects"),
        ([[]], "Invalid parameter: batch must be an array of objects"),
        ([{"name": "e", "data": "1"}], "Missing required parameter: channel"),
        ([event(channels=["a", "b"])], "An event of a batch goes to one channel"),
    ],
)
def test_wrong_batches(world, batch, text):
    assert world.http("POST", "/batch_events", {"batch": batch}) == (400, text + "\n")


def test_limits_are_the_app_s(make_world):
    world = make_world(limits=Limits(events_per_batch=1, channels_per_trigger=1, data=3))
    assert world.http("POST", "/batch_events", {"batch": [event()] * 2}) == (
        400,
        "Batch too large (2 > 1)\n",
    )
    assert world.http("POST", "/events", event(channels=["a", "b"])) == (
        400,
        "Too many channels (2 > 1)\n",
    )
    assert world.http("POST", "/events", event(data="1234"))[0] == 413


# --- what is refused


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"channel": "a", "data": "1"}, "Missing required parameter: name"),
        ({"name": "e", "channel": "a"}, "Missing required parameter: data"),
        ({"name": "e", "data": "1"}, "Missing required parameter: channel"),
        (event(channels=[]), "Missing required parameter: channel"),
        (event(channels=[], channel="a"), "Missing required parameter: channel"),
        (event(channel=""), "Invalid parameter: a channel name cannot be empty"),
        (event(name=5), "Invalid parameter: name must be a string"),
        (event(data={"x": 1}), "Invalid parameter: data must be a string"),
        (event(channels={"a": 1}), "Invalid parameter: channels must be an array of strings"),
        (event(channels=["a", 5]), "Invalid parameter: channels must be an array of strings"),
        (event(channel=5), "Invalid parameter: channels must be an array of strings"),
        (event(channels=[f"c{n}" for n in range(101)]), "Too many channels (101 > 100)"),
        (
            event(channels=["a", "private-encrypted-b"]),
            "An event on an encrypted channel goes to that one channel alone",
        ),
        (event(socket_id="x"), 'Invalid socket_id: "x"'),
        (event(socket_id=""), 'Invalid socket_id: ""'),
        (event(socket_id="1.2\n"), r'Invalid socket_id: "1.2\n"'),
        (event(socket_id=1.2), "Invalid parameter: socket_id must be a string"),
        (event(info=5), "Invalid parameter: info must be a string"),
        (event(id=5), "Invalid parameter: id must be a string"),
        (event(offset="5"), "Invalid parameter: offset must be an integer"),
        (event(offset=True), "Invalid parameter: offset must be an integer"),
        (event(offset=1.5), "Invalid parameter: offset must be an integer"),
        (event(epoch=[]), "Invalid parameter: epoch must be a string"),
        (event(mutation={}), "Invalid parameter: mutation must be a string"),
    ],
)
def test_wrong_parameters(world, body, text):
    assert world.http("POST", "/events", body) == (400, text + "\n")


@pytest.mark.parametrize("channel", ["a b", "é", "#a", "#watchers-of-1", "a" * 165, "\ud800"])
def test_names_of_channels(world, channel):
    status, text = world.http("POST", "/events", event(channels=["b", channel]))
    assert (status, text[:31]) == (400, "Invalid parameter: channel name")


@pytest.mark.parametrize("name", ["", "e" * 201, "pusher:error", "pusher_internal:member_added"])
def test_names_of_events(world, name):
    status, text = world.http("POST", "/events", event(name=name))
    assert (status, text[:19]) == (400, "Invalid parameter: ")


@pytest.mark.parametrize("data", ["x" * 10241, "é" * 5121, "\ud800" * 3414])
def test_too_large(world, data):
    assert world.http("POST", "/events", event(data=data)) == (413, TOO_LARGE)


def test_just_not_too_large(world):
    assert world.http("POST", "/events", event(data="é" * 5120)) == (200, {})


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 99_999, b"NaN", b'{"name":NaN}'])
def test_no_json(world, body):
    assert world.http("POST", "/events", body) == (400, "Invalid JSON in the body\n")


@pytest.mark.parametrize("body", [5, [], "x", True])
def test_no_object(world, body):
    text = "Invalid JSON in the body: it must be an object\n"
    assert world.http("POST", "/events", body) == (400, text)
    assert world.http("POST", "/users/7/terminate_connections", body) == (400, text)


def test_one_encrypted_channel_is_fine(world, on):
    peer = on("private-encrypted-b")
    data = json.dumps({"nonce": "n", "ciphertext": "c"})
    world.trigger("private-encrypted-b", "e", data)
    assert peer.take() == [{"event": "e", "channel": "private-encrypted-b", "data": data}]
