"""Which route a message or a request takes."""

from __future__ import annotations

import pytest

from realtime_kit.emulators.apigateway.routes import HttpRoutes, Selection
from realtime_kit.errors import ConfigurationError

ROUTES = ["$connect", "$disconnect", "$default", "pusher:ping", "7", "true"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"event":"pusher:ping"}', "pusher:ping"),
        ('{"event":"pusher:subscribe"}', "$default"),
        ('{"event":7}', "7"),
        ('{"event":true}', "true"),
        ('{"event":null}', "$default"),
        ('{"event":{"a":1}}', "$default"),
        ('{"event":"$connect"}', "$default"),  # no client runs these two
        ('{"event":"$disconnect"}', "$default"),
        ('{"event":"$default"}', "$default"),
        ('{"other":"pusher:ping"}', "$default"),
        ("[]", "$default"),
        ('"pusher:ping"', "$default"),
        ("not json", "$default"),
        ("", "$default"),
        ("[" * 100_000, "$default"),
    ],
)
def test_routes_of_messages(body: str, expected: str) -> None:
    assert Selection("$request.body.event").route(body, ROUTES) == expected


def test_nowhere_to_go() -> None:
    assert Selection("$request.body.event").route("{}", ["$connect", "pusher:ping"]) is None


def test_a_selection_may_look_deeper() -> None:
    assert Selection("$request.body.a.b").route('{"a":{"b":"7"}}', ROUTES) == "7"


@pytest.mark.parametrize("expression", ["", "event", "$request.header.x", "$request.body."])
def test_no_selection(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="route selection expression"):
        Selection(expression)


HTTP = HttpRoutes(
    [
        "$default",
        "ANY /apps/{path+}",
        "POST /apps/{id}/events",
        "ANY /apps/{id}/events",
        "POST /apps/1/events",
        "GET /realtime/client/{file+}",
        "GET /",
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("POST", "/apps/1/events", "POST /apps/1/events", {}),
        ("POST", "/apps/2/events", "POST /apps/{id}/events", {"id": "2"}),
        ("PUT", "/apps/2/events", "ANY /apps/{id}/events", {"id": "2"}),
        ("GET", "/apps/2/channels/a%20b", "ANY /apps/{path+}", {"path": "2/channels/a b"}),
        ("GET", "/apps/", "$default", {}),  # a greedy variable is not empty
        ("GET", "/realtime/client/a/b.js", "GET /realtime/client/{file+}", {"file": "a/b.js"}),
        ("POST", "/realtime/client/a.js", "$default", {}),
        ("GET", "/", "GET /", {}),
        ("GET", "/nothing", "$default", {}),
    ],
)
def test_routes_of_requests(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    match = HTTP.match(method, path)
    assert match is not None
    assert (match.key, match.parameters) == (key, parameters)


def test_no_route() -> None:
    assert HttpRoutes(["GET /a"]).match("GET", "/b") is None


@pytest.mark.parametrize("key", ["/a", "get /a", "GET a", "$connect"])
def test_no_key(key: str) -> None:
    with pytest.raises(ConfigurationError, match="not the key of a route"):
        HttpRoutes([key])
