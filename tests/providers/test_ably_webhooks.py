"""Ably's webhooks: verified before anything is read, normalised, the raw one kept.

The bodies are those of Ably's docs, "Outbound webhooks", with our channel names.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from realtime_kit.errors import BadSignature, Expired, InvalidEvent
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.settings import AblySettings
from realtime_kit.webhooks import WebhookEvent, WebhookKind

NOW_MS = 1_562_124_922_426
NOW = NOW_MS / 1000
AT = datetime.fromtimestamp(NOW, UTC)
MESSAGE_AT = 1_562_124_922_400


@pytest.fixture
def provider() -> AblyProvider:
    old = "aBCdEf.old:old-secret"
    settings = AblySettings(key=SecretStr("aBCdEf.kEy-1:s3cr3t"), old_keys=old)
    return AblyProvider(settings, clock=lambda: NOW)


def signed(body: object, key: str = "aBCdEf.kEy-1", secret: str | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = b64encode(hmac.digest((secret or "s3cr3t").encode(), raw, "sha256")).decode()
    return {"X-Ably-Key": key, "X-Ably-Signature": signature, "X-Ably-Version": "1.2"}, raw


def item(source: str, name: str, /, **data: Any) -> dict[str, Any]:
    return {
        "webhookId": "ABcDEf",
        "source": source,
        "serial": "a7bcdEFghIjklm123456789:4",
        "timestamp": NOW_MS,
        "name": name,
        "data": data,
    }


def message(**members: Any) -> dict[str, Any]:
    return {"id": "ABcDefgHIj:1:0", "connectionId": "ABcDefgHIj", "timestamp": MESSAGE_AT} | members


def read(provider: AblyProvider, *items: dict[str, Any]) -> list[WebhookEvent]:
    return provider.parse_webhook(*signed({"items": list(items)}))


def test_a_signature_of_the_algorithm(provider: AblyProvider) -> None:
    """A vector made by `openssl dgst -sha256 -hmac s3cr3t -binary | base64`."""
    body = (
        b'{"items":[{"source":"channel.lifecycle","timestamp":1562124922426,'
        b'"name":"channel.opened","data":{"channelId":"public:news"}}]}'
    )
    headers = {"X-Ably-Key": "aBCdEf.kEy-1"}
    headers["X-Ably-Signature"] = "GdksJxTFSy3gjqLbdC+/uK8k5cEYlBFotQAfYWiQQno="
    (event,) = provider.parse_webhook(headers, body)
    assert (event.kind, event.channel) == (WebhookKind.CHANNEL_OCCUPIED, "news")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("channel.opened", WebhookKind.CHANNEL_OCCUPIED),
        ("channel.closed", WebhookKind.CHANNEL_VACATED),
        ("channel.region.inactive", WebhookKind.UNKNOWN),
    ],
)
def test_lifecycle(provider: AblyProvider, name: str, kind: WebhookKind) -> None:
    raw = item("channel.lifecycle", name, channelId="private:orders:1", name="private:orders:1")
    assert read(provider, raw) == [WebhookEvent(kind, "ably", AT, "private-orders;1", raw=raw)]


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (2, WebhookKind.MEMBER_ADDED),
        ("enter", WebhookKind.MEMBER_ADDED),
        (3, WebhookKind.MEMBER_REMOVED),
        ("leave", WebhookKind.MEMBER_REMOVED),
        (4, WebhookKind.UNKNOWN),
        (1, WebhookKind.UNKNOWN),
        ([], WebhookKind.UNKNOWN),
    ],
)
def test_presence(provider: AblyProvider, action: object, kind: WebhookKind) -> None:
    raw = message(clientId="bob", action=action)
    found = read(provider, item("channel.presence", "p", channelId="presence:room", presence=[raw]))
    at = datetime.fromtimestamp(MESSAGE_AT / 1000, UTC)
    assert found == [WebhookEvent(kind, "ably", at, "presence-room", user_id="bob", raw=raw)]


@pytest.mark.parametrize(
    ("data", "encoding", "decoded"),
    [
        ('{"on": "☃"}', "json", {"on": "☃"}),
        ('{"on": 1}', None, '{"on": 1}'),
        ("text", None, "text"),
        ("4piD", "utf-8/base64", "☃"),
        ("WzFd", "json/utf-8/base64", [1]),
        ("AAAA", "utf-8/cipher+aes-256-cbc/base64", b"\x00\x00\x00"),
        ("{", "json", "{"),
        (None, "json", None),
    ],
)
def test_client_events(
    provider: AblyProvider, data: object, encoding: str | None, decoded: object
) -> None:
    raw = message(name="client-typing", clientId="7", data=data, encoding=encoding)
    (event,) = read(
        provider, item("channel.message", "m", channelId="presence:room", messages=[raw])
    )
    assert (event.kind, event.event, event.user_id) == (
        WebhookKind.CLIENT_EVENT,
        "client-typing",
        "7",
    )
    assert (event.data, event.raw, event.socket_id) == (decoded, raw, None)


def test_what_the_application_sent_itself(provider: AblyProvider) -> None:
    raw = message(name="shipped", data="x")
    (event,) = read(provider, item("channel.message", "m", channelId="public:a", messages=[raw]))
    assert (event.kind, event.channel, event.raw) == (WebhookKind.UNKNOWN, "a", raw)


def test_occupancy(provider: AblyProvider) -> None:
    status = {"occupancy": {"metrics": {"connections": 3, "subscribers": 2}}}
    raw = item("channel.occupancy", "channel.occupancy", channelId="public:a", status=status)
    (event,) = read(provider, raw)
    assert (event.kind, event.count) == (WebhookKind.SUBSCRIPTION_COUNT, 2)
    broken = item("channel.occupancy", "channel.occupancy", channelId="public:a", status=[])
    assert read(provider, broken)[0].kind is WebhookKind.UNKNOWN


def test_many_items_keep_their_order(provider: AblyProvider) -> None:
    opened = item("channel.lifecycle", "channel.opened", channelId="public:a")
    spoken = item(
        "channel.message",
        "m",
        channelId="public:a",
        messages=[message(name="client-a", data="1"), message(name="client-b", data="2")],
    )
    assert [(e.kind, e.event) for e in read(provider, opened, spoken, {"source": "new"})] == [
        (WebhookKind.CHANNEL_OCCUPIED, None),
        (WebhookKind.CLIENT_EVENT, "client-a"),
        (WebhookKind.CLIENT_EVENT, "client-b"),
        (WebhookKind.UNKNOWN, None),
    ]


def test_a_channel_of_somebody_else(provider: AblyProvider) -> None:
    """Their channel has no logical name, so nothing of ours happened."""
    (event,) = read(provider, item("channel.lifecycle", "channel.opened", channelId="chat:x"))
    assert (event.kind, event.channel) == (WebhookKind.UNKNOWN, None)


def test_an_envelope_that_is_signed(provider: AblyProvider) -> None:
    raw = message(name="client-typing", clientId="7", data="x")
    body = {"source": "channel.message", "channel": "private:a", "messages": [raw]}
    (event,) = provider.parse_webhook(*signed(body))
    assert (event.kind, event.channel, event.data) == (WebhookKind.CLIENT_EVENT, "private-a", "x")
    assert event.time == datetime.fromtimestamp(MESSAGE_AT / 1000, UTC)


GOOD = {"items": [item("channel.lifecycle", "channel.opened", channelId="public:a")]}


@pytest.mark.parametrize(
    ("key", "secret"),
    [("aBCdEf.kEy-1", "s3cr3t"), ("kEy-1", "s3cr3t"), ("aBCdEf.old", "old-secret")],
)
def test_keys_that_verify(provider: AblyProvider, key: str, secret: str) -> None:
    headers, body = signed(GOOD, key=key, secret=secret)
    for change in (str.upper, str.lower):
        assert provider.parse_webhook({change(k): v for k, v in headers.items()}, body)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Ably-Key": "aBCdEf.kEy-1"},
        {"X-Ably-Signature": ""},
        {"X-Ably-Key": "aBCdEf.kEy-1", "X-Ably-Signature": "ünknown"},
        {"X-Ably-Key": "aBCdEf.other", "X-Ably-Signature": signed(GOOD)[0]["X-Ably-Signature"]},
        {"X-Ably-Key": "aBCdEf.old", "X-Ably-Signature": signed(GOOD)[0]["X-Ably-Signature"]},
    ],
)
@pytest.mark.parametrize("body", [json.dumps(GOOD).encode(), b"", b"\xff", b"["])
def test_what_is_not_signed_is_not_read(
    provider: AblyProvider, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(BadSignature):
        provider.parse_webhook(headers, body)


def test_what_was_changed_is_refused(provider: AblyProvider) -> None:
    headers, body = signed(GOOD)
    for changed in (body.replace(b"public", b"privat"), body + b" ", b""):
        with pytest.raises(BadSignature):
            provider.parse_webhook(headers, changed)


@pytest.mark.parametrize(("seconds", "fresh"), [(599, True), (601, False), (-599, True)])
def test_the_newest_is_what_counts(provider: AblyProvider, seconds: int, fresh: bool) -> None:
    old = GOOD["items"][0] | {"timestamp": 1_000}
    newest = GOOD["items"][0] | {"timestamp": NOW_MS - seconds * 1000}
    call = signed({"items": [old, newest]})
    if fresh:
        assert len(provider.parse_webhook(*call)) == 2
    else:
        with pytest.raises(Expired):
            provider.parse_webhook(*call)


@pytest.mark.parametrize(
    "body",
    [
        *(b"\x81\xa5items\x90", b"[]", b"7", b'{"items": {}}', b'{"items": [1]}'),
        *(b'{"items": "a"}', b'{"items": [{"data": 1}]}'),
    ],
)
def test_signed_and_unreadable(provider: AblyProvider, body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        provider.parse_webhook(*signed(body))


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": [{"timestamp": "now"}]}])
def test_without_a_time_it_is_not_fresh(provider: AblyProvider, body: object) -> None:
    with pytest.raises(Expired):
        provider.parse_webhook(*signed(body))
