"""Ably tokens: TokenRequests verified, tokens issued, remembered, revoked.

Source: Ably's features spec RSA8, RSA9, TE (TokenRequest), TD (TokenDetails), RSA17 (revocation);
"Token Request Spec" for the signature; "Token revocation".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict, TypeGuard

from realtime_kit.emulators.ably.access import Access, Revocation
from realtime_kit.emulators.ably.capability import Capability
from realtime_kit.emulators.ably.errors import AblyError

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App, Key

HOUR_MS = 60 * 60 * 1000
TIMESTAMP_WINDOW_MS = 2 * 60 * 1000
REAUTH_MARGIN_MS = 30 * 1000
_MIN_NONCE = 16


class TokenDetails(TypedDict, total=False):
    """What `requestToken` answers (TD1 to TD6). Times are milliseconds since 1970."""

    token: str
    keyName: str
    issued: int
    expires: int
    capability: str
    clientId: str


class Tokens:
    """The tokens of an app that its emulator must remember, in memory.

    Expired tokens are kept for an hour more, to be told from unknown ones.
    """

    def __init__(self) -> None:
        self._issued: dict[str, Access] = {}
        self._nonces: dict[tuple[str, int], int] = {}
        self._revocations: list[Revocation] = []

    def add(self, token: str, access: Access, now_ms: int) -> None:
        oldest_kept = now_ms - HOUR_MS
        for old, held in list(self._issued.items()):
            if held.expires_ms is None or held.expires_ms >= oldest_kept:
                break  # in the order of issue: what is behind it waits for its turn
            del self._issued[old]
        self._issued[token] = access

    def find(self, token: str) -> Access | None:
        return self._issued.get(token)

    def use_nonce(self, nonce: str, timestamp: int, now_ms: int) -> None:
        """Raises `AblyError` 40105 if this pair was used before (the pair: not the nonce alone)."""
        for old, until in list(self._nonces.items()):
            if until >= now_ms:
                break
            del self._nonces[old]
        if (nonce, timestamp) in self._nonces:
            raise AblyError(40105, 401, "Nonce value replayed")
        # A timestamp is accepted from two minutes before its time to two after.
        self._nonces[nonce, timestamp] = now_ms + 2 * TIMESTAMP_WINDOW_MS

    def revoke(self, revocation: Revocation, now_ms: int) -> None:
        # No revocable token lives longer than an hour.
        self._revocations = [
            held for held in self._revocations if held.applies_at_ms >= now_ms - HOUR_MS
        ]
        self._revocations.append(revocation)

    def check(self, access: Access, now_ms: int) -> None:
        """Raises `AblyError` 40142 for an expired token, 40141 for a revoked one."""
        if access.expires_ms is not None and access.expires_ms <= now_ms:
            raise AblyError(40142, 401, "Token expired")
        if access.revocable and any(
            revocation.applies_at_ms <= now_ms and revocation.matches(access)
            for revocation in self._revocations
        ):
            raise AblyError(40141, 401, "Token revoked")


@lru_cache(maxsize=1024)
def capability_of(text: str) -> Capability:
    """The capability of a key, which is asked for with every request."""
    return Capability.parse(text)


def longest_ttl(key: Key) -> int:
    """How long a token of this key may live, in milliseconds."""
    return HOUR_MS if key.revocable_tokens else 24 * HOUR_MS


def request_token(
    app: App, key: Key, given: Mapping[str, object], access: Access | None, now_ms: int
) -> TokenDetails:
    """Answer a TokenRequest: with a `mac` (TE4), or bare from whoever holds the key.

    access: what the request authenticated with, if at all. Raises `AblyError` 40101 for a wrong
    signature, 40104 for a time that is not now, 40105 for a replay, 40003 for a lifetime that is
    not allowed, 40012 for an empty clientId, 40000 and 40160 for a capability.
    """
    _verify(key, given, access)
    timestamp = _timestamp(given, now_ms)
    ttl = _ttl(key, given.get("ttl"))
    client_id = given.get("clientId")
    if client_id is not None and (not isinstance(client_id, str) or not client_id):
        raise AblyError(40012, 400, "Invalid clientId: it must be a string that is not empty")
    capability = _granted(key, given.get("capability"))
    nonce = given.get("nonce")
    if given.get("mac") and (not isinstance(nonce, str) or len(nonce) < _MIN_NONCE):
        raise AblyError(40003, 400, f"Invalid nonce: it must have {_MIN_NONCE} characters or more")
    if isinstance(nonce, str):
        app.tokens.use_nonce(nonce, timestamp, now_ms)
    granted = Access(
        app_id=app.id,
        key_name=key.name,
        capability=capability,
        client_id=client_id,
        issued_ms=now_ms,
        expires_ms=now_ms + ttl,
        revocable=key.revocable_tokens,
    )
    token = f"{app.id}.{app.token(48)}"
    app.tokens.add(token, granted, now_ms)
    details: TokenDetails = {
        "token": token,
        "keyName": key.name,
        "issued": now_ms,
        "expires": now_ms + ttl,
        "capability": capability.source,
    }
    if client_id is not None:
        details["clientId"] = client_id
    return details


def _verify(key: Key, given: Mapping[str, object], access: Access | None) -> None:
    if given.get("keyName", key.name) != key.name:
        raise AblyError(40003, 400, "Invalid keyName: it is not that of the address")
    mac = given.get("mac")
    if mac is None:
        if access is None or not access.is_basic:
            raise AblyError(40101, 401, "A token request without mac needs Basic authentication")
        if access.key_name != key.name:
            raise AblyError(40102, 401, "The token request is for another key")
    elif not isinstance(mac, str) or not _signed(key, given, mac):
        raise AblyError(40101, 401, "Request mac doesn't match")


def _signed(key: Key, given: Mapping[str, object], mac: str) -> bool:
    """Whether `mac` is that of the request. A ttl of 0 is signed by the SDKs as one of none."""
    ttl = _text(given.get("ttl"))
    matches = False
    for spelling in {ttl, "" if ttl == "0" else ttl}:
        fields = [
            key.name,
            spelling,
            *(_text(given.get(name)) for name in ("capability", "clientId", "timestamp", "nonce")),
        ]
        signed = "".join(f"{field}\n" for field in fields)
        expected = base64.b64encode(
            hmac.new(
                key.secret.encode(), signed.encode("utf-8", "replace"), hashlib.sha256
            ).digest()
        )
        matches |= hmac.compare_digest(expected, mac.encode("utf-8", "replace"))
    return matches


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _whole(value: object, name: str) -> int:
    """A number of milliseconds; a query string may have made it text on its way."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return int(float(value)) if isinstance(value, str) else int(value)
        except (ValueError, OverflowError):
            pass
    raise AblyError(40003, 400, f"Invalid {name}: it must be a number of milliseconds")


