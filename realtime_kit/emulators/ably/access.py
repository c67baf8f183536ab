"""What credentials amount to: what a connection or a request may do.

Source: Ably's features spec RSA (auth), and "Token revocation".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime_kit.emulators.ably.capability import Capability, closest


@dataclass(frozen=True, slots=True)
class Access:
    """What a connection or a request may do, and as whom.

    client_id: `*` is any; None: anonymous. expires_ms: None for a key. channel_claims: of a JWT,
    channel to trusted text about the user (`ably.channel.CHANNEL`). publish_rates: of a JWT,
    channel or pattern to messages a second. revocable: issued by a key with revocable tokens.
    """

    app_id: str
    key_name: str
    capability: Capability
    client_id: str | None
    issued_ms: int
    expires_ms: int | None = None
    channel_claims: Mapping[str, str] = field(default_factory=dict)
    publish_rates: Mapping[str, float] = field(default_factory=dict)
    revocation_key: str | None = None
    revocable: bool = False
    is_basic: bool = False

    def user_claim(self, channel: str) -> str | None:
        """What the token says of its user on this channel (`extras.userClaim` of messages)."""
        return closest(self.channel_claims, channel)

    def publish_rate(self, channel: str) -> float | None:
        """How many messages a second the token lets an attachment to this channel publish."""
        return closest(self.publish_rates, channel)


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
