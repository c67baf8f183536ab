"""Tickets for `GET /events`: what an EventSource shows that can send neither cookies nor headers.

A ticket is good for exactly the channels that it was issued for, during `LIFE` seconds, and for
nothing else: what seals it is a key that is derived for this purpose alone. It stands in a URL, and
so in logs, which is why it is short-lived and says nothing of anybody. Pure.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence

from realtime_kit.errors import BadSignature, Expired

LIFE = 60  # seconds
PURPOSE = b"realtime-kit: ticket for GET /events"


def issue(secrets: Sequence[str], channels: Iterable[str], now: float) -> str:
    """A ticket, `EXPIRES.SEAL`, by the first of the secrets. `now` is seconds since 1970."""
    expires = int(now) + LIFE
    return f"{expires}.{_seal(secrets[0], channels, expires)}"


def verify(secrets: Iterable[str], ticket: str, channels: Iterable[str], now: float) -> None:
    """Raises `BadSignature` for a ticket that none of the secrets has sealed for these channels,
    `Expired` for one whose time is over."""
    text, _, seal = ticket.partition(".")
    expires = int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else 0
    given, names = seal.encode(errors="backslashreplace"), list(channels)
    # Every secret is tried, so that the time says nothing of which it was.
    seals = (_seal(secret, names, expires).encode() for secret in secrets)
    matches = [hmac.compare_digest(given, known) for known in seals]
    if not any(matches):
        raise BadSignature("the ticket was issued for other channels, or not here")
    if now >= expires:
        raise Expired("the ticket is over")


def _seal(secret: str, channels: Iterable[str], expires: int) -> str:
    key = hmac.digest(secret.encode(), PURPOSE, "sha256")
    sealed = json.dumps([expires, sorted(set(channels))]).encode()
    return urlsafe_b64encode(hmac.digest(key, sealed, "sha256")).rstrip(b"=").decode()
