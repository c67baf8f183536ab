"""A deployment whose functions post through boto3: `REALTIME_AWS__TRANSPORT=boto3`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from realtime_kit.authorization import SignIn
from realtime_kit.emulators.deployment import Deployment, Handlers, Load, deployed
from realtime_kit.errors import ConfigurationError
from realtime_kit.events import Event
from realtime_kit.hosting.apigateway.boto3_transport import Boto3Transport
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.conformance.channels_wire import Browsers
from realtime_kit.testing.dynamodb import MemoryDynamoDB

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were delivered, by each call of the transport."""
    counts: list[int] = []
    deliver = Boto3Transport.deliver

    def counting(self, commands, **options):
        delivery = deliver(self, commands, **options)
        counts.append(len(delivery.delivered))
        return delivery

    monkeypatch.setattr(Boto3Transport, "deliver", counting)
    return counts


@pytest.fixture
def deployment(load: Load, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    def with_credentials(environ: Mapping[str, str], clock: Callable[[], float]) -> Handlers:
        for name in CREDENTIALS:  # where boto3 looks for them
            monkeypatch.setenv(name, environ[name])
        return load(environ, clock)

    environ = {
        "REALTIME_AWS__KEYS": "app-key-1:app-secret-1",
        "REALTIME_AWS__TRANSPORT": "boto3",
        "REALTIME_AWS__METRICS": "false",
    }
    with deployed(MemoryDynamoDB(), with_credentials, environ=environ) as running:
        yield running


def test_events_arrive_and_who_is_to_go_goes(deployment: Deployment, deliveries: list[int]):
    provider = AwsProvider.from_settings(RealtimeSettings(environ=deployment.environ))
    with Browsers() as browsers:
        page, other = (browsers.connect(provider.client_config()) for _ in range(2))
        for one in (page, other):
            one.subscribe("news")
        page.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
        provider.publish([Event(("news",), "update", {"text": "☃"})])
        assert page.receive().data == other.receive().data == {"text": "☃"}
        provider.disconnect_user("7")
        page.wait_closed()
        provider.publish([Event(("news",), "update", "still here")])
        assert other.receive().data == "still here"
        page.close()
        other.close()
    provider.close()
    assert sum(deliveries) >= 9, "two greetings, three answers, three events, one end"


def test_a_transport_that_there_is_not():
    with pytest.raises(ConfigurationError, match="transport"):
        RealtimeSettings(environ={"REALTIME_AWS__TRANSPORT": "pigeons"})
