"""Requests to the HTTP API: verification in production's order, with production's words."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import pytest

from realtime_kit.protocol.app import App, Apps, Key
from realtime_kit.protocol.http_api import ApiError, Request, authenticate, handle
from realtime_kit.protocol.http_request import read

NOW = 1_700_000_000
BODY = {"name": "e", "channel": "a", "data": "1"}


def without(request, *names, **changes):
    pairs = [(k, v) for k, v in parse_qsl(request.query) if k not in {*names, *changes}]
    return replace(request, query=urlencode([*pairs, *changes.items()]))


def answer(world, request, now=NOW):
    response = world.respond(request, now)
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.body.endswith(b"\n")
    return response.status, response.body.decode()[:-1]


def test_a_signed_request_passes(world):
    request = world.request("POST", "/events", BODY)
    assert authenticate(Apps([world.app]), request, NOW) is world.app
    assert world.respond(request).status == 200


def test_the_documented_example(checkout):
    import json

    vectors = json.loads((checkout / "tests/vectors/signatures.json").read_text())
    app = App("3", (Key(vectors["key"], vectors["secret"]),))
    for case in vectors["requests"]:
        query = urlencode({**case["params"], "auth_signature": case["signature"]})
        request = Request(case["method"], case["path"], query, {}, case["body"].encode())
        assert authenticate(Apps([app]), request, 1353088179) is app
        with pytest.raises(ApiError, match="Timestamp expired"):
            authenticate(Apps([app]), request, 1353088179 + 600)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("auth_key", "auth_version", "auth_timestamp"), "Missing parameter: auth_key"),
        (("auth_version", "auth_timestamp", "auth_signature"), "Version required"),
        (("auth_timestamp", "auth_signature"), "Timestamp required"),
    ],
)
def test_missing_parameters(world, names, text):
    request = without(world.request("POST", "/events", BODY), *names)
    assert answer(world, request) == (401, text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"auth_key": "nope", "auth_version": "2"}, "Unknown auth_key"),
        ({"auth_key": ""}, "Unknown auth_key"),
        ({"auth_version": "2.0", "auth_timestamp": "1"}, "Version not supported"),
        ({"auth_version": "", "auth_timestamp": "1"}, "Version not supported"),
    ],
)
def test_wrong_parameters(world, changes, text):
    request = without(world.request("POST", "/events", BODY), **changes)
    assert answer(world, request) == (401, text)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (str(NOW - 600), "2023-11-14T22:03:20Z"),
        (str(NOW + 600), "2023-11-14T22:23:20Z"),
        ("1353088179", "2012-11-16T17:49:39Z"),
        ("", "1970-01-01T00:00:00Z"),
        ("soon", "1970-01-01T00:00:00Z"),
        ("-1", "1970-01-01T00:00:00Z"),
        ("1e9", "1970-01-01T00:00:00Z"),
        ("²", "1970-01-01T00:00:00Z"),
        ("9" * 11, "5138-11-16T09:46:39Z"),
        ("9" * 5000, "1970-01-01T00:00:00Z"),
    ],
)
def test_the_window(world, given, shown):
    request = without(world.request("POST", "/events", BODY), auth_timestamp=given)
    assert answer(world, request, NOW + 0.9) == (
        401,
        f"Timestamp expired: Given timestamp ({shown}) not within 600s of server time "
        "(2023-11-14T22:13:20Z)",
    )


@pytest.mark.parametrize("off", [-599, 599])
def test_within_the_window(world, off):
    request = world.request("POST", "/events", BODY, time=NOW + off)
    assert world.respond(request, NOW + 0.9).status == 200


def test_a_wrong_signature_is_told_what_was_expected(world):
    request = world.request("GET", "/channels", filter_by_prefix='a"b')
    request = without(request, auth_signature="nope\n")
    assert answer(world, request) == (
        401,
        r'Invalid signature: you should have sent HmacSHA256Hex("GET\n/apps/1/channels\n'
        rf"auth_key=app-key&auth_timestamp={NOW}&auth_version=1.0&filter_by_prefix=a\"b"
        r'", your_secret_key), but you sent "nope\n"',
    )


def test_no_signature(world):
    request = without(world.request("GET", "/channels"), "auth_signature")
    assert answer(world, request)[1].endswith("your_secret_key), but you sent nil")


def test_another_secret(world):
    request = world.request("GET", "/channels", key=Key("app-key", "guessed"))
    status, text = answer(world, request)
    assert (status, text[:18]) == (401, "Invalid signature:")
    assert "app-secret" not in text


def test_what_is_signed_cannot_be_changed(world):
    request = world.request("GET", "/channels", filter_by_prefix="a")
    for changed in (
        replace(request, path="/apps/1/channels/a"),
        replace(request, query=request.query + "&info=user_count"),
        without(request, filter_by_prefix="b"),
        without(request, "filter_by_prefix"),
    ):
        assert answer(world, changed)[1].startswith("Invalid signature")


def test_the_method_is_signed(world):
    get = world.request("GET", "/channels/a/events")
    assert answer(world, replace(get, method="POST"))[1].startswith("Invalid signature")


def test_the_body_is_proven_by_its_md5(world):
    request = world.request("POST", "/events", BODY)
    assert answer(world, replace(request, body=request.body + b" ")) == (
        401,
        "Invalid body_md5: it is not the MD5 of the body",
    )
    bare = world.request("POST", "/events")
    assert answer(world, replace(bare, body=b"{}")) == (401, "Missing parameter: body_md5")
    listed = world.request("POST", "/events", body_md5=["a"])
    assert answer(world, listed)[0] == 401


def test_the_md5_of_no_body_is_accepted(world):
    request = world.request("GET", "/channels", body_md5="d41d8cd98f00b204e9800998ecf8427e")
    assert world.respond(request).status == 200


def test_all_keys_of_the_app_verify(make_world):
    world = make_world()
    world.app = App("1", (Key("new", "a"), Key("old", "b")))
    for key in world.app.keys:
        assert world.respond(world.request("GET", "/channels", key=key)).status == 200


def test_the_key_of_another_app(world):
    other = App("2", (Key("other", "s"),))
    request = world.request("GET", "/channels", key=Key("other", "s"))
    with pytest.raises(ApiError, match="Unknown auth_key"):
        authenticate(Apps([world.app, other]), request, NOW)


def test_an_unknown_app(world):
    request = world.request("GET", "/channels")
    request = replace(request, path="/apps/9/channels")
    assert answer(world, request) == (404, "Unknown app: 9")


def test_a_disabled_app(make_world):
    world = make_world(enabled=False)
    assert answer(world, world.request("GET", "/channels")) == (403, "Application disabled")
    wrong = world.request("GET", "/channels", key=Key("app-key", "guessed"))
    assert answer(world, wrong)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/apps",
        "/apps/1",
        "/apps/1/",
        "/apps/1/nope",
        "/apps/1/events/",
        "/apps/1/channels/a/b",
        "/apps/1/channels/a/users/b",
        "/apps/1/users/7",
        "/apps/1/*",
        "/other/1/events",
        "apps/1/events",
        "//apps/1/events",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths(world, path, method):
    assert answer(world, Request(method, path)) == (404, "404 NOT FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/events", "POST"),
        ("PUT", "/events", "POST"),
        ("GET", "/batch_events", "POST"),
        ("POST", "/channels", "GET"),
        ("DELETE", "/channels/a", "GET"),
        ("POST", "/channels/a/users", "GET"),
        ("GET", "/channels/a/events", "POST"),
        ("GET", "/users/7/terminate_connections", "POST"),
    ],
)
def test_other_methods(world, method, path, allowed):
    request = Request(method, f"/apps/1{path}")
    assert answer(world, request) == (405, f"405 METHOD NOT ALLOWED: use {allowed}")
    assert world.respond(request).headers == {"Allow": allowed}


def test_a_path_may_be_signed_before_it_is_escaped(world):
    plain = world.request("POST", "/users/auth0|7/terminate_connections", {})
    escaped = replace(plain, path="/apps/1/users/auth0%7C7/terminate_connections")
    assert world.respond(escaped).status == 200
    other = replace(plain, path="/apps/1/users/auth0%7C8/terminate_connections")
    assert answer(world, other)[1].startswith("Invalid signature")


def test_values_are_signed_as_they_are_before_escaping(world):
    request = world.request("GET", "/channels", filter_by_prefix="a b&c=é")
    assert "a%20b%26c%3D%C3%A9" in request.query
    assert world.respond(request).status == 200
    # Some SDKs do not escape at all.
    raw = replace(request, query=request.query.replace("%C3%A9", "é"))
    assert world.respond(raw).status == 200


def test_names_of_parameters_in_any_case(world):
    request = world.request("GET", "/channels")
    assert world.respond(replace(request, query=request.query.replace("auth_k", "Auth_K"))).status


def test_lists_in_a_query():
    call = read(Request("GET", "/apps/1/channels", "a[]=1&b=2&a[]=3&b=4&c[]=&auth_key=k"))
    assert call.params == {"a": ["1", "3"], "b": "4", "c": [""]}
    assert call.auth == {"auth_key": "k"}
    mixed = read(Request("GET", "/apps/1/channels", "a=0&a[]=1"))
    assert mixed.params == {"a": ["1"]}


@pytest.mark.parametrize(
    "query", ["%", "%ff=%00", "a", "&&&", "=", "auth_key=%ff&auth_version=\udcff", "\udcff=\ud800"]
)
@pytest.mark.parametrize("path", ["/apps/%ff/events", "/apps/1/events", "/apps/\udcff/channels"])
def test_strange_requests(world, query, path):
    status, _ = answer(world, Request("POST" if "events" in path else "GET", path, query))
    assert status in (401, 404)


def test_a_surrogate_in_a_signed_query(world):
    request = world.request("POST", "/events", BODY)
    response = world.respond(replace(request, query=request.query + "&body_md5=\udcff"))
    assert response.status == 401


def test_steps_for_a_host_that_verifies_by_itself(world):
    perform = world.driver.perform
    from realtime_kit.protocol.effects import run

    assert run(handle(world.app, world.request("POST", "/events", BODY)), perform).body == b"{}"
    assert run(handle(world.app, Request("GET", "/nope")), perform).status == 404


@pytest.mark.parametrize("signed", ["/channels/%23a,b", "/channels/%23a%2Cb", "/channels/#a,b"])
def test_a_gateway_may_have_unescaped_the_path(world, signed):
    request = world.request("GET", signed)
    assert world.respond(replace(request, path="/apps/1/channels/#a,b")).status != 401
    assert world.respond(replace(request, path="/apps/1/channels/#a,c")).status == 401
