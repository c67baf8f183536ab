"""Provider `ably`, through the official SDK, against the emulator."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping

import pytest

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import AblySettings, is_loopback
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance import TIMEOUT
from realtime_kit.testing.conformance.ably_wire import AblyWire
from realtime_kit.testing.conformance.suite import Connect, prove, sign_in
from realtime_kit.testing.faults import Answer, Received

SECRET = "secret-of-ably"
KEY = f"local0.dev:{SECRET}"
MASTER_KEY = b64encode(os.urandom(32)).decode()


@pytest.fixture
def wire() -> Iterator[AblyWire]:
    with AblyWire(KEY) as wire:
        yield wire


@pytest.fixture
def provider(wire: AblyWire) -> Iterator[AblyProvider]:
    provider = AblyProvider(
        AblySettings.model_validate(
            wire.settings.model_dump() | {"encryption_master_key": MASTER_KEY}
        )
    )
    yield provider
    provider.close()


@pytest.fixture
def provider_at():
    def at(host: str, port: int) -> AblyProvider:
        place = {"endpoint": host, "port": port, "tls": not is_loopback(host)}
        return AblyProvider(AblySettings.model_validate({"key": KEY, "timeout": TIMEOUT, **place}))

    return at


@pytest.fixture
def secrets() -> list[str]:
    return [KEY, SECRET, MASTER_KEY]


@pytest.fixture
def stale_webhook(wire: AblyWire) -> tuple[Mapping[str, str], bytes]:
    item = {"source": "channel.lifecycle", "timestamp": 1_577_836_800_000}
    return wire.signed(item | {"name": "channel.opened", "data": {"channelId": "public:news"}})


class TestPublish(conformance.PublishSuite): ...


class TestLimits(conformance.LimitsSuite):
    beside = len("update")


class TestExclude(conformance.ExcludeSuite): ...


class TestInfo(conformance.InfoSuite): ...


class TestCache(conformance.CacheSuite): ...


class TestEncrypted(conformance.EncryptedSuite): ...


class TestClient(conformance.ClientSuite): ...


class TestChannelAuth(conformance.ChannelAuthSuite):
    """A proof on Ably is a token: whose it is stands in it, and not which connection's."""

    def test_the_proof_is_for_one_connection(
        self, provider: AblyProvider, connect: Connect
    ) -> None:
        """Whoever has a token of user 7 is user 7: they cannot be on a channel as somebody else."""
        page, thief = connect(), connect()
        sign_in(provider, thief, "8")
        thief.subscribe("presence-room", prove(provider, page, "presence-room", Member("7")))
        assert provider.members("presence-room") == ["7"]

    def test_a_socket_id_that_cannot_be_one(self, provider: AblyProvider) -> None:
        """Nobody has one yet when they fetch their first token."""
        for socket_id in (None, "", "1:2"):
            request = AuthRequest("7", socket_id, (Grant(channel="private-a"),))
            assert provider.authorize(request).token

    def test_the_proof_is_not_shown(self, provider: AblyProvider, connect: Connect) -> None:
        answer = prove(provider, connect(), "private-a")
        assert str(answer.token) not in repr(answer)


class TestUserAuth(conformance.UserAuthSuite):
    def test_a_connection_signs_in(self, provider: AblyProvider, connect: Connect) -> None:
        page = connect()
        page.sign_in(provider.sign_in(page.socket_id, SignIn("7", {"name": "Zoë"})))
        page.subscribe("#server-to-user-7")

    def test_the_proof_is_for_one_connection(
        self, provider: AblyProvider, connect: Connect
    ) -> None:
        """It opens the channel of the user that it is about, and no other's."""
        page, thief = connect(), connect()
        thief.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
        with pytest.raises(conformance.Refused):
            thief.subscribe("#server-to-user-8")

    def test_a_socket_id_that_cannot_be_one(self, provider: AblyProvider) -> None:
        assert provider.sign_in("", SignIn("7"))["auth"]


class TestSendToUser(conformance.SendToUserSuite): ...


class TestDisconnect(conformance.DisconnectSuite): ...


class TestRevoke(conformance.RevokeSuite): ...


class TestChannels(conformance.ChannelsSuite): ...


class TestMembers(conformance.MembersSuite): ...


class TestWebhooks(conformance.WebhookSuite):
    names_sender = False


class TestErrors(conformance.ErrorSuite):
    def accept(self, received: Received) -> Answer:
        if not received.target.startswith("/messages"):
            return Answer(201, json.dumps({"channel": "public:news", "messageId": "e1"}).encode())
        batches = [
            {"results": [{"channel": name, "messageId": "e1"} for name in spec["channels"]]}
            for spec in json.loads(received.body)
        ]
        return Answer(201, json.dumps(batches).encode())


class TestDeclared(conformance.DeclaredSuite): ...
