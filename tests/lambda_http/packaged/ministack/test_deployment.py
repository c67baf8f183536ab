"""A service of one's own, deployed by `osls deploy` and used by the official clients, unmodified:
pusher-js, the Node SDK, the Python SDK. Each function has the permissions of its role and no other.

MiniStack 1.5.33 is not AWS. What it lacks, and what is done about that (`adapted`, `_fill_in`):

| MiniStack | here |
|---|---|
| no `ApiGatewayV2::RouteResponse` | left out: a route's answer always goes to the client |
| no `ApiGatewayV2::IntegrationResponse` | made through the API, with the template's properties |
| no metric math in `CloudWatch::Alarm` | left out: the alarms are seen by cfn-lint alone |
| `sqs:SendMessageBatch` is an action | allowed where `sqs:SendMessage` is, which AWS asks for |
| names of APIs lead nowhere | `REALTIME_AWS__ENDPOINT`; a longer `wsPath`; a domain for HTTP |
| what follows a stage is ignored, not refused | the kit's emulator refuses it |
| a connection's frames come one by one | the emulator's come together, and reordered |
| no limits of size, idleness, age or rate | the emulator has them |
| `$connect` is over before anyone can post | the emulator answers 410 before |
| `GET @connections` has other names | nobody here is old enough to be asked for |
| a schedule's minute lasts a minute | `sweep` is invoked |
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError
from websocket import create_connection

from realtime_kit.protocol.frames import PONG

from .conftest import DEADLINE, KEY

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]


def test_the_config_says_where(deployment):
    with urlopen(f"{deployment.ministack.url}/realtime/config", timeout=DEADLINE) as answer:
        config = json.load(answer)
    socket = config["client"]["socket"]
    assert (config["provider"], socket["key"]) == ("aws", KEY)
    assert (socket["host"], socket["path"]) == (
        deployment.outputs["WsHost"],
        deployment.outputs["WsPath"],
    )


# --- channels -------------------------------------------------------------------------------


def test_every_kind_of_channel_and_both_sdks(agent, open_client, subscribe, sdk):
    client = open_client("alice", name="Alice", orders=[42])
    channels = ["news", "private-orders-42", "presence-room-lobby", "cache-news"]
    for channel in channels:
        subscribe(channel, client)
    data = {"text": "žluťoučký kůň 🐴", "list": [1, None]}
    assert agent("trigger", channels=channels, event="by node", data=data) == {}
    assert sdk.trigger(channels, "by python", data) == {}
    for channel in channels:
        for event in ("by node", "by python"):
            assert agent.wait(client=client, channel=channel, event=event)["data"] == data


def test_a_batch_and_the_excluded_socket(agent, open_client, subscribe):
    sender, other = open_client("alice"), open_client("bob")
    subscribe("batched", sender, other)
    socket_id = agent("socketId", client=sender)
    batch = [
        {"channel": "batched", "name": "one", "data": 1, "socket_id": socket_id},
        {"channel": "batched", "name": "two", "data": 2},
    ]
    assert agent("triggerBatch", events=batch) == {}
    agent.wait(client=other, channel="batched", event="one")
    for client in (sender, other):
        agent.wait(client=client, channel="batched", event="two")
    assert not agent.saw(client=sender, channel="batched", event="one")


def test_the_deployed_rules_decide(agent, open_client):
    client = open_client("mallory", orders=[42])
    for channel in ("private-orders-7", "private-user-alice", "private-no-rule"):
        agent("subscribe", client=client, channel=channel)
        error = agent.wait(client=client, channel=channel, event="pusher:subscription_error")
        assert error["data"]["status"] == 403
        assert agent("get", path=f"/channels/{channel}") == {"occupied": False}


def test_client_events_and_what_follows_unsubscribe(agent, open_client, subscribe):
    alice, bob = open_client("alice", orders=[1]), open_client("bob", orders=[1])
    subscribe("private-orders-1", alice, bob)
    agent("whisper", client=alice, channel="private-orders-1", event="client-typing", data={"n": 1})
    seen = agent.wait(client=bob, channel="private-orders-1", event="client-typing")
    assert seen["data"] == {"n": 1}
    agent("unsubscribe", client=alice, channel="private-orders-1")
    subscribe("news", alice)  # answered after the unsubscribe
    agent("trigger", channels=["private-orders-1", "news"], event="end", data={})
    agent.wait(client=alice, channel="news", event="end")
    agent.wait(client=bob, channel="private-orders-1", event="end")
    assert not agent.saw(client=alice, channel="private-orders-1", event="end")


@pytest.fixture
def dial(deployment):
    """Connect with a key, without a client's own ideas; the socket."""
    with ExitStack() as stack:

        def dial(key, **options):
            port = deployment.ministack.port
            url = f"ws://127.0.0.1:{port}{deployment.ws_path}/app/{key}?protocol=7&client=t"
            socket = create_connection(url, timeout=DEADLINE, **options)
            stack.callback(socket.shutdown)  # `close` leaves open what the server ended
            return socket

        yield dial


