"""Provider `ably`, through the official SDK."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from realtime_kit.providers.ably import AblyProvider
from realtime_kit.settings import AblySettings, is_loopback
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance import TIMEOUT
from realtime_kit.testing.faults import Answer, Received

KEY = "local0.dev:secret-of-ably"


@pytest.fixture
def ably_settings() -> AblySettings:
    return AblySettings(key=SecretStr(KEY), endpoint="127.0.0.1", tls=False, timeout=TIMEOUT)


@pytest.fixture
def provider_at(ably_settings: AblySettings):
    def at(host: str, port: int) -> AblyProvider:
        place = {"endpoint": host, "port": port, "tls": not is_loopback(host)}
        return AblyProvider(ably_settings.model_copy(update=place))

    return at


@pytest.fixture
def secrets() -> list[str]:
    return [KEY, KEY.rpartition(":")[2]]


class TestErrors(conformance.ErrorSuite):
    def accept(self, received: Received) -> Answer:
        return accepted(received)


def accepted(received: Received) -> Answer:
    """What Ably answers to what it takes."""
    if not received.target.startswith("/messages"):
        return Answer(201, json.dumps({"channel": "public:news", "messageId": "e1"}).encode())
    batches = [
        {
            "successCount": len(spec["channels"]),
            "failureCount": 0,
            "results": [{"channel": name, "messageId": "e1"} for name in spec["channels"]],
        }
        for spec in json.loads(received.body)
    ]
    return Answer(201, json.dumps(batches).encode())
