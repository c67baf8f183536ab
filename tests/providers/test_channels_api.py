"""What `local`, `pusher` and later `aws` make of the HTTP API's answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime_kit.errors import PartiallySent, ProviderUnavailable
from realtime_kit.events import Event
from realtime_kit.providers.base import ChannelInfo
from realtime_kit.providers.channels_api import ChannelsApiProvider
from realtime_kit.providers.local import LocalProvider
from realtime_kit.providers.pusher import PusherProvider
from realtime_kit.settings import LocalSettings, PusherSettings
from realtime_kit.testing.faults import Answer, FaultServer, Raw

TWO = [Event(("news",), "update", 1, id="e1"), Event(("news", "sport"), "update", 2, id="e2")]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(params=["local", "pusher"])
def provider(
    request: pytest.FixtureRequest,
    server: FaultServer,
    local_settings: LocalSettings,
    pusher_settings: PusherSettings,
) -> Iterator[ChannelsApiProvider]:
    port = {"port": server.port}
    provider: ChannelsApiProvider
    if request.param == "local":
        provider = LocalProvider(local_settings.model_copy(update=port))
    else:
        provider = PusherProvider(pusher_settings.model_copy(update=port))
    yield provider
    provider.close()


def _answer(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode())


def test_counts_belong_to_their_events(server: FaultServer, provider: ChannelsApiProvider) -> None:
    wanted = ["subscription_count", "user_count"]
    server.script(
        _answer(
            {"batch": [{"subscription_count": 1}, {"user_count": 2}, {"subscription_count": 3}]}
        )
    )
    infos = [dict(receipt.info) for receipt in provider.publish(TWO, info=wanted)]
    assert infos == [{"subscription_count": 1}, {"user_count": 2}, {"subscription_count": 3}]
    entries = json.loads(server.received[0].body)["batch"]
    assert [entry["info"] for entry in entries] == ["subscription_count,user_count"] * 3
    server.script(_answer({"channels": {"sport": {"user_count": 4, "more": "x"}}}))
    infos = [dict(receipt.info) for receipt in provider.publish(TWO[1:], info=wanted)]
    assert infos == [{}, {"user_count": 4}]


def test_a_server_without_info(server: FaultServer, provider: ChannelsApiProvider) -> None:
    for events in (TWO, TWO[:1]):
        receipts = provider.publish(events, info=["user_count"])
        assert all(receipt.info == {} for receipt in receipts)


def test_phps_empty_object(server: FaultServer, provider: ChannelsApiProvider) -> None:
    server.script(_answer({"channels": []}))
    assert provider.channels() == []


def test_members_once_and_as_text(server: FaultServer, provider: ChannelsApiProvider) -> None:
    server.script(_answer({"users": [{"id": 8}, {"id": "7"}, {"id": "8"}]}))
    assert provider.members("presence-room") == ["8", "7"]


def test_one_channel(server: FaultServer, provider: ChannelsApiProvider) -> None:
    server.script(_answer({"occupied": True, "subscription_count": 5, "user_count": None}))
    assert provider.channel("news") == ChannelInfo("news", True, subscription_count=5)


@pytest.mark.parametrize(
    ("use", "answer"),
    [
        (lambda p: p.channels(), {"channels": ["news"]}),
        (lambda p: p.channels(), {"channels": {"news": 1}}),
        (lambda p: p.members("presence-a"), {"users": {"id": "7"}}),
        (lambda p: p.members("presence-a"), {"users": ["7"]}),
        (lambda p: p.publish(TWO), {"batch": {"0": {}}}),
        (lambda p: p.publish(TWO), {"batch": ["x"]}),
        (lambda p: p.publish(TWO[:1]), {"channels": 5}),
    ],
)
def test_answers_of_another_shape(
    server: FaultServer,
    provider: ChannelsApiProvider,
    use: Callable[[ChannelsApiProvider], Any],
    answer: object,
) -> None:
    server.script(_answer(answer))
    with pytest.raises(ProviderUnavailable, match="something else listening"):
        use(provider)


def test_what_remains_of_a_batch(server: FaultServer, provider: ChannelsApiProvider) -> None:
    """An event whose channels were in several requests is in several of the error's lists."""
    event = Event(tuple(f"room-{n}" for n in range(25)), "update", {}, id="wide")
    after = Event(("news",), "update", {}, id="after")
    server.script(Answer(), Raw())
    with pytest.raises(PartiallySent) as caught:
        provider.publish([event, after])
    error = caught.value
    assert [receipt.channel for receipt in error.accepted] == list(event.channels[:10])
    assert [(e.id, e.channels) for e in error.unknown] == [("wide", event.channels[10:20])]
    assert [(e.id, e.channels) for e in error.unsent] == [
        ("wide", event.channels[20:]),
        ("after", ("news",)),
    ]
    assert str(error).startswith("10 deliveries accepted, then: ")


def test_the_same_event_twice_is_two(server: FaultServer, provider: ChannelsApiProvider) -> None:
    server.script(Answer(), Answer(400, b"no"))
    with pytest.raises(PartiallySent) as caught:
        provider.publish([Event(("news",), "update", 1)] * 20)
    assert [e.channels for e in caught.value.unsent] == [("news",)] * 10


def test_the_first_request_was_perhaps_taken(
    server: FaultServer, provider: ChannelsApiProvider
) -> None:
    events = [Event(("news",), "update", n, id=f"e{n}") for n in range(15)]
    server.script(Raw())
    with pytest.raises(PartiallySent) as caught:
        provider.publish(events)
    error = caught.value
    assert error.accepted == ()
    assert [e.id for e in error.unknown] == [f"e{n}" for n in range(10)]
    assert [e.id for e in error.unsent] == [f"e{n}" for n in range(10, 15)]
