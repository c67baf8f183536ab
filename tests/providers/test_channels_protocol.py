"""What `local`, `pusher` and later `aws` share: webhooks, keys, encryption."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from nacl.secret import SecretBox

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.errors import ConfigurationError, Expired, InvalidEvent
from realtime_kit.events import Event
from realtime_kit.protocol.app import Key
from realtime_kit.protocol.signing import webhook_signature
from realtime_kit.providers.base import AuthRequest
from realtime_kit.providers.channels_protocol import (
    WEBHOOK_WINDOW,
    ChannelsProtocolProvider,
    encrypt,
    shared_secret,
)
from realtime_kit.providers.local import LocalProvider
from realtime_kit.providers.pusher import PusherProvider
from realtime_kit.settings import LocalSettings, PusherSettings
from realtime_kit.webhooks import WebhookEvent, WebhookKind

NOW = 1_700_000_000.0


@pytest.fixture(params=["local", "pusher"])
def provider(
    request: pytest.FixtureRequest, local_settings: LocalSettings, pusher_settings: PusherSettings
) -> ChannelsProtocolProvider:
    if request.param == "local":
        return LocalProvider(local_settings, clock=lambda: NOW)
    return PusherProvider(pusher_settings, clock=lambda: NOW)


def _webhook(key: Key, document: object, body: bytes | None = None) -> tuple[dict[str, str], bytes]:
    sent = json.dumps(document).encode() if body is None else body
    return {
        "X-Pusher-Key": key.key,
        "X-Pusher-Signature": webhook_signature(key.secret, sent),
    }, sent


def _at(seconds: float, *events: dict[str, Any]) -> dict[str, Any]:
    return {"time_ms": int((NOW + seconds) * 1000), "events": list(events)}


# --- webhooks -------------------------------------------------------------------------------


def test_a_batch_of_every_kind(provider: ChannelsProtocolProvider) -> None:
    client_event = {
        "name": "client_event",
        "channel": "presence-room",
        "event": "client-typing",
        "data": '{"on": true}',
        "socket_id": "1.2",
        "user_id": "7",
    }
    sent = [
        {"name": "channel_occupied", "channel": "news"},
        {"name": "channel_vacated", "channel": "news"},
        {"name": "member_added", "channel": "presence-room", "user_id": "7"},
        {"name": "member_removed", "channel": "presence-room", "user_id": 7},
        client_event,
        {**client_event, "data": "not JSON", "user_id": None},
        {**client_event, "data": {"already": "decoded"}},
        {"name": "cache_miss", "channel": "cache-price"},
        {"name": "subscription_count", "channel": "news", "subscription_count": 101},
        {"name": "something_new", "channel": "news", "data": "left alone"},
    ]
    found = provider.parse_webhook(*_webhook(provider.keys[0], _at(0, *sent)))
    at = datetime.fromtimestamp(NOW, UTC)

    def event(kind: WebhookKind, channel: str, **more: Any) -> WebhookEvent:
        raw = sent[len(wanted)]
        return WebhookEvent(kind, provider.name, at, channel, raw=raw, **more)

    typing = {"event": "client-typing", "socket_id": "1.2"}
    wanted: list[WebhookEvent] = []
    wanted.append(event(WebhookKind.CHANNEL_OCCUPIED, "news"))
    wanted.append(event(WebhookKind.CHANNEL_VACATED, "news"))
    wanted.append(event(WebhookKind.MEMBER_ADDED, "presence-room", user_id="7"))
    wanted.append(event(WebhookKind.MEMBER_REMOVED, "presence-room", user_id="7"))
    for data, user_id in (({"on": True}, "7"), ("not JSON", None), ({"already": "decoded"}, "7")):
        wanted.append(
            event(WebhookKind.CLIENT_EVENT, "presence-room", data=data, user_id=user_id, **typing)
        )
    wanted.append(event(WebhookKind.CACHE_MISS, "cache-price"))
    wanted.append(event(WebhookKind.SUBSCRIPTION_COUNT, "news", count=101))
    wanted.append(event(WebhookKind.UNKNOWN, "news"))
    assert found == wanted


def test_every_key_verifies(provider: ChannelsProtocolProvider) -> None:
    assert len(provider.keys) == 2
    for key in provider.keys:
        assert provider.parse_webhook(*_webhook(key, _at(0))) == []


@pytest.mark.parametrize("seconds", [-WEBHOOK_WINDOW, WEBHOOK_WINDOW])
def test_the_window_has_two_ends(provider: ChannelsProtocolProvider, seconds: float) -> None:
    key = provider.keys[0]
    assert provider.parse_webhook(*_webhook(key, _at(seconds))) == []
    with pytest.raises(Expired):
        provider.parse_webhook(*_webhook(key, _at(seconds * 1.01)))


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"time_ms": "1", "events": []}',
        b'{"time_ms": 1700000000000}',
        b'{"time_ms": 1700000000000, "events": {}}',
        b'{"time_ms": 1700000000000, "events": ["channel_occupied"]}',
    ],
)
def test_what_is_signed_and_cannot_be_read(provider: ChannelsProtocolProvider, body: bytes) -> None:
    with pytest.raises(InvalidEvent, match="is signed"):
        provider.parse_webhook(*_webhook(provider.keys[0], None, body))


@pytest.mark.parametrize("time_ms", ["NaN", "1e400", "-1e400"])
def test_a_time_that_is_no_time(provider: ChannelsProtocolProvider, time_ms: str) -> None:
    body = f'{{"time_ms": {time_ms}, "events": []}}'.encode()
    with pytest.raises(Expired):
        provider.parse_webhook(*_webhook(provider.keys[0], None, body))


def test_a_name_that_is_no_text_is_unknown(provider: ChannelsProtocolProvider) -> None:
    found = provider.parse_webhook(*_webhook(provider.keys[0], _at(0, {"name": ["x"]}, {})))
    assert [event.kind for event in found] == [WebhookKind.UNKNOWN] * 2


# --- keys, encryption -----------------------------------------------------------------------


def test_the_newest_key_signs(provider: ChannelsProtocolProvider) -> None:
    answer = provider.authorize(AuthRequest("7", "1.1", (Grant(channel="private-a"),)))
    assert answer.channels["private-a"]["auth"].startswith(f"{provider.keys[0].key}:")


def test_no_key_no_provider() -> None:
    class Keyless(ChannelsProtocolProvider):
        name = "keyless"

        def publish(self, events: Any, *, info: Any = ()) -> list[Any]:
            return []

    with pytest.raises(ConfigurationError, match="'keyless' has no signing key"):
        Keyless(keys=())


def test_ciphertext_opens_with_the_channels_secret() -> None:
    master = bytes(range(32))
    sealed = json.loads(encrypt("private-encrypted-a", "☃", master))
    box = SecretBox(shared_secret("private-encrypted-a", master))
    opened = box.decrypt(b64decode(sealed["ciphertext"]), b64decode(sealed["nonce"]))
    assert opened.decode() == "☃"
    assert encrypt("private-encrypted-a", "☃", master) != json.dumps(sealed), "a nonce repeats"
    assert shared_secret("private-encrypted-b", master) != shared_secret(
        "private-encrypted-a", master
    )


def test_a_missing_master_key_is_named(
    local_settings: LocalSettings, pusher_settings: PusherSettings
) -> None:
    bare = {"encryption_master_key": None}
    grant = Grant(channel="private-encrypted-a")
    for provider in (
        LocalProvider(local_settings.model_copy(update=bare)),
        PusherProvider(pusher_settings.model_copy(update=bare)),
    ):
        setting = f"REALTIME_{provider.name.upper()}__ENCRYPTION_MASTER_KEY"
        with pytest.raises(ConfigurationError, match=setting):
            provider.publish([Event((grant.channel,), "update", {})])
        with pytest.raises(ConfigurationError, match=setting):
            provider.authorize(AuthRequest(None, "1.1", (grant,)))


def test_encryption_without_its_package(
    provider: ChannelsProtocolProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nacl.secret", None)
    with pytest.raises(ConfigurationError, match=r"realtime-kit\[encryption\]"):
        provider.publish([Event(("private-encrypted-a",), "update", {})])


@pytest.mark.parametrize("info", [{"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"n": float("nan")}])
def test_info_that_is_no_json_is_the_rules_fault(
    provider: ChannelsProtocolProvider, info: dict[str, Any]
) -> None:
    grant = Grant(Member("7", info), channel="presence-room")
    with pytest.raises(ConfigurationError, match="presence-room is not JSON"):
        provider.authorize(AuthRequest("7", "1.1", (grant,)))
    with pytest.raises(ConfigurationError, match="user '7' is not JSON"):
        provider.sign_in("1.1", SignIn("7", info))
