"""What `realtime-kit verify --live ably` runs: `suites`, where a proof is a token."""

from __future__ import annotations

from realtime_kit.testing import conformance
from realtime_kit.testing.conformance import ably_access
from realtime_kit.testing.live.suites import (
    TestCache,
    TestChannels,
    TestClient,
    TestDeclared,
    TestDisconnect,
    TestEncrypted,
    TestExclude,
    TestInfo,
    TestMembers,
    TestPublish,
    TestRevoke,
    TestSendToUser,
)

__all__ = [
    "TestCache",
    "TestChannelAuth",
    "TestChannels",
    "TestClient",
    "TestDeclared",
    "TestDisconnect",
    "TestEncrypted",
    "TestExclude",
    "TestInfo",
    "TestLimits",
    "TestMembers",
    "TestPublish",
    "TestRevoke",
    "TestSendToUser",
    "TestUserAuth",
]


class TestLimits(conformance.LimitsSuite):
    beside = len("update")


class TestChannelAuth(ably_access.ChannelAuthSuite): ...


class TestUserAuth(ably_access.UserAuthSuite): ...
