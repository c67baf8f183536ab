"""pusher-js and the Node `pusher` SDK, unmodified: every kind of channel, users, client events."""

from __future__ import annotations

import time

import pytest

from realtime_kit.hosting.local import LocalServer, running
from realtime_kit.protocol.app import App, Key

pytestmark = pytest.mark.node

KINDS = [
    "news",
    "private-news",
    "presence-news",
    "private-encrypted-news",
    "cache-news",
    "private-cache-news",
    "presence-cache-news",
    "private-encrypted-cache-news",
]


@pytest.fixture(params=KINDS)
def channel(request, names):
    return names(request.param)


def test_every_kind_of_channel_delivers_what_the_sdk_triggers(
    agent, open_client, subscribe, channel
):
    client = open_client("alice")
    subscribe(client, channel)
    data = {"text": "žluťoučký kůň 🐴", "list": [1, None, True], "empty": {}}
    assert agent("trigger", channels=channel, event="message", data=data) == {}
    assert agent.wait(client=client, channel=channel, event="message")["data"] == data


def test_strings_that_are_not_json_arrive_as_they_are(agent, open_client, subscribe, names):
    client, channel = open_client(), names("news")
    subscribe(client, channel)
    agent("trigger", channels=channel, event="message", data="just text")
    assert agent.wait(client=client, channel=channel, event="message")["data"] == "just text"


def test_the_excluded_socket_gets_nothing(agent, open_client, subscribe, names):
    sender, other, channel = open_client(), open_client(), names("news")
    for client in (sender, other):
        subscribe(client, channel)
    socket_id = agent("socketId", client=sender)
    agent("trigger", channels=channel, event="message", data=1, params={"socket_id": socket_id})
    agent("trigger", channels=channel, event="end", data=2)
    for client in (sender, other):
        agent.wait(client=client, channel=channel, event="end")
    assert agent.saw(client=other, channel=channel, event="message")
    assert not agent.saw(client=sender, channel=channel, event="message")


def test_one_event_to_many_channels_and_a_batch(agent, open_client, subscribe, names):
    client = open_client("alice")
    channels = [names("news"), names("private-news"), names("presence-news")]
    for channel in channels:
        subscribe(client, channel)
    agent("trigger", channels=channels, event="to all", data={"n": 1})
    batch = [{"channel": channel, "name": "batched", "data": channel} for channel in channels]
    assert agent("triggerBatch", events=batch) == {}
    for channel in channels:
        assert agent.wait(client=client, channel=channel, event="to all")["data"] == {"n": 1}
        assert agent.wait(client=client, channel=channel, event="batched")["data"] == channel


def test_after_unsubscribe_nothing_arrives(agent, open_client, subscribe, names):
    client, left, kept = open_client(), names("news"), names("news")
    for channel in (left, kept):
        subscribe(client, channel)
    agent("unsubscribe", client=client, channel=left)
    subscribe(client, names("news"))  # answered after the unsubscribe
    agent("trigger", channels=[left, kept], event="message", data={})
    agent.wait(client=client, channel=kept, event="message")
    assert not agent.saw(client=client, channel=left, event="message")


# --- authorization --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["private", "presence", "private-encrypted"])
def test_who_is_denied_gets_the_status_of_the_endpoint(agent, open_client, names, kind):
    client, channel = open_client("alice"), names(f"{kind}-forbidden")
    agent("subscribe", client=client, channel=channel)
    error = agent.wait(client=client, channel=channel, event="pusher:subscription_error")
    assert error["data"]["status"] == 403


def test_a_forged_signature_is_told_and_nothing_is_joined(agent, open_client, names):
    client, channel = open_client(), names("private-news")
    forged = {"channel": channel, "auth": "app-key:" + "0" * 64}
    agent("send", client=client, event="pusher:subscribe", data=forged)
    error = agent.wait(
        client=client, error={"code": None, "message": _invalid(agent, client, channel)}
    )
    assert error
    assert agent("get", path=f"/channels/{channel}") == {"occupied": False}
    assert agent("state", client=client) == "connected"


