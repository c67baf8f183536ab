"""What the suite of `http_adapter` asks through an adapter, and what must be answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from realtime_kit.protocol import signing
from realtime_kit.protocol.app import Key
from realtime_kit.web.http import MAX_BODY, HttpRequest

ORIGIN = "https://shop.example.com"
TOKEN = "a-trigger-token"
KEY = Key("test-key", "test-secret")
SOCKET = "123.456"


@dataclass(frozen=True)
class Case:
    """A request, and what must be answered. `body` None: whatever it is. `sends` counts events."""

    name: str
    request: HttpRequest
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sends: int = 0


def _post(path: str, body: bytes, content_type: str, **headers: str) -> HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest("POST", path, {"content-type": content_type, **named}, body=body)


def _form(path: str, fields: Mapping[str, str], **headers: str) -> HttpRequest:
    body = urlencode(fields).encode()
    return _post(path, body, "application/x-www-form-urlencoded; charset=UTF-8", **headers)


def _json(path: str, value: Any, **headers: str) -> HttpRequest:
    return _post(path, json.dumps(value).encode(), "application/json", **headers)


def _proof(channel: str, member: Mapping[str, Any] | None = None) -> dict[str, str]:
    if member is None:
        return {"auth": signing.channel_auth(KEY, SOCKET, channel)}
    data = json.dumps(member)
    return {"auth": signing.channel_auth(KEY, SOCKET, channel, data), "channel_data": data}


ANN = {"x_user": "7"}
DENIED = {"status": 403, "error": "denied"}
MEMBER = {"user_id": "7", "user_info": {"name": "Ann"}}
AUTH, USER_AUTH, TRIGGER = "/realtime/auth", "/realtime/user-auth", "/realtime/trigger"
ORDER_1 = {"socket_id": SOCKET, "channel_name": "private-orders-1"}
NOTE = {"name": "note", "channels": ["private-orders-1"], "data": {"text": "hi"}, "id": "e1"}
NOTED = {"events": [{"id": "e1", "channel": "private-orders-1"}]}
BEARER = {"authorization": f"Bearer {TOKEN}"}
SAME = {"sec_fetch_site": "same-origin", "cookie": "user=7"}
UNAUTHORIZED = {"error": "a trigger token or a signed-in user is needed"}
FOREIGN = {"error": "not from a page of this origin"}
USER_DATA = json.dumps({"id": "7", "user_info": {"name": "Ann"}})

_AUTH = [
    Case("a private channel", _form(AUTH, ORDER_1, **ANN), 200, _proof("private-orders-1")),
    Case("the same as JSON", _json(AUTH, ORDER_1, **ANN), 200, _proof("private-orders-1")),
    Case(
        "a presence channel",
        _form(AUTH, {"socket_id": SOCKET, "channel_name": "presence-room-a"}, **ANN),
        200,
        _proof("presence-room-a", MEMBER),
    ),
    Case(
        "parameters of the application's own",
        _form(AUTH, {**ORDER_1, "tenant": "3"}, **ANN),
        200,
        _proof("private-orders-1"),
    ),
    Case(
        "a guest where guests may",
        _form(AUTH, {"socket_id": SOCKET, "channel_name": "private-open"}),
        200,
        _proof("private-open"),
    ),
    Case("a guest elsewhere", _form(AUTH, ORDER_1), 403, {"error": "denied"}),
    Case(
        "a rule that says no",
        _form(AUTH, {"socket_id": SOCKET, "channel_name": "private-orders-100"}, **ANN),
        403,
        {"error": "denied"},
    ),
    Case(
        "no rule",
        _form(AUTH, {"socket_id": SOCKET, "channel_name": "private-encrypted-orders-1"}, **ANN),
        403,
        {"error": "denied"},
    ),
    Case(
        "another user's own channel",
        _form(AUTH, {"socket_id": SOCKET, "channel_name": "#server-to-user-8"}, **ANN),
        403,
        {"error": "denied"},
    ),
    Case(
        "many channels, each for itself",
        _json(
            AUTH,
            {
                "socket_id": SOCKET,
                "channels": [
                    "private-orders-1",
                    "presence-room-a",
                    "private-orders-100",
                    "a b",
                    "",
                ],
            },
            **ANN,
        ),
        200,
        {
            "channels": {
                "private-orders-1": _proof("private-orders-1"),
                "presence-room-a": _proof("presence-room-a", MEMBER),
                "private-orders-100": DENIED,
                "a b": DENIED,
                "": DENIED,
            }
        },
    ),
    Case(
        "a hundred channels",
        _json(AUTH, {"socket_id": SOCKET, "channels": [f"private-orders-{n}" for n in range(100)]}),
        200,
        {"channels": {f"private-orders-{n}": DENIED for n in range(100)}},
    ),
    Case(
        "more than a hundred",
        _json(AUTH, {"socket_id": SOCKET, "channels": ["private-orders-1"] * 101}, **ANN),
        400,
        {"error": "channels holds more than 100"},
    ),
    Case("no channels", _json(AUTH, {"socket_id": SOCKET, "channels": []}), 200, {"channels": {}}),
    Case(
        "no channel",
        _form(AUTH, {"socket_id": SOCKET}, **ANN),
        400,
        {"error": "channel_name is missing"},
    ),
    Case("no socket id", _form(AUTH, {"channel_name": "private-orders-1"}, **ANN), 400),
    Case(
        "a socket id that would sign something else",
        _form(AUTH, {**ORDER_1, "socket_id": '1.1::user::{"id":"1"}'}, **ANN),
        400,
    ),
    Case(
        "names that are no strings",
        _json(AUTH, {"socket_id": SOCKET, "channels": ["a", 1]}, **ANN),
        400,
        {"error": "channels is no list of strings"},
    ),
    Case(
        "a socket id that is no string",
        _json(AUTH, {"socket_id": 1.5, "channels": ["private-orders-1"]}, **ANN),
        400,
        {"error": "socket_id is no string"},
    ),
    Case(
        "JSON that is none",
        _post(AUTH, b'{"socket_id": ', "application/json", **ANN),
        400,
        {"error": "the body cannot be read"},
    ),
    Case(
        "JSON without an end of brackets",
        _post(AUTH, b"[" * 100_000, "application/json", **ANN),
        400,
        {"error": "the body cannot be read"},
    ),
    Case("JSON that is a list", _json(AUTH, [ORDER_1], **ANN), 400),
    Case(
        "a name with half of a character", _json(AUTH, {**ORDER_1, "channel_name": "\ud800"}), 403
    ),
    Case("another type", _post(AUTH, b"<a/>", "text/xml", **ANN), 415),
    Case("no body at all", _post(AUTH, b"", "application/json", **ANN), 400),
    Case("too long a body", _post(AUTH, b" " * (MAX_BODY + 1), "application/json", **ANN), 413),
    Case(
        "a token where there are none",
        _form(AUTH, ORDER_1, accept="application/jwt", **ANN),
        406,
    ),
    Case("JSONP", HttpRequest("GET", AUTH, {}, {"callback": "f", **ORDER_1}), 405),
    Case(
        "signing in",
        _form(USER_AUTH, {"socket_id": SOCKET}, **ANN),
        200,
        {
            "auth": signing.user_auth(KEY, SOCKET, USER_DATA),
            "user_data": USER_DATA,
        },
    ),
    Case("signing a guest in", _form(USER_AUTH, {"socket_id": SOCKET}), 403, {"error": "denied"}),
    Case("signing in nothing", _form(USER_AUTH, {}, **ANN), 400, {"error": "socket_id is missing"}),
    Case("signing in a bad socket id", _form(USER_AUTH, {"socket_id": "1:1"}, **ANN), 400),
]

_TRIGGER = [
    Case("a token", _json(TRIGGER, NOTE, **BEARER), 200, NOTED, sends=1),
    Case("the older token", _json(TRIGGER, NOTE, authorization="bearer old-token"), 200, sends=1),
    Case(
        "a token may send anything",
        _json(TRIGGER, {**NOTE, "name": "x", "channels": ["a", "private-b"]}, **BEARER),
        200,
        {"events": [{"id": "e1", "channel": "a"}, {"id": "e1", "channel": "private-b"}]},
        sends=2,
    ),
    Case(
        "a token beside a foreign page's cookie",
        _json(TRIGGER, NOTE, sec_fetch_site="cross-site", cookie="user=7", **BEARER),
        200,
        sends=1,
    ),
    Case("no token", _json(TRIGGER, NOTE), 401, UNAUTHORIZED),
    Case("a wrong token", _json(TRIGGER, NOTE, authorization="Bearer no"), 401, UNAUTHORIZED),
    Case("a token of strange letters", _json(TRIGGER, NOTE, authorization="Bearer é"), 401),
    Case("an empty token", _json(TRIGGER, NOTE, authorization="Bearer "), 401),
    Case("the password of the token", _json(TRIGGER, NOTE, authorization=f"Basic {TOKEN}"), 401),
    Case("a user whom a rule allows", _json(TRIGGER, NOTE, **SAME), 200, NOTED, sends=1),
    Case(
        "a user of this origin, in an older browser",
        _json(TRIGGER, NOTE, origin=ORIGIN, cookie="user=7"),
        200,
        NOTED,
        sends=1,
    ),
    Case("a user without a cookie", _json(TRIGGER, NOTE, **ANN), 200, NOTED, sends=1),
    Case(
        "another origin",
        _json(TRIGGER, NOTE, origin="https://evil.example", cookie="user=7"),
        403,
        FOREIGN,
    ),
    Case("another port", _json(TRIGGER, NOTE, origin=f"{ORIGIN}:8443", cookie="user=7"), 403),
    Case("no origin to speak of", _json(TRIGGER, NOTE, origin="null", cookie="user=7"), 403),
    Case(
        "another site",
        _json(TRIGGER, NOTE, sec_fetch_site="cross-site", cookie="user=7"),
        403,
        FOREIGN,
    ),
    Case(
        "another origin of the same site",
        _json(TRIGGER, NOTE, sec_fetch_site="same-site", cookie="user=7"),
        403,
        FOREIGN,
    ),
    Case("a cookie and no origin", _json(TRIGGER, NOTE, cookie="user=7"), 403, FOREIGN),
    Case(
        "JSON in a form's clothes",
        _post(TRIGGER, json.dumps(NOTE).encode(), "text/plain", **SAME),
        415,
    ),
    Case("a form", _form(TRIGGER, {"name": "note"}, **SAME), 415),
    Case(
        "an event that no rule allows",
        _json(TRIGGER, {**NOTE, "name": "paid"}, **SAME),
        403,
        {"error": "denied"},
    ),
    Case(
        "one channel of two that no rule allows",
        _json(TRIGGER, {**NOTE, "channels": ["private-orders-1", "private-orders-100"]}, **SAME),
        403,
        {"error": "denied"},
    ),
    Case(
        "a public channel without a rule", _json(TRIGGER, {**NOTE, "channels": ["a"]}, **SAME), 403
    ),
    Case("no channel to trigger", _json(TRIGGER, {**NOTE, "channels": []}, **BEARER), 400),
    Case("no name", _json(TRIGGER, {"channels": ["a"], "data": 1}, **BEARER), 400),
    Case("no data", _json(TRIGGER, {"channels": ["a"], "name": "n"}, **BEARER), 400),
    Case(
        "data that is null",
        _json(TRIGGER, {"channels": ["a"], "name": "n", "data": None}, **BEARER),
        200,
        sends=1,
    ),
    Case(
        "a member that is none",
        _json(TRIGGER, {**NOTE, "excludes": "1.1"}, **BEARER),
        400,
        {"error": "unknown member 'excludes'"},
    ),
    Case("a bad channel", _json(TRIGGER, {**NOTE, "channels": ["a b"]}, **BEARER), 400),
    Case("a reserved name", _json(TRIGGER, {**NOTE, "name": "pusher:x"}, **BEARER), 400),
    Case("data over the limit", _json(TRIGGER, {**NOTE, "data": "x" * 10_241}, **BEARER), 413),
    Case("too long a request", _post(TRIGGER, b" " * (MAX_BODY + 1), "text/plain", **BEARER), 413),
]

_REST = [
    Case(
        "an unsigned webhook",
        _json("/realtime/webhook", {"time_ms": 1, "events": []}),
        401,
        {
            "error": "bad signature",
        },
    ),
    Case(
        "history",
        HttpRequest("GET", "/realtime/events", {}, {"channel": "a"}),
        409,
        {
            "error": "this channel has no history",
            "channels": ["a"],
        },
    ),
    Case("nothing there", HttpRequest("GET", "/realtime/nothing"), 404, {"error": "not found"}),
    Case(
        "another method",
        HttpRequest("PUT", AUTH),
        405,
        {"error": "method not allowed"},
        {"allow": "POST, OPTIONS"},
    ),
    Case(
        "a preflight",
        HttpRequest("OPTIONS", AUTH, {"origin": "https://evil.example"}),
        204,
        b"",
        {
            "allow": "POST, OPTIONS",
        },
    ),
    Case(
        "the methods of what can be read",
        HttpRequest("DELETE", "/realtime/config"),
        405,
        None,
        {"allow": "GET, HEAD, OPTIONS"},
    ),
    Case(
        "a head",
        HttpRequest("HEAD", "/realtime/config"),
        200,
        b"",
        {
            "content-type": "application/json",
        },
    ),
    Case(
        "the client",
        HttpRequest("GET", "/realtime/client/realtime.js"),
        200,
        None,
        {
            "content-type": "text/javascript; charset=utf-8",
            "x-content-type-options": "nosniff",
        },
    ),
    Case("a way out", HttpRequest("GET", "/realtime/client/..%2f__init__.py"), 404),
]

CASES = [*_AUTH, *_TRIGGER, *_REST]
