"""Ably's tokens, made and read by the standard library alone: no network, no SDK, no JWT library.

Sources: Ably, "JSON Web Tokens" (claims, channel-scoped claims), "Capabilities", "Token Request
Spec" (the text that is signed); RFC 7515 (JWS compact form).
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from realtime_kit.protocol.signing import Key

MAX_JWT = 6_000
"""Characters of a token that we make. It travels in a URL, and in base64 once more in a header;
servers end both at 8 KiB."""

Capability = Mapping[str, Sequence[str]]
"""Operations by the name of the channel on Ably."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CAPABILITY, _CLIENT = "x-ably-capability", "x-ably-clientId"
# Not ASCII, where a letter beyond it would be six, and twelve in the JSON inside of JSON.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Held(NamedTuple):
    """What a verified token says. `client_id` None: a guest's."""

    client_id: str | None
    channels: tuple[str, ...]


def make_jwt(
    key: Key,
    *,
    capability: Capability,
    client_id: str | None,
    claims: Mapping[str, str],
    issued: float,
    ttl: int,
) -> str:
    """A token, signed by `key`. `claims` are texts by the channel's name on Ably, which Ably puts
    into `extras.userClaim` of all that its bearer sends there; `issued` and `ttl` are seconds."""
    # To the millisecond, as Ably revokes: what a client fetches for a revoked token is newer.
    payload: dict[str, Any] = {"iat": issued, "exp": int(issued) + ttl}
    payload[_CAPABILITY] = _encode(capability)
    if client_id is not None:
        payload[_CLIENT] = client_id
    payload |= {f"ably.channel.{name}": claim for name, claim in claims.items()}
    signed = f"{_part({'typ': 'JWT', 'alg': 'HS256', 'kid': key.key})}.{_part(payload)}"
    return f"{signed}.{_signature(key, signed)}"


def read_jwt(token: str, keys: Sequence[Key]) -> Held | None:
    """What a token says that one of `keys` signed, and None for any other. It may have expired.

    Nothing of it is parsed before its signature is verified.
    """
    if len(token) > MAX_JWT or not _COMPACT.fullmatch(token):
        return None
    signed, _, given = token.rpartition(".")
    # Every key is tried, so that the time says nothing of which it was.
    matches = [hmac.compare_digest(_signature(key, signed), given) for key in keys]
    if True not in matches:
        return None
    header, payload = map(_object, signed.split("."))
    if (header.get("alg"), header.get("kid")) != ("HS256", keys[matches.index(True)].key):
        return None
    return Held(payload.get(_CLIENT), tuple(_parsed(payload.get(_CAPABILITY))))


def make_request(
    key: Key,
    *,
    capability: Capability,
    client_id: str | None,
    timestamp: int,
    ttl: int,
    nonce: str,
) -> dict[str, Any]:
    """A TokenRequest, which a client exchanges for a token at Ably, once and within two minutes.
    `timestamp` and `ttl` are milliseconds; `nonce` is 16 characters or more."""
    text = _encode(capability)
    fields = (key.key, ttl, text, client_id or "", timestamp, nonce)
    if "\n" in f"{client_id}{nonce}":
        raise ValueError("a line break in a value would sign the fields of another request")
    signed = "".join(f"{field}\n" for field in fields)
    request: dict[str, Any] = {"keyName": key.key, "ttl": ttl, "capability": text}
    if client_id is not None:
        request["clientId"] = client_id
    mac = b64encode(hmac.digest(key.secret.encode(), signed.encode(), "sha256")).decode()
    return {**request, "timestamp": timestamp, "nonce": nonce, "mac": mac}


def _signature(key: Key, signed: str) -> str:
    digest = hmac.digest(key.secret.encode(), signed.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(_encode(value).encode()).rstrip(b"=").decode()


def _object(part: str) -> dict[str, Any]:
    try:
        return _parsed(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}


def _parsed(text: object) -> dict[str, Any]:
    """The JSON object that `text` is; empty if it is none, as in a token of other software."""
    try:
        value = json.loads(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
