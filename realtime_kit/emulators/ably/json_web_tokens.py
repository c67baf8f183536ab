"""JWTs that clients present: HS256, signed with a key's secret, or around another token.

Source: Ably, "JWT authentication" and "Embedded Token JWT"; "Token revocation" for revocation keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isinf
from typing import TYPE_CHECKING, Any, TypeGuard

from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.capability import Capability
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.tokens import capability_of, longest_ttl
from realtime_kit.emulators.ably.wire import from_json

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import Key

_CHANNEL_CLAIM = "ably.channel."
_RATE_CLAIM = "ably.limits.publish.perAttachment.maxRate."


@dataclass(frozen=True, slots=True)
class JsonWebToken:
    """A JWT, read but not verified. claims: empty for an encrypted one."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: str
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> JsonWebToken:
        """Raises `AblyError` 40144."""
        parts = token.split(".")
        if len(parts) == 5:  # encrypted: only its header is for us
            return cls(_json(parts[0]), {}, "", b"")
        header, claims, signature = parts
        return cls(_json(header), _json(claims), f"{header}.{claims}", _bytes(signature))

    @property
    def inner(self) -> str | None:
        """The token in a JWT of somebody else's, whose signature is not Ably's to verify."""
        token = self.header.get("x-ably-token", self.claims.get("x-ably-token"))
        if token is not None and not isinstance(token, str):
            raise _unreadable("x-ably-token must be a token")
        return token

    @property
    def key_name(self) -> str:
        name = self.header.get("kid")
        if not isinstance(name, str):
            raise _unreadable("no kid in its header")
        return name

    def verify(self, secret: str) -> None:
        signed = hmac.new(secret.encode(), self.signed.encode("utf-8", "replace"), hashlib.sha256)
        if self.header.get("alg") != "HS256":
            raise _unreadable("its alg is not HS256")
        if not hmac.compare_digest(signed.digest(), self.signature):
            raise _unreadable("signature verification failed")

    def around(self, inner: Access) -> Access:
        """What the token inside allows, for as long as this one lives."""
        if "exp" not in self.claims:
            return inner
        expires = _time(self.claims, "exp")
        if inner.expires_ms is not None and expires > inner.expires_ms:
            raise _unreadable("it outlives the token that is in it")
        return replace(inner, expires_ms=expires)

    def access(self, key: Key) -> Access:
        """What this token, signed with `key`, allows: no more than the key. Raises `AblyError`."""
        return _access(key, self.claims)


def _access(key: Key, claims: Mapping[str, Any]) -> Access:
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if expires - issued > longest_ttl(key):
        raise AblyError(
            40003, 400, f"Invalid token; its life is longer than {longest_ttl(key)} milliseconds"
        )
    own = capability_of(key.capability)
    claimed = claims.get("x-ably-capability")
    if claimed is not None and not isinstance(claimed, str):
        raise AblyError(40000, 400, "Invalid token; capability must be JSON text")
    client_id = _string(claims, "x-ably-clientId", AblyError(40012, 400, _NO_CLIENT_ID))
    return Access(
        app_id=key.app_id,
        key_name=key.name,
        capability=own if claimed is None else Capability.parse(claimed).intersect(own),
        client_id=client_id,
        issued_ms=issued,
        expires_ms=expires,
        channel_claims={
            name.removeprefix(_CHANNEL_CLAIM): claim
            for name, claim in claims.items()
            if name.startswith(_CHANNEL_CLAIM) and isinstance(claim, str)
        },
        publish_rates={
            name.removeprefix(_RATE_CLAIM): rate
            for name, rate in claims.items()
            if name.startswith(_RATE_CLAIM) and _is_number(rate)
        },
        revocation_key=_string(
            claims, "x-ably-revocation-key", _unreadable("the revocation key must be a string")
        ),
        revocable=key.revocable_tokens,
    )


_NO_CLIENT_ID = "Invalid token; clientId must be a string"


def _json(part: str) -> Mapping[str, Any]:
    try:
        value = from_json(_bytes(part))
    except (ValueError, RecursionError) as error:
        raise _unreadable("not JSON") from error
    if not isinstance(value, dict):
        raise _unreadable("not an object")
    return value


def _bytes(part: str) -> bytes:
    try:  # some mint with the alphabet of plain base64
        text = part.rstrip("=").replace("+", "-").replace("/", "_")
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise _unreadable("not base64") from error


def _time(claims: Mapping[str, Any], name: str) -> int:
    seconds = claims.get(name)
    if not _is_number(seconds) or isinf(seconds * 1000):
        raise AblyError(40144, 400, f"Invalid token; {name} must be specified")
    return round(seconds * 1000)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _string(claims: Mapping[str, Any], name: str, error: AblyError) -> str | None:
    value = claims.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise error
    return value


def _unreadable(reason: str) -> AblyError:
    return AblyError(40144, 401, f"Unexpected exception decoding token; err = {reason}")
