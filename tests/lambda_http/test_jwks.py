"""Key sets: rotation, servers that fail, and clients that try to make us fetch."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from realtime_kit.errors import BadSignature, ProviderUnavailable
from realtime_kit.web import jwks
from realtime_kit.web.http import HttpRequest
from realtime_kit.web.users import jwt_user

NOW = 1_800_000_000.0
URL = "https://login.example.com/keys"
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
NEW = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def entry(private, kid="a", **more):
    algorithm = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
    }
    kind = next((value for key, value in algorithm.items() if isinstance(private, key)), None)
    return {**(kind or OKPAlgorithm).to_jwk(private.public_key(), as_dict=True), "kid": kid, **more}


def key_set(*entries) -> bytes:
    return json.dumps({"keys": entries}).encode()


class Server:
    """What a key set's server answers, how often it was asked, and the clock."""

    def __init__(self, answer: bytes | OSError = b"") -> None:
        self.answer, self.asked, self.now = answer, 0, NOW

    def fetch(self, url: str) -> bytes:
        assert url == URL
        self.asked += 1
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer

    def keys(self) -> jwks.KeySet:
        return jwks.KeySet(URL, fetch=self.fetch, now=lambda: self.now)


def signed(private, algorithm="RS256", data=b"signed"):
    return algorithm, jwt.algorithms.get_default_algorithms()[algorithm].sign(data, private)


def verifies(keys, private, kid="a", algorithm="RS256") -> bool:
    name, signature = signed(private, algorithm)
    return keys.verify(name, kid, b"signed", signature)


def test_one_fetch_serves_many_tokens_until_it_is_old():
    server = Server(key_set(entry(RSA)))
    keys = server.keys()
    assert all(verifies(keys, RSA) for _ in range(5))
    assert server.asked == 1
    server.now += jwks.LIFETIME
    assert verifies(keys, RSA)
    assert server.asked == 2


def test_each_kind_of_key_verifies_its_own_algorithm_alone():
    server = Server(key_set(entry(RSA, "r"), entry(P256, "p"), entry(ED25519, "e")))
    keys = server.keys()
    private = {"r": (RSA, "RS256"), "p": (P256, "ES256"), "e": (ED25519, "EdDSA")}
    for kid, (key, algorithm) in private.items():
        assert verifies(keys, key, kid, algorithm)
        for other in private.keys() - {kid}:
            assert not verifies(keys, key, other, algorithm)
        assert not keys.verify("HS256", kid, b"signed", b"x")
        assert not keys.verify("none", kid, b"signed", b"")


def test_a_new_key_is_found_and_the_old_one_goes():
    server = Server(key_set(entry(RSA)))
    keys = server.keys()
    assert verifies(keys, RSA)
    server.answer = key_set(entry(NEW, "b"))
    server.now += jwks.RETRY
    assert verifies(keys, NEW, "b")
    assert not verifies(keys, RSA)
    assert server.asked == 2


def test_unknown_kids_do_not_become_a_storm():
    server = Server(key_set(entry(RSA)))
    keys = server.keys()
    assert not any(verifies(keys, RSA, f"unknown-{n}") for n in range(100))
    assert server.asked == 1
    server.now += jwks.RETRY
    assert not any(verifies(keys, RSA, f"unknown-{n}") for n in range(100))
    assert server.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        OSError("reset"),
        b"<html>",
        b"[]",
        b"{}",
        key_set(),
        key_set({"kty": "oct", "k": "eA"}),
        b"\xff",
    ],
)
def test_old_keys_stay_while_the_server_fails_and_not_for_ever(answer):
    server = Server(key_set(entry(RSA)))
    keys = server.keys()
    assert verifies(keys, RSA)
    server.answer = OSError(answer) if isinstance(answer, OSError) else answer
    server.now += jwks.LIFETIME
    assert all(verifies(keys, RSA) for _ in range(5))
    assert server.asked == 2
    server.now += jwks.KEEP
    with pytest.raises(ProviderUnavailable):
        verifies(keys, RSA)


def test_with_no_keys_at_all_it_is_said_and_not_tried_again_at_once():
    server = Server(OSError("refused"))
    keys = server.keys()
    for _ in range(5):
        with pytest.raises(ProviderUnavailable) as caught:
            verifies(keys, RSA)
        assert caught.value.retryable
    assert server.asked == 1
    server.answer = key_set(entry(RSA))
    server.now += jwks.RETRY_EMPTY
    assert verifies(keys, RSA)


