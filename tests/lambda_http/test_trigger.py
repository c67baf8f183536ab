"""The trigger function: whatever invokes it, the event is sent once, or whoever sent it is told."""

from __future__ import annotations

import json
import logging

import pytest

from realtime_kit import (
    ConfigurationError,
    InvalidChannel,
    InvalidEvent,
    PayloadTooLarge,
    ProviderUnavailable,
    Realtime,
    RealtimeSettings,
)
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web.aws_lambda import trigger_handler
from realtime_kit.web.http import HttpRequest

TOKEN = "token-of-the-service"
QUEUE = "059f36b4-87a3-44ab-83d2-66197583000"


@pytest.fixture
def provider():
    return FakeProvider()


@pytest.fixture
def handler(provider):
    environ = {"REALTIME_WEB__TRIGGER_TOKENS": TOKEN, "REALTIME_ON_ERROR": "log"}
    return trigger_handler(Realtime(provider, settings=RealtimeSettings(environ=environ)))


def failed(*numbers: int) -> dict[str, list[dict[str, str]]]:
    return {"batchItemFailures": [{"itemIdentifier": f"{QUEUE}{n}"} for n in numbers]}


# --- direct invocation ----------------------------------------------------------------------


def test_one_event(handler, provider, document):
    answer = handler(document("direct"), None)
    (sent,) = provider.sent
    assert (sent.channel, sent.name, sent.data) == ("orders", "shipped", {"order": 42})
    assert answer == {"events": [{"id": sent.id, "channel": "orders"}]}


def test_several_events_each_to_its_channels(handler, provider, document):
    answer = handler(document("direct_events"))
    assert [(one.channel, one.name, one.data) for one in provider.sent] == [
        ("orders", "shipped", {"order": 42}),
        ("news", "headline", "Goal!"),
        ("sport", "headline", "Goal!"),
    ]
    assert [one["channel"] for one in answer["events"]] == ["orders", "news", "sport"]
    assert answer["events"][1]["id"] == "h-1"


def test_everything_that_can_be_said_of_an_event(handler, provider):
    said = {"id": "e-1", "mutation": "m-1", "exclude": "1.2"}
    handler({"channels": ["a"], "name": "n", "data": None, **said})
    (sent,) = provider.sent
    assert (sent.id, sent.mutation, sent.exclude, sent.data) == ("e-1", "m-1", "1.2", None)


def test_no_events_send_nothing(handler, provider):
    assert handler({"events": []}) == {"events": []}
    assert provider.sent == []


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({}, InvalidEvent),
        ([], InvalidEvent),
        ("text", InvalidEvent),
        (None, InvalidEvent),
        ({"channel": "a", "name": "n"}, InvalidEvent),
        ({"channel": "a", "data": 1}, InvalidEvent),
        ({"name": "n", "data": 1}, InvalidEvent),
        ({"channel": "a", "channels": ["b"], "name": "n", "data": 1}, InvalidEvent),
        ({"channel": ["a"], "name": "n", "data": 1}, InvalidEvent),
        ({"channels": "a", "name": "n", "data": 1}, InvalidEvent),
        ({"channels": [1], "name": "n", "data": 1}, InvalidEvent),
        ({"channels": [], "name": "n", "data": 1}, InvalidEvent),
        ({"channel": "a", "name": 1, "data": 1}, InvalidEvent),
        ({"channel": "a", "name": "n", "data": 1, "id": 1}, InvalidEvent),
        ({"channel": "a", "name": "n", "data": 1, "socket_id": "1.2"}, InvalidEvent),
        ({"channel": "a", "name": "pusher:x", "data": 1}, InvalidEvent),
        ({"channel": "a b", "name": "n", "data": 1}, InvalidChannel),
        ({"channel": "a", "name": "n", "data": "x" * 20_000}, PayloadTooLarge),
        ({"events": {"channel": "a"}}, InvalidEvent),
        ({"events": [], "name": "n"}, InvalidEvent),
        ({"events": [{"channel": "a", "name": "n", "data": 1}, 7]}, InvalidEvent),
    ],
)
def test_what_cannot_be_sent_is_said_and_nothing_is(handler, provider, event, error):
    with pytest.raises(error):
        handler(event)
    assert provider.sent == []


def test_errors_tell_the_form_and_not_the_content(handler):
    with pytest.raises(InvalidEvent) as caught:
        handler({"channel": "a", "name": "n", "password": "hunter2"})
    assert "channel, name, password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["sns", "alb", "websocket_connect"])
def test_events_of_other_services(handler, provider, document, name):
    with pytest.raises(InvalidEvent):
        handler(document(name))
    assert provider.sent == []


