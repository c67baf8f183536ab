"""Provider `pusher` beside the bare SDK: what the SDK says well we say alike, to the byte."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pusher
import pytest
import responses

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.events import Event
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App, Key
from realtime_kit.providers.base import AuthRequest
from realtime_kit.providers.pusher import PusherProvider
from realtime_kit.settings import PusherSettings
from realtime_kit.testing.faults import FaultServer

NOW = 1_700_000_000.5
Use = Callable[[Any], Any]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def settings(pusher_settings: PusherSettings, server: FaultServer) -> PusherSettings:
    return pusher_settings.model_copy(update={"port": server.port})


@pytest.fixture
def provider(settings: PusherSettings) -> Iterator[PusherProvider]:
    provider = PusherProvider(settings)
    yield provider
    provider.close()


@pytest.fixture
def sdk(settings: PusherSettings) -> pusher.Pusher:
    return pusher.Pusher(
        settings.app_id,
        settings.keys[0].key,
        settings.keys[0].secret.get_secret_value(),
        ssl=False,
        host=settings.host,
        port=settings.port,
        encryption_master_key_base64=settings.encryption_master_key.get_secret_value(),
    )


@pytest.fixture(autouse=True)
def _one_moment_and_one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from call to call stands still."""
    monkeypatch.setattr("pusher.http.time.time", lambda: NOW)
    for name in ("nacl.utils.random", "nacl.secret.random"):
        monkeypatch.setattr(name, lambda size: b"n" * size)


def _event(*channels: str, data: Any = None, exclude: str | None = None) -> Event:
    return Event(channels, "update", data, exclude=exclude)


def _entry(channel: str, data: Any, **more: str) -> dict[str, Any]:
    return {"channel": channel, "name": "update", "data": data, **more}


