"""What provider `ably` sends, and what it makes of the answers."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from realtime_kit.errors import (
    ConfigurationError,
    InvalidEvent,
    PartiallySent,
    PayloadTooLarge,
    ProviderUnavailable,
    RateLimited,
    Rejected,
)
from realtime_kit.events import Event
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.providers.base import ChannelInfo
from realtime_kit.settings import AblySettings
from realtime_kit.testing.faults import Answer, FaultServer, Received

SECRET = "secret-of-ably"
KEY = f"local0.dev:{SECRET}"
SENDER = {"connectionKey": "con!key", "clientId": "7"}
STALE = {"code": 40006, "statusCode": 400, "message": "Malformed message; invalid connectionKey"}


def socket_id(sender: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(sender).encode()).rstrip(b"=").decode()


class Vendor:
    """Takes what it is sent; `refuse` gives an error object for a channel and a message."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.refuse: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda *_: None
        server.decide = self.answer

    def answer(self, received: Received) -> Answer:
        if not received.target.startswith("/messages"):
            return Answer(201, b'{"channel": "public:news", "messageId": "e1"}')
        batches = [
            {"results": [self._result(name, spec["messages"]) for name in spec["channels"]]}
            for spec in json.loads(received.body)
        ]
        return Answer(201, json.dumps(batches).encode())

    def _result(self, name: str, message: dict[str, Any]) -> dict[str, Any]:
        error = self.refuse(name, message)
        return {"channel": name, **({"error": error} if error else {"messageId": message["id"]})}

    @property
    def paths(self) -> list[str]:
        return [request.target.partition("?")[0] for request in self.server.received]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for request in self.server.received]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with FaultServer() as server:
        yield Vendor(server)


@pytest.fixture
def provider(vendor: Vendor) -> Iterator[AblyProvider]:
    provider = make(vendor.server.port)
    yield provider
    provider.close()


def make(port: int, **settings: Any) -> AblyProvider:
    place = {"endpoint": "127.0.0.1", "port": port, "tls": False}
    return AblyProvider(AblySettings(key=SecretStr(KEY), **place, **settings))


# --- one event ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({"a": "☃"}, {"data": '{"a": "☃"}', "encoding": "json"}),
        ([1], {"data": "[1]", "encoding": "json"}),
        (7, {"data": "7", "encoding": "json"}),
        (None, {"data": "null", "encoding": "json"}),
        ("text", {"data": "text"}),
        ('{"a": 1}', {"data": '{"a": 1}'}),
        ("", {"data": ""}),
    ],
)
def test_a_message(provider: AblyProvider, vendor: Vendor, data: object, sent: object) -> None:
    """RSL1: one message to one channel. RSL4: text as it is, the rest as JSON."""
    provider.publish([Event(("private-orders-1;2",), "update", data, id="a:b")])
    assert vendor.paths == ["/channels/private:orders-1:2/messages"]
    assert vendor.bodies == [{"name": "update", "id": "a:b:0", **sent}]
    headers = vendor.server.received[0].headers
    assert (headers["x-ably-version"], headers["content-type"]) == ("5", "application/json")
    assert headers["ably-agent"].startswith("ably-python/")


def test_ids_travel_beside_the_data_where_they_are_needed(
    provider: AblyProvider, vendor: Vendor
) -> None:
    provider.publish([Event(("news",), "update", {}, "e1", "epoch", 7, "m1")])
    provider.publish([Event(("news",), "update", {}, "e2", mutation="m2")])
    provider.publish([Event(("news",), "update", {}, "e3", epoch="epoch")])
    extras = [body.get("extras") for body in vendor.bodies]
    assert extras == [
        {"headers": {"id": "e1", "offset": 7, "epoch": "epoch", "mutation": "m1"}},
        {"headers": {"id": "e2", "mutation": "m2"}},
        None,
    ]


def test_an_event_without_an_id_gets_one(provider: AblyProvider, vendor: Vendor) -> None:
    """RSL1k1: a request that is repeated is the same message."""
    provider.publish([Event(("news",), "update", {})] * 2)
    (specs,) = vendor.bodies
    first, second = (spec["messages"]["id"] for spec in specs)
    assert first != second
    assert first.endswith(":0")
    assert len(first) >= 14


def test_a_user_is_a_channel(provider: AblyProvider, vendor: Vendor) -> None:
    provider.publish([Event(("#server-to-user-a*:b/c",), "update", {})])
    assert vendor.paths == ["/channels/user:a%252A%253Ab%252Fc/messages"]


