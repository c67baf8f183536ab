"""Provider `aws` against a deployment in the emulator: an application elsewhere, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from realtime_kit.emulators.apigateway import Faults
from realtime_kit.emulators.deployment import Deployment, Load, deployed
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App, Key
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.settings import AwsSettings, RealtimeSettings, SigningKey
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance.channels_wire import ChannelsWire
from realtime_kit.testing.conformance.suites import *  # noqa: F403
from realtime_kit.testing.dynamodb import MemoryDynamoDB

APP_ID = "4242"
KEYS = (Key("new-key", "new-secret-text"), Key("old-key", "old-secret-text"))
MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
# What a client cannot be kept from noticing, such as a cut, is for `test_faults.py`.
FAULTS = {
    "hold_back": 0.3,
    "lose_disconnect": 0.3,
    "repeat_disconnect": 0.3,
    "limit": 0.2,
    "latency": 0.02,
    "connect_lag": 0.05,
    "repeat_message": 0.3,
    "throttle_table": 0.1,
}


class AwsWire(ChannelsWire):
    """A deployment in the emulator, which posts its webhooks to this process."""

    deployment: Deployment

    def __init__(self, load: Load, faulty: bool) -> None:
        super().__init__(App(APP_ID, KEYS))
        self._load = load
        self._faulty = faulty

    def _serve(self, opening: ExitStack, webhook_url: str) -> int:
        environ = {
            "REALTIME_AWS__APP_ID": APP_ID,
            "REALTIME_AWS__KEYS": ",".join(f"{pair.key}:{pair.secret}" for pair in KEYS),
            "REALTIME_AWS__ENCRYPTION_MASTER_KEY": MASTER_KEY,
            "REALTIME_AWS__WEBHOOK": webhook_url,
            "REALTIME_AWS__METRICS": "false",
        }
        running = deployed(
            MemoryDynamoDB(),
            self._load,
            environ=environ,
            visibility_timeout=1.0,
            faults=Faults(**FAULTS) if self._faulty else None,
        )
        self.deployment = opening.enter_context(running)
        return self.deployment.port


@pytest.fixture(params=[False, True], ids=["well", "faulty"])
def wire(load: Load, request: pytest.FixtureRequest) -> Iterator[AwsWire]:
    with AwsWire(load, request.param) as wire:
        yield wire


@pytest.fixture
def provider(wire: AwsWire) -> Iterator[AwsProvider]:
    settings = RealtimeSettings(environ=wire.deployment.environ)
    provider = AwsProvider.from_settings(settings)
    yield provider
    provider.close()


@pytest.fixture
def provider_at() -> Callable[[str, int], AwsProvider]:
    keys = tuple(SigningKey(pair.key, SecretStr(pair.secret)) for pair in KEYS)
    return lambda host, port: AwsProvider(
        AwsSettings(
            app_id=APP_ID,
            keys=keys,
            url=f"http://{host}:{port}",
            timeout=conformance.TIMEOUT,
            encryption_master_key=SecretStr(MASTER_KEY),
        )
    )


@pytest.fixture
def secrets() -> list[str]:
    return [*(pair.secret for pair in KEYS), MASTER_KEY]


@pytest.fixture
def stale_webhook() -> tuple[Mapping[str, str], bytes]:
    """Signed as it should be, in 2020."""
    event = {"name": "channel_occupied", "channel": "news"}
    return notices.signed(App(APP_ID, KEYS), event, 1_577_836_800_000)


class TestWebhooks(conformance.WebhookSuite): ...


class TestErrors(conformance.ErrorSuite): ...


class TestDeclared(conformance.DeclaredSuite): ...