def test_without_a_kid_the_only_key_is_meant():
    assert verifies(Server(key_set(entry(RSA))).keys(), RSA, None)
    assert not verifies(Server(key_set(entry(RSA), entry(NEW, "b"))).keys(), RSA, None)


@pytest.mark.parametrize(
    "bad",
    [
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        entry(RSA, use="enc"),
        entry(RSA, alg="HS256"),
        entry(RSA, alg="none"),
        entry(rsa.generate_private_key(public_exponent=65_537, key_size=1_024)),  # noqa: S505
        entry(ec.generate_private_key(ec.SECP384R1())),
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        "text",
    ],
    ids=[
        "for HMAC",
        "for encryption",
        "RSA for HS256",
        "RSA for none",
        "RSA too short",
        "a curve that is not P-256",
        "half an RSA key",
        "no point",
        "a type that is a list",
        "no object",
    ],
)
def test_keys_of_no_use_are_passed_over(bad):
    if isinstance(bad, dict):
        bad = {**bad, "kid": "a"}
    keys = Server(key_set(bad, entry(NEW, "b"))).keys()
    assert not verifies(keys, RSA)
    assert verifies(keys, NEW, "b")


def test_private_keys_in_a_set_are_not_used():
    private = RSAAlgorithm.to_jwk(RSA, as_dict=True)
    keys = Server(key_set({**private, "kid": "a"}, entry(NEW, "b"))).keys()
    assert not verifies(keys, RSA)


def test_a_slow_renewal_keeps_nobody_waiting():
    server = Server(key_set(entry(RSA)))
    keys = server.keys()
    assert verifies(keys, RSA)
    entered, leave = threading.Event(), threading.Event()
    fetch = server.fetch

    def slow(url):
        entered.set()
        assert leave.wait(10)
        return fetch(url)

    keys._fetch = slow
    server.now += jwks.LIFETIME
    renewing = threading.Thread(target=verifies, args=(keys, RSA))
    renewing.start()
    assert entered.wait(10)
    assert verifies(keys, RSA)
    assert server.asked == 1
    leave.set()
    renewing.join(10)
    assert server.asked == 2


# --- the real fetch -------------------------------------------------------------------------


@contextmanager
def serving(answer):
    """A server on a free port; `answer(handler)` writes the response."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            server.shutdown()
            thread.join()


def reply(status: int, body: bytes, **headers: str):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def load(url):
    sent = jwt.encode({"sub": "7", "exp": NOW + 60}, RSA, "RS256", headers={"kid": "a"})
    request = HttpRequest("POST", "/auth", {"authorization": f"Bearer {sent}"})
    return jwt_user(jwks_url=url, now=lambda: NOW)(request)


def test_a_key_set_is_fetched_over_http():
    with serving(reply(200, key_set(entry(RSA)))) as url:
        assert load(url)["sub"] == "7"


def test_a_token_of_another_key_is_refused():
    with serving(reply(200, key_set(entry(NEW)))) as url, pytest.raises(BadSignature):
        load(url)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" " * 65_536)
    except OSError:
        pass  # it hung up, as it should


@pytest.mark.parametrize(
    "answer",
    [
        reply(302, b"", Location="/elsewhere"),
        reply(500, key_set(entry(RSA))),
        reply(200, b"{"),
        endless,
        lambda handler: handler.wfile.write(b"not http\r\n\r\n"),
        lambda handler: handler.close_connection,
    ],
    ids=["redirect", "500", "no json", "too big", "no http", "hangs up"],
)
def test_what_is_no_key_set_is_unavailable(answer):
    with serving(answer) as url, pytest.raises(ProviderUnavailable):
        load(url)


def test_a_server_that_drips_is_left(monkeypatch):
    monkeypatch.setattr(jwks, "TIMEOUT", 0.2)
    left = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while not left.wait(0.02):
                handler.wfile.write(b" ")
        except OSError:
            left.set()

    with serving(drip) as url:
        with pytest.raises(ProviderUnavailable):
            load(url)
        assert left.wait(10)
