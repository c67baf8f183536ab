"""Event documents, against the shapes that AWS's own have."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from realtime_kit.emulators.apigateway import documents
from realtime_kit.emulators.apigateway.documents import Api, Client, Document, Ids

API = Api("a1b2c3d4e5", "prod", "127.0.0.1:8443")
NOW = 1795511537.412
PLAIN = Client("PJqB0fHsqRcCHlw=", 1795511537.4, "203.0.113.7", None)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:122.0) Gecko/20100101 Firefox/122.0"
BROWSER = Client("PJqB0fHsqRcCHlw=", 1795511537.4, "203.0.113.7", AGENT)
IDS = Ids(SystemRandom())
HANDSHAKE = [
    ("Host", "127.0.0.1:8443"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
]
OF_BROWSERS = [
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Cache-Control", "no-cache"),
    ("Origin", "https://shop.example.com"),
    ("Pragma", "no-cache"),
    ("Sec-WebSocket-Protocol", "chat.v2"),
    ("User-Agent", AGENT),
]
SUBSCRIBE = '{"event":"pusher:subscribe","data":{"channel":"orders"}}'
QUERY = "p=/app/key?protocol=7&client=js"


def connect(client: Client, headers: list[tuple[str, str]], query: str) -> Document:
    return documents.connect_event(
        API,
        client,
        headers=headers,
        query=query,
        request_id=IDS.short(),
        trace=IDS.trace(NOW),
        now=NOW,
    )


def message(client: Client, route_key: str, body: str) -> Document:
    return documents.message_event(
        API,
        client,
        route_key=route_key,
        body=body,
        request_id=IDS.short(),
        message_id=IDS.short(),
        now=NOW,
    )


def disconnect(client: Client, code: int, reason: str) -> Document:
    return documents.disconnect_event(
        API, client, code=code, reason=reason, request_id=IDS.short(), now=NOW
    )


MADE: dict[str, Callable[[], Document]] = {
    "connect": lambda: connect(PLAIN, HANDSHAKE, ""),
    "connect_browser_query": lambda: connect(BROWSER, HANDSHAKE + OF_BROWSERS, QUERY),
    "message": lambda: message(PLAIN, "$default", "hello"),
    "message_browser_route": lambda: message(BROWSER, "pusher:subscribe", SUBSCRIBE),
    "disconnect": lambda: disconnect(PLAIN, 1005, "Client-side close frame status not set"),
    "disconnect_browser_idle": lambda: disconnect(BROWSER, 1001, "Going away"),
}
# What differs from one event, or one machine, to the next; everything else is compared by value.
VARY = {
    "requestId": r"[A-Za-z0-9_-]{15}=",
    "extendedRequestId": r"[A-Za-z0-9_-]{15}=",
    "messageId": r"[A-Za-z0-9_-]{15}=",
    "X-Amzn-Trace-Id": r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}",
    "Host": r"127\.0\.0\.1:8443|a1b2c3d4e5\.execute-api\.eu-central-1\.amazonaws\.com",
    "domainName": r"127\.0\.0\.1:8443|a1b2c3d4e5\.execute-api\.eu-central-1\.amazonaws\.com",
    "X-Forwarded-Port": r"443|8443",
    "X-Forwarded-Proto": "https?",
}


def shape(value: Any, name: str = "") -> Any:
    """A document in which what varies is a word, and an error if it does not look as it must."""
    if isinstance(value, dict):
        return [(key, shape(each, key)) for key, each in value.items()]  # in its order
    if isinstance(value, list):
        return [shape(each, name) for each in value]
    if name in VARY:
        assert re.fullmatch(VARY[name], value), (name, value)
        return "…"
    return value


@pytest.mark.parametrize("name", MADE)
def test_member_for_member_as_aws_has_it(checkout: Path, name: str) -> None:
    folder = checkout / "tests" / "emulators" / "documents"
    expected = json.loads((folder / f"{name}.json").read_text())
    assert shape(MADE[name]()) == shape(expected)


def test_a_connection_id_is_eleven_bytes() -> None:
    ids = {IDS.short() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(b64decode(each, b"-_", validate=True)) == 11 for each in ids)


def test_repeated_headers_and_parameters() -> None:
    headers = [("X-A", "1"), ("X-A", "2"), ("x-forwarded-for", "10.0.0.1")]
    event = connect(PLAIN, headers, "a=1&a=2&b=&c=%C3%A9+x")
    assert event["headers"]["X-A"] == "2"
    assert event["multiValueHeaders"]["X-A"] == ["1", "2"]
    # What a client claims stands before what the gateway knows.
    assert event["headers"]["X-Forwarded-For"] == "10.0.0.1, 203.0.113.7"
    assert "x-forwarded-for" not in event["headers"]
    assert event["queryStringParameters"] == {"a": "2", "b": "", "c": "é x"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""], "c": ["é x"]}


def http(**given: Any) -> Document:
    options: dict[str, Any] = {
        "route_key": "POST /realtime/auth",
        "method": "POST",
        "path": "/realtime/auth",
        "query": "",
        "protocol": "HTTP/1.1",
        "headers": [("Host", "127.0.0.1:8443"), ("Content-Type", "application/json")],
        "body": b"",
        "source_ip": "203.0.113.7",
        "parameters": {},
        "request_id": IDS.short(),
        "trace": IDS.trace(NOW),
        "now": NOW,
        **given,
    }
    return documents.http_event(Api("a1b2c3d4e5", "$default", API.domain), **options)


def test_an_http_request_is_of_payload_format_2(checkout: Path) -> None:
    folder = checkout / "tests" / "vectors" / "lambda_events"
    expected = json.loads((folder / "http_api_cookies.json").read_text())
    context = expected["requestContext"]
    event = http(
        headers=[
            *((name.title(), value) for name, value in expected["headers"].items()),
            ("Cookie", "theme=dark; session=TOKEN"),
        ],
        body=b"x",
    )
    assert list(event) == list(expected)
    assert event["cookies"] == expected["cookies"]
    assert list(event["requestContext"]) == list(context)
    assert event["requestContext"]["http"] == context["http"]
    assert event["requestContext"]["time"] == context["time"]
    assert event["requestContext"]["timeEpoch"] == context["timeEpoch"]
    assert set(event["headers"]) == set(expected["headers"])


@pytest.mark.parametrize(
    ("content_type", "encoded"),
    [
        ("application/json", False),
        ("application/json; charset=utf-8", False),
        ("text/plain", False),
        ("application/xml", False),
        ("application/javascript", False),
        # As it was seen on AWS, although these are text:
        ("application/x-www-form-urlencoded", True),
        ("application/vnd.api+json", True),
        ("application/octet-stream", True),
        ("", True),
    ],
)
def test_which_bodies_are_base64(content_type: str, encoded: bool) -> None:
    headers = [("Content-Type", content_type)] if content_type else []
    event = http(headers=headers, body=b"socket_id=1.2")
    assert event["isBase64Encoded"] is encoded
    body = event["body"]
    assert (b64decode(body).decode() if encoded else body) == "socket_id=1.2"


def test_an_http_request_without_a_body() -> None:
    event = http(headers=[], query="a=1&a=2&b=x%2Cy", parameters={"file": "a.js"})
    assert "body" not in event
    assert "cookies" not in event
    assert event["isBase64Encoded"] is False
    assert event["rawQueryString"] == "a=1&a=2&b=x%2Cy"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x,y"}
    assert event["pathParameters"] == {"file": "a.js"}


def test_a_schedule() -> None:
    event = documents.scheduled_event(rule="sweep", event_id="1", region="eu-west-1", now=NOW)
    assert event["detail-type"] == "Scheduled Event"
    assert event["time"] == "2026-11-24T09:12:17Z"
    assert event["resources"] == ["arn:aws:events:eu-west-1:123456789012:rule/sweep"]
