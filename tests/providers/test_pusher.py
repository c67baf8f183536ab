"""Provider `pusher`, through the official SDK, against the embedded server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from realtime_kit.authorization import Grant
from realtime_kit.errors import ConfigurationError, InvalidEvent, PayloadTooLarge, Rejected
from realtime_kit.events import Event, size
from realtime_kit.providers.base import AuthRequest
from realtime_kit.providers.pusher import PusherProvider
from realtime_kit.settings import PusherSettings
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance.channels_wire import ChannelsWire
from realtime_kit.testing.conformance.suites import *  # noqa: F403
from realtime_kit.testing.faults import FaultServer


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


class TestWebhooks(conformance.WebhookSuite): ...


class TestErrors(conformance.ErrorSuite): ...


class TestDeclared(conformance.DeclaredSuite): ...


EVENT = Event(("news",), "update", {"n": 1}, id="e1")


def test_a_text_within_the_limit_that_the_sdk_would_refuse(
    provider: PusherProvider, wire: ChannelsWire
) -> None:
    """`sys.getsizeof` counts four bytes for each character, once there is an emoji."""
    text = "x" * 9_000 + "😀"
    assert size(text) < provider.limits.data < 30_720 < sys.getsizeof(text)
    page = wire.connect(provider.client_config())
    page.subscribe("news")
    provider.publish([Event(("news",), "update", text)])
    assert page.receive().data == text
    page.close()


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (EVENT, {"n": 1}),
        (replace(EVENT, epoch="x"), {"n": 1}),
        (replace(EVENT, mutation="m1"), {"n": 1, "_rk": {"id": "e1", "m": "m1"}}),
        (replace(EVENT, epoch="x", offset=0), {"n": 1, "_rk": {"id": "e1", "o": 0, "e": "x"}}),
        (
            replace(EVENT, data=[1], offset=3, epoch="x", mutation="m1"),
            {"_rk": {"id": "e1", "o": 3, "e": "x", "m": "m1"}, "d": [1]},
        ),
        (
            replace(EVENT, data={"d": 1}, mutation="m1"),
            {"_rk": {"id": "e1", "m": "m1"}, "d": {"d": 1}},
        ),
        (replace(EVENT, data="text", mutation="m1"), {"_rk": {"id": "e1", "m": "m1"}, "d": "text"}),
    ],
)
def test_ids_ride_in_the_data_where_they_are_needed(
    pusher_settings: PusherSettings, event: Event, wanted: object
) -> None:
    with FaultServer() as server:
        provider = PusherProvider(pusher_settings.model_copy(update={"port": server.port}))
        provider.publish([event])
        provider.close()
    body = json.loads(server.received[0].body)
    assert json.loads(body["data"]) == wanted
    assert set(body) == {"name", "channels", "data"}


def test_ids_count_against_the_limit(provider: PusherProvider) -> None:
    data = {"text": "x" * (provider.limits.data - 12)}
    provider.publish([Event(("news",), "update", data)])
    with pytest.raises(PayloadTooLarge):
        provider.publish([Event(("news",), "update", data, id="e1", mutation="m1")])


def test_a_member_that_is_ours_is_refused(provider: PusherProvider) -> None:
    with pytest.raises(InvalidEvent, match="_rk"):
        provider.publish([Event(("news",), "update", {"_rk": 1})])


def test_a_value_is_not_another_parameter(pusher_settings: PusherSettings) -> None:
    """The SDK does not escape: this prefix would be two parameters and a fragment."""
    with FaultServer() as server:
        provider = PusherProvider(pusher_settings.model_copy(update={"port": server.port}))
        provider.channels(prefix="a&info=user_count#x y")
        provider.close()
    query = parse_qs(server.received[0].target.partition("?")[2])
    assert query["filter_by_prefix"] == ["a&info=user_count#x y"]
    assert "info" not in query


def test_where_users_are_ended(pusher_settings: PusherSettings) -> None:
    """The SDK's own method leaves /apps/ID out. `revoke` cannot be narrower: see the docs."""
    with FaultServer() as server:
        provider = PusherProvider(pusher_settings.model_copy(update={"port": server.port}))
        provider.disconnect_user("7")
        provider.revoke("7", channel="presence-room")
        provider.close()
    paths = [request.target.partition("?")[0] for request in server.received]
    assert paths == [f"/apps/{pusher_settings.app_id}/users/7/terminate_connections"] * 2
    assert [request.body for request in server.received] == [b"{}"] * 2


def test_a_refusal_says_what_to_compare(
    wire: ChannelsWire, pusher_settings: PusherSettings
) -> None:
    settings = pusher_settings.model_copy(update={"port": wire.port, "app_id": "999"})
    with pytest.raises(Rejected, match="REALTIME_PUSHER__APP_ID") as caught:
        PusherProvider(settings).publish([EVENT])
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"app_id": ""}, "REALTIME_PUSHER__APP_ID"),
        ({"keys": ()}, "REALTIME_PUSHER__KEYS"),
        ({"host": None}, "REALTIME_PUSHER__CLUSTER"),
        ({"app_id": "my-app"}, "digits only"),
        ({"app_id": "٣"}, "digits only"),
    ],
    ids=str,
)
def test_what_is_missing_is_named(
    pusher_settings: PusherSettings, changes: dict[str, object], missing: str
) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        PusherProvider(pusher_settings.model_copy(update=changes))


def test_without_the_sdk_it_signs_and_does_not_send(
    pusher_settings: PusherSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pusher.pusher_client", None)
    provider = PusherProvider(pusher_settings)
    grant = Grant(channel="private-a")
    assert provider.authorize(AuthRequest("7", "1.1", (grant,))).channels["private-a"]["auth"]
    with pytest.raises(ConfigurationError, match=r"pip install 'realtime-kit\[pusher\]'"):
        provider.publish([EVENT])
    provider.close()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"host": None, "cluster": "eu", "tls": True},
            {"cluster": "eu", "host": "ws-eu.pusher.com", "port": 443, "tls": True},
        ),
        (
            {"host": None, "cluster": "eu", "tls": True, "port": 8443, "public_tls": False},
            {"host": "ws-eu.pusher.com", "port": 80, "tls": False},
        ),
        ({"port": 6001}, {"cluster": None, "host": "127.0.0.1", "port": 6001, "tls": False}),
        (
            {"public_host": "ws.example", "public_port": 8443, "public_tls": True},
            {"host": "ws.example", "port": 8443, "tls": True},
        ),
        ({"port": 6001, "public_tls": True}, {"host": "127.0.0.1", "port": 443, "tls": True}),
    ],
    ids=str,
)
def test_where_a_browser_connects(
    pusher_settings: PusherSettings, changes: dict[str, object], wanted: dict[str, object]
) -> None:
    provider = PusherProvider(pusher_settings.model_copy(update=changes))
    socket = provider.client_config()["socket"]
    assert {name: socket[name] for name in wanted} == wanted
    assert set(socket) == {"key", "cluster", "host", "port", "path", "tls", "activityTimeout"}