def _invalid(agent, client, channel):
    socket_id = agent("socketId", client=client)
    return (
        f"Invalid signature: Expected HMAC SHA256 hex digest of {socket_id}:{channel}, "
        f"but got {'0' * 64}"
    )


# --- presence -------------------------------------------------------------------------------


def test_one_user_in_several_tabs_is_one_member(agent, open_client, subscribe, names):
    channel = names("presence-room")
    watcher = open_client("bob")
    subscribe(watcher, channel)
    tabs = [open_client("alice") for _ in range(3)]
    for tab in tabs:
        subscribe(tab, channel)
    alice = {"id": "alice", "info": {"name": "Alice"}}
    members = agent("members", client=tabs[2], channel=channel)
    assert members["count"] == 2
    assert members["me"] == alice
    assert sorted(member["id"] for member in members["members"]) == ["alice", "bob"]
    assert agent.wait(client=watcher, event="pusher:member_added")["data"] == alice
    for tab in tabs[:2]:
        agent("close", client=tab)
    agent("trigger", channels=channel, event="message", data={})
    agent.wait(client=watcher, channel=channel, event="message")
    assert not agent.saw(client=watcher, event="pusher:member_removed")
    agent("close", client=tabs[2])
    assert agent.wait(client=watcher, event="pusher:member_removed")["data"] == alice
    assert len(agent.saw(client=watcher, event="pusher:member_added")) == 1
    assert len(agent.saw(client=watcher, event="pusher:member_removed")) == 1


def test_the_users_of_a_channel(agent, open_client, subscribe, names):
    channel = names("presence-room")
    for user in ("alice", "bob", "alice"):
        subscribe(open_client(user), channel)
    users = agent("get", path=f"/channels/{channel}/users")["users"]
    assert sorted(user["id"] for user in users) == ["alice", "bob"]


# --- client events --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["private", "presence", "private-cache"])
def test_client_events_reach_the_others(agent, open_client, subscribe, names, kind):
    channel = names(f"{kind}-room")
    sender, other = open_client("alice"), open_client("bob")
    for client in (sender, other):
        subscribe(client, channel)
    assert agent(
        "whisper", client=sender, channel=channel, event="client-typing", data={"on": True}
    )
    received = agent.wait(client=other, channel=channel, event="client-typing")
    assert received["data"] == {"on": True}
    by = agent.wait(client=other, channel=channel, event="client-typing by")["data"]
    assert by == ({"user_id": "alice"} if kind == "presence" else {})
    agent("trigger", channels=channel, event="message", data={})
    agent.wait(client=sender, channel=channel, event="message")
    assert not agent.saw(client=sender, channel=channel, event="client-typing")


def test_a_client_event_on_a_public_channel_is_refused(agent, open_client, subscribe, names):
    client, channel = open_client(), names("news")
    subscribe(client, channel)
    agent("send", client=client, event="client-x", data={}, channel=channel)
    text = "Client event rejected - only supported on private and presence channels"
    agent.wait(client=client, error={"code": None, "message": text})


# --- users ----------------------------------------------------------------------------------


def test_sign_in_send_to_user_watchlist_and_terminate(agent, served, open_client):
    alice = open_client("alice")
    agent("signin", client=alice)
    agent.wait(client=alice, event="signed in")
    bob = open_client("bob")
    agent("signin", client=bob)
    agent.wait(client=bob, event="signed in")
    online = agent.wait(client=alice, channel="(watchlist)", event="online")
    assert online["data"]["user_ids"] == ["bob"]
    assert agent.wait(client=bob, channel="(watchlist)", event="online")["data"]["user_ids"] == [
        "alice"
    ]
    # The client subscribes to its user's channel by itself; an event can go out once it has.
    _until_occupied(agent, alice, "notice")
    assert agent("sendToUser", user="alice", event="bill", data={"sum": 7}) == {}
    assert agent.wait(client=alice, channel="(user)", event="bill")["data"] == {"sum": 7}
    assert not agent.saw(client=bob, channel="(user)", event="bill")
    assert agent("terminate", user="bob") == {}
    error = {"code": 4009, "message": "You got disconnected by the app."}
    agent.wait(client=bob, error=error)
    # API Gateway sends no close code, so pusher-js comes back there, and has to sign in anew.
    if served.ws_path:
        agent.wait(client=bob, state="connected", count=2)
    else:
        agent.wait(client=bob, state="disconnected")
    offline = agent.wait(client=alice, channel="(watchlist)", event="offline")
    assert offline["data"]["user_ids"] == ["bob"]
    assert agent("state", client=alice) == "connected"