def test_pings_are_answered(dial):
    socket = dial(KEY, suppress_origin=True)
    assert json.loads(socket.recv())["event"] == "pusher:connection_established"
    socket.send('{"event":"pusher:ping","data":{}}')
    assert socket.recv() == PONG


@pytest.mark.parametrize(
    ("key", "origin", "code"),
    [("no-key", "http://localhost:8000", 4001), (KEY, "https://evil.example", 4009)],
)
def test_who_is_refused_is_told_and_closed(dial, key, origin, code):
    socket = dial(key, origin=origin)
    error = json.loads(socket.recv())
    assert (error["event"], error["data"]["code"]) == ("pusher:error", code)
    assert socket.recv() == ""


# --- presence, users, webhooks --------------------------------------------------------------


def test_presence_and_the_webhooks_of_it(agent, open_client, subscribe, sdk):
    room = "presence-room-42"
    alice = open_client("alice", name="Alice")
    subscribe(room, alice)
    bob, again = open_client("bob", name="Bob"), open_client("bob", name="Bob")
    subscribe(room, bob, again)
    added = {"id": "bob", "info": {"name": "Bob"}}
    assert agent.wait(client=alice, channel=room, event="pusher:member_added")["data"] == added
    assert agent("members", client=again, channel=room)["count"] == 2
    assert sdk.users_info(room) == {"users": [{"id": "alice"}, {"id": "bob"}]}
    information = {"channels": {room: {"user_count": 2}}}
    assert sdk.channels_info("presence-room-4", ["user_count"]) == information
    for client in (bob, again):
        assert not agent.saw(client=alice, channel=room, event="pusher:member_removed")
        agent("close", client=client)
    gone = agent.wait(client=alice, channel=room, event="pusher:member_removed")
    assert gone["data"]["id"] == "bob"
    assert len(agent.saw(client=alice, channel=room, event="pusher:member_added")) == 1

    def told():
        events = [
            (event["name"], event.get("user_id"))
            for report in agent.saw()
            for event in report.get("webhook", {"events": []})["events"]
            if event["channel"] == room
        ]
        return events if ("member_removed", "bob") in events else None

    told = agent.wait_for(told, "the webhook of who left")
    assert sorted(told, key=str)[-3:] == [
        ("member_added", "alice"),
        ("member_added", "bob"),
        ("member_removed", "bob"),
    ]
    assert all(report["webhook"]["valid"] for report in agent.saw() if "webhook" in report)