# --- many events ------------------------------------------------------------------------------


def test_a_batch_is_one_request(provider: AblyProvider, vendor: Vendor) -> None:
    events = [Event(("news", "sport"), "update", n, id=f"e{n}") for n in range(3)]
    receipts = provider.publish(events)
    assert vendor.paths == ["/messages"]
    assert [(spec["channels"], spec["messages"]["id"]) for spec in vendor.bodies[0]] == [
        (["public:news", "public:sport"], f"e{n}:0") for n in range(3)
    ]
    assert [(receipt.channel, receipt.id) for receipt in receipts] == [
        (name, f"e{n}") for n in range(3) for name in ("news", "sport")
    ]


def test_a_request_has_100_channels_of_all_its_events_together(
    provider: AblyProvider, vendor: Vendor
) -> None:
    names = [tuple(f"room-{n}" for n in range(start, start + 60)) for start in (0, 0, 60)]
    provider.publish([Event(channels, "update", 1) for channels in names])
    assert [len(body) for body in vendor.bodies] == [2, 1]


def test_a_request_is_below_2_mib(provider: AblyProvider, vendor: Vendor) -> None:
    provider.publish([Event(("news",), "update", "x" * 65_000)] * 70)
    sizes = [len(request.body) for request in vendor.server.received]
    assert len(sizes) == 3
    assert max(sizes) < 2 * 1024 * 1024
    assert sum(len(body) for body in vendor.bodies) == 70


def test_the_limit_is_on_all_of_a_message(provider: AblyProvider, vendor: Vendor) -> None:
    """TO3l8: name, data, client id and extras."""
    beside = len("update") + len("7") + len('{"headers":{"id":"e1","mutation":"m"}}')
    text = "x" * (65_536 - beside)
    event = Event(("news",), "update", text, "e1", mutation="m", exclude=socket_id(SENDER))
    provider.publish([event])
    with pytest.raises(PayloadTooLarge) as caught:
        provider.publish([replace(event, name="updated")])
    assert (caught.value.size, caught.value.limit) == (65_537, 65_536)


def test_an_account_with_larger_messages(vendor: Vendor) -> None:
    provider = make(vendor.server.port, max_message_size=262_144)
    provider.publish([Event(("news",), "update", "x" * 262_000)])
    provider.close()
    assert len(vendor.bodies) == 1


# --- without the sender -----------------------------------------------------------------------


def test_the_sender_is_named(provider: AblyProvider, vendor: Vendor) -> None:
    provider.publish([Event(("news",), "update", 1, exclude=socket_id(SENDER))])
    guest = socket_id({"connectionKey": "con!key", "clientId": None})
    provider.publish([Event(("news",), "update", 1, exclude=guest)])
    identified, anonymous = vendor.bodies
    assert (identified["connectionKey"], identified["clientId"]) == ("con!key", "7")
    assert anonymous["connectionKey"] == "con!key"
    assert "clientId" not in anonymous


def test_a_page_that_reads_events_has_no_connection(provider: AblyProvider, vendor: Vendor) -> None:
    """Its own events are left out of what it reads; to Ably it is nobody."""
    assert provider.is_socket_id("1.1")
    provider.publish([Event(("news",), "update", 1, exclude="1.1")])
    (body,) = vendor.bodies
    assert "connectionKey" not in body


@pytest.mark.parametrize(
    "text",
    [
        *("1.", "", "me", "ü", "e30"),
        socket_id({"connectionKey": ""}),
        socket_id({"connectionKey": 7}),
        socket_id({"connectionKey": "k", "clientId": 7}),
        socket_id({"clientId": "7"}),
    ],
)
def test_what_is_no_socket_id(provider: AblyProvider, vendor: Vendor, text: str) -> None:
    assert not provider.is_socket_id(text)
    with pytest.raises(InvalidEvent, match="socket id on Ably"):
        provider.publish([Event(("news",), "update", 1, exclude=text)])
    assert vendor.bodies == []


