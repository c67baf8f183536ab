"""What credentials amount to: keys, and what a connection or request may do.

Source: Ably's features spec RSA (auth), and "Token revocation".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime_kit.emulators.ably.capability import Capability

HOUR_MS = 60 * 60 * 1000
_APP_ID = re.compile(r"[A-Za-z0-9_-]{6}\Z")

EVERYTHING = Capability.parse('{"*":["*"]}')


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of an app. name: `APPID.KEYID`, public. revocable: its tokens can be revoked."""

    name: str
    secret: str = field(repr=False)
    capability: Capability = EVERYTHING
    revocable: bool = False

    @classmethod
    def parse(
        cls, text: str, *, capability: Capability = EVERYTHING, revocable: bool = False
    ) -> ApiKey:
        """Of `APPID.KEYID:SECRET`. Raises `ValueError`."""
        name, _, secret = text.partition(":")
        if app_id(name) is None or not name.partition(".")[2] or not secret:
            raise ValueError(
                "an Ably key is APPID.KEYID:SECRET, where APPID is six of A-Z a-z 0-9 - and _"
            )
        return cls(name, secret, capability, revocable)

    @property
    def app_id(self) -> str:
        return self.name.partition(".")[0]

    @property
    def longest_ttl_ms(self) -> int:
        return HOUR_MS if self.revocable else 24 * HOUR_MS

    def has_secret(self, given: str) -> bool:
        return hmac.compare_digest(self.secret.encode(), given.encode("utf-8", "surrogatepass"))


def app_id(credential: str) -> str | None:
    """The app that a key or token of Ably's is of: what is before its first dot."""
    found, dot, _ = credential.partition(".")
    return found if dot and _APP_ID.match(found) else None


@dataclass(frozen=True, slots=True)
class Access:
    """What a connection or a request may do, and as whom.

    client_id: `*` is any; None: anonymous. expires_ms: None for a key. channel_claims: of a JWT,
    channel to trusted text about the user (`ably.channel.CHANNEL`). revocable: was it issued by a
    key with revocable tokens.
    """

    app_id: str
    key_name: str
    capability: Capability
    client_id: str | None
    issued_ms: int
    expires_ms: int | None = None
    channel_claims: Mapping[str, str] = field(default_factory=dict)
    revocation_key: str | None = None
    revocable: bool = False
    is_basic: bool = False

    def user_claim(self, channel: str) -> str | None:
        """What the token says of its user on this channel (`extras.userClaim` of messages)."""
        return self.channel_claims.get(channel)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens of a key, issued before `issued_before_ms`, are void from `applies_at_ms` on.

    target: `clientId:ID`, `revocationKey:KEY`, or `channel:RESOURCE` (which must be, letter by
    letter, a resource of the token's capability).
    """

    key_name: str
    target: str
    issued_before_ms: int
    applies_at_ms: int

    def matches(self, access: Access) -> bool:
        if access.key_name != self.key_name or not access.revocable or access.is_basic:
            return False
        kind, _, value = self.target.partition(":")
        targeted = {
            "clientId": access.client_id == value,
            "revocationKey": access.revocation_key == value,
            "channel": value in access.capability.grants,
        }
        return targeted[kind] and access.issued_ms < self.issued_before_ms
