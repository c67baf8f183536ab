"""Webhook events, as effects. Source: Pusher Channels, "Webhooks: Events".

A leave waits three seconds and is dropped, with the join that follows it, if the client comes
straight back; both carry the same `cancel_key`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from realtime_kit.protocol import frames, signing
from realtime_kit.protocol.app import App
from realtime_kit.protocol.effects import Notify

LEAVE_DELAY = 3.0
CACHE_MISS_WINDOW = 10.0


def body(events: Iterable[Mapping[str, Any]], time_ms: int) -> bytes:
    """The body of a webhook. `time_ms`: when it was made, milliseconds since 1970."""
    return frames.encode({"time_ms": time_ms, "events": list(events)}).encode()


def signed(app: App, event: Mapping[str, Any], time_ms: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of the webhook for one event.

    Signed with the oldest key, like production: an application that rotates its keys may not know
    the newest yet. The content type has no charset: the Node SDK compares it as a whole.
    """
    key = app.keys[-1]
    text = body([event], time_ms)
    return {
        "Content-Type": "application/json",
        "X-Pusher-Key": key.key,
        "X-Pusher-Signature": signing.webhook_signature(key.secret, text),
    }, text


def channel_occupied(channel: str) -> Notify:
    return Notify({"name": "channel_occupied", "channel": channel}, cancel_key=f"channel:{channel}")


def channel_vacated(channel: str) -> Notify:
    event = {"name": "channel_vacated", "channel": channel}
    return Notify(event, delay=LEAVE_DELAY, cancel_key=f"channel:{channel}")


def member_added(channel: str, user_id: str) -> Notify:
    event = {"name": "member_added", "channel": channel, "user_id": user_id}
    return Notify(event, cancel_key=f"member:{channel}:{user_id}")


def member_removed(channel: str, user_id: str) -> Notify:
    event = {"name": "member_removed", "channel": channel, "user_id": user_id}
    return Notify(event, delay=LEAVE_DELAY, cancel_key=f"member:{channel}:{user_id}")


def client_event(
    channel: str, event: str, data: str, socket_id: str, user_id: str | None
) -> Notify:
    """`data` is a string: the one that was sent, or JSON text."""
    notice = {
        "name": "client_event",
        "channel": channel,
        "event": event,
        "data": data,
        "socket_id": socket_id,
    }
    return Notify(notice if user_id is None else {**notice, "user_id": user_id})


def cache_miss(channel: str) -> Notify:
    """Many subscribers may miss at once; the application needs to hear it once."""
    event = {"name": "cache_miss", "channel": channel}
    return Notify(event, cancel_key=f"cache_miss:{channel}", window=CACHE_MISS_WINDOW)


def subscription_count(channel: str, count: int) -> Notify:
    event = {"name": "subscription_count", "channel": channel, "subscription_count": count}
    return Notify(event)