def _timestamp(given: Mapping[str, object], now_ms: int) -> int:
    timestamp = given.get("timestamp")
    if timestamp is None and not given.get("mac"):
        return now_ms
    timestamp = _whole(timestamp, "timestamp")
    if abs(now_ms - timestamp) > TIMESTAMP_WINDOW_MS:
        raise AblyError(40104, 401, "Timestamp not current")
    return timestamp


def _ttl(key: Key, given: object) -> int:
    ttl = HOUR_MS if given in (None, "") else _whole(given, "ttl")
    if ttl < 0 or ttl > longest_ttl(key):
        raise AblyError(
            40003, 400, f"Invalid ttl: it must be from 0 to {longest_ttl(key)} milliseconds"
        )
    return ttl or HOUR_MS


def _granted(key: Key, given: object) -> Capability:
    own = capability_of(key.capability)
    if given in (None, ""):
        return own
    if not isinstance(given, str):
        raise AblyError(40000, 400, "Invalid capability: it must be JSON text")
    return Capability.parse(given).intersect(own)


def revoke_tokens(
    app: App, key: Key, access: Access, given: Mapping[str, object], now_ms: int
) -> list[dict[str, object]]:
    """Revoke (RSA17), and say so for each target: `{target, issuedBefore, appliesAt}` or
    `{target, error}`. Connections of such tokens are told through `app.revoked(revocation)`."""
    if not access.is_basic:
        raise AblyError(40162, 401, "Revoking tokens requires Basic authentication")
    if access.key_name != key.name:
        raise AblyError(40133, 401, "Can only revoke tokens using the same key that issued them")
    if not key.revocable_tokens:
        raise AblyError(40163, 401, "Token revocation is not enabled for this API key")
    targets = given.get("targets")
    if not isinstance(targets, list) or not 1 <= len(targets) <= 100:
        raise AblyError(40003, 400, "Invalid targets: a list of 1 to 100 target specifiers")
    before = given.get("issuedBefore")
    before = now_ms if before is None else _whole(before, "issuedBefore")
    if not now_ms - HOUR_MS <= before <= now_ms:
        raise AblyError(40003, 400, "Invalid issuedBefore: it must be within the last hour")
    margin = given.get("allowReauthMargin", False)
    if not isinstance(margin, bool):
        raise AblyError(40003, 400, "Invalid allowReauthMargin: it must be a boolean")
    applies_at = now_ms + (REAUTH_MARGIN_MS if margin else 0)
    answers: list[dict[str, object]] = []
    for target in targets:
        if not _is_target(target):
            error = AblyError(40003, 400, f"Invalid target specifier: {target!s:.100}")
            answers.append({"target": target, "error": error.info()})
            continue
        revocation = Revocation(key.name, target, before, applies_at)
        app.tokens.revoke(revocation, now_ms)
        app.revoked(revocation)
        answers.append({"target": target, "issuedBefore": before, "appliesAt": applies_at})
    return answers


def _is_target(target: object) -> TypeGuard[str]:
    kind, _, value = str(target).partition(":")
    return (
        isinstance(target, str) and kind in ("clientId", "revocationKey", "channel") and value != ""
    )
