"""Webhook events, normalised across providers; the raw one is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class WebhookKind(StrEnum):
    """What happened. The values are the names for `@realtime.on(...)`."""

    CHANNEL_OCCUPIED = "channel_occupied"
    CHANNEL_VACATED = "channel_vacated"
    MEMBER_ADDED = "member_added"
    MEMBER_REMOVED = "member_removed"
    CLIENT_EVENT = "client_event"
    CACHE_MISS = "cache_miss"
    SUBSCRIPTION_COUNT = "subscription_count"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One event that a provider reported.

    `channel` is the logical name. `time` is aware, UTC, the provider's. `event`, `data` (decoded)
    and `socket_id` are those of a client event; `count` that of a subscription count. `raw` is the
    provider's own object, untouched.
    """

    kind: WebhookKind
    provider: str
    time: datetime
    channel: str | None = None
    user_id: str | None = None
    event: str | None = None
    data: Any = None
    socket_id: str | None = None
    count: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