def test_a_failure_is_raised_whatever_on_error_says(handler, provider, document):
    provider.failure = ProviderUnavailable("down", provider="fake", retryable=True)
    for name in ("direct", "eventbridge"):
        with pytest.raises(ProviderUnavailable):
            handler(document(name))


# --- EventBridge ----------------------------------------------------------------------------


def test_eventbridge(handler, provider, document):
    event = document("eventbridge")
    handler(event)
    handler(event)
    first, again = provider.sent
    assert (first.channel, first.name, first.data) == ("orders", "shipped", {"order": 42})
    assert first.id == again.id == event["id"]


def test_eventbridge_detail_may_name_the_events_itself(handler, provider, document):
    event = document("eventbridge")
    event["detail"] = {
        "events": [{"channel": "a", "data": 1}, {"channel": "b", "name": "n", "data": 2}]
    }
    handler(event)
    assert [(one.channel, one.name, one.id) for one in provider.sent] == [
        ("a", "shipped", f"{event['id']}:0"),
        ("b", "n", f"{event['id']}:1"),
    ]


def test_eventbridge_events_that_are_not_for_us(handler, provider, document):
    with pytest.raises(InvalidEvent, match="instance-id, state"):
        handler(document("eventbridge_foreign"))
    assert provider.sent == []


# --- SQS ------------------------------------------------------------------------------------


def test_sqs_reports_what_failed_and_sends_the_rest(handler, provider, document, caplog):
    with caplog.at_level(logging.INFO):
        assert handler(document("sqs")) == failed(2)
    assert [one.data for one in provider.sent] == [{"order": 1}, {"order": 3}]
    assert [one.id for one in provider.sent] == [f"{QUEUE}1", f"{QUEUE}3"]
    assert f"message {QUEUE}2: InvalidEvent: the message's body is not JSON" in caplog.text
    assert "not json" not in caplog.text


def test_sqs_all_good_and_all_bad(handler, provider, document):
    event = document("sqs")
    del event["Records"][1]
    assert handler(event) == failed()
    provider.failure = ProviderUnavailable("down", provider="fake", retryable=True)
    assert handler(event) == failed(1, 3)


def test_fifo_keeps_the_order_of_each_group(handler, provider, document):
    assert handler(document("sqs_fifo")) == failed(2, 4)
    assert [(one.channel, one.data) for one in provider.sent] == [("a", 1), ("a", 3), ("c", 5)]


def test_a_group_of_a_standard_queue_does_not_wait(handler, provider, document):
    """Fair queues have MessageGroupId without an order."""
    event = document("sqs_fifo")
    for record in event["Records"]:
        record["eventSourceARN"] = record["eventSourceARN"].removesuffix(".fifo")
    assert handler(event) == failed(2)
    assert [one.data for one in provider.sent] == [1, 3, 4, 5]


def test_sqs_may_carry_what_a_rule_of_eventbridge_put_there(handler, provider, document):
    event, inner = document("sqs"), document("eventbridge")
    event["Records"][1]["body"] = json.dumps(inner)
    assert handler(event) == failed()
    assert [one.id for one in provider.sent] == [f"{QUEUE}1", inner["id"], f"{QUEUE}3"]


def test_deep_json_fails_its_own_message_alone(handler, provider, document):
    event = document("sqs")
    event["Records"][1]["body"] = "[" * 100_000
    assert handler(event) == failed(2)


def test_a_programming_error_is_no_failed_message(handler, provider, document):
    provider.failure = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        handler(document("sqs"))


# --- HTTP -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["rest_api", "http_api", "function_url"])
def test_http(handler, provider, as_event, gateway):
    body = json.dumps({"channels": ["orders"], "name": "shipped", "data": {"order": 42}}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    answer = handler(
        as_event(gateway, HttpRequest("POST", "/realtime/trigger", headers, body=body))
    )
    assert answer["statusCode"] == 200
    (sent,) = provider.sent
    assert json.loads(answer["body"]) == {"events": [{"id": sent.id, "channel": "orders"}]}
    headers["authorization"] = "Bearer wrong"
    answer = handler(
        as_event(gateway, HttpRequest("POST", "/realtime/trigger", headers, body=body))
    )
    assert answer["statusCode"] in (401, 403)
    assert len(provider.sent) == 1


def test_on_lambda_a_missing_setting_fails_the_start():
    settings = RealtimeSettings(environ={"AWS_LAMBDA_FUNCTION_NAME": "trigger"})
    with pytest.raises(ConfigurationError, match="REALTIME_PROVIDER"):
        trigger_handler(Realtime(settings=settings))
