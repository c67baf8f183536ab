"""The HTTP API, over the wire."""

from __future__ import annotations

import http.client
import json
import threading
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from realtime_kit.emulators.apigateway import Function, Quotas

DEADLINE = 10.0
Start = Callable[..., Any]


@pytest.fixture
def api(start: Start) -> Any:
    """Every route leads to the handler."""
    function = Function("http", lambda event, context: {"statusCode": 200})
    keys = ("POST /realtime/auth", "GET /realtime/client/{file+}", "ANY /apps/{path+}")
    site = start(http=dict.fromkeys(keys, function))
    function.handler = site.handler
    return site


def ask(
    site: Any, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=DEADLINE)
    connection.request(method, path, body, {n.replace("_", "-"): v for n, v in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def test_a_request_is_an_event(api: Any) -> None:
    form = "socket_id=1.2&channel_name=presence-room"
    ask(
        api,
        "POST",
        "/realtime/auth?a=1&b=%2F",
        form,
        Content_Type="application/x-www-form-urlencoded",
        Cookie="session=TOKEN; theme=dark",
        X_Forwarded_For="198.51.100.1",
    )
    (event,) = api.handler.events()
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /realtime/auth"
    assert event["rawPath"] == "/realtime/auth"
    assert event["rawQueryString"] == "a=1&b=%2F"
    assert event["queryStringParameters"] == {"a": "1", "b": "/"}
    assert event["cookies"] == ["session=TOKEN", "theme=dark"]
    assert b64decode(event["body"]).decode() == form
    assert event["isBase64Encoded"] is True
    assert event["headers"]["x-forwarded-for"] == "198.51.100.1, 127.0.0.1"
    assert "cookie" not in event["headers"]
    context = event["requestContext"]
    assert context["stage"] == "$default"
    assert context["http"]["method"] == "POST"
    assert context["http"]["sourceIp"] == "127.0.0.1"


def test_path_parameters(api: Any) -> None:
    ask(api, "GET", "/apps/1/channels/presence-a%20b")
    (event,) = api.handler.events()
    assert event["rawPath"] == "/apps/1/channels/presence-a%20b"
    assert event["pathParameters"] == {"path": "1/channels/presence-a b"}


def test_an_answer(api: Any) -> None:
    api.handler.on["GET /realtime/client/{file+}"] = {
        "statusCode": 200,
        "headers": {"Content-Type": "text/javascript", "ETag": '"1"'},
        "cookies": ["a=1", "b=2"],
        "body": "ZXhwb3J0IHt9",
        "isBase64Encoded": True,
    }
    status, headers, body = ask(api, "GET", "/realtime/client/realtime.js")
    assert (status, body) == (200, b"export {}")
    assert headers["Content-Type"] == "text/javascript"
    assert headers["ETag"] == '"1"'
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_what_the_gateway_says_itself(api: Any, start: Start) -> None:
    assert ask(api, "GET", "/nothing")[::2] == (404, b'{"message":"Not Found"}')
    api.handler.on["POST /realtime/auth"] = lambda *_: 1 / 0
    status, _, body = ask(api, "POST", "/realtime/auth")
    assert (status, body) == (500, b'{"message":"Internal Server Error"}')
    busy = start(quotas=Quotas(rate=0.001, burst=1), http={"$default": api.function})
    assert ask(busy, "GET", "/")[0] == 200
    assert ask(busy, "GET", "/")[::2] == (429, b'{"message":"Too Many Requests"}')


def test_a_function_that_takes_too_long(start: Start) -> None:
    over = threading.Event()
    slow = Function("slow", lambda *_: {"statusCode": 200 if over.wait(DEADLINE) else 500})
    site = start(quotas=Quotas(integration=0.05), http={"$default": slow})
    assert ask(site, "GET", "/")[::2] == (503, b'{"message":"Service Unavailable"}')
    over.set()


def test_a_function_that_is_killed_when_its_time_is_over(start: Start) -> None:
    stuck = threading.Event()

    def handler(*_: Any) -> None:
        while not stuck.wait(0.001):
            pass

    site = start(http={"$default": Function("stuck", handler, timeout=0.1)})
    assert ask(site, "GET", "/")[0] == 500
    failed = site.gateway.log.wait("failed", function="stuck")
    assert failed.detail["error"] == "Task timed out after 0.10 seconds"
    for thread in threading.enumerate():
        if thread.name.startswith("lambda-stuck"):
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_what_is_billed(api: Any) -> None:
    for _ in range(3):
        ask(api, "POST", "/realtime/auth")
    usage = api.gateway.usage
    assert (usage.http_requests, usage.invocations) == (3, 3)
    assert usage.gigabyte_seconds > 0
    assert json.loads(ask(api, "GET", "/x")[2]) == {"message": "Not Found"}
