"""TokenRequests: features spec RSA8, RSA9, TE, TD, TK; "Token Request Spec"."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from random import Random
from typing import Any

import pytest
from ably import AblyRest

from realtime_kit.emulators.ably.app import Key
from realtime_kit.emulators.ably.auth import Access, authenticate_key, authenticate_token
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.tokens import TokenDetails, request_token
from realtime_kit.emulators.ably.world import World

NOW = 1_700_000_000_000
MINUTE = 60 * 1000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LIMITED = '{"channel2": ["publish", "subscribe"], "news:*": ["subscribe"]}'


@pytest.fixture
def world() -> World:
    return World(
        [
            Key.parse("local0.dev:secret"),
            Key.parse("local0.few:secret", LIMITED),
            Key("local0.rev", "secret", revocable_tokens=True),
        ],
        clock=lambda: NOW,
        random=Random(1),  # noqa: S311
    )


def signed(
    key: str = "local0.dev",
    secret: str = "secret",  # noqa: S107
    **fields: Any,
) -> dict[str, Any]:
    """A TokenRequest as an SDK makes it (RSA9g)."""
    given = {"keyName": key, "timestamp": NOW, "nonce": "0123456789abcdef", **fields}
    names = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
    text = "".join(f"{given.get(name, '')}\n" for name in names)
    mac = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return {**given, "mac": base64.b64encode(mac).decode()}


def ask(
    world: World, given: dict[str, Any], access: Access | None = None, now: int = NOW
) -> TokenDetails:
    app = world.apps["local0"]
    return request_token(app, app.keys[given["keyName"]], given, access, now)


def refusal(world: World, given: dict[str, Any], access: Access | None = None) -> tuple[int, int]:
    with pytest.raises(AblyError) as raised:
        ask(world, given, access)
    return raised.value.code, raised.value.status


def test_the_signature_of_the_specification_holds() -> None:
    """TE2, RSA9g: the example that ably-python's own tests have"""
    request = signed(
        "a_key_name", "a_secret", ttl=1000, clientId="a_id", timestamp=1000, nonce="abcde100"
    )
    assert request["mac"] == "sYkCH0Un+WgzI7/Nhy0BoQIKq9HmjKynCRs4E3qAbGQ="


def test_the_details_of_a_token(world: World) -> None:
    """TD2 to TD6, TK2a: an hour, unless something else is asked for"""
    details = ask(world, signed())
    assert details == {
        "token": details["token"],
        "keyName": "local0.dev",
        "issued": NOW,
        "expires": NOW + HOUR,
        "capability": '{"*":["*"]}',
    }
    assert details["token"].startswith("local0.")
    access = authenticate_token(world, details["token"], NOW)
    assert (access.client_id, access.expires_ms) == (None, NOW + HOUR)


def test_all_that_can_be_asked_for(world: World) -> None:
    """TK2"""
    capability = json.dumps({"news:uk": ["*"], "channel2": ["subscribe", "presence"]})
    details = ask(world, signed("local0.few", ttl=100, clientId="me", capability=capability))
    assert details["expires"] == NOW + 100
    assert details["clientId"] == "me"
    assert details["capability"] == '{"channel2":["subscribe"],"news:uk":["subscribe"]}'
    access = authenticate_token(world, details["token"], NOW)
    assert access.client_id == "me"
    assert access.capability.ops("channel2") == {"subscribe"}


def test_without_a_capability_the_keys_own_is_granted_letter_by_letter(world: World) -> None:
    """TK2b"""
    assert ask(world, signed("local0.few"))["capability"] == LIMITED


@pytest.mark.parametrize("ttl", [1, "1000", 14_400_000.0, DAY])
def test_lifetimes_that_are_taken(world: World, ttl: Any) -> None:
    """TK2a; an authUrl's query string makes text of numbers"""
    assert ask(world, signed(ttl=ttl))["expires"] == NOW + int(float(ttl))


def test_a_lifetime_of_0_is_none_and_signed_as_none(world: World) -> None:
    request = signed(ttl="")
    assert ask(world, {**request, "ttl": 0})["expires"] == NOW + HOUR


@pytest.mark.parametrize("ttl", [-1, DAY + 1, "notanumber", 1e400, "inf", True, [1]])
def test_lifetimes_that_are_not_are_40003(world: World, ttl: Any) -> None:
    assert refusal(world, signed(ttl=ttl)) == (40003, 400)


def test_revocable_tokens_live_an_hour_at_most(world: World) -> None:
    """ "Token revocation", revocable tokens"""
    assert ask(world, signed("local0.rev", ttl=HOUR))["expires"] == NOW + HOUR
    assert refusal(world, signed("local0.rev", ttl=HOUR + 1)) == (40003, 400)


