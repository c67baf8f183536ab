"""Ably's own JavaScript SDK over REST, unmodified, in JSON and in msgpack, to a real server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime_kit.emulators.ably import AblyEmulator, Key, options_for, running

pytestmark = pytest.mark.node

KEY = "local0.dev:a-secret-of-thirty-two-characters"
REVOCABLE = "local0.rev:a-secret-of-thirty-two-characters"
HREF = "https://help.ably.io/error/"


@pytest.fixture(scope="module")
def emulator() -> Iterator[AblyEmulator]:
    with running(AblyEmulator([KEY])) as emulator:
        name, _, secret = REVOCABLE.partition(":")
        key = Key(name, secret, revocable_tokens=True)
        emulator.call(lambda world: world.apps["local0"].keys.update({name: key}))
        yield emulator


@pytest.fixture(scope="module", params=[True, False], ids=["msgpack", "json"])
def binary(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def came_to(emulator: AblyEmulator, checkout: Path, binary: bool) -> dict[str, Any]:
    """What each call came to."""
    given = {
        "options": options_for("ably-js", emulator.url, key=None),
        "key": KEY,
        "revocable": REVOCABLE,
        "binary": binary,
    }
    command = ["node", "tests/emulators/ably/rest_client.mjs", json.dumps(given)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("time", True),  # RSC16
        (  # RSL1, RSL2, RSL4, RSL6, PBR2
            "messages",
            {
                "serials": True,
                "data": ["ключ", {"a": [1, None]}, [0, 255]],
                "encodings": [None, None, None],
            },
        ),
        ("pages", [["c", "b"], ["a"]]),  # RSL2, TG
        ("idempotent", 1),  # RSL1k
        ("presence", [[], []]),  # RSP3, RSP4
        (  # RSC22, RSC24
            "batches",
            {"published": [1, 1], "present": [1, 40010], "old": [False, 400, 40020, 2]},
        ),
        (  # TI, RSA: the codes of refusals
            "errors",
            [
                {"code": 40010, "statusCode": 400, "href": f"{HREF}40010"},
                {"code": 40003, "statusCode": 400, "href": f"{HREF}40003"},
                {"code": 40101, "statusCode": 401, "href": f"{HREF}40101"},
                {"code": 40400, "statusCode": 404, "href": f"{HREF}40400"},
            ],
        ),
        (  # RSA8, RSL1m, 40160
            "tokens",
            {
                "clientId": "me",
                "ttl": 5000,
                "capability": '{"foo":["publish","subscribe"]}',
                "refused": 40160,
                "disguised": {"code": 40012, "statusCode": 400, "href": f"{HREF}40012"},
            },
        ),
        (  # RSA9, RSA8d; 40105
            "tokenRequests",
            {
                "clientId": "me",
                "again": {"code": 40105, "statusCode": 401, "href": f"{HREF}40105"},
            },
        ),
        ("authUrl", "of-a-url"),  # RSA8c, RSA8g
        ("revocation", {"counts": [1, 1], "refused": 40171}),  # RSA17; it cannot renew (RSA4a)
    ],
)
def test_a_call_of_ably_js(came_to: dict[str, Any], call: str, expected: Any) -> None:
    assert came_to[call] == expected


def test_names_of_channels(came_to: dict[str, Any], binary: bool) -> None:
    """RSL8, RSC19, HP"""
    prefix = f"persisted:js-{str(binary).lower()}"
    assert came_to["status"] == {"channelId": f"{prefix}-status", "active": True, "members": 0}
    assert came_to["requests"] == {
        "sent": [201, 1],
        "missing": [False, 404, 40400, True],
        "listed": [f"{prefix}-requests"],
    }
