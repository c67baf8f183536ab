"""Revoked tokens: features spec RSA17, TRT, TRS, TRF, BAR; "Token revocation"."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from realtime_kit.emulators.ably.app import Key
from realtime_kit.emulators.ably.rest import Request, handle
from realtime_kit.emulators.ably.wire import Action

SECRET = "a-secret-of-thirty-two-characters"
MINUTE = 60 * 1000


@pytest.fixture
def rig(rig: Any) -> Any:
    for name, capability in (("local0.rev", '{"*":["*"]}'), ("local0.few", '{"foo:*":["*"]}')):
        rig.app.keys[name] = Key(name, SECRET, capability, revocable_tokens=True)
    return rig


def mint(rig: Any, key: str = "local0.rev", **claims: Any) -> str:
    """A token that was issued a second ago."""
    issued = (rig.now - 1000) / 1000
    named = {f"x-ably-{name.replace('_', '-')}": claim for name, claim in claims.items()}
    return jwt.encode({"iat": issued, "exp": issued + 3600, **named}, SECRET, headers={"kid": key})


def revoke(
    rig: Any,
    *targets: Any,
    auth: str = f"local0.rev:{SECRET}",
    key: str = "local0.rev",
    **more: Any,
) -> tuple[int, Any]:
    request = Request(
        "POST",
        f"/keys/{key}/revokeTokens",
        headers={"authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"},
        body=json.dumps({"targets": list(targets), **more}).encode(),
    )
    response = handle(rig.world, request)
    return response.status, json.loads(response.body)


def status(rig: Any, token: str) -> tuple[int, int | None]:
    """What a request with the token comes to, and the error's code."""
    request = Request(
        "GET", "/channels/foo:bar/messages", headers={"authorization": f"Bearer {token}"}
    )
    response = handle(rig.world, request)
    body = json.loads(response.body)
    return response.status, body["error"]["code"] if response.status >= 400 else None


VALID, REVOKED = (200, None), (401, 40141)


def test_each_target_has_its_result(rig: Any) -> None:
    """RSA17c, TRS2, TRF2, BAR2"""
    answer = revoke(rig, "clientId:a", "invalidType:abc", "revocationKey:g", "clientId:", 5)
    assert answer[0] == 201
    assert (answer[1]["successCount"], answer[1]["failureCount"]) == (2, 3)
    first, second, third, *rest = answer[1]["results"]
    assert first == {"target": "clientId:a", "issuedBefore": rig.now, "appliesAt": rig.now}
    assert second["target"] == "invalidType:abc"
    assert (second["error"]["code"], second["error"]["statusCode"]) == (40003, 400)
    assert third["target"] == "revocationKey:g"
    assert [failed["target"] for failed in rest] == ["clientId:", 5]


def test_tokens_of_an_identity(rig: Any) -> None:
    """RSA17c, TRT2"""
    mine, yours = mint(rig, clientId="me"), mint(rig, clientId="you")
    revoke(rig, "clientId:me")
    assert status(rig, mine) == REVOKED
    assert status(rig, yours) == VALID
    rig.pass_time(2000)
    assert status(rig, mint(rig, clientId="me")) == VALID


def test_tokens_with_a_revocation_key(rig: Any) -> None:
    grouped, other = mint(rig, revocation_key="users:1"), mint(rig, revocation_key="users:2")
    revoke(rig, "revocationKey:users:1")
    assert (status(rig, grouped), status(rig, other)) == (REVOKED, VALID)


@pytest.mark.parametrize(
    ("target", "outcome"),
    [("channel:foo:*", REVOKED), ("channel:*:*", VALID), ("channel:foo:bar", VALID)],
)
def test_tokens_whose_capability_says_just_this(
    rig: Any, target: str, outcome: tuple[int, int | None]
) -> None:
    token = mint(rig, "local0.few")
    revoke(rig, target, auth=f"local0.few:{SECRET}", key="local0.few")
    assert status(rig, token) == outcome


def test_a_key_revokes_its_own_tokens_only(rig: Any) -> None:
    token = mint(rig, "local0.few", clientId="me")
    revoke(rig, "clientId:me")
    assert status(rig, token) == VALID
    code, body = revoke(rig, "clientId:me", key="local0.few")
    assert (code, body["error"]["code"]) == (401, 40133)


def test_only_tokens_issued_before(rig: Any) -> None:
    """RSA17e"""
    token = mint(rig, clientId="me")
    before = rig.now - 20 * MINUTE
    _, body = revoke(rig, "clientId:me", issuedBefore=before)
    assert body["results"][0]["issuedBefore"] == before
    assert status(rig, token) == VALID


def test_a_margin_to_authenticate_again(rig: Any) -> None:
    """RSA17f: thirty seconds, and connections are asked for a new token meanwhile"""
    token = mint(rig, clientId="me")
    client = rig.connect(access_token=token)
    _, body = revoke(rig, "clientId:me", allowReauthMargin=True)
    assert body["results"][0]["appliesAt"] == rig.now + 30_000
    assert status(rig, token) == VALID
    assert client.got(Action.AUTH)
    rig.pass_time(29_999)
    assert not client.closed
    rig.pass_time(1)
    assert client.got(Action.DISCONNECTED)[0]["error"]["code"] == 40141
    assert status(rig, token) == REVOKED


def test_a_later_margin_gives_no_life_back(rig: Any) -> None:
    token = mint(rig, clientId="me")
    revoke(rig, "clientId:me")
    revoke(rig, "clientId:me", allowReauthMargin=True)
    assert status(rig, token) == REVOKED


def test_connections_of_revoked_tokens_are_told(rig: Any) -> None:
    """RSA17, RTN15h: DISCONNECTED with 40141"""
    mine = rig.connect(access_token=mint(rig, clientId="me"))
    yours = rig.connect(access_token=mint(rig, clientId="you"))
    revoke(rig, "clientId:me")
    error = mine.got(Action.DISCONNECTED)[0]["error"]
    assert (error["code"], error["statusCode"]) == (40141, 401)
    assert mine.closed
    assert not yours.closed


@pytest.mark.parametrize(
    ("targets", "more", "code"),
    [
        ([], {}, 40003),
        ([f"clientId:{n}" for n in range(101)], {}, 40003),
        (["clientId:a"], {"issuedBefore": "soon"}, 40003),
        (["clientId:a"], {"issuedBefore": 1_700_000_000_001}, 40003),
        (["clientId:a"], {"issuedBefore": 1_700_000_000_000 - 61 * MINUTE}, 40003),
        (["clientId:a"], {"allowReauthMargin": "yes"}, 40003),
    ],
)
def test_requests_that_are_none(
    rig: Any, targets: list[str], more: dict[str, Any], code: int
) -> None:
    status, body = revoke(rig, *targets, **more)
    assert (status, body["error"]["code"]) == (400, code)


def test_it_takes_the_key_itself(rig: Any) -> None:
    """RSA17d"""
    request = Request(
        "POST",
        "/keys/local0.rev/revokeTokens",
        headers={"authorization": f"Bearer {mint(rig)}"},
        body=b'{"targets":["clientId:a"]}',
    )
    response = handle(rig.world, request)
    assert (response.status, json.loads(response.body)["error"]["code"]) == (401, 40162)


def test_tokens_of_a_key_without_revocation_stay(rig: Any) -> None:
    status, body = revoke(rig, "clientId:a", auth="local0.dev:secret", key="local0.dev")
    assert (status, body["error"]["code"]) == (401, 40163)
