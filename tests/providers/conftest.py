"""What the provider tests share: a server to deliver to, and the app that it serves."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App, Key
from realtime_kit.settings import LocalSettings, PusherSettings, SigningKey
from realtime_kit.testing.conformance import TIMEOUT
from realtime_kit.testing.conformance.channels_wire import ChannelsWire

APP_ID = "4242"
KEY = Key("new-key", "new-secret-text")
OLD_KEY = Key("old-key", "old-secret-text")
MASTER_KEY = b64encode(os.urandom(32)).decode()


@pytest.fixture
def app() -> App:
    """Keys are being rotated: the new one signs, the server still signs webhooks by the old."""
    return App(APP_ID, (KEY, OLD_KEY))


@pytest.fixture
def wire(app: App) -> Iterator[ChannelsWire]:
    with ChannelsWire(app) as wire:
        yield wire


@pytest.fixture
def section() -> Mapping[str, Any]:
    """Settings that `local` and `pusher` have in common."""
    return {
        "app_id": APP_ID,
        "keys": [SigningKey(pair.key, SecretStr(pair.secret)) for pair in (KEY, OLD_KEY)],
        "host": "127.0.0.1",
        "tls": False,
        "encryption_master_key": MASTER_KEY,
        "timeout": TIMEOUT,
    }


@pytest.fixture
def local_settings(section: Mapping[str, Any]) -> LocalSettings:
    return LocalSettings(**section)


@pytest.fixture
def pusher_settings(section: Mapping[str, Any]) -> PusherSettings:
    return PusherSettings(**section)


@pytest.fixture
def secrets() -> list[str]:
    return [KEY.secret, OLD_KEY.secret, MASTER_KEY]


@pytest.fixture
def stale_webhook(app: App) -> tuple[Mapping[str, str], bytes]:
    """Signed as it should be, in 2020."""
    event = {"name": "channel_occupied", "channel": "news"}
    return notices.signed(app, event, 1_577_836_800_000)
