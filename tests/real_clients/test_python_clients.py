"""The Python `pusher` SDK and Pysher, unmodified."""

from __future__ import annotations

import json
import logging
import queue
import socket
import time

import pusher.errors
import pysher
import pytest

pytestmark = pytest.mark.node  # the server's fixture has its webhooks received by Node

DEADLINE = 15


def end(client):
    """As `disconnect()`, which waits for the reading thread that it has just left without a socket
    to wake it."""
    client.connection.disconnect_called = True
    client.connection.socket.keep_running = False
    client.connection.socket.sock.sock.shutdown(socket.SHUT_RDWR)
    client.connection.join(DEADLINE)


@pytest.fixture
def browser(served):
    """Open a Pysher client and wait until it is connected."""
    opened = []

    def browser(**options):
        client = pysher.Pusher(
            "app-key",
            custom_host="127.0.0.1",
            port=served.port,
            secure=False,
            secret="app-secret",
            log_level=logging.CRITICAL,
            **options,
        )
        connected = queue.Queue()
        client.connection.bind("pusher:connection_established", connected.put)
        client.connect()
        opened.append(client)
        connected.get(timeout=DEADLINE)
        return client

    yield browser
    for client in opened:
        end(client)


def until(condition):
    """Ask the server until it says so."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end


@pytest.fixture
def subscribe(sdk):
    """Subscribe a Pysher client; a queue of what `event` brings it from then on."""

    def subscribe(client, channel, event="message", subscribers=1):
        events = queue.Queue()
        client.subscribe(channel).bind(event, lambda data: events.put(json.loads(data)))
        # Pysher takes callbacks after it has sent the request, so ask the server.
        attribute = "user_count" if channel.startswith("presence-") else "subscription_count"
        until(lambda: sdk.channel_info(channel, [attribute])[attribute] >= subscribers)
        return events

    return subscribe


@pytest.mark.parametrize("kind", ["news", "private-news", "presence-news", "cache-news"])
def test_pysher_receives_what_the_sdk_triggers(sdk, browser, subscribe, names, kind):
    channel = names(kind)
    events = subscribe(browser(user_data={"user_id": "7"}), channel)
    data = {"text": "žluťoučký kůň 🐴", "n": 1}
    assert sdk.trigger(channel, "message", data) == {}
    assert events.get(timeout=DEADLINE) == data


def test_pysher_client_events_and_members(sdk, browser, names):
    channel = names("presence-room")
    seen = queue.Queue()

    def keep(what):
        return lambda data: seen.put((what, data if isinstance(data, dict) else json.loads(data)))

    one = browser(user_data={"user_id": "1"})
    room = one.subscribe(channel)
    room.bind("pusher_internal:member_added", keep("added"))
    room.bind("pusher_internal:member_removed", keep("removed"))
    room.bind("client-typing", keep("typing"))
    two = browser(user_data={"user_id": "2", "user_info": {"name": "Two"}})
    joined = two.subscribe(channel)
    added = ("added", {"user_id": "2", "user_info": {"name": "Two"}})
    assert seen.get(timeout=DEADLINE) == added
    joined.trigger("client-typing", {"on": True})
    assert seen.get(timeout=DEADLINE) == ("typing", {"on": True})
    two.unsubscribe(channel)
    assert seen.get(timeout=DEADLINE) == ("removed", {"user_id": "2"})


def test_pysher_gets_a_pong_for_the_ping_that_it_sends_first(served):
    client = pysher.Pusher("app-key", custom_host="127.0.0.1", port=served.port, secure=False)
    pongs = queue.Queue()
    client.connection.bind("pusher:pong", pongs.put)
    client.connect()
    assert pongs.get(timeout=DEADLINE) == "{}"
    end(client)


def test_the_sdk_excludes_batches_and_sends_to_many(sdk, browser, subscribe, names):
    sender, other = browser(), browser()
    channels = [names("news") for _ in range(3)]
    sent = [subscribe(sender, channel) for channel in channels]
    received = [subscribe(other, channel, subscribers=2) for channel in channels]
    sdk.trigger(channels, "message", {"to": "others"}, sender.connection.socket_id)
    batch = [{"channel": channel, "name": "message", "data": {"n": 1}} for channel in channels]
    assert sdk.trigger_batch(batch) == {}
    for events in received:
        assert events.get(timeout=DEADLINE) == {"to": "others"}
        assert events.get(timeout=DEADLINE) == {"n": 1}
    for events in sent:
        assert events.get(timeout=DEADLINE) == {"n": 1}


def test_the_sdk_asks_for_channels_and_users(sdk, browser, subscribe, names):
    room, news = names("presence-room"), names("news")
    for number in (1, 2):
        client = browser(user_data={"user_id": str(number)})
        subscribe(client, room, subscribers=number)
        subscribe(client, news, subscribers=number)
    listed = sdk.channels_info("presence-", ["user_count"])["channels"]
    assert listed[room] == {"user_count": 2}
    assert news not in listed
    assert sdk.channel_info(news, ["subscription_count"]) == {
        "occupied": True,
        "subscription_count": 2,
    }
    users = sdk.users_info(room)["users"]
    assert sorted(user["id"] for user in users) == ["1", "2"]
    assert sdk.channel_info(names("empty"))["occupied"] is False


def test_the_sdk_authorizes_what_the_server_accepts(sdk, agent, open_client, names):
    """Proofs made by the Python SDK, sent by pusher-js."""
    client, private, presence = open_client(), names("private-a"), names("presence-a")
    socket_id = agent("socketId", client=client)
    proofs = {
        private: sdk.authenticate(private, socket_id),
        presence: sdk.authenticate(presence, socket_id, {"user_id": "7", "user_info": {"ä": "ö"}}),
    }
    for channel, proof in proofs.items():
        data = {"channel": channel, **proof}
        agent("send", client=client, event="pusher:subscribe", data=data)
    until(lambda: sdk.channel_info(presence)["occupied"])
    assert sdk.channel_info(private)["occupied"]
    assert sdk.users_info(presence) == {"users": [{"id": "7"}]}


def test_the_sdk_signs_users_in(sdk, browser):
    client, answers = browser(), queue.Queue()
    client.connection.bind("pusher:signin_success", answers.put)
    proof = sdk.authenticate_user(client.connection.socket_id, {"id": "7", "user_info": {"a": 1}})
    client.connection.send_event("pusher:signin", proof)
    answer = answers.get(timeout=DEADLINE)
    assert json.loads(answer["user_data"]) == {"id": "7", "user_info": {"a": 1}}


def test_the_sdk_verifies_webhooks(sdk, agent, browser, subscribe, names):
    channel = names("news")
    subscribe(browser(), channel)

    def verified():
        reports = [report["webhook"] for report in agent.saw() if "webhook" in report]
        for report in reports:
            headers = report["headers"]
            key, signature = headers["x-pusher-key"], headers["x-pusher-signature"]
            webhook = sdk.validate_webhook(key, signature, report["body"])
            if webhook["events"] == [{"name": "channel_occupied", "channel": channel}]:
                return webhook
        return None

    webhook = agent.wait_for(verified, "the webhook")
    assert abs(webhook["time_ms"] / 1000 - time.time()) < 60


def test_a_wrong_secret_is_an_error_of_the_sdk(forging_sdk):
    with pytest.raises(pusher.errors.PusherBadAuth, match="Invalid signature"):
        forging_sdk.trigger("news", "message", {})


def test_productions_limits_are_errors_of_the_sdk(sdk):
    with pytest.raises(pusher.errors.PusherBadStatus, match=r"413.*exceeds the allowed maximum"):
        sdk.trigger("news", "message", "x" * 10_241)
    batch = [{"channel": "news", "name": "message", "data": {}}] * 11
    with pytest.raises(pusher.errors.PusherBadRequest, match=r"Batch too large \(11 > 10\)"):
        sdk.trigger_batch(batch)
    with pytest.raises(pusher.errors.PusherBadRequest, match="presence channels"):
        sdk.users_info("news")
