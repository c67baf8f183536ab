"""JWTs: features spec RSA4, RSA8g, RSC1a; "JWT authentication", "Embedded Token JWT"."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import jwt
import pytest

from realtime_kit.emulators.ably.app import Key
from realtime_kit.emulators.ably.auth import authenticate_key, authenticate_token
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.tokens import request_token
from realtime_kit.emulators.ably.world import World

SECRET = "a-secret-of-thirty-two-characters"
NOW = 1_700_000_000_000
SECONDS = NOW // 1000
HOUR = 3600
CLAIMS: dict[str, Any] = {"iat": SECONDS, "exp": SECONDS + HOUR}


@pytest.fixture
def world() -> World:
    return World(
        [
            Key.parse(f"local0.dev:{SECRET}"),
            Key.parse(f"local0.few:{SECRET}", '{"news:*":["subscribe"]}'),
            Key("local0.rev", SECRET, revocable_tokens=True),
        ],
        clock=lambda: NOW,
        random=Random(1),  # noqa: S311
    )


def mint(
    claims: dict[str, Any], *, key: str = "local0.dev", secret: str = SECRET, **header: Any
) -> str:
    """As any JWT library mints it."""
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": key, **header})


def refusal(world: World, token: str) -> tuple[int, int]:
    with pytest.raises(AblyError) as raised:
        authenticate_token(world, token, NOW)
    return raised.value.code, raised.value.status


def test_a_jwt_without_claims_of_ably_may_do_what_its_key_may(world: World) -> None:
    access = authenticate_token(world, mint(CLAIMS, key="local0.few"), NOW)
    assert (access.app_id, access.key_name, access.is_basic) == ("local0", "local0.few", False)
    assert (access.client_id, access.revocable) == (None, False)
    assert (access.issued_ms, access.expires_ms) == (NOW, NOW + HOUR * 1000)
    assert access.capability.ops("news:uk") == {"subscribe"}


def test_the_claims_of_ably(world: World) -> None:
    """RSA4f; channel-scoped claims, rate limits"""
    claims = {
        **CLAIMS,
        "exp": SECONDS + 0.5,
        "x-ably-capability": '{"news:uk":["*"],"elsewhere":["*"]}',
        "x-ably-clientId": "me",
        "x-ably-revocation-key": "group-1",
        "ably.channel.news:uk": '{"role":"editor"}',
        "ably.channel.*": "guest",
        "ably.limits.publish.perAttachment.maxRate.news:*": 10,
    }
    access = authenticate_token(world, mint(claims, key="local0.few"), NOW)
    assert access.capability.canonical() == '{"news:uk":["subscribe"]}'
    assert (access.client_id, access.revocation_key) == ("me", "group-1")
    assert access.expires_ms == NOW + 500
    assert access.user_claim("news:uk") == '{"role":"editor"}'
    assert access.user_claim("other") == "guest"
    assert (access.publish_rate("news:fr"), access.publish_rate("other")) == (10, None)


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (mint(CLAIMS, secret="another-secret-of-thirty-two-chars"), (40144, 401)),
        (mint(CLAIMS)[:-2], (40144, 401)),
        (mint(CLAIMS, key="nobody.dev"), (40400, 404)),
        (mint(CLAIMS, key="invalid.invalid"), (40400, 404)),
        (mint(CLAIMS, key="local0.nope"), (40400, 404)),
        (jwt.encode(CLAIMS, SECRET), (40144, 401)),
        (mint({**CLAIMS, "exp": SECONDS}), (40142, 401)),
        (mint({"exp": SECONDS + 1}), (40144, 400)),
        (mint({"iat": SECONDS}), (40144, 400)),
        (mint({**CLAIMS, "exp": SECONDS + 24 * HOUR + 1}), (40003, 400)),
        (mint({**CLAIMS, "exp": SECONDS + HOUR + 1}, key="local0.rev"), (40003, 400)),
        (mint({**CLAIMS, "x-ably-clientId": 5}), (40012, 400)),
        (mint({**CLAIMS, "x-ably-clientId": ""}), (40012, 400)),
        (mint({**CLAIMS, "x-ably-revocation-key": 5}), (40144, 401)),
        (mint({**CLAIMS, "x-ably-capability": {"a": ["*"]}}), (40000, 400)),
        (mint({**CLAIMS, "x-ably-capability": '{"a":["fly"]}'}), (40000, 400)),
        (mint({**CLAIMS, "x-ably-capability": '{"a":["*"]}'}, key="local0.few"), (40160, 401)),
        ("not.a.jwt", (40144, 401)),
        ("é.é.é", (40144, 401)),
        ("W10.W10.W10", (40144, 401)),
        ("...", (40101, 401)),
        (jwt.encode(CLAIMS, SECRET * 2, "HS512", {"kid": "local0.dev"}), (40144, 401)),
        (jwt.encode(CLAIMS, None, "none", {"kid": "local0.dev"}), (40144, 401)),
    ],
)
def test_jwts_that_are_refused(world: World, token: str, error: tuple[int, int]) -> None:
    """RSA4b: those that renewing helps against have codes from 40140 to 40149"""
    assert refusal(world, token) == error


@pytest.mark.parametrize(("time", "error"), [("1e308", (40144, 400)), ("1e400", (40144, 401))])
def test_a_time_that_is_none_is_none(world: World, time: str, error: tuple[int, int]) -> None:
    header, _, _ = mint(CLAIMS).split(".")
    claims = f'{{"iat":{time},"exp":{time}}}'.encode()
    infinite = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    key = world.apps["local0"].keys["local0.dev"]
    signer = jwt.get_algorithm_by_name("HS256")
    signature = signer.sign(f"{header}.{infinite}".encode(), key.secret.encode())
    text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    assert refusal(world, f"{header}.{infinite}.{text}") == error


def test_the_alphabet_of_plain_base64_is_read_too(world: World) -> None:
    """As the PHP example of Ably's documentation has it"""
    claims = {**CLAIMS, "x-ably-clientId": "???>>>~~~"}
    plain = mint(claims).replace("-", "+").replace("_", "/")
    assert "/" in plain or "+" in plain
    parts = plain.split(".")
    signer = jwt.get_algorithm_by_name("HS256")
    signature = signer.sign(f"{parts[0]}.{parts[1]}".encode(), SECRET.encode())
    parts[2] = base64.b64encode(signature).decode()
    assert authenticate_token(world, ".".join(parts), NOW).client_id == "???>>>~~~"


