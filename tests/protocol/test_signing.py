"""Signatures, against the published ones; and that nothing a client sends makes them raise."""

from __future__ import annotations

import hashlib
import json

import pytest

from realtime_kit.protocol import signing
from realtime_kit.protocol.app import Key

KEY = Key("key", "secret")


@pytest.fixture(scope="module")
def vectors(checkout):
    return json.loads((checkout / "tests/vectors/signatures.json").read_text())


def test_published_signatures_of_subscriptions(vectors):
    key = Key(vectors["key"], vectors["secret"])
    for case in vectors["channels"]:
        auth = signing.channel_auth(key, case["socket_id"], case["channel"], case["channel_data"])
        assert auth == case["auth"]


def test_published_signatures_of_users(vectors):
    key = Key(vectors["key"], vectors["secret"])
    for case in vectors["users"]:
        assert signing.user_auth(key, case["socket_id"], case["user_data"]) == case["auth"]


def test_published_signatures_of_requests(vectors):
    for case in vectors["requests"]:
        md5 = hashlib.md5(case["body"].encode()).hexdigest()  # noqa: S324
        assert md5 == case["params"]["body_md5"]
        signature = signing.http_signature(
            vectors["secret"], case["method"], case["path"], case["params"]
        )
        assert signature == case["signature"]


def test_what_a_request_signs():
    params = {
        "Name": "a b&c=é",
        "channels": ["x", "y"],
        "auth_signature": "not me",
        "auth_key": "k",
    }
    assert signing.http_text("post", "/apps/1/events", params) == (
        "POST\n/apps/1/events\nauth_key=k&channels[]=x&channels[]=y&name=a b&c=é"
    )


def test_webhook_signature():
    body = b'{"time_ms":1327078148132,"events":[]}'
    assert signing.webhook_signature("secret", body) == signing.sign("secret", body.decode())


@pytest.mark.parametrize("given", ["", "00", "\udcff", "é", "A" * 64, "a" * 63])
def test_other_signatures_do_not_verify(given):
    assert not signing.verify("secret", "text", given)


def test_the_signature_verifies_and_case_counts():
    right = signing.sign("secret", "text")
    assert signing.verify("secret", "text", right)
    assert not signing.verify("secret", "text", right.upper())
    assert not signing.verify("other", "text", right)


def test_text_that_utf8_cannot_carry_is_signed_all_the_same():
    right = signing.sign("secret", "\ud800")
    assert signing.verify("secret", "\ud800", right)
    assert not signing.verify("secret", "\ud801", right)


def test_channel_data_is_part_of_the_proof_wherever_it_is():
    bare = signing.channel_auth(KEY, "1.2", "private-a")
    assert bare != signing.channel_auth(KEY, "1.2", "private-a", "{}")
    assert bare != signing.channel_auth(KEY, "1.3", "private-a")
    assert signing.channel_text("1.2", "presence-a", "{}") == "1.2:presence-a:{}"
    assert signing.user_text("1.2", "{}") == "1.2::user::{}"


def test_a_secret_is_not_in_the_repr():
    assert "secret" not in repr(KEY)
