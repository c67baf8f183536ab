"""Keys, Ably tokens and identities: features spec RSA1 to RSA3, RSA7, RSA14, RSA15; error pages."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import pytest

from realtime_kit.emulators.ably.app import Key
from realtime_kit.emulators.ably.auth import (
    authenticate_key,
    authenticate_realtime,
    authenticate_rest,
    authenticate_token,
)
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.tokens import request_token
from realtime_kit.emulators.ably.world import World

KEY = "local0.dev:secret"
NOW = 1_700_000_000_000


@pytest.fixture
def world() -> World:
    return World(
        [Key.parse(KEY), Key.parse("local0.two:other:secret"), Key.parse("other0.dev:secret")],
        clock=lambda: NOW,
        random=Random(1),  # noqa: S311
    )


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def token(world: World, **params: Any) -> str:
    app = world.apps["local0"]
    key = app.keys["local0.dev"]
    basic = authenticate_key(world, KEY, NOW)
    return request_token(app, key, params, basic, NOW)["token"]


def code_of(raised: pytest.ExceptionInfo[AblyError]) -> tuple[int, int]:
    return raised.value.code, raised.value.status


# --- keys -----------------------------------------------------------------------------------


def test_a_key_over_rest_is_basic_and_anybody(world: World) -> None:
    """RSA11, RSA7"""
    access = authenticate_rest(world, {"authorization": f"Basic {b64(KEY)}"}, {}, NOW)
    assert (access.app_id, access.key_name) == ("local0", "local0.dev")
    assert access.is_basic
    assert (access.client_id, access.expires_ms) == ("*", None)
    assert access.capability.allows("publish", "any")


def test_a_secret_may_have_colons(world: World) -> None:
    assert authenticate_key(world, "local0.two:other:secret", NOW).key_name == "local0.two"


def test_a_key_in_the_query_of_a_websocket(world: World) -> None:
    """RTN2"""
    assert authenticate_realtime(world, {"key": KEY}, NOW).client_id == "*"
    assert authenticate_realtime(world, {"key": KEY, "clientId": "me"}, NOW).client_id == "me"


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("local0.dev:wrong", (40101, 401)),
        ("local0.dev:", (40101, 401)),
        ("local0.nope:secret", (40400, 404)),
        ("nobody.dev:secret", (40400, 404)),
        ("this.is:wrong", (40101, 401)),
        ("api:key", (40101, 401)),
        ("no-colon", (40005, 400)),
        ("", (40005, 400)),
        ("local0.dev:s\ud800", (40101, 401)),
    ],
)
def test_keys_that_are_none(world: World, key: str, error: tuple[int, int]) -> None:
    with pytest.raises(AblyError) as raised:
        authenticate_key(world, key, NOW)
    assert code_of(raised) == error
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("Basic !!", (40005, 400)),
        ("Basic", (40005, 400)),
        ("Digest abc", (40101, 401)),
        ("Bearer not-a-token", (40101, 401)),
        (f"Bearer {b64('Sdnurv_some_invalid_token')}", (40101, 401)),
        ("Bearer nobody.token", (40400, 404)),
        ("Bearer local0.unknown", (40143, 401)),
    ],
)
def test_headers_that_are_none(world: World, header: str, error: tuple[int, int]) -> None:
    with pytest.raises(AblyError) as raised:
        authenticate_rest(world, {"authorization": header}, {}, NOW)
    assert code_of(raised) == error


def test_no_credentials_are_40101(world: World) -> None:
    for attempt in (
        lambda: authenticate_rest(world, {}, {}, NOW),
        lambda: authenticate_realtime(world, {"clientId": "me"}, NOW),
    ):
        with pytest.raises(AblyError) as raised:
            attempt()
        assert code_of(raised) == (40101, 401)


# --- Ably tokens ----------------------------------------------------------------------------


def test_a_token_is_taken_in_base64_and_as_it_is(world: World) -> None:
    """RSA3b"""
    given = token(world, clientId="me")
    for header in (f"Bearer {b64(given)}", f"Bearer {given}", f"bearer {b64(given).rstrip('=')}"):
        access = authenticate_rest(world, {"authorization": header}, {}, NOW)
        assert (access.client_id, access.is_basic) == ("me", False)


@pytest.mark.parametrize("name", ["access_token", "accessToken"])
def test_both_sdks_spellings_of_a_websockets_token(world: World, name: str) -> None:
    """RSA3c: ably-js says access_token, ably-python accessToken"""
    access = authenticate_realtime(world, {name: token(world, clientId="me")}, NOW)
    assert access.client_id == "me"


def test_a_token_expires(world: World) -> None:
    """RSA4b1: 40142 is a code that makes the SDKs renew"""
    given = token(world, ttl=1000)
    assert authenticate_token(world, given, NOW + 999).expires_ms == NOW + 1000
    with pytest.raises(AblyError) as raised:
        authenticate_token(world, given, NOW + 1000)
    assert code_of(raised) == (40142, 401)


def test_long_expired_tokens_are_forgotten(world: World) -> None:
    given = token(world, ttl=1000)
    hours = 3 * 60 * 60 * 1000
    basic = authenticate_key(world, KEY, NOW)
    app = world.apps["local0"]
    request_token(app, app.keys["local0.dev"], {}, basic, NOW + hours)
    with pytest.raises(AblyError) as raised:
        authenticate_token(world, given, NOW + hours)
    assert code_of(raised) == (40143, 401)


# --- who -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "claimed", "who"),
    [
        (None, None, None),
        ("me", None, "me"),
        ("me", "me", "me"),
        ("*", None, "*"),
        ("*", "me", "me"),
        ("*", "*", "*"),
    ],
)
def test_identity_of_a_token(
    world: World, held: str | None, claimed: str | None, who: str | None
) -> None:
    """RSA7b, RSA12"""
    given = token(world, clientId=held)
    params = (
        {"access_token": given}
        if claimed is None
        else {
            "access_token": given,
            "clientId": claimed,
        }
    )
    assert authenticate_realtime(world, params, NOW).client_id == who
    headers = {"authorization": f"Bearer {given}"}
    if claimed is not None:
        headers["x-ably-clientid"] = b64(claimed)
    assert authenticate_rest(world, headers, {}, NOW).client_id == who


@pytest.mark.parametrize(("held", "claimed"), [("me", "you"), (None, "me"), ("me", "*")])
def test_a_token_for_another_is_40102(world: World, held: str | None, claimed: str) -> None:
    """RSA15c"""
    given = token(world, clientId=held)
    with pytest.raises(AblyError) as raised:
        authenticate_realtime(world, {"access_token": given, "clientId": claimed}, NOW)
    assert code_of(raised) == (40102, 401)


def test_a_key_with_the_header_of_an_identity(world: World) -> None:
    """RSA7e2: base64, so that any letters travel"""
    headers = {"authorization": f"Basic {b64(KEY)}", "x-ably-clientid": b64("Zoë")}
    assert authenticate_rest(world, headers, {}, NOW).client_id == "Zoë"


@pytest.mark.parametrize("header", ["", "é", "////"])
def test_an_identity_that_cannot_be_read_is_40012(world: World, header: str) -> None:
    headers = {"authorization": f"Basic {b64(KEY)}", "x-ably-clientid": header}
    with pytest.raises(AblyError) as raised:
        authenticate_rest(world, headers, {}, NOW)
    assert code_of(raised) == (40012, 400)


def test_apps_do_not_know_each_others_tokens(world: World) -> None:
    given = token(world)
    assert authenticate_token(world, given, NOW).app_id == "local0"
    with pytest.raises(AblyError) as raised:
        authenticate_token(world, given.replace("local0", "other0"), NOW)
    assert code_of(raised) == (40143, 401)