@pytest.mark.parametrize("code", [40006, 40012])
def test_a_sender_that_is_gone_excludes_nobody(
    provider: AblyProvider, vendor: Vendor, code: int
) -> None:
    refusal = json.dumps({"error": {**STALE, "code": code}}).encode()
    vendor.server.script(Answer(400, refusal))
    receipts = provider.publish([Event(("news",), "update", 1, "e1", exclude=socket_id(SENDER))])
    assert [receipt.id for receipt in receipts] == ["e1"]
    first, second = vendor.bodies
    assert first["connectionKey"]
    # Nobody vouches for the client id that came with it any more.
    assert second == {"name": "update", "data": "1", "encoding": "json", "id": "e1:0"}


def test_in_a_batch_only_what_was_refused_is_sent_again(
    provider: AblyProvider, vendor: Vendor
) -> None:
    vendor.refuse = lambda name, message: (
        STALE if "connectionKey" in message and name == "public:b" else None
    )
    events = [
        Event(("a", "b"), "update", 1, "e1", exclude=socket_id(SENDER)),
        Event(("b",), "update", 2, "e2"),
    ]
    receipts = provider.publish(events)
    assert [(r.channel, r.id) for r in receipts] == [("a", "e1"), ("b", "e1"), ("b", "e2")]
    (again,) = vendor.bodies[1]
    assert (again["channels"], again["messages"]["id"]) == (["public:b"], "e1:0")
    assert "connectionKey" not in again["messages"]


# --- failures ---------------------------------------------------------------------------------


def test_some_channels_are_refused(provider: AblyProvider, vendor: Vendor) -> None:
    denied = {"code": 40160, "statusCode": 401, "message": "Channel denied access"}
    vendor.refuse = lambda name, _: denied if name == "public:b" else None
    with pytest.raises(PartiallySent, match="40160") as caught:
        provider.publish([Event(("a", "b", "c"), "update", 1, "e1")])
    error = caught.value
    assert [receipt.channel for receipt in error.accepted] == ["a", "c"]
    assert [event.channels for event in error.unsent] == [("b",)]
    assert error.unknown == ()
    assert not error.retryable
    assert isinstance(error.__cause__, Rejected)


def test_all_channels_are_refused(provider: AblyProvider, vendor: Vendor) -> None:
    limited = {"code": 42913, "statusCode": 429, "message": "Rate limit exceeded"}
    vendor.refuse = lambda *_: limited
    with pytest.raises(RateLimited) as caught:
        provider.publish([Event(("a", "b"), "update", 1)])
    assert (caught.value.code, caught.value.status) == (42913, 429)


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (401, {"code": 40101, "message": "Invalid credentials"}, Rejected, False),
        (403, {"code": 42920, "message": "Too fast"}, RateLimited, True),
        (429, {"code": 42910, "message": "Too fast"}, RateLimited, True),
        (500, {"code": 50000, "message": "Internal"}, ProviderUnavailable, True),
    ],
)
def test_an_error_of_ablys(
    provider: AblyProvider,
    vendor: Vendor,
    status: int,
    error: dict[str, Any],
    kind: type[Exception],
    retryable: bool,
) -> None:
    vendor.server.script(Answer(status, json.dumps({"error": error}).encode()))
    with pytest.raises(kind) as caught:
        provider.publish([Event(("news",), "update", 1)])
    found: Any = caught.value
    assert (found.code, found.status, found.retryable) == (error["code"], status, retryable)
    assert f"https://help.ably.io/error/{error['code']}" in str(found)
    assert found.request_id
    assert f"request_id={found.request_id}" in vendor.server.received[0].target.replace("%3D", "=")


def test_the_servers_own_link_goes_first(provider: AblyProvider, vendor: Vendor) -> None:
    error = {"code": 40009, "message": "Too large.", "href": "https://help.example/9"}
    vendor.server.script(Answer(400, json.dumps({"error": error}).encode()))
    with pytest.raises(Rejected, match=r"Too large\. If .*MAX_MESSAGE_SIZE\. See https://help.ex"):
        provider.publish([Event(("news",), "update", 1)])


def test_a_server_that_quotes_the_key(provider: AblyProvider, vendor: Vendor) -> None:
    for body in (f"bad key {KEY}", json.dumps({"error": {"code": 40101, "message": KEY}})):
        vendor.server.script(Answer(401, body.encode()))
        with pytest.raises(Rejected) as caught:
            provider.publish([Event(("news",), "update", 1)])
        assert SECRET not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("code", [40121, 40163, 40164])
