"""What all of the REST API has in common: formats, errors, pages, versions, browsers, apps.

Features spec RSC7, RSC8, RSC15, RSC16, RSC19, HP, TG; "REST API", common API behaviour.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs

import msgpack
import pytest

from realtime_kit.emulators.ably.rest import Request, Response, handle
from realtime_kit.emulators.ably.wire import Action

JSON = "application/json"
MSGPACK = "application/x-msgpack"
BASIC = {"authorization": "Basic " + base64.b64encode(b"local0.dev:secret").decode()}
LINK = re.compile(r'<\./(\w+)\?([^>]*)>; rel="(\w+)"')  # the form that ably-js knows


def ask(
    rig: Any, method: str, path: str, query: str = "", body: bytes = b"", **headers: str
) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return handle(rig.world, Request(method, path, query, {**BASIC, **given}, body))


def headers(response: Response, name: str) -> list[str]:
    return [value for header, value in response.headers if header == name]


def links(response: Response) -> dict[str, str]:
    """The query of each link, by rel."""
    found = [LINK.fullmatch(value) for value in headers(response, "Link")]
    return {match[3]: match[2] for match in found if match}


def error(response: Response) -> tuple[int, int]:
    return response.status, json.loads(response.body)["error"]["code"]


def test_the_time_needs_no_credentials(rig: Any) -> None:
    """RSC16"""
    response = handle(rig.world, Request("GET", "/time"))
    assert (response.status, response.body) == (200, b"[1700000000000]")


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("", "", JSON),
        (JSON, "", JSON),
        (MSGPACK, "", MSGPACK),
        (f"{MSGPACK},{JSON}", "", MSGPACK),
        (f"{JSON}, {MSGPACK};q=0.5", "", JSON),
        ("*/*", "", JSON),
        ("text/html", "format=msgpack", MSGPACK),
        ("", "format=msgpack", MSGPACK),
        ("", "format=json", JSON),
        (JSON, "format=msgpack", JSON),
    ],
)
@pytest.mark.parametrize("path", ["/time", "/channels/foo/messages", "/nowhere"])
def test_the_format_is_asked_for(rig: Any, path: str, accept: str, query: str, kind: str) -> None:
    """RSC8, "Common API behavior": Accept before the parameter; errors too"""
    response = ask(rig, "GET", path, query, accept=accept)
    assert headers(response, "Content-Type") == [kind]
    read: Any = msgpack.unpackb if kind == MSGPACK else json.loads
    body = read(response.body)
    if path == "/nowhere":
        assert body["error"]["code"] == 40400
    else:
        assert isinstance(body, list)


def test_an_error_is_in_the_body_and_in_headers(rig: Any) -> None:
    """TI, HP6, HP7"""
    response = ask(rig, "GET", "/channels/foo/messages", "limit=abc")
    assert json.loads(response.body) == {
        "error": {
            "code": 40003,
            "statusCode": 400,
            "message": "Invalid limit param: it must be an integer",
            "href": "https://help.ably.io/error/40003",
        }
    }
    assert headers(response, "X-Ably-Errorcode") == ["40003"]
    assert headers(response, "X-Ably-Errormessage") == [
        "Invalid limit param: it must be an integer"
    ]


def test_a_header_carries_no_letters_that_headers_have_not(rig: Any) -> None:
    response = ask(rig, "GET", "/channels/%3Ao%C3%A9%0D%0AX-Evil%3A1/messages")
    assert error(response) == (400, 40010)
    assert headers(response, "X-Ably-Errormessage") == ["Invalid channel name: :o???X-Evil:1"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/keys/local0.dev/requestToken"),
        ("DELETE", "/channels/foo"),
        ("GET", "/channels/foo/messages/x/y/z"),
    ],
)
def test_other_paths_are_40400(rig: Any, method: str, path: str) -> None:
    assert error(ask(rig, method, path)) == (404, 40400)


def test_head_is_get_without_a_body(rig: Any) -> None:
    response = handle(rig.world, Request("HEAD", "/time"))
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (JSON, b"{"),
        (JSON, b""),
        (JSON, b"\xff"),
        (MSGPACK, b"\xc1"),
        (MSGPACK, b"\x81\xa1a"),
        ("application/x-www-form-urlencoded", b"\xff"),
    ],
)
def test_a_body_that_cannot_be_read_is_40001(rig: Any, content: str, body: bytes) -> None:
    response = ask(rig, "POST", "/channels/foo/messages", body=body, content_type=content)
    assert error(response) == (400, 40001)


def test_a_body_may_be_a_form(rig: Any) -> None:
    response = ask(
        rig,
        "POST",
        "/channels/foo/messages",
        body=b"name=n&data=some+text",
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status == 201
    [message] = json.loads(ask(rig, "GET", "/channels/foo/messages").body)
    assert (message["name"], message["data"]) == ("n", "some text")


# --- pages ----------------------------------------------------------------------------------


def publish(rig: Any, *names: str, channel: str = "foo") -> None:
    for name in names:
        body = json.dumps({"name": name}).encode()
        assert ask(rig, "POST", f"/channels/{channel}/messages", body=body).status == 201


def pages(rig: Any, path: str, query: str) -> list[list[Any]]:
    """All pages, by their links."""
    found = []
    while True:
        response = ask(rig, "GET", path, query)
        assert response.status == 200, response.body
        found.append(json.loads(response.body))
        assert len(headers(response, "Link")) == len(links(response))
        if "next" not in links(response):
            return found
        query = links(response)["next"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=2", [["e", "d"], ["c", "b"], ["a"]]),
        ("limit=2&direction=forwards", [["a", "b"], ["c", "d"], ["e"]]),
        ("limit=5", [["e", "d", "c", "b", "a"]]),
        ("", [["e", "d", "c", "b", "a"]]),
        ("limit=0", [[]]),
    ],
)
def test_pages_follow_one_another(rig: Any, query: str, names: list[list[str]]) -> None:
    """TG3, TG4, RSL2b"""
    publish(rig, *"abcde")
    found = pages(rig, "/channels/foo/messages", query)
    assert [[message["name"] for message in page] for page in found] == names


def test_links_of_a_page(rig: Any) -> None:
    """TG5, TG6: first and current are always there, next where there is more"""
    publish(rig, *"abc")
    first = ask(rig, "GET", "/channels/foo/messages", "limit=1&format=json")
    assert set(links(first)) == {"first", "current", "next"}
    kept = parse_qs(links(first)["next"])
    assert (kept["limit"], kept["format"], kept["end"]) == (["1"], ["json"], [str(rig.now)])
    second = ask(rig, "GET", "/channels/foo/messages", links(first)["next"])
    again = ask(rig, "GET", "/channels/foo/messages", links(second)["current"])
    assert again.body == second.body != first.body
    assert ask(rig, "GET", "/channels/foo/messages", links(second)["first"]).body == first.body


def test_messages_that_come_between_pages_are_in_none(rig: Any) -> None:
    publish(rig, *"abc")
    first = ask(rig, "GET", "/channels/foo/messages", "limit=2")
    rig.pass_time(10)
    publish(rig, "late")
    second = ask(rig, "GET", "/channels/foo/messages", links(first)["next"])
    assert [message["name"] for message in json.loads(second.body)] == ["a"]


def test_a_page_that_is_no_more_is_40011(rig: Any) -> None:
    publish(rig, *"abc")
    first = ask(rig, "GET", "/channels/foo/messages", "limit=1")
    rig.pass_time(10 * 60_000)
    assert error(ask(rig, "GET", "/channels/foo/messages", links(first)["next"])) == (400, 40011)


def test_links_do_not_tell_credentials(rig: Any) -> None:
    request = Request("GET", "/channels/foo/messages", "key=local0.dev%3Asecret&limit=1")
    response = handle(rig.world, request)
    assert response.status == 200
    assert all("secret" not in value for value in headers(response, "Link"))


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=1001", "limit=x", "start=x", "end=1.5", "direction=up", "start=2&end=1"],
)
def test_parameters_that_are_none_are_40003(rig: Any, query: str) -> None:
    """RSL2b"""
    assert error(ask(rig, "GET", "/channels/foo/messages", query)) == (400, 40003)


def test_an_envelope_is_for_those_who_see_no_headers(rig: Any) -> None:
    """ "Envelope response format": always 200"""
    publish(rig, "a", "b")
    body = json.loads(ask(rig, "GET", "/channels/foo/messages", "envelope=json&limit=1").body)
    assert (body["statusCode"], len(body["response"])) == (200, 1)
    assert set(body["rel"]) == {"first", "current", "next"}
    refused = ask(rig, "GET", "/nowhere", "envelope=json")
    assert refused.status == 200
    wrapped = json.loads(refused.body)
    assert (wrapped["statusCode"], wrapped["response"]["error"]["code"]) == (404, 40400)


# --- browsers, versions, apps ---------------------------------------------------------------


def test_browsers_are_let_in(rig: Any) -> None:
    preflight = handle(
        rig.world,
        Request(
            "OPTIONS",
            "/channels/foo/messages",
            headers={"access-control-request-headers": "authorization,x-ably-version"},
        ),
    )
    assert preflight.status == 204
    assert headers(preflight, "Access-Control-Allow-Headers") == ["authorization,x-ably-version"]
    for response in (preflight, ask(rig, "GET", "/time"), ask(rig, "GET", "/nowhere")):
        assert headers(response, "Access-Control-Allow-Origin") == ["*"]
        [exposed] = headers(response, "Access-Control-Expose-Headers")
        assert exposed == "Link,X-Ably-Errorcode,X-Ably-Errormessage"


def test_a_version_that_is_none_is_40004(rig: Any) -> None:
    """RSC7a"""
    assert error(ask(rig, "GET", "/channels", x_ably_version="new")) == (400, 40004)


def test_an_app_for_tests_is_made_and_unmade(rig: Any) -> None:
    """As the test suites of the SDKs do it"""
    spec = {
        "keys": [{}, {"capability": '{"a":["publish"]}'}, {"revocableTokens": True}],
        "namespaces": [{"id": "persisted", "persisted": True}],
        "channels": [
            {
                "name": "persisted:fixtures",
                "presence": [
                    {"clientId": "text", "data": "true"},
                    {"clientId": "bytes", "data": "aGk=", "encoding": "cipher/base64"},
                ],
            }
        ],
    }
    made = handle(
        rig.world,
        Request(
            "POST", "/apps", headers={"host": "localhost:8787"}, body=json.dumps(spec).encode()
        ),
    )
    app = json.loads(made.body)
    assert made.status == 201
    assert (app["endpoint"], app["port"], app["tls"]) == ("localhost", 8787, False)
    assert [len(app["keys"]), len(app["namespaces"])] == [3, 1]
    key = app["keys"][0]
    assert key["keyStr"] == f"{app['appId']}.{key['id']}:{key['value']}"
    assert app["keys"][1]["capability"] == '{"a":["publish"]}'
    auth = "Basic " + base64.b64encode(key["keyStr"].encode()).decode()
    own = {"authorization": auth}
    members = ask(rig, "GET", "/channels/persisted:fixtures/presence", **own)
    assert [(m["clientId"], m["action"], m["data"]) for m in json.loads(members.body)] == [
        ("bytes", 1, "aGk="),
        ("text", 1, "true"),
    ]
    events = ask(rig, "GET", "/channels/persisted:fixtures/presence/history", **own)
    assert [(m["clientId"], m["action"]) for m in json.loads(events.body)] == [
        ("bytes", 2),
        ("text", 2),
    ]
    assert error(ask(rig, "DELETE", f"/apps/{app['appId']}")) == (401, 40100)
    client = rig.connect(key=key["keyStr"])
    assert ask(rig, "DELETE", f"/apps/{app['appId']}", **own).status == 204
    assert (client.frames[-1]["action"], client.closed) == (Action.ERROR, True)
    assert error(ask(rig, "GET", "/channels/foo/messages", **own)) == (404, 40400)


@pytest.mark.parametrize(
    "spec",
    [
        {"keys": 5},
        {"keys": [5]},
        {"keys": [{"capability": 5}]},
        {"keys": [{"capability": "{"}]},
        {"namespaces": [{}]},
        {"channels": [{"name": ""}]},
    ],
)
def test_an_app_that_cannot_be(rig: Any, spec: dict[str, Any]) -> None:
    response = ask(rig, "POST", "/apps", body=json.dumps(spec).encode())
    assert response.status == 400


@pytest.mark.parametrize("host", ["[", "localhost:port"])
def test_a_host_that_is_none(rig: Any, host: str) -> None:
    assert error(ask(rig, "POST", "/apps", body=b"{}", host=host)) == (400, 40004)


def test_statistics_are_empty_and_asked_for_with_a_right(rig: Any) -> None:
    """RSC6"""
    assert ask(rig, "GET", "/stats", "unit=hour&limit=5").body == b"[]"
    key = rig.key('{"foo":["stats"]}')
    auth = "Basic " + base64.b64encode(key.encode()).decode()
    assert error(ask(rig, "GET", "/stats", authorization=auth)) == (401, 40160)
