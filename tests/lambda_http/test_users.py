"""Users from tokens and authorizers. PyJWT makes the good tokens, and is the second opinion."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys

import flask
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.errors import BadSignature, ConfigurationError, Expired
from realtime_kit.web.http import HttpRequest
from realtime_kit.web.users import MAX_TOKEN, authorizer_user, jwt_user

NOW = 1_800_000_000
SECRET = "a secret of forty-four characters, made here"
OTHER_SECRET = "another secret, the one that is being replaced"
CLAIMS = {"sub": "7", "exp": NOW + 60, "name": "Ann"}

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
PRIVATE = {"RS256": RSA, "ES256": P256, "EdDSA": ED25519}


def pem(private) -> str:
    public = private.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def bearer(token: str) -> HttpRequest:
    return HttpRequest("POST", "/auth", {"authorization": f"Bearer {token}"})


def loader(**options):
    return jwt_user(now=lambda: NOW, **({"secret": SECRET} | options))


def public_loader(algorithm: str = "RS256", **options):
    return jwt_user(now=lambda: NOW, public_key=pem(PRIVATE[algorithm]), **options)


def token(claims=CLAIMS, key=SECRET, algorithm="HS256", **header) -> str:
    return jwt.encode(claims, key, algorithm, headers=header)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def handmade(header: dict[str, object], claims: object = CLAIMS, secret: bytes = b"") -> str:
    """A token that PyJWT refuses to make; signed with HMAC if there is a secret."""
    signed = f"{part(header)}.{part(claims)}"
    signature = hmac.digest(secret, signed.encode(), "sha256") if secret else b"x"
    return f"{signed}.{part(signature)}"


def test_claims_of_a_good_token_are_the_user():
    assert loader()(bearer(token())) == CLAIMS


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_public_key_pins_its_own_algorithm(algorithm):
    load = public_loader(algorithm)
    assert load(bearer(token(key=PRIVATE[algorithm], algorithm=algorithm))) == CLAIMS
    for other in PRIVATE.keys() - {algorithm}:
        with pytest.raises(BadSignature):
            load(bearer(token(key=PRIVATE[other], algorithm=other)))


def test_the_cookie_carries_it_too_and_the_header_goes_first():
    load = loader(cookie="session")
    cookie = {"cookie": f"theme=dark; session={token()}; other=1"}
    assert load(HttpRequest("POST", "/auth", cookie)) == CLAIMS
    assert loader()(HttpRequest("POST", "/auth", cookie)) is None
    with pytest.raises(BadSignature):
        load(HttpRequest("POST", "/auth", {**cookie, "authorization": "Bearer bad"}))


def test_without_a_token_nobody_is_there():
    load = loader(cookie="session")
    for headers in ({}, {"authorization": "Basic QTpC"}, {"cookie": "session=; sessions=x"}):
        assert load(HttpRequest("POST", "/auth", headers)) is None


def test_flask_requests_are_read_alike():
    app = flask.Flask(__name__)
    with app.test_request_context(headers={"Authorization": f"bearer {token()}"}):
        assert loader()(flask.request) == CLAIMS
    with app.test_request_context(headers={"Cookie": f"session={token()}"}):
        assert loader(cookie="session")(flask.request) == CLAIMS


def test_keys_rotate():
    load = loader(secret=[SECRET, OTHER_SECRET])
    assert load(bearer(token(key=OTHER_SECRET))) == load(bearer(token())) == CLAIMS
    load = jwt_user(public_key=[pem(RSA), pem(ED25519)], now=lambda: NOW)
    for algorithm in ("RS256", "EdDSA"):
        assert load(bearer(token(key=PRIVATE[algorithm], algorithm=algorithm))) == CLAIMS


# --- attacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("load", [loader(), public_loader()], ids=["secret", "public key"])
def test_unsigned_tokens(load, name):
    unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(CLAIMS)}."
    for sent in (unsigned, unsigned + "x", handmade({"alg": name})):
        with pytest.raises(BadSignature):
            load(bearer(sent))


def test_hmac_with_the_public_key_as_the_secret():
    """RFC 8725, 2.1: an attacker knows the public key and signs with it as if it were a secret."""
    for secret in (pem(RSA), pem(RSA).strip(), pem(RSA).replace("\n", "")):
        for algorithm in ("HS256", "RS256"):
            forged = handmade({"alg": algorithm, "typ": "JWT"}, secret=secret.encode())
            with pytest.raises(BadSignature):
                public_loader()(bearer(forged))


def test_a_public_key_is_no_secret():
    with pytest.raises(ConfigurationError, match="public_key="):
        jwt_user(secret=pem(RSA))


def test_another_hash_of_the_same_secret():
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(BadSignature):
            loader()(bearer(token(key=SECRET * 2, algorithm=algorithm)))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../dev/null"},
        {"kid": "' UNION SELECT 'x"},
        {"jwk": {"kty": "oct", "k": part(b"chosen by the attacker")}},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
    ],
)
def test_keys_that_the_token_brings_are_not_looked_at(header):
    forged = handmade({"alg": "HS256", **header}, secret=b"chosen by the attacker")
    with pytest.raises(BadSignature):
        loader()(bearer(forged))
    assert loader()(bearer(token(**header))) == CLAIMS


@pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"kid": 7}])
def test_headers_that_are_not_understood(header):
    with pytest.raises(BadSignature):
        loader()(bearer(handmade({"alg": "HS256", **header}, secret=SECRET.encode())))


def test_every_changed_part_is_noticed():
    good = token()
    header, claims, signature = good.split(".")
    admin = part({**CLAIMS, "sub": "1"})
    for sent in (
        f"{header}.{admin}.{signature}",
        f"{part({'alg': 'HS256'})}.{claims}.{signature}",
        f"{header}.{claims}.{part(hashlib.sha256(b'').digest())}",
        f"{header}.{claims}.{signature[:-2]}",
        token(key=OTHER_SECRET),
    ):
        with pytest.raises(BadSignature):
            loader()(bearer(sent))


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "a.b.c\n",
        "é.é.é",
        "a.b.c=",
        "a+b.c/d.e",
        "a b.c.d",
    ],
)
def test_what_is_no_token(sent):
    with pytest.raises(BadSignature):
        loader()(bearer(sent))


def test_oversized_tokens_are_not_read():
    big = token({**CLAIMS, "padding": "x" * MAX_TOKEN})
    with pytest.raises(BadSignature, match="not a signed"):
        loader()(bearer(big))


def test_deep_json_and_claims_that_are_no_object():
    deep = b"[" * 5_000
    for header, claims in (
        (deep, CLAIMS),
        ({"alg": "HS256"}, deep),
        ({"alg": "HS256"}, ["sub"]),
        ({"alg": "HS256"}, b"\xff"),
        (["alg"], CLAIMS),
    ):
        with pytest.raises(BadSignature):
            loader()(bearer(handmade(header, claims, SECRET.encode())))


@given(st.text())
def test_no_text_gets_in_or_raises_anything_else(sent):
    with pytest.raises(BadSignature):
        loader()(bearer(sent))


# --- claims ---------------------------------------------------------------------------------

TIMES = [
    ({"exp": NOW - 10}, Expired),
    ({"exp": NOW - 9}, None),
    ({"exp": 0}, Expired),
    ({"exp": None}, BadSignature),
    ({"exp": "soon"}, BadSignature),
    ({"exp": True}, BadSignature),
    ({"exp": float("nan")}, BadSignature),
    ({"exp": float("inf")}, BadSignature),
    ({"exp": 10**400}, None),
    ({"nbf": NOW + 10}, None),
    ({"nbf": NOW + 11}, BadSignature),
    ({"iat": NOW + 11}, BadSignature),
    ({"iat": NOW - 999_999}, None),
    ({"sub": 7}, BadSignature),
    ({"sub": None}, BadSignature),
    ({"sub": ""}, BadSignature),
]


@pytest.mark.parametrize(("change", "error"), TIMES, ids=[str(change) for change, _ in TIMES])
def test_times_and_subject(change, error):
    sent = bearer(handmade({"alg": "HS256"}, {**CLAIMS, **change}, SECRET.encode()))
    if error is None:
        assert loader()(sent)["name"] == "Ann"
    else:
        with pytest.raises(error):
            loader()(sent)


def test_a_token_names_a_user_by_the_claim_that_is_asked_for():
    with pytest.raises(BadSignature, match="no user"):
        loader()(bearer(token({"exp": NOW + 60})))
    sent = bearer(token({"exp": NOW + 60, "sub": "client:1", "username": "ann"}))
    assert loader(user_id="username")(sent)["sub"] == "ann"
    with pytest.raises(BadSignature, match="no user"):
        loader(user_id="email")(sent)


def test_a_token_that_never_ends_is_not_taken():
    with pytest.raises(BadSignature, match="exp"):
        loader()(bearer(token({"sub": "7"})))


@pytest.mark.parametrize("load", [loader, public_loader], ids=["secret", "public key"])
@pytest.mark.parametrize(
    ("options", "claims", "good"),
    [
        ({"issuer": "https://a"}, {"iss": "https://a"}, True),
        ({"issuer": "https://a"}, {"iss": "https://b"}, False),
        ({"issuer": "https://a"}, {}, False),
        ({"audience": "shop"}, {"aud": "shop"}, True),
        ({"audience": "shop"}, {"aud": ["blog", "shop"]}, True),
        ({"audience": "shop"}, {"aud": "blog"}, False),
        ({"audience": "shop"}, {"aud": "shopping"}, False),
        ({"audience": "shop"}, {"aud": ["blog"]}, False),
        ({"audience": "shop"}, {"aud": {"shop": 1}}, False),
        ({"audience": "shop"}, {}, False),
        ({}, {"aud": "shop"}, False),
    ],
)
def test_issuer_and_audience_as_pyjwt_has_them(load, options, claims, good):
    key, algorithm = (SECRET, "HS256") if load is loader else (RSA, "RS256")
    sent = jwt.encode({**CLAIMS, **claims}, key, algorithm)
    verifier = SECRET if load is loader else pem(RSA)
    theirs = {"verify_exp": False, "require": ["exp"]}
    if good:
        assert load(**options)(bearer(sent))["sub"] == "7"
        jwt.decode(sent, verifier, [algorithm], options=theirs, **options)
    else:
        with pytest.raises(BadSignature):
            load(**options)(bearer(sent))
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(sent, verifier, [algorithm], options=theirs, **options)


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "one of secret="),
        ({"secret": SECRET, "public_key": "x"}, "one of secret="),
        ({"secret": "short"}, "32 bytes"),
        ({"secret": [SECRET, ""]}, "32 bytes"),
        ({"secret": []}, "empty"),
        ({"public_key": []}, "empty"),
        ({"public_key": "no key"}, "not a public key"),
        ({"jwks_url": "http://login.example.com/keys"}, "https"),
        ({"jwks_url": "file:///etc/passwd"}, "https"),
    ],
)
def test_what_is_set_wrongly_is_said_at_once(options, says):
    with pytest.raises(ConfigurationError, match=says):
        jwt_user(**options)


def test_weak_and_foreign_public_keys_are_refused():
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505
    for private in (weak, ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(ConfigurationError, match="kind"):
            jwt_user(public_key=pem(private))


def test_nothing_that_is_raised_shows_the_secret_or_the_token():
    sent = token(key=OTHER_SECRET)
    with pytest.raises(BadSignature) as caught:
        loader()(bearer(sent))
    assert sent not in str(caught.value)
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        jwt_user(secret="hunter2")
    assert "hunter2" not in str(caught.value)


def test_hs256_loads_no_cryptography():
    code = (
        "import sys; from realtime_kit.web.users import jwt_user; jwt_user(secret='x' * 32);"
        "print([name for name in ('jwt', 'cryptography', 'urllib.request') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_said_in_one_line():
    code = (
        "import sys; sys.modules['jwt'] = None\n"
        "from realtime_kit.web.users import jwt_user\n"
        "jwt_user(jwks_url='https://login.example.com/keys')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert "pip install 'realtime-kit[jwt]'" in done.stderr.splitlines()[-1]


# --- authorizers ----------------------------------------------------------------------------


class Authorized:
    def __init__(self, authorizer):
        self.authorizer = authorizer


@pytest.mark.parametrize(
    ("authorizer", "user"),
    [
        (
            {"jwt": {"claims": {"sub": "7", "role": "a"}, "scopes": ["x"]}},
            {"sub": "7", "role": "a"},
        ),
        ({"lambda": {"sub": "7"}}, {"sub": "7"}),
        (
            {"claims": {"sub": "7", "cognito:username": "ann"}},
            {"sub": "7", "cognito:username": "ann"},
        ),
        (
            {"principalId": "7", "role": "a", "integrationLatency": 31},
            {"principalId": "7", "role": "a", "sub": "7"},
        ),
        ({"principalId": "app", "sub": "7"}, {"principalId": "app", "sub": "7"}),
    ],
)
def test_what_the_authorizer_said(authorizer, user):
    assert authorizer_user()(Authorized(authorizer)) == user


def test_another_member_is_the_id():
    load = authorizer_user("userId")
    assert load(Authorized({"iam": {"userId": "AIDA7", "accountId": "1"}}))["sub"] == "AIDA7"
    assert load(Authorized({"lambda": {"userId": 7}}))["sub"] == "7"


def test_no_authorizer_is_nobody_and_one_without_the_id_is_a_mistake():
    assert authorizer_user()(Authorized({})) is None
    assert authorizer_user()(Authorized({"integrationLatency": 3})) is None
    assert authorizer_user()(Authorized({"lambda": None, "integrationLatency": 3})) is None
    with pytest.raises(ConfigurationError, match="no 'sub', only role"):
        authorizer_user()(Authorized({"lambda": {"role": "a"}}))