def test_revocation_that_is_not_enabled(provider: AblyProvider, vendor: Vendor, code: int) -> None:
    error = {"code": code, "message": "Revocable tokens are not enabled"}
    vendor.server.script(Answer(401, json.dumps({"error": error}).encode()))
    with pytest.raises(Rejected, match="Enable 'Revocable tokens'"):
        provider.disconnect_user("7")


def test_revocation(provider: AblyProvider, vendor: Vendor) -> None:
    vendor.server.decide = lambda _: Answer(200, b'{"results": [{"target": "clientId:7"}]}')
    provider.disconnect_user("7")
    provider.revoke("7", channel="presence-room")
    assert vendor.paths == ["/keys/local0.dev/revokeTokens"] * 2
    assert vendor.bodies == [{"targets": ["clientId:7"]}] * 2
    with pytest.raises(InvalidEvent):
        provider.disconnect_user("")
    failed = {"target": "clientId:7", "error": {"code": 50000, "statusCode": 500}}
    vendor.server.decide = lambda _: Answer(200, json.dumps([failed]).encode())
    with pytest.raises(ProviderUnavailable):
        provider.disconnect_user("7")


# --- asking -------------------------------------------------------------------------------------


def details(name: str, **metrics: int) -> dict[str, Any]:
    return {"channelId": name, "status": {"isActive": True, "occupancy": {"metrics": metrics}}}


def test_channels_on_many_pages(provider: AblyProvider, vendor: Vendor) -> None:
    """TG: `Link` headers, one for each relation; a page may be empty or repeat a channel."""
    news, other = details("public:news", connections=2, subscribers=1), details("chat:x")
    sent_to = details("public:empty", connections=0)
    pages = {
        "": ([news, other], "a"),
        "a": ([], "b"),
        "b": ([news, sent_to, details("private:orders", connections=1)], None),
    }

    def answer(received: Received) -> Answer:
        _, _, cursor = received.target.partition("cursor=")
        items, following = pages[cursor.partition("&")[0]]
        links = '<./channels?cursor=>; rel="first"' + (
            f'\r\nLink: <./channels?cursor={following}>; rel="next"' if following else ""
        )
        return Answer(200, json.dumps(items).encode(), {"Link": links})

    vendor.server.decide = answer
    assert provider.channels(info=["subscription_count"]) == [
        ChannelInfo("news", True, 1),
        ChannelInfo("private-orders", True, 0),
    ]
    assert vendor.paths == ["/channels"] * 3


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [
        ("", None),
        ("pri", None),
        ("presence", None),
        ("presence-", "presence%3A"),
        ("private-a;b", "private%3Aa%3Ab"),
        ("news", "public%3Anews"),
        ("#server-to-user-7", "user%3A7"),
    ],
)
def test_a_prefix(provider: AblyProvider, vendor: Vendor, prefix: str, asked: str | None) -> None:
    vendor.server.decide = lambda _: Answer(200, b"[]")
    assert provider.channels(prefix=prefix) == []
    target = vendor.server.received[0].target
    assert (f"prefix={asked}" in target) if asked else ("prefix" not in target)


def test_counts_that_cannot_be_had_stop_an_event(provider: AblyProvider, vendor: Vendor) -> None:
    vendor.server.script(Answer(500, b"no"))
    with pytest.raises(ProviderUnavailable):
        provider.publish([Event(("news",), "update", 1)], info=["subscription_count"])
    assert vendor.paths == ["/channels/public:news"]


# --- the client ---------------------------------------------------------------------------------


def test_threads_share_one_client(provider: AblyProvider, vendor: Vendor) -> None:
    threads = [
        threading.Thread(target=provider.publish, args=([Event(("news",), "update", n)],))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vendor.bodies) == 8


def test_the_key_does_not_travel_in_clear() -> None:
    settings = AblySettings(key=SecretStr(KEY), endpoint="ably.example", tls=False)
    with pytest.raises(ConfigurationError, match="REALTIME_ABLY__TLS"):
        AblyProvider(settings).publish([Event(("news",), "update", 1)])


def test_ablys_own_hosts_are_fallen_back_to() -> None:
    """RSC15: what one host does not answer goes to another, within the timeout of a call."""
    from realtime_kit.providers._ably_rest import AblyRest

    rest = AblyRest(AblySettings(key=SecretStr(KEY), timeout=3.0))
    first, second = rest._rest.options.get_hosts()
    assert first == "main.realtime.ably.net"
    assert second != first
    transport = rest._rest.http._HttpSync__client._transport
    assert transport._timeout == 1.5
    rest.close()
