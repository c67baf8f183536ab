"""Provider `ably`, through the official SDK, against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from realtime_kit.authorization import Grant
from realtime_kit.errors import Rejected
from realtime_kit.events import Event
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import AblySettings, is_loopback
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance import TIMEOUT, ably_access
from realtime_kit.testing.conformance.ably_wire import AblyWire
from realtime_kit.testing.conformance.suite import Connect, sign_in
from realtime_kit.testing.conformance.suites import *  # noqa: F403
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


class TestLimits(conformance.LimitsSuite):
    beside = len("update")


class TestChannelAuth(ably_access.ChannelAuthSuite): ...


class TestUserAuth(ably_access.UserAuthSuite): ...


class TestRevoke(conformance.RevokeSuite):
    def test_who_may_still_comes_straight_back(
        self, provider: AblyProvider, connect: Connect
    ) -> None:
        """In the same second: a token's time is finer than that."""
        page, again = connect(), connect()
        sign_in(provider, page, "7")
        provider.revoke("7")
        page.wait_closed()
        sign_in(provider, again, "7")


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


EVENT = Event(("news",), "update", "once", id="e1")


def test_a_repeat_is_the_same_event(provider: AblyProvider, wire: AblyWire) -> None:
    """RSL1k: for two minutes, alone and in a batch."""
    page = wire.connect(provider.client_config())
    page.subscribe("news")
    for _ in range(2):
        assert len(provider.publish([EVENT])) == 1
        assert len(provider.publish([EVENT, replace(EVENT, channels=("sport",))])) == 2
    provider.publish([replace(EVENT, data="twice", id="e2")])
    assert [page.receive().data for _ in range(2)] == ["once", "twice"]
    wire.emulator.advance(121)
    provider.publish([EVENT])
    assert page.receive().data == "once"
    page.close()


@pytest.mark.parametrize("count", [1, 2], ids=["one", "batch"])
def test_a_sender_that_has_gone_excludes_nobody(
    provider: AblyProvider, wire: AblyWire, count: int
) -> None:
    page, gone = (wire.connect(provider.client_config()) for _ in range(2))
    page.subscribe("news")
    sender = gone.socket_id
    gone.close()
    wire.emulator.advance(130)
    events = [replace(EVENT, id=f"e{n}", exclude=sender) for n in range(count)]
    assert len(provider.publish(events)) == count
    assert [page.receive().data for _ in range(count)] == ["once"] * count
    page.close()


def test_a_sender_who_says_to_be_another_excludes_nobody(
    provider: AblyProvider, wire: AblyWire
) -> None:
    """`X-Socket-ID` is the browser's own word."""
    page = wire.connect(provider.client_config())
    sign_in(provider, page, "7")
    page.subscribe("news")
    sender = json.loads(urlsafe_b64decode(page.socket_id + "=="))
    forged = urlsafe_b64encode(json.dumps({**sender, "clientId": "8"}).encode()).decode()
    provider.publish([replace(EVENT, exclude=forged)])
    assert page.receive().data == "once"
    page.close()


def test_another_process_has_connections_of_its_own(provider: AblyProvider, wire: AblyWire) -> None:
    provider.publish([EVENT])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(provider.publish, [replace(EVENT, id="e2")]).result()
    child = os.fork()
    if child == 0:
        os._exit(0 if len(provider.publish([replace(EVENT, id="e3")])) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    provider.publish([replace(EVENT, id="e4")])
    wire.emulator.log.wait("request", count=4, method="POST", status=201)


def test_it_says_what_revocation_needs(provider: AblyProvider, wire: AblyWire) -> None:
    wire.emulator.call(wire.forbid_revocation)
    with pytest.raises(Rejected, match="Enable 'Revocable tokens'"):
        provider.disconnect_user("7")


@pytest.mark.node
@pytest.mark.parametrize("data", ["text ☃", {"n": [1, None]}, "x" * 16])
def test_ablys_own_client_reads_what_is_encrypted(checkout: Path, data: object) -> None:
    """RSL5, RSL6: decoded by ably-js."""
    settings = AblySettings.model_validate({"key": KEY, "encryption_master_key": MASTER_KEY})
    provider = AblyProvider(settings)
    message = provider._compose(Event(("private-encrypted-a",), "update", data))
    grant = Grant(channel="private-encrypted-a")
    secret = provider.authorize(AuthRequest("7", None, (grant,))).channels[grant.channel]
    script = """
        const Ably = require("ably");
        const [message, key] = JSON.parse(require("fs").readFileSync(0));
        const options = { cipher: Ably.Realtime.Crypto.getDefaultParams({ key }) };
        Ably.Realtime.Message.fromEncoded(message, options)
          .then(({ data }) => console.log(JSON.stringify(data)));
    """
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps([message, secret["shared_secret"]]),
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == data
