"""Provider `pusher`, through the official SDK, against the embedded server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realtime_kit.providers.pusher import PusherProvider
from realtime_kit.settings import PusherSettings
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance.channels_wire import ChannelsWire


@pytest.fixture
def provider(wire: ChannelsWire, pusher_settings: PusherSettings) -> Iterator[PusherProvider]:
    provider = PusherProvider(
        pusher_settings.model_copy(update={"port": wire.port, "timeout": 3.0})
    )
    yield provider
    provider.close()


@pytest.fixture
def provider_at(pusher_settings: PusherSettings):
    return lambda host, port: PusherProvider(
        pusher_settings.model_copy(update={"host": host, "port": port})
    )


class TestPublish(conformance.PublishSuite): ...


class TestLimits(conformance.LimitsSuite): ...


class TestExclude(conformance.ExcludeSuite): ...


class TestInfo(conformance.InfoSuite): ...


class TestCache(conformance.CacheSuite): ...


class TestEncrypted(conformance.EncryptedSuite): ...


class TestClient(conformance.ClientSuite): ...


class TestChannelAuth(conformance.ChannelAuthSuite): ...


class TestUserAuth(conformance.UserAuthSuite): ...


class TestSendToUser(conformance.SendToUserSuite): ...


class TestDisconnect(conformance.DisconnectSuite): ...


class TestRevoke(conformance.RevokeSuite): ...


class TestChannels(conformance.ChannelsSuite): ...


class TestMembers(conformance.MembersSuite): ...


class TestWebhooks(conformance.WebhookSuite): ...


class TestErrors(conformance.ErrorSuite): ...


class TestDeclared(conformance.DeclaredSuite): ...
