"""Signatures of Pusher Channels: HMAC-SHA256, hex, compared in constant time.

Source: "Authentication and authorization signatures", "HTTP API: Authentication", "Webhooks:
Security". Text that UTF-8 cannot carry (lone surrogates) is signed as it is rather than raised
over, so that no input of a client is an error here: it just never verifies.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its secret. The key is public; the secret signs."""

    key: str
    secret: str = field(repr=False)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def sign(secret: str, text: str) -> str:
    """HMAC-SHA256 of `text`, hex."""
    mac = _keyed(secret).copy()
    mac.update(_bytes(text))
    return mac.hexdigest()


@lru_cache(maxsize=64)
def _keyed(secret: str) -> hmac.HMAC:
    """The key's part of the work, which is as long as that for a short text, done once."""
    return hmac.new(_bytes(secret), digestmod="sha256")


def verify(secret: str, text: str, given: str) -> bool:
    """Whether `given` is the signature of `text`. Takes the same time whatever `given` is."""
    return hmac.compare_digest(sign(secret, text).encode(), _bytes(given))


def channel_text(socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """What proves a subscription: `channel_data` is part of it wherever it was sent."""
    text = f"{socket_id}:{channel}"
    return text if channel_data is None else f"{text}:{channel_data}"


def channel_auth(key: Key, socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """The member `auth` of a subscription: `KEY:hex`."""
    return f"{key.key}:{sign(key.secret, channel_text(socket_id, channel, channel_data))}"


def user_text(socket_id: str, user_data: str) -> str:
    """What proves a sign-in."""
    return f"{socket_id}::user::{user_data}"


def user_auth(key: Key, socket_id: str, user_data: str) -> str:
    """The member `auth` of a sign-in: `KEY:hex`."""
    return f"{key.key}:{sign(key.secret, user_text(socket_id, user_data))}"


Params = Mapping[str, str | Sequence[str]]


def http_text(method: str, path: str, params: Params) -> str:
    """What proves a request: method, path and the parameters, sorted, keys in lower case, values
    as they are before URL encoding, `auth_signature` left out. A sequence stands for `key[]`."""
    pairs: list[str] = []
    for name in sorted(params, key=str.lower):
        key, value = name.lower(), params[name]
        if key == "auth_signature":
            continue
        if isinstance(value, str):
            pairs.append(f"{key}={value}")
        else:
            pairs += [f"{key}[]={item}" for item in value]
    return f"{method.upper()}\n{path}\n{'&'.join(pairs)}"


def http_signature(secret: str, method: str, path: str, params: Params) -> str:
    """The parameter `auth_signature` of a request to the HTTP API."""
    return sign(secret, http_text(method, path, params))


def webhook_signature(secret: str, body: bytes) -> str:
    """The header `X-Pusher-Signature` of a webhook."""
    return hmac.digest(_bytes(secret), body, "sha256").hex()
