"""The events of Lambda, and the requests to SQS and Lambda."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from realtime_kit.errors import ConfigurationError, ProviderUnavailable, RateLimited, Rejected
from realtime_kit.hosting.apigateway.services import Function, Sqs
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.faults import Answer, FaultServer, Reset
from realtime_kit.web.aws_websocket import (
    api_request,
    dialled,
    fanout_handler,
    is_api_request,
    websocket_handler,
)

ENVIRON = {
    "REALTIME_PROVIDER": "aws",
    "REALTIME_AWS__KEYS": "key:secret",
    "REALTIME_AWS__TABLE": "realtime",
    "REALTIME_AWS__QUEUE": "http://127.0.0.1:9/1/fanout",
    "REALTIME_AWS__SOCKET": "ws://127.0.0.1:9/dev",
    "REALTIME_AWS__SERVICES": "http://127.0.0.1:9",
    "REALTIME_AWS__METRICS": "false",
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


@pytest.mark.parametrize(
    ("query", "key", "protocol"),
    [
        ({"p": "/app/KEY?protocol=7", "client": "js"}, "KEY", "7"),
        ({"p": "/app/KEY", "protocol": "7"}, "KEY", "7"),
        ({"p": "/prefix/app/K%20Y/?protocol=5"}, "K Y", "5"),
        ({"key": "KEY", "protocol": "7"}, "KEY", "7"),
        ({"p": "/other", "key": "KEY"}, "KEY", None),
        ({}, "", None),
    ],
)
def test_what_was_dialled(query, key, protocol):
    found, rest = dialled(query)
    assert (found, rest.get("protocol")) == (key, protocol)


@pytest.mark.parametrize(
    ("path", "stage", "known"),
    [
        ("/apps/1/events", "$default", True),
        ("/dev/apps/1/events", "dev", True),
        ("/realtime/trigger", "dev", False),
        ("/realtime/apps/1", "dev", False),
    ],
)
def test_requests_to_the_api(path, stage, known):
    event = {
        "rawPath": path,
        "rawQueryString": "a=1",
        "headers": {"Content-Type": "application/json"},
        "requestContext": {"http": {"method": "POST"}, "stage": stage},
        "body": "e30=",
        "isBase64Encoded": True,
    }
    assert is_api_request(event) is known
    if known:
        request = api_request(event)
        assert (request.path, request.query, request.body) == ("/apps/1/events", "a=1", b"{}")


@pytest.fixture
def realtime():
    return Realtime(settings=RealtimeSettings(environ=ENVIRON))


def test_no_exception_reaches_api_gateway(realtime, monkeypatch):
    handler = websocket_handler(realtime)
    host = realtime.provider.host

    def fail(*_, **__):
        raise RuntimeError("a mistake of ours")

    for name, kind in (
        ("connect", "CONNECT"),
        ("receive", "MESSAGE"),
        ("disconnect", "DISCONNECT"),
    ):
        monkeypatch.setattr(host, name, fail)
        context = {"connectionId": "PJqB0fHsqRcCHlw=", "eventType": kind}
        assert handler({"requestContext": context, "body": "{}"}) == {"statusCode": 500}


def test_messages_that_fail_are_named(realtime, monkeypatch):
    handler = fanout_handler(realtime)
    arrived = []
    monkeypatch.setattr(
        realtime.provider.host, "arrived", lambda m, left: arrived.append((m, left()))
    )
    records = [{"messageId": "1", "body": "{}"}, {"messageId": "2", "body": "not JSON"}]
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 1500)
    assert handler({"Records": records}, context) == {
        "batchItemFailures": [{"itemIdentifier": "2"}]
    }
    assert arrived == [({}, 1.5)]


def test_a_webhook_that_comes_again_is_heard_however_late(realtime):
    """The queue brings a failed message back after six minutes, with the time that it had."""
    heard = []

    @realtime.on("member_added")
    def hear(event):
        heard.append((event.channel, event.user_id, event.time.timestamp()))
        if len(heard) == 1:
            raise RuntimeError("not now")

    handler = fanout_handler(realtime)
    event = {"name": "member_added", "channel": "presence-a", "user_id": "7"}
    message = {"app": "1", "do": "webhook", "event": event, "time_ms": 1_700_000_000_000}
    records = [{"messageId": "1", "body": json.dumps(message)}]
    failed = {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert handler({"Records": records}) == failed
    assert handler({"Records": records}) == {"batchItemFailures": []}
    assert heard == [("presence-a", "7", 1_700_000_000.0)] * 2


def test_a_webhook_that_is_posted_again_is_taken_however_late():
    """Receivers refuse one that is older than five minutes."""
    with FaultServer() as application:
        environ = {**ENVIRON, "REALTIME_AWS__WEBHOOK": f"http://127.0.0.1:{application.port}/hook"}
        handler = fanout_handler(Realtime(settings=RealtimeSettings(environ=environ)))
        event = {"name": "member_added", "channel": "presence-a", "user_id": "7"}
        message = {"app": "1", "do": "webhook", "event": event, "time_ms": 1_700_000_000_000}
        records = [{"messageId": "1", "body": json.dumps(message)}]
        assert handler({"Records": records}) == {"batchItemFailures": []}
        (received,) = application.received
    receiver = AwsProvider.from_settings(RealtimeSettings(environ=ENVIRON))
    (heard,) = receiver.parse_webhook(received.headers, received.body)
    assert (heard.kind, heard.user_id) == ("member_added", "7")


def test_a_webhook_does_not_wait_for_a_connection_that_was_being_closed():
    """Receivers close what is idle, and the queue brings a failed one back after minutes."""
    with FaultServer() as application:
        environ = {**ENVIRON, "REALTIME_AWS__WEBHOOK": f"http://127.0.0.1:{application.port}/hook"}
        handler = fanout_handler(Realtime(settings=RealtimeSettings(environ=environ)))
        application.script(Answer(), Reset())
        for user_id in "78":
            event = {"name": "member_added", "channel": "presence-a", "user_id": user_id}
            message = {"app": "1", "do": "webhook", "event": event, "time_ms": 1_700_000_000_000}
            records = [{"messageId": "1", "body": json.dumps(message)}]
            assert handler({"Records": records}) == {"batchItemFailures": []}
        first, second, again = (received.body for received in application.received)
    assert second == again != first


def test_another_event_or_provider_is_a_mistake_of_the_deployment(realtime):
    with pytest.raises(ConfigurationError, match="WebSocket"):
        websocket_handler(realtime)({"httpMethod": "GET"})
    with pytest.raises(ConfigurationError, match="'aws'"):
        websocket_handler(Realtime("null", settings=RealtimeSettings(environ={})))


# --- SQS and Lambda -------------------------------------------------------------------------


class Http:
    """Answers by a script, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def request(self, method, target, *, headers, body=b""):
        self.asked.append((target, headers, json.loads(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status=answer[0], body=json.dumps(answer[1]).encode())


def sqs(http):
    more = {"region": "eu-west-1", "credentials": lambda: Credentials("id", "secret")}
    return Sqs("https://sqs/1/fanout", http, "sqs", **more)


def test_a_delay_is_whole_seconds_and_no_less():
    http = Http((200, {}))
    sqs(http).send({"do": "x"}, 2.1)
    sqs(http).send({"do": "x"}, 10_000)
    assert [asked[2]["DelaySeconds"] for asked in http.asked] == [3, 900]
    assert json.loads(http.asked[0][2]["MessageBody"]) == {"do": "x"}


def test_many_messages_are_split_by_number_and_by_size():
    http = Http((200, {}))
    sqs(http).send_many([{"n": n} for n in range(25)])
    assert [len(asked[2]["Entries"]) for asked in http.asked] == [10, 10, 5]
    http.asked.clear()
    sqs(http).send_many([{"frame": "x" * 90_000} for _ in range(5)])
    assert [len(asked[2]["Entries"]) for asked in http.asked] == [2, 2, 1]


def test_what_the_queue_did_not_take_is_an_error():
    http = Http((200, {"Failed": [{"Id": "0", "Code": "InternalError"}]}))
    with pytest.raises(ProviderUnavailable, match="1 of 2"):
        sqs(http).send_many([{}, {}])


def test_what_passes_is_tried_again_and_what_does_not_is_not():
    away = ProviderUnavailable("away", provider="aws", retryable=True)
    http = Http(away, (503, {}), (200, {}))
    sqs(http).send({})
    assert len(http.asked) == 3
    for status, error in ((400, Rejected), (429, RateLimited), (500, ProviderUnavailable)):
        http = Http((status, {}))
        with pytest.raises(error):
            sqs(http).send({})
        assert len(http.asked) == (1 if status == 400 else 3)


def test_a_function_is_invoked_and_not_waited_for():
    http = Http((202, {}))
    function = Function(
        "my fn", http, "lambda", region="eu-west-1", credentials=lambda: Credentials("id", "secret")
    )
    function.invoke({"do": "greet"})
    [(target, headers, body)] = http.asked
    assert target == "/2015-03-31/functions/my%20fn/invocations"
    assert (headers["X-Amz-Invocation-Type"], body) == ("Event", {"do": "greet"})
    assert "x-amz-invocation-type" in headers["Authorization"]