def test_users_are_reached_and_sent_away(agent, open_client):
    alice, bob = open_client("alice"), open_client("bob")
    for client in (alice, bob):
        agent("signin", client=client)
        agent.wait(client=client, event="signed in")
    # The client subscribes to its user's channel by itself, once it has signed in.
    ends = time.monotonic() + DEADLINE
    while not agent.saw(client=alice, channel="(user)", event="notice", data={"n": 1}):
        agent("sendToUser", user="alice", event="notice", data={"n": 1})
        assert time.monotonic() < ends
    agent("terminate", user="alice")
    agent.wait(client=alice, error={"code": 4009, "message": "You got disconnected by the app."})
    # API Gateway sends no close code, so pusher-js comes back, and has to sign in anew.
    agent.wait(client=alice, state="connected", count=2)
    assert agent("state", client=bob) == "connected"
    assert not agent.saw(client=bob, channel="(user)", event="notice")


# --- from inside the account ----------------------------------------------------------------


@pytest.fixture
def by(client, deployment):
    """Ways for an event to `trigger`, without Pusher's HTTP API."""

    def invocation(event):
        function = deployment.resources["TriggerLambdaFunction"]
        answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()

    def queue(event):
        client("sqs").send_message(
            QueueUrl=deployment.outputs["TriggerQueueUrl"],
            MessageGroupId=event["channel"],
            MessageBody=json.dumps(event),
        )

    def bus(event):
        entry = {"Source": "realtime", "DetailType": event["name"], "Detail": json.dumps(event)}
        assert client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    return {"invocation": invocation, "queue": queue, "bus": bus}


@pytest.mark.parametrize("way", ["invocation", "queue", "bus"])
def test_events_come_by(way, by, agent, open_client, subscribe):
    listener, channel = open_client("alice"), f"by-{way}"
    subscribe(channel, listener)
    by[way]({"channel": channel, "name": "shipped", "data": {"order": 42}})
    assert agent.wait(client=listener, channel=channel, event="shipped")["data"] == {"order": 42}


def test_a_broadcast_through_the_queue(agent, open_client, subscribe, client, deployment):
    clients = [open_client("alice"), open_client("bob"), open_client("carol")]
    subscribe("crowd", *clients)
    function = deployment.resources["TriggerLambdaFunction"]
    lambda_ = client("lambda")
    before = lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    queued = before | {"REALTIME_AWS__DELIVERY": "queue"}
    lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": queued})
    try:
        agent("trigger", channels=["crowd"], event="shipped", data={"order": 42})
        for one in clients:
            seen = agent.wait(client=one, channel="crowd", event="shipped")
            assert seen["data"] == {"order": 42}
    finally:
        lambda_.update_function_configuration(
            FunctionName=function, Environment={"Variables": before}
        )


def test_a_sweep_leaves_who_is_there(agent, open_client, client, deployment):
    open_client("alice")
    function = deployment.resources["SweepLambdaFunction"]
    answer = client("lambda").invoke(FunctionName=function, Payload=b"{}")
    assert "FunctionError" not in answer
    assert set(json.load(answer["Payload"]).values()) == {0}


# --- permissions ----------------------------------------------------------------------------


def test_who_has_no_permission_is_denied(client, deployment):
    """So the functions had theirs from their roles."""
    iam = client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    management = client("apigatewaymanagementapi", nobody, endpoint_url=deployment.connections)
    table = deployment.resources["Table"]
    for call in (
        lambda: client("dynamodb", nobody).scan(TableName=table),
        lambda: client("ssm", nobody).get_parameter(Name="/realtime-kit/dev"),
        lambda: management.post_to_connection(ConnectionId="abc=", Data=b"{}"),
    ):
        with pytest.raises(ClientError) as denied:
            call()
        assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
        assert "AccessDenied" in denied.value.response["Error"]["Code"]


def test_nothing_was_denied_or_given_up(client, deployment):
    """Last: what all the others led to."""
    for name in ("FanoutFailures", "TriggerFailures", "TriggerQueueFailures"):
        queue = deployment.resources[name]
        found = client("sqs").get_queue_attributes(
            QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
        )
        assert found["Attributes"] == {"ApproximateNumberOfMessages": "0"}, name
    log = deployment.ministack.log.read_text()
    assert "Traceback" not in log
    assert "Worker init failed" not in log
