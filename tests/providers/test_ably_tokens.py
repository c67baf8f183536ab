"""Ably's tokens byte by byte: PyJWT and the official SDK say what is right."""

from __future__ import annotations

import base64
import json
import time

import jwt
import pytest
from ably.sync import AblyRestSync

from realtime_kit.protocol.signing import Key
from realtime_kit.providers import ably_tokens
from realtime_kit.providers.ably_tokens import Held, make_jwt, make_request, read_jwt

KEY = Key("abcdef.new", "a secret of thirty-two characters")
OLD = Key("abcdef.old", "the older secret, as long as that")
CAPABILITY = {"public:*": ("subscribe",), "private:a": ("subscribe", "publish")}
NOW = 1_800_000_000


def mint(key=KEY, client_id="7", capability=CAPABILITY, claims=None, issued=NOW, ttl=60):
    return make_jwt(
        key,
        capability=capability,
        client_id=client_id,
        claims=claims or {},
        issued=issued,
        ttl=ttl,
    )


def other(claims, key=KEY, algorithm="HS256", **header):
    """A token of another library's making."""
    return jwt.encode(claims, key.secret, algorithm, {"kid": key.key, **header})


class TestMaking:
    def test_another_library_reads_it(self):
        now = int(time.time())
        token = mint(claims={"presence:rééé": '{"a":"Zoë ☃"}'}, issued=now)
        assert jwt.get_unverified_header(token) == {
            "alg": "HS256",
            "typ": "JWT",
            "kid": "abcdef.new",
        }
        claims = jwt.decode(token, KEY.secret, algorithms=["HS256"])
        assert json.loads(claims.pop("x-ably-capability")) == {
            "public:*": ["subscribe"],
            "private:a": ["subscribe", "publish"],
        }
        assert claims == {
            "iat": now,
            "exp": now + 60,
            "x-ably-clientId": "7",
            "ably.channel.presence:rééé": '{"a":"Zoë ☃"}',
        }

    def test_a_guest_has_no_client_id(self):
        claims = jwt.decode(mint(client_id=None), options={"verify_signature": False})
        assert "x-ably-clientId" not in claims

    def test_the_same_input_the_same_token(self):
        assert mint() == mint()


class TestReading:
    def test_what_we_made(self):
        assert read_jwt(mint(), [KEY]) == Held("7", ("public:*", "private:a"))
        assert read_jwt(mint(client_id=None), [KEY]) == Held(None, ("public:*", "private:a"))

    def test_what_another_library_made(self):
        claims = {"x-ably-capability": '{"private:b": ["*"]}', "x-ably-clientId": "8", "exp": 1}
        assert read_jwt(other(claims), [KEY]) == Held("8", ("private:b",))

    def test_expired_long_ago(self):
        assert read_jwt(mint(issued=0), [KEY]) is not None

    def test_by_an_older_key(self):
        assert read_jwt(mint(OLD), [KEY, OLD]) is not None
        assert read_jwt(mint(OLD), [KEY]) is None

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_a_part_of_another_token(self, part):
        parts, others = mint().split("."), mint(OLD, client_id="8").split(".")
        parts[part] = others[part]
        assert read_jwt(".".join(parts), [KEY, OLD]) is None

    def test_the_name_of_one_key_and_the_secret_of_another(self):
        assert read_jwt(mint(Key(OLD.key, KEY.secret)), [KEY, OLD]) is None

    @pytest.mark.filterwarnings("ignore:The HMAC key")
    @pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
    def test_another_algorithm(self, algorithm):
        key = None if algorithm == "none" else KEY.secret
        token = jwt.encode({"x-ably-capability": "{}"}, key, algorithm, {"kid": KEY.key})
        assert read_jwt(token, [KEY]) is None

    def test_the_right_signature_and_another_algorithm_in_the_header(self):
        for alg in ("none", "HS512", None):
            head = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": KEY.key}).encode())
            signed = f"{head.rstrip(b'=').decode()}.{mint().split('.')[1]}"
            assert read_jwt(f"{signed}.{ably_tokens._signature(KEY, signed)}", [KEY]) is None

    @pytest.mark.parametrize(
        "claims",
        [
            {},
            {"x-ably-capability": None},
            {"x-ably-capability": 5},
            {"x-ably-capability": "{"},
            {"x-ably-capability": "[1]"},
            {"x-ably-capability": {"private:a": ["subscribe"]}},
            {"x-ably-capability": "[" * 2_000},
        ],
    )
    def test_signed_by_us_and_without_names(self, claims):
        held = read_jwt(other(claims), [KEY])
        assert held is not None
        assert held.channels == ()

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a",
            "a.b.c",
            "..",
            mint() + "=",
            mint() + "\n",
            " " + mint(),
            mint() + ".a",
            mint().replace(".", ". "),
            "é.é.é",
            "\ud800.a.b",
            mint()[:-1],
            "abcdef.new:not-a-jwt-but-a-token-of-ably's",
        ],
    )
    def test_what_is_no_token(self, token):
        assert read_jwt(token, [KEY]) is None

    def test_signed_and_no_json(self):
        for signed in ("YQ.YQ", "bnVsbA.bnVsbA", "a.a"):
            assert read_jwt(f"{signed}.{ably_tokens._signature(KEY, signed)}", [KEY]) is None

    def test_too_long_a_one(self):
        token = mint(capability={"private:" + "a" * ably_tokens.MAX_JWT: ("subscribe",)})
        assert read_jwt(token, [KEY]) is None

    def test_every_key_is_compared_in_constant_time_before_anything_is_parsed(self, monkeypatch):
        compared = []
        monkeypatch.setattr(ably_tokens.hmac, "compare_digest", lambda *two: compared.append(two))
        monkeypatch.setattr(ably_tokens.json, "loads", None)
        assert read_jwt(mint(), [KEY, OLD]) is None
        assert len(compared) == 2


class TestRequests:
    NONCE = "0123456789abcdef"

    def request(self, client_id="7", **changes):
        fields = {"timestamp": NOW * 1_000, "ttl": 60_000, "nonce": self.NONCE, **changes}
        return make_request(KEY, capability=CAPABILITY, client_id=client_id, **fields)

    @pytest.mark.parametrize("client_id", ["7", None, "Zoë ☃"])
    def test_the_official_sdk_signs_the_same(self, client_id):
        """TE1-TE6; the SDK writes the capability in its own way, so it is given ours as it is."""
        ours = self.request(client_id)
        params = {
            "ttl": 60_000,
            "client_id": client_id,
            "timestamp": NOW * 1_000,
            "nonce": self.NONCE,
        }
        rest = AblyRestSync(f"{KEY.key}:{KEY.secret}")
        theirs = rest.auth.create_token_request(params)
        theirs.__dict__["_TokenRequest__capability"] = ours["capability"]
        theirs.sign_request(KEY.secret.encode())
        found = {name: value for name, value in theirs.to_dict().items() if value is not None}
        assert found == ours

    def test_a_guest(self):
        assert "clientId" not in self.request(None)

    def test_a_line_break_would_be_two_fields(self):
        with pytest.raises(ValueError, match="line break"):
            self.request("7\n1")

    def test_nothing_of_it_is_the_secret(self):
        assert KEY.secret not in json.dumps(self.request())