def _until_occupied(agent, client, event):
    attempts = 0
    while not agent.saw(client=client, channel="(user)", event=event):
        agent("sendToUser", user="alice", event=event, data={})
        attempts += 1
        assert attempts < 1_000


def test_nobody_subscribes_to_another_users_channel(agent, open_client):
    eve = open_client("bob")
    agent("signin", client=eve)
    agent.wait(client=eve, event="signed in")
    agent("send", client=eve, event="pusher:subscribe", data={"channel": "#server-to-user-alice"})
    text = "#server-to-user-alice is only for the connection that is signed in as that user"
    agent.wait(client=eve, error={"code": None, "message": text})


# --- cache channels -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cache", "private-cache", "private-encrypted-cache"])
def test_a_cache_channel_keeps_its_last_event(agent, open_client, subscribe, names, kind):
    channel = names(f"{kind}-price")
    early, late = open_client("alice"), open_client("alice")
    subscribe(early, channel)
    agent.wait(client=early, channel=channel, event="pusher:cache_miss")
    for price in (1, 2):
        agent("trigger", channels=channel, event="price", data={"is": price})
    subscribe(late, channel)
    assert agent.wait(client=late, channel=channel, event="price")["data"] == {"is": 2}
    assert not agent.saw(client=late, channel=channel, event="pusher:cache_miss")


# --- queries --------------------------------------------------------------------------------


def test_queries_and_info(agent, open_client, subscribe, names):
    public, presence, cache = names("news"), names("presence-room"), names("cache-price")
    for user in ("alice", "alice", "bob"):
        client = open_client(user)
        for channel in (public, presence, cache):
            subscribe(client, channel)
    listed = agent("get", path="/channels", params={"info": "subscription_count"})["channels"]
    assert listed[public] == {"subscription_count": 3}
    params = {"filter_by_prefix": "presence-", "info": "user_count"}
    listed = agent("get", path="/channels", params=params)["channels"]
    assert listed[presence] == {"user_count": 2}
    assert all(name.startswith("presence-") for name in listed)
    asked = {"info": "subscription_count"}
    answer = agent("get", path=f"/channels/{public}", params=asked)
    assert answer == {"occupied": True, "subscription_count": 3}
    answer = agent("get", path=f"/channels/{presence}", params={"info": "user_count"})
    assert answer == {"occupied": True, "user_count": 2}
    agent("trigger", channels=cache, event="price", data={"is": 3})
    answer = agent("get", path=f"/channels/{cache}", params={"info": "cache"})
    assert answer["cache"]["data"] == '{"is":3}'
    assert 1_790 <= answer["cache"]["ttl"] <= 1_800


def test_info_comes_back_with_a_trigger_and_a_batch(agent, open_client, subscribe, names):
    public, presence = names("news"), names("presence-room")
    for user in ("alice", "bob"):
        client = open_client(user)
        for channel in (public, presence):
            subscribe(client, channel)
    both = {"info": "subscription_count,user_count"}
    answer = agent("trigger", channels=[public, presence], event="e", data={}, params=both)
    assert answer["channels"][public] == {"subscription_count": 2}
    assert answer["channels"][presence]["user_count"] == 2
    batch = [
        {"channel": presence, "name": "e", "data": {}, "info": "user_count"},
        {"channel": public, "name": "e", "data": {}},
    ]
    assert agent("triggerBatch", events=batch) == {"batch": [{"user_count": 2}, {}]}