# --- a token in somebody else's JWT ---------------------------------------------------------


def own_token(world: World) -> str:
    app = world.apps["local0"]
    basic = authenticate_key(world, f"local0.dev:{SECRET}", NOW)
    return request_token(app, app.keys["local0.dev"], {"clientId": "me"}, basic, NOW)["token"]


OTHERS = "the-secret-of-somebody-else-entirely"


def test_an_ably_token_in_the_claims_or_in_the_header(world: World) -> None:
    inner = own_token(world)
    claims = {"exp": SECONDS + 60, "x-ably-token": inner}
    for outer in (
        jwt.encode(claims, OTHERS),
        jwt.encode({"exp": SECONDS + 60}, OTHERS, headers={"x-ably-token": inner}),
    ):
        access = authenticate_token(world, outer, NOW)
        assert (access.client_id, access.expires_ms) == ("me", NOW + 60_000)
    unlimited = authenticate_token(world, jwt.encode({"x-ably-token": inner}, OTHERS), NOW)
    assert unlimited.expires_ms == NOW + HOUR * 1000


def test_a_jwt_in_a_jwt(world: World) -> None:
    inner = mint({**CLAIMS, "x-ably-clientId": "me"})
    outer = jwt.encode({"exp": SECONDS + 60, "x-ably-token": inner}, OTHERS)
    assert authenticate_token(world, outer, NOW).client_id == "me"


def test_an_ably_token_in_the_header_of_an_encrypted_jwt(world: World) -> None:
    header = json.dumps({"alg": "dir", "enc": "A256GCM", "x-ably-token": own_token(world)})
    encoded = base64.urlsafe_b64encode(header.encode()).decode().rstrip("=")
    assert authenticate_token(world, f"{encoded}..aaaa.bbbb.cccc", NOW).client_id == "me"
    bare = base64.urlsafe_b64encode(b'{"alg":"dir"}').decode().rstrip("=")
    assert refusal(world, f"{bare}..aaaa.bbbb.cccc") == (40144, 401)


def test_the_outer_jwt_ends_no_later_than_the_token_in_it(world: World) -> None:
    inner = own_token(world)
    late = jwt.encode({"exp": SECONDS + HOUR + 1, "x-ably-token": inner}, OTHERS)
    assert refusal(world, late) == (40144, 401)
    ended = jwt.encode({"exp": SECONDS - 1, "x-ably-token": inner}, OTHERS)
    assert refusal(world, ended) == (40142, 401)


@pytest.mark.parametrize(
    ("inner", "error"), [(5, (40144, 401)), ("", (40101, 401)), ("local0.x", (40143, 401))]
)
def test_what_is_in_it_must_be_a_token(world: World, inner: Any, error: tuple[int, int]) -> None:
    assert refusal(world, jwt.encode({"x-ably-token": inner}, OTHERS)) == error