@pytest.mark.parametrize("offset", [-2 * MINUTE, 2 * MINUTE])
def test_two_minutes_are_as_far_as_clocks_may_differ(world: World, offset: int) -> None:
    assert ask(world, signed(timestamp=NOW + offset))["issued"] == NOW
    further = NOW + offset + (1 if offset > 0 else -1)
    assert refusal(world, signed(timestamp=further)) == (40104, 401)


def test_a_timestamp_may_be_text_but_not_miss(world: World) -> None:
    assert ask(world, signed(timestamp=str(NOW)))["issued"] == NOW
    assert refusal(world, signed(timestamp="now")) == (40003, 400)
    unsaid = signed(timestamp="")
    del unsaid["timestamp"]
    assert refusal(world, unsaid) == (40003, 400)


def test_a_request_is_taken_once(world: World) -> None:
    """RSA9c; the pair of nonce and timestamp is what may not come again"""
    ask(world, signed())
    assert refusal(world, signed()) == (40105, 401)
    ask(world, signed(timestamp=NOW + 1))
    ask(world, signed(nonce="another-nonce-of-20c"))


def test_nonces_are_forgotten_when_their_time_is_over(world: World) -> None:
    later = NOW + 5 * MINUTE
    ask(world, signed())
    ask(world, signed(timestamp=later), now=later)
    with pytest.raises(AblyError, match="40104"):
        ask(world, signed(), now=later)


def test_a_nonce_has_16_characters(world: World) -> None:
    """RSA9c"""
    assert refusal(world, signed(nonce="0123456789abcde")) == (40003, 400)


@pytest.mark.parametrize("change", [{"mac": "12345"}, {"ttl": 5}, {"clientId": "x"}, {"mac": 5}])
def test_a_wrong_signature_is_40101(world: World, change: dict[str, Any]) -> None:
    assert refusal(world, {**signed(), **change}) == (40101, 401)


@pytest.mark.parametrize("client_id", ["", 5])
def test_an_empty_identity_is_40012(world: World, client_id: Any) -> None:
    """TD6"""
    assert refusal(world, signed(clientId=client_id)) == (40012, 400)


@pytest.mark.parametrize(
    ("capability", "error"),
    [
        ('{"channel0":["publish_"]}', (40000, 400)),
        ('{"channel0":["*","publish"]}', (40000, 400)),
        ('{"channel0":[]}', (40000, 400)),
        ({"a": ["*"]}, (40000, 400)),
        ('{"elsewhere":["publish"]}', (40160, 401)),
    ],
)
def test_capabilities_that_are_refused(
    world: World, capability: Any, error: tuple[int, int]
) -> None:
    """RSA6"""
    assert refusal(world, signed("local0.few", capability=capability)) == error


def test_without_a_signature_it_takes_the_key(world: World) -> None:
    """TE4"""
    basic = authenticate_key(world, "local0.dev:secret", NOW)
    bare: dict[str, Any] = {"keyName": "local0.dev"}
    details = ask(world, {**bare, "clientId": "me"}, basic)
    assert details["clientId"] == "me"
    assert refusal(world, bare) == (40101, 401)
    assert refusal(world, bare, authenticate_token(world, details["token"], NOW)) == (40101, 401)
    other = authenticate_key(world, "local0.few:secret", NOW)
    assert refusal(world, bare, other) == (40102, 401)


def test_a_request_for_another_key_than_that_of_the_address(world: World) -> None:
    app = world.apps["local0"]
    with pytest.raises(AblyError, match="40003"):
        request_token(app, app.keys["local0.dev"], signed("local0.few"), None, NOW)


@pytest.mark.parametrize("params", [{}, {"ttl": 0}, {"ttl": 5000, "client_id": "Zoë"}])
def test_what_ably_python_signs_verifies(params: dict[str, Any]) -> None:
    """RSA9h: made without a network, by the official SDK"""
    world = World([Key.parse("local0.dev:secret")], clock=lambda: NOW, random=Random(1))  # noqa: S311

    async def create() -> dict[str, Any]:
        async with AblyRest(key="local0.dev:secret") as rest:
            request = await rest.auth.create_token_request(
                {**params, "timestamp": NOW, "capability": {"b": ["subscribe"], "a": ["*"]}}
            )
            return dict(request.to_dict())

    details = ask(world, asyncio.run(create()))
    assert details["capability"] == '{"a":["*"],"b":["subscribe"]}'
    assert details.get("clientId") == params.get("client_id")
