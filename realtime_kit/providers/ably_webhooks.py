"""Ably's webhooks, normalised. Pure.

A batched webhook is signed, a single one is not (docs, "Outbound webhooks: Webhook security"), and
what is not signed is refused. Its body:

    {"items": [{"source": "channel.presence", "timestamp": 1562124922426, "data":
                {"channelId": "presence:room", "presence": [{"clientId": "7", "action": 2}]}}]}

An enveloped event, `{"source", "channel", "messages" | "presence" | …}`, is read like one item, for
whoever signs it on the way.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from realtime_kit.errors import BadSignature, Expired, InvalidChannel, InvalidEvent
from realtime_kit.protocol.signing import Key
from realtime_kit.providers.ably_names import logical_name
from realtime_kit.webhooks import WebhookEvent, WebhookKind

PROVIDER = "ably"
WINDOW = 600.0
"""Seconds. Ably keeps what it could not deliver for five minutes, and tries again once a minute."""
CLIENT_EVENT = "client-"

_LIFECYCLE = {
    "channel.opened": WebhookKind.CHANNEL_OCCUPIED,
    "channel.closed": WebhookKind.CHANNEL_VACATED,
}
# By number over JSON, by name in what older rules sent (specification, TP2).
_PRESENCE: Mapping[object, WebhookKind] = {
    2: WebhookKind.MEMBER_ADDED,
    "enter": WebhookKind.MEMBER_ADDED,
    3: WebhookKind.MEMBER_REMOVED,
    "leave": WebhookKind.MEMBER_REMOVED,
}


def parse(
    keys: Sequence[Key], headers: Mapping[str, str], body: bytes, *, now: float
) -> list[WebhookEvent]:
    """Verify, then read; see `Provider.parse_webhook`. `now` is seconds."""
    _verify(keys, headers, body)
    items = _items(body)
    times = [at for item in items if (at := _time(item)) is not None]
    # Of the newest: an event that waited comes together with those that made Ably try again.
    if not times or not abs(now - max(times) / 1000) <= WINDOW:
        raise Expired(f"the webhook's time is more than {WINDOW:g} s from our clock's")
    return [event for item in items for event in _normalise(item, max(times))]


def _verify(keys: Sequence[Key], headers: Mapping[str, str], body: bytes) -> None:
    found = {name.lower(): value for name, value in headers.items()}
    name, given = found.get("x-ably-key"), found.get("x-ably-signature")
    if name is None or given is None:
        raise BadSignature(
            "a webhook needs the headers X-Ably-Key and X-Ably-Signature: set the integration to "
            "'Batch request' and choose a signing key; Ably signs no single ones"
        )
    # The docs call what it holds a key id: the whole name, or what follows the app's.
    secret = next(
        (key.secret for key in keys if name in (key.key, key.key.rpartition(".")[2])), None
    )
    if secret is None:
        raise BadSignature(f"the webhook is signed by key {name!r}, which is none of ours")
    expected = b64encode(hmac.digest(secret.encode(), body, "sha256"))
    if not hmac.compare_digest(expected, given.encode("utf-8", "surrogatepass")):
        raise BadSignature(f"the webhook's signature by key {name!r} does not verify")


def _items(body: bytes) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise InvalidEvent(
            "the webhook is signed, but its body is not JSON: set the integration's format to JSON"
        ) from error
    items = document.get("items", [document]) if isinstance(document, dict) else None
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("data", {}), dict) for item in items
    ):
        raise InvalidEvent("the webhook is signed, but is not {items: [{source, data: {…}}]}")
    return items


def _time(item: Mapping[str, Any]) -> float | None:
    """When it happened, in milliseconds; an envelope has it in its messages alone."""
    inner = [*_objects(item, "messages"), *_objects(item, "presence")]
    times = [one.get("timestamp") for one in (item, *inner)]
    return next((at for at in times if isinstance(at, int | float)), None)


def _normalise(item: Mapping[str, Any], newest: float) -> Iterator[WebhookEvent]:
    data = item.get("data", item)
    try:
        channel = logical_name(str(data.get("channelId") or data.get("channel")))
    except InvalidChannel:  # of somebody else on the same app
        channel = None
    fallback = _time(item) or newest

    def event(kind: WebhookKind, raw: Mapping[str, Any], **members: Any) -> WebhookEvent:
        at = raw.get("timestamp")
        seconds = (at if isinstance(at, int | float) else fallback) / 1000
        return WebhookEvent(
            kind=WebhookKind.UNKNOWN if channel is None else kind,
            provider=PROVIDER,
            time=datetime.fromtimestamp(seconds, UTC),
            channel=channel,
            raw=raw,
            **members,
        )

    match item.get("source"):
        case "channel.message":
            for message in _objects(data, "messages"):
                yield event(**_message(message))
        case "channel.presence":
            for member in _objects(data, "presence"):
                yield event(_change(member), member, user_id=_text(member.get("clientId")))
        case "channel.lifecycle":
            yield event(_LIFECYCLE.get(str(item.get("name")), WebhookKind.UNKNOWN), item)
        case "channel.occupancy":
            count = _subscribers(data)
            known = WebhookKind.UNKNOWN if count is None else WebhookKind.SUBSCRIPTION_COUNT
            yield event(known, item, count=count)
        case _:
            yield event(WebhookKind.UNKNOWN, item)


def _change(member: Mapping[str, Any]) -> WebhookKind:
    action = member.get("action")
    known = isinstance(action, int | str)
    return _PRESENCE.get(action, WebhookKind.UNKNOWN) if known else WebhookKind.UNKNOWN


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A client event, by its name; what the application sent itself is of no kind of ours."""
    name, user_id = message.get("name"), _text(message.get("clientId"))
    if not isinstance(name, str) or not name.startswith(CLIENT_EVENT):
        return {"kind": WebhookKind.UNKNOWN, "raw": message, "user_id": user_id}
    data = _decoded(message.get("data"), str(message.get("encoding") or ""))
    # Ably names the connection by an id that excludes nobody: it is in `raw`.
    return {
        "kind": WebhookKind.CLIENT_EVENT,
        "raw": message,
        "user_id": user_id,
        "event": name,
        "data": data,
    }


def _decoded(data: Any, encoding: str) -> Any:
    """Undo the encodings, last first (RSL6); what is encrypted stays as it is."""
    for step in reversed(encoding.split("/")):
        try:
            match step:
                case "base64":
                    data = b64decode(data)
                case "utf-8":
                    data = data.decode()
                case "json":
                    data = json.loads(data)
                case _:
                    return data
        except (TypeError, ValueError, AttributeError):
            return data
    return data


def _subscribers(data: Mapping[str, Any]) -> int | None:
    place: Any = data
    for name in ("status", "occupancy", "metrics", "subscribers"):
        place = place.get(name) if isinstance(place, dict) else None
    return place if isinstance(place, int) else None


def _objects(data: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    found = data.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
