"""Who is asking: users from a JSON Web Token, or from API Gateway's authorizer.

load_user = jwt_user(jwks_url="https://login.example.com/jwks.json",
                     issuer="https://login.example.com/", audience="shop")
handler = http_handler(realtime, load_user)            # on Lambda
rt.user_loader(lambda: load_user(flask.request))       # in Flask
"""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Protocol

from realtime_kit.errors import BadSignature, ConfigurationError, Expired

Claims = Mapping[str, Any]

# Cookies and headers end at 8 KiB in most servers, so a longer "token" is not one.
MAX_TOKEN = 8_192
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Headers(Protocol):
    """Headers that are found by lower-case name."""

    def get(self, name: str, /) -> str | None: ...


class HasHeaders(Protocol):
    """A request: `HttpRequest`, or Flask's."""

    @property
    def headers(self) -> Headers: ...


class HasAuthorizer(Protocol):
    """A request that API Gateway may have let an authorizer look at: `LambdaRequest`."""

    @property
    def authorizer(self) -> Mapping[str, Any]: ...


class Keys(Protocol):
    """What verifies signatures. Each key is pinned to one algorithm; the token chooses neither."""

    def verify(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> bool: ...


def jwt_user(
    *,
    secret: str | Sequence[str] | None = None,
    public_key: str | Sequence[str] | None = None,
    jwks_url: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
    cookie: str | None = None,
    user_id: str = "sub",
    leeway: float = 10.0,
    now: Callable[[], float] = time.time,
) -> Callable[[HasHeaders], Claims | None]:
    """A user loader that answers the claims of a verified token.

    The token is in `Authorization: Bearer`, or in the cookie named `cookie`. Exactly one kind of
    key: `secret` (HS256; at least 32 bytes), `public_key` in PEM (RS256, ES256 or EdDSA, as the
    key's type says), or `jwks_url` (the same three; fetched when first needed, then kept).
    `secret` and `public_key` may be several, for a rotation: all verify.

    `exp` must be there; `nbf` and `iat` are checked where they are; `iss` and `aud` must be the
    `issuer` and `audience` given. A token with an `aud` needs `audience=` (RFC 7519, 4.1.3).
    `user_id` names the claim that is the user's id, a string; it becomes `sub`. `leeway` is seconds
    of clock difference.

    The loader answers None without a token, and raises `BadSignature` or `Expired` for one that
    is not good: the client is to fetch another, not to go on as a guest. A key set that cannot be
    fetched is `ProviderUnavailable`.
    """
    keys = _keys(secret, public_key, jwks_url)

    def load(request: HasHeaders) -> Claims | None:
        token = _token(request.headers, cookie)
        if token is None:
            return None
        claims = _verified(token, keys)
        _check_times(claims, now(), leeway)
        _check_names(claims, issuer, audience)
        user = claims.get(user_id)
        if not isinstance(user, str) or not user:
            raise BadSignature(f"the token names no user: its {user_id} is not a string")
        return claims if user_id == "sub" else {**claims, "sub": user}

    return load


def authorizer_user(user_id: str = "sub") -> Callable[[HasAuthorizer], Claims | None]:
    """A user loader that believes the authorizer which API Gateway asked before the function.

    The claims of a JWT authorizer (HTTP API) or a Cognito one (REST API), or the context that a
    Lambda authorizer returned (TOKEN and REQUEST on a REST API: with its `principalId`; HTTP API;
    and IAM). `user_id` names the member that is the user's id; where there is no `sub`, a
    `principalId` is taken. API Gateway turns most values into strings.

    The loader answers None where no authorizer was asked. Raises `ConfigurationError` if it was
    and there is no such member.
    """

    def load(request: HasAuthorizer) -> Claims | None:
        context = _authorizer_claims(request.authorizer)
        if not context:
            return None
        found = context.get(user_id)
        if found is None and user_id == "sub":
            found = context.get("principalId")
        if found is None or found == "":
            raise ConfigurationError(
                f"the authorizer's context has no {user_id!r}, only {', '.join(sorted(context))}: "
                "return it there, or name the user's id with authorizer_user(user_id=...)"
            )
        return {**context, "sub": str(found)}

    return load


def _authorizer_claims(authorizer: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `requestContext.authorizer` that says who: each kind has its own place."""
    if "jwt" in authorizer:
        return dict(authorizer["jwt"]["claims"])
    for section in ("claims", "lambda", "iam"):
        # None: a Lambda authorizer of an HTTP API that allowed it and returned no context.
        if section in authorizer and isinstance(authorizer[section], Mapping | None):
            return dict(authorizer[section] or {})
    return {name: value for name, value in authorizer.items() if name != "integrationLatency"}


def _keys(
    secret: str | Sequence[str] | None, public_key: str | Sequence[str] | None, jwks_url: str | None
) -> Keys:
    if [secret, public_key, jwks_url].count(None) != 2:
        raise ConfigurationError("jwt_user needs one of secret=, public_key= and jwks_url=")
    if secret is not None:
        return _Secrets(_several(secret))
    # Only here, because PyJWT brings `cryptography` with it.
    from realtime_kit.web import jwks

    if public_key is not None:
        return jwks.PublicKeys(_several(public_key))
    return jwks.KeySet(str(jwks_url))


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


class _Secrets:
    """HS256, by the standard library.

    PyJWT would do, but importing it imports `cryptography` wherever that is installed: a fifth of
    a cold start, for one HMAC. It stays the one that verifies every other algorithm.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        for secret in secrets:
            if "-----BEGIN" in secret:
                raise ConfigurationError(
                    "jwt_user(secret=) is a key in PEM: what is public cannot be a secret. "
                    "Pass it as public_key="
                )
            if len(secret.encode()) < 32:
                raise ConfigurationError(
                    "jwt_user(secret=) is shorter than 32 bytes and could be guessed from one "
                    "token (RFC 7518, 3.2); make one with: openssl rand -base64 32"
                )
        if not secrets:
            raise ConfigurationError("jwt_user(secret=) is empty")
        self._secrets = tuple(secret.encode() for secret in secrets)

    def verify(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> bool:
        if algorithm != "HS256":
            return False
        digests = [hmac.digest(secret, signed, "sha256") for secret in self._secrets]
        return any(hmac.compare_digest(digest, signature) for digest in digests)


def _token(headers: Headers, cookie: str | None) -> str | None:
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for pair in (headers.get("cookie") or "").split(";") if cookie else ():
        name, _, value = pair.partition("=")
        if name.strip() == cookie and value.strip():
            return value.strip().strip('"')
    return None


def _verified(token: str, keys: Keys) -> dict[str, Any]:
    """The claims of a token in JWS compact form (RFC 7515, 3.1), read once its signature is."""
    if len(token) > MAX_TOKEN or not _COMPACT.fullmatch(token):
        raise BadSignature("what was sent as a token is not a signed JSON Web Token")
    signed, _, signature = token.rpartition(".")
    header_part, _, claims_part = signed.partition(".")
    header = _json(header_part)
    kid = header.get("kid")
    if "crit" in header or not isinstance(kid, str | None):
        raise BadSignature("the token's header asks for what is not understood here")
    if not keys.verify(str(header.get("alg")), kid, signed.encode(), _bytes(signature)):
        raise BadSignature("the token's signature does not verify")
    return _json(claims_part)


def _json(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadSignature("the token does not hold a JSON object") from None
    return value


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise BadSignature("the token is not base64url") from None


def _check_times(claims: Claims, now: float, leeway: float) -> None:
    if "exp" not in claims:
        raise BadSignature("the token has no exp: one that never ends is not taken")
    if _number(claims, "exp") <= now - leeway:
        raise Expired("the token has expired")
    for name in ("nbf", "iat"):
        if name in claims and _number(claims, name) > now + leeway:
            raise BadSignature(f"the token is not valid yet: its {name} is in the future")


def _number(claims: Claims, name: str) -> float:
    value = claims[name]
    number = isinstance(value, int) and not isinstance(value, bool)
    if not number and not (isinstance(value, float) and isfinite(value)):
        raise BadSignature(f"the token's {name} is not a time")
    return value  # type: ignore[no-any-return]


def _check_names(claims: Claims, issuer: str | None, audience: str | None) -> None:
    if issuer is not None and claims.get("iss") != issuer:
        raise BadSignature("the token is of another issuer")
    meant_for = claims.get("aud")
    names = [meant_for] if isinstance(meant_for, str) else meant_for
    if audience is None:
        if meant_for is not None:
            raise BadSignature("the token is for an audience, and jwt_user was given none")
    elif not isinstance(names, list) or audience not in names:
        raise BadSignature("the token is for another audience")
