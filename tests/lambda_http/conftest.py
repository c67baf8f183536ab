"""Event documents, the way AWS sends them, and an application behind them."""

from __future__ import annotations

import gc
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from realtime_kit import Member, Realtime, RealtimeSettings, SignIn
from realtime_kit.web.http import HttpRequest

Event = dict[str, Any]
KEY, SECRET = "key-of-the-app", "secret-of-the-app"
ENVIRON = {
    "AWS_LAMBDA_FUNCTION_NAME": "auth",
    "REALTIME_PROVIDER": "pusher",
    "REALTIME_PUSHER__APP_ID": "42",
    "REALTIME_PUSHER__KEYS": f"{KEY}:{SECRET}",
    "REALTIME_PUSHER__CLUSTER": "eu",
}


@pytest.fixture
def document(checkout) -> Callable[[str], Event]:
    """`document("rest_api")`: that event, fresh each time."""
    folder = checkout / "tests" / "vectors" / "lambda_events"
    return lambda name: json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def app() -> Iterator[Realtime]:
    """An application on Lambda, with provider pusher."""
    app = Realtime(settings=RealtimeSettings(environ=ENVIRON))

    @app.channel_rule("presence-room-{room}")
    def may_join(user: Mapping[str, Any], room: str) -> Member:
        return Member(user["sub"], {"name": user.get("name", "?")})

    @app.channel_rule("private-open-{name}", guests=True)
    def anybody(user: object, name: str) -> bool:
        return True

    @app.sign_in
    def identity(user: Mapping[str, Any]) -> SignIn:
        return SignIn(user["sub"])

    yield app
    gc.unfreeze()  # what a function's start froze


@pytest.fixture
def as_event(document) -> Callable[[str, HttpRequest], Event]:
    """A request as the event that a gateway makes of it. `path` is what the client asked for,
    after the stage; the documents give the rest."""

    def convert(name: str, request: HttpRequest) -> Event:
        event = document(name)
        convert_one = _v1 if "httpMethod" in event else _v2
        return convert_one(event, request, name)

    return convert


def _v1(event: Event, request: HttpRequest, name: str) -> Event:
    old = event["requestContext"]["path"].removesuffix("/realtime/auth")
    headers = {
        header.title(): value
        for header, value in {**_infrastructure(event), **request.headers}.items()
    }
    query = parse_qs(_query(request), keep_blank_values=True)
    return {
        **event,
        "httpMethod": request.method,
        "path": event["path"].removesuffix("/realtime/auth") + request.path,
        "headers": headers,
        "multiValueHeaders": {header: [value] for header, value in headers.items()},
        "queryStringParameters": {each: values[-1] for each, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "body": request.body.decode(errors="replace") or None,
        "requestContext": {
            **event["requestContext"],
            "httpMethod": request.method,
            "path": old + request.path,
        },
    }


def _v2(event: Event, request: HttpRequest, name: str) -> Event:
    path = event["rawPath"].removesuffix("/realtime/auth") + request.path
    headers = {**_infrastructure(event), **request.headers}
    cookies = headers.pop("cookie", None)
    encoded = name == "function_url"
    body = b64encode(request.body).decode() if encoded else request.body.decode(errors="replace")
    http = {**event["requestContext"]["http"], "method": request.method, "path": path}
    event = {
        **event,
        "rawPath": path,
        "rawQueryString": _query(request),
        "headers": headers,
        "requestContext": {**event["requestContext"], "http": http},
        "isBase64Encoded": encoded,
    }
    event.pop("body", None)
    if request.body:
        event["body"] = body
    if cookies:
        event["cookies"] = cookies.split("; ")
    return event


def _query(request: HttpRequest) -> str:
    return request.query_string or urlencode(request.query)


def _infrastructure(event: Event) -> dict[str, str]:
    """The headers of a document that the way to Lambda sets, not the client."""
    headers = {name.lower(): value for name, value in (event["headers"] or {}).items()}
    return {name: headers[name] for name in headers if name == "host" or name.startswith("x-")}
