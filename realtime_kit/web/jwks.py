"""Public keys that verify JSON Web Tokens: from PEM, or from a key set (RFC 7517) on the web.

RS256, ES256 and EdDSA; the key's type decides which, so a token cannot choose (RFC 8725, 3.1).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from threading import Lock
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from realtime_kit.errors import ConfigurationError, ProviderUnavailable, missing_extra

try:
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from jwt.algorithms import Algorithm, get_default_algorithms
except ImportError as error:
    raise missing_extra("jwt", "verifying a token with a public key") from error

log = logging.getLogger(__name__)

# Seconds. A set is fetched again when it is older than LIFETIME, or when a token names a key that
# is not in it; never sooner than RETRY after the last try, whatever clients send (RETRY_EMPTY as
# long as there is no set at all). While the server is away, what it said last counts for KEEP.
TIMEOUT = 3.0
LIFETIME = 600.0
RETRY = 30.0
RETRY_EMPTY = 1.0
KEEP = 86_400.0
MAX_BYTES = 131_072

_ALGORITHMS = {"RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key with the one algorithm that it verifies."""

    name: str
    algorithm: Algorithm
    key: Any

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        return algorithm == self.name and self.algorithm.verify(signed, self.key, signature)


class PublicKeys:
    """Keys in PEM; all verify."""

    def __init__(self, pems: Sequence[str]) -> None:
        if not pems:
            raise ConfigurationError("jwt_user(public_key=) is empty")
        self._keys = [_from_pem(pem) for pem in pems]

    def verify(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> bool:
        return any(key.verify(algorithm, signed, signature) for key in self._keys)


class KeySet:
    """The key set at `url`. Thread-safe. `fetch(url)` answers its bytes, or raises `OSError`."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigurationError("jwt_user(jwks_url=) must be https: keys are trusted as sent")
        self._url = url
        self._fetch = fetch or fetch_bytes
        self._now = now
        self._lock = Lock()
        self._keys: Mapping[str | None, PublicKey] = {}
        self._fetched = self._tried = float("-inf")

    def verify(self, algorithm: str, kid: str | None, signed: bytes, signature: bytes) -> bool:
        if self._now() - self._fetched >= LIFETIME:
            # With keys in hand nobody waits for the thread that renews them.
            self._refresh(wait=not self._keys)
        key = self._find(kid)
        if key is None:
            self._refresh(wait=True)
            key = self._find(kid)
        return key is not None and key.verify(algorithm, signed, signature)

    def _find(self, kid: str | None) -> PublicKey | None:
        keys = self._keys
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(kid)

    def _refresh(self, *, wait: bool) -> None:
        """Fetch the set, unless that was tried a moment ago. Raises `ProviderUnavailable` if no
        set is to be had and none is kept."""
        if not self._lock.acquire(blocking=wait):
            return
        try:
            now = self._now()
            if now - self._tried >= (RETRY if self._keys else RETRY_EMPTY):
                self._tried = now
                self._load(now)
        finally:
            self._lock.release()
        if not self._keys:
            raise ProviderUnavailable(
                "the key set that verifies tokens cannot be fetched",
                provider="jwks",
                retryable=True,
            )

    def _load(self, now: float) -> None:
        try:
            self._keys = _parse(self._fetch(self._url))
            self._fetched = now
        except (OSError, HTTPException, ValueError) as error:
            if now - self._fetched >= KEEP:
                self._keys = {}
            kept = f"the {len(self._keys)} that were fetched last stay" if self._keys else "no keys"
            log.warning("key set %s: %s; %s", self._url, error, kept)


class _NoRedirect(HTTPRedirectHandler):
    """A key set is where it was said to be: a redirect could lead inside, or away from TLS."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def fetch_bytes(url: str) -> bytes:
    """The body at `url`, within `TIMEOUT` and `MAX_BYTES`. Raises `OSError`, `HTTPException`."""
    ends = time.monotonic() + TIMEOUT
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    with build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as response:
        body = b""
        # In pieces, because the socket's time-out starts anew with every byte that drips in.
        while piece := response.read1(65_536):
            body += piece
            if len(body) > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES} bytes")
            if time.monotonic() > ends:
                raise TimeoutError("it came too slowly")
    return body


def _parse(body: bytes) -> dict[str | None, PublicKey]:
    """The keys that can verify a token, by kid. Raises `ValueError` if there is none."""
    value = json.loads(body)
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a key set")
    keys = {
        entry.get("kid"): key
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str | None)
        if (key := _from_jwk(entry))
    }
    if not keys:
        raise ValueError("no key in it is for RS256, ES256 or EdDSA signatures")
    return keys


def _from_jwk(entry: dict[str, Any]) -> PublicKey | None:
    """None for a key of another kind or use: sets hold those too. A symmetric one above all."""
    kind = " ".join(str(entry[member]) for member in ("kty", "crv") if member in entry)
    name = _ALGORITHMS.get(kind)
    if name is None or entry.get("alg", name) != name or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(entry, algorithm=name).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if _name_of(key) is None else _public_key(name, key)


def _from_pem(pem: str) -> PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("jwt_user(public_key=) is not a public key in PEM") from error
    name = _name_of(key)
    if name is None:
        raise ConfigurationError(
            "jwt_user(public_key=) is not of a kind that is taken: RSA from 2,048 bits (RS256), "
            "P-256 (ES256) or Ed25519 (EdDSA)"
        )
    return _public_key(name, key)


def _public_key(name: str, key: Any) -> PublicKey:
    return PublicKey(name, get_default_algorithms()[name], key)


def _name_of(key: Any) -> str | None:
    """The algorithm of a public key; None for a private one, too, which has no business here."""
    if isinstance(key, RSAPublicKey) and key.key_size >= 2_048:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None