def test_the_number_of_subscribers_is_told(agent, open_client, subscribe, names):
    channel = names("news")
    first, second = open_client(), open_client()
    for client in (first, second):
        subscribe(client, channel)
    agent.wait(
        client=first,
        channel=channel,
        event="pusher:subscription_count",
        data={"subscription_count": 2},
    )
    assert agent("count", client=first, channel=channel) == 2


# --- webhooks -------------------------------------------------------------------------------


def test_webhooks_verify_with_the_node_sdk(agent, open_client, subscribe, names):
    channel = names("presence-hooked")
    client, other = open_client("alice"), open_client("bob")
    for each in (client, other):
        subscribe(each, channel)
    agent("whisper", client=client, channel=channel, event="client-typing", data={"on": 1})
    agent.wait(client=other, channel=channel, event="client-typing")
    agent("close", client=client)
    agent("close", client=other)

    def events():
        reports = [report["webhook"] for report in agent.saw() if "webhook" in report]
        assert all(report["valid"] for report in reports)
        found = [event for report in reports for event in report["events"]]
        return [event for event in found if event.get("channel") == channel]

    vacated = {"name": "channel_vacated", "channel": channel}
    agent.wait_for(lambda: vacated in events(), "channel_vacated")
    assert {"name": "channel_occupied", "channel": channel} in events()
    for user in ("alice", "bob"):
        for what in ("member_added", "member_removed"):
            assert {"name": what, "channel": channel, "user_id": user} in events()
    (typed,) = [event for event in events() if event["name"] == "client_event"]
    assert typed["event"] == "client-typing"
    assert typed["user_id"] == "alice"
    assert typed["data"] == '{"on":1}'


# --- errors ---------------------------------------------------------------------------------


def test_a_wrong_secret_is_an_error_of_the_node_sdk(agent, forger, failed):
    with pytest.raises(failed) as caught:
        agent("trigger", sdk=forger, channels="news", event="e", data={})
    details = caught.value.details
    assert details["status"] == 401
    assert details["body"].startswith('Invalid signature: you should have sent HmacSHA256Hex("POST')


@pytest.mark.parametrize(
    ("path", "params", "status", "text"),
    [
        ("/channels", {"info": "user_count"}, 400, "user_count may only be requested for presence"),
        ("/channels/news/users", {}, 400, "Users can only be retrieved for presence channels\n"),
        ("/channels/news", {"info": "user_count"}, 400, "Cannot retrieve the user count unless"),
        ("/nowhere", {}, 404, "404 NOT FOUND\n"),
    ],
)
def test_refusals_have_productions_words(agent, served, failed, path, params, status, text):
    with pytest.raises(failed) as caught:
        agent("get", path=path, params=params)
    assert caught.value.details["status"] == status
    assert caught.value.details["body"].startswith(text)


def test_too_large_data_is_413(agent, served, failed):
    with pytest.raises(failed) as caught:
        agent("trigger", channels="news", event="e", data="x" * 10_241)
    assert caught.value.details["status"] == 413


def test_an_unknown_key_is_final(agent, served, names):
    client = names("client")
    agent("open", client=client, key="nobody", port=served.port, wsPath=served.ws_path)
    error = agent.wait_for(lambda: agent.saw(client=client) and _error(agent, client), "an error")
    assert error["code"] == 4001
    assert "nobody not in this cluster" in error["message"]
    agent.wait(client=client, state="disconnected")


def _error(agent, client):
    return next((r["error"] for r in agent.saw(client=client) if r.get("error")), None)


def test_clients_come_back_after_the_server_went(agent, names):
    """What a stopped server says makes pusher-js try again in a second, not give up, and not at
    once: an attempt that is refused would cost it 15 seconds."""
    app = App("1", (Key("app-key", "app-secret"),))
    client = names("client")
    with running(LocalServer([app], port=0)) as gone:
        agent("open", client=client, key="app-key", port=gone.port)
        agent.wait(client=client, state="connected")
    with running(LocalServer([app], port=gone.port)):
        began = time.monotonic()
        agent.wait(client=client, state="connected", count=2)
        assert time.monotonic() - began < 10
        agent("close", client=client)