CALLS: dict[str, tuple[Use, Use]] = {
    "one channel": (
        lambda sdk: sdk.trigger("news", "update", {"text": "héllo ☃", "n": [1, None]}),
        lambda p: p.publish([_event("news", data={"text": "héllo ☃", "n": [1, None]})]),
    ),
    "a text": (
        lambda sdk: sdk.trigger("news", "update", "plain ☃"),
        lambda p: p.publish([_event("news", data="plain ☃")]),
    ),
    "nothing": (
        lambda sdk: sdk.trigger("news", "update", None),
        lambda p: p.publish([_event("news")]),
    ),
    "a hundred channels, without the sender": (
        lambda sdk: sdk.trigger([f"c{n}" for n in range(100)], "update", {}, "12.34"),
        lambda p: p.publish([_event(*(f"c{n}" for n in range(100)), data={}, exclude="12.34")]),
    ),
    "an encrypted channel": (
        lambda sdk: sdk.trigger("private-encrypted-a", "update", {"s": "☃"}),
        lambda p: p.publish([_event("private-encrypted-a", data={"s": "☃"})]),
    ),
    "a user": (
        lambda sdk: sdk.send_to_user("u-7", "update", {"a": 1}),
        lambda p: p.publish([_event("#server-to-user-u-7", data={"a": 1})]),
    ),
    "a batch": (
        lambda sdk: sdk.trigger_batch(
            [
                _entry("news", {"a": "é"}),
                _entry("private-encrypted-a", [1]),
                _entry("sport", "text", socket_id="12.34"),
            ]
        ),
        lambda p: p.publish(
            [
                _event("news", data={"a": "é"}),
                _event("private-encrypted-a", data=[1]),
                _event("sport", data="text", exclude="12.34"),
            ]
        ),
    ),
    "channels": (lambda sdk: sdk.channels_info(), lambda p: p.channels()),
    "channels by prefix": (
        lambda sdk: sdk.channels_info("presence-", ["user_count", "subscription_count"]),
        lambda p: p.channels(prefix="presence-", info=["user_count", "subscription_count"]),
    ),
    "one channel's counts": (
        lambda sdk: sdk.channel_info("presence-a=b@c,d.e", ["user_count"]),
        lambda p: p.channel("presence-a=b@c,d.e", info=["user_count"]),
    ),
    "members": (
        lambda sdk: sdk.users_info("presence-room"),
        lambda p: p.members("presence-room"),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_is_the_same_request(
    name: str, server: FaultServer, provider: PusherProvider, sdk: pusher.Pusher
) -> None:
    of_sdk, of_ours = CALLS[name]
    with responses.RequestsMock(assert_all_requests_are_fired=False) as vendor:
        for method in (responses.GET, responses.POST):
            vendor.add(method, url=re.compile("http"), body="{}")
        of_sdk(sdk)
        wanted = vendor.calls[0].request
    of_ours(provider)
    ours = server.received[0]
    assert ours.method == wanted.method
    assert f"http://{server.host}:{server.port}{ours.target}" == wanted.url
    assert ours.body == (wanted.body or b"")
    # What `requests` adds is its own; what the SDK asks for has to be there.
    own = ("x-pusher-library", "content-type")
    assert {name: ours.headers.get(name) for name in own} == {
        name: wanted.headers.get(name) for name in own
    }


def test_the_host_is_the_one_that_the_sdk_takes(pusher_settings: PusherSettings) -> None:
    settings = pusher_settings.model_copy(
        update={"host": None, "port": None, "tls": True, "cluster": "eu"}
    )
    http = PusherProvider(settings)._client.http._http
    assert http.origin == "https://api-eu.pusher.com:443"
    assert http.timeout == settings.timeout


# --- proofs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "member", "custom_data"),
    [
        ("private-orders-42", None, None),
        ("private-cache-price", None, None),
        ("presence-room", Member("7"), {"user_id": "7"}),
        (
            "presence-room",
            Member("7", {"name": "Zoë ☃", "tags": [1, {"a": None}]}),
            {"user_id": "7", "user_info": {"name": "Zoë ☃", "tags": [1, {"a": None}]}},
        ),
        ("private-encrypted-a", None, None),
    ],
    ids=str,
)
def test_a_channels_proof_is_the_sdks(
    provider: PusherProvider, sdk: pusher.Pusher, channel: str, member: Any, custom_data: Any
) -> None:
    request = AuthRequest("7", "12.34", (Grant(member, channel=channel),))
    ours = dict(provider.authorize(request).channels[channel])
    wanted = sdk.authenticate(channel, "12.34", custom_data)
    if "shared_secret" in wanted:
        # The SDK gives bytes, which its users cannot send on as JSON.
        wanted["shared_secret"] = wanted["shared_secret"].decode()
        assert len(b64decode(ours["shared_secret"])) == 32
    assert ours == wanted
    assert json.loads(json.dumps(ours)) == ours


@pytest.mark.parametrize(
    ("identity", "user_data"),
    [
        (SignIn("7"), {"id": "7"}),
        (
            SignIn("7", {"name": "Zoë"}, ("8", "9")),
            {"id": "7", "user_info": {"name": "Zoë"}, "watchlist": ["8", "9"]},
        ),
    ],
    ids=["bare", "full"],
)
def test_a_users_proof_is_the_sdks(
    provider: PusherProvider, sdk: pusher.Pusher, identity: SignIn, user_data: dict[str, Any]
) -> None:
    assert provider.sign_in("12.34", identity) == sdk.authenticate_user("12.34", user_data)


def test_both_take_the_same_webhook(
    provider: PusherProvider, sdk: pusher.Pusher, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pusher.authentication_client.time.time", lambda: NOW)
    provider._clock = lambda: NOW
    event = {"name": "member_added", "channel": "presence-room", "user_id": "7"}
    signer = App(app.id, (Key(sdk._authentication_client.key, sdk._authentication_client.secret),))
    headers, body = notices.signed(signer, event, int(NOW * 1000))
    theirs = sdk.validate_webhook(headers["X-Pusher-Key"], headers["X-Pusher-Signature"], body)
    assert [event.raw for event in provider.parse_webhook(headers, body)] == theirs["events"]
