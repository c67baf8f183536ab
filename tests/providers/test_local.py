"""Provider `local` against the embedded server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from realtime_kit.authorization import Grant, SignIn
from realtime_kit.errors import InvalidEvent, ProviderUnavailable, Rejected
from realtime_kit.events import Event
from realtime_kit.providers.base import AuthRequest
from realtime_kit.providers.local import LocalProvider
from realtime_kit.settings import LocalSettings, SigningKey
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance.channels_wire import ChannelsWire
from realtime_kit.testing.conformance.suites import *  # noqa: F403
from realtime_kit.testing.faults import unused_port

EVERYWHERE = "0.0.0.0"  # noqa: S104 - that is what is tested


@pytest.fixture
def provider(wire: ChannelsWire, local_settings: LocalSettings) -> Iterator[LocalProvider]:
    provider = LocalProvider(local_settings.model_copy(update={"port": wire.port, "timeout": 3.0}))
    yield provider
    provider.close()


@pytest.fixture
def provider_at(local_settings: LocalSettings):
    return lambda host, port: LocalProvider(
        local_settings.model_copy(update={"host": host, "port": port})
    )


class TestWebhooks(conformance.WebhookSuite): ...


class TestErrors(conformance.ErrorSuite): ...


class TestDeclared(conformance.DeclaredSuite): ...


def test_nobody_listens_and_what_to_do(provider_at) -> None:
    with pytest.raises(ProviderUnavailable, match=r"realtime-kit dev app:app.*realtime-kit serve"):
        provider_at("127.0.0.1", unused_port()).publish([Event(("news",), "update", {})])


def test_a_wrong_secret_says_what_to_compare(
    wire: ChannelsWire, local_settings: LocalSettings
) -> None:
    keys = (SigningKey(local_settings.keys[0].key, SecretStr("wrong")),)
    settings = local_settings.model_copy(update={"port": wire.port, "keys": keys})
    with pytest.raises(Rejected, match="REALTIME_LOCAL__KEYS") as caught:
        LocalProvider(settings).publish([Event(("news",), "update", {})])
    assert caught.value.status == 401
    assert "Invalid signature" in str(caught.value)


def test_a_revoked_page_is_told_to_come_back(provider: LocalProvider, wire: ChannelsWire) -> None:
    """42xx is "reconnect at once"; disconnected for good is 4009 (Pusher: "Connection closure")."""
    pages = [wire.connect(provider.client_config()) for _ in range(2)]
    for page in pages:
        page.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
    provider.revoke("7")
    pages[0].wait_closed()
    assert pages[0].close_code == 4200
    page = wire.connect(provider.client_config())
    page.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
    provider.disconnect_user("7")
    page.wait_closed()
    assert page.close_code == 4009
    for one in (*pages, page):
        one.close()


def test_a_revoke_of_one_channel_leaves_the_users_other_pages(
    provider: LocalProvider, wire: ChannelsWire
) -> None:
    there, elsewhere = (wire.connect(provider.client_config()) for _ in range(2))
    for page, channel in ((there, "private-a"), (elsewhere, "private-b")):
        page.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
        grant = Grant(channel=channel)
        page.subscribe(channel, provider.authorize(AuthRequest("7", page.socket_id, (grant,))))
    provider.revoke("7", channel="private-a")
    there.wait_closed()
    provider.publish([Event(("private-b",), "update", "still here")])
    assert elsewhere.receive().data == "still here"
    there.close()
    elsewhere.close()


@pytest.mark.parametrize("user_id", ["auth0|7", "a b/c?d#e%2F", "Zoë"])
def test_user_ids_of_any_letters(provider: LocalProvider, wire: ChannelsWire, user_id: str) -> None:
    page = wire.connect(provider.client_config())
    page.sign_in(provider.sign_in(page.socket_id, SignIn(user_id)))
    provider.disconnect_user(user_id)
    page.wait_closed()
    page.close()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"host": "127.0.0.1", "port": 6001, "tls": False}),
        ({"host": EVERYWHERE}, {"host": None, "port": 6001, "tls": False}),
        ({"host": "::", "port": 7}, {"host": None, "port": 7, "tls": False}),
        (
            {
                "host": EVERYWHERE,
                "public_host": "ws.example",
                "public_port": 443,
                "public_tls": True,
            },
            {"host": "ws.example", "port": 443, "tls": True},
        ),
    ],
    ids=str,
)
def test_where_a_browser_connects(
    local_settings: LocalSettings, changes: dict[str, object], wanted: dict[str, object]
) -> None:
    provider = LocalProvider(local_settings.model_copy(update=changes))
    socket = provider.client_config()["socket"]
    assert {name: socket[name] for name in wanted} == wanted
    assert set(socket) == {"key", "cluster", "host", "port", "path", "tls", "activityTimeout"}


def test_a_server_that_listens_everywhere_is_called_at_home(
    wire: ChannelsWire, local_settings: LocalSettings
) -> None:
    settings = local_settings.model_copy(update={"host": EVERYWHERE, "port": wire.port})
    provider = LocalProvider(settings)
    assert provider.channels() == []
    provider.close()


def test_a_member_that_is_ours_is_refused(provider: LocalProvider) -> None:
    with pytest.raises(InvalidEvent, match="_rk"):
        provider.publish([Event(("news",), "update", {"_rk": 1})])
