"""Events, from `publish` to the page."""

from __future__ import annotations

from secrets import token_hex
from typing import Any, ClassVar

import pytest

from realtime_kit.authorization import Member
from realtime_kit.errors import InvalidChannel, InvalidEvent, PayloadTooLarge, Unsupported
from realtime_kit.events import Event, size
from realtime_kit.providers.base import Capability, Provider
from realtime_kit.testing.conformance.suite import Connect, Suite, join
from realtime_kit.testing.conformance.wire import Delivery, Refused


def publish(provider: Provider, channel: str, data: Any = None, name: str = "update") -> None:
    """One event on one channel."""
    provider.publish([Event((channel,), name, data)])


def new_id() -> str:
    """An event's id. Services may drop one that they have seen, be it minutes ago."""
    return f"e{token_hex(6)}"


class PublishSuite(Suite):
    """Delivery: what, to whom, in which order, and the receipts."""

    @pytest.mark.parametrize(
        "data",
        [
            {"text": "héllo ☃ 😀", "n": 1.5, "list": [1, None, True]},
            [1, 2],
            {},
            "plain text",
            '{"looks": "like JSON"}',
            "42",
            "",
            42,
            None,
        ],
        ids=repr,
    )
    def test_data_arrives_as_it_was_sent(
        self, provider: Provider, connect: Connect, data: Any
    ) -> None:
        page = connect()
        page.subscribe("news")
        publish(provider, "news", data)
        assert page.receive() == Delivery("news", "update", data)

    def test_only_subscribers_receive_it(self, provider: Provider, connect: Connect) -> None:
        page, other = connect(), connect()
        page.subscribe("news")
        other.subscribe("sport")
        publish(provider, "news", 1)
        publish(provider, "sport", 2)
        assert page.receive().data == 1
        assert other.receive().data == 2

    def test_every_page_of_a_channel_receives_it(
        self, provider: Provider, connect: Connect
    ) -> None:
        pages = [connect() for _ in range(3)]
        for page in pages:
            page.subscribe("news")
        publish(provider, "news", "for all")
        assert [page.receive().data for page in pages] == ["for all"] * 3

    def test_an_event_goes_to_any_number_of_channels(
        self, provider: Provider, connect: Connect
    ) -> None:
        names = tuple(f"room-{n}" for n in range(2 * provider.limits.channels_per_trigger + 5))
        page = connect()
        for name in (names[0], names[provider.limits.channels_per_trigger], names[-1]):
            page.subscribe(name)
        event = Event(names, "update", 1, id=new_id())
        receipts = provider.publish([event])
        assert [(receipt.channel, receipt.id) for receipt in receipts] == [
            (name, event.id) for name in names
        ]
        received = {page.receive().channel for _ in range(3)}
        assert received == {names[0], names[provider.limits.channels_per_trigger], names[-1]}

    def test_any_number_of_events_keep_their_order(
        self, provider: Provider, connect: Connect
    ) -> None:
        page = connect()
        page.subscribe("news")
        count = 2 * provider.limits.events_per_batch + 5
        events = [Event(("news", "sport"), "update", n, id=new_id()) for n in range(count)]
        receipts = provider.publish(events)
        assert [(receipt.channel, receipt.id) for receipt in receipts] == [
            (name, event.id) for event in events for name in ("news", "sport")
        ]
        assert [page.receive().data for _ in range(count)] == list(range(count))

    def test_ids_travel_where_the_page_needs_them(
        self, provider: Provider, connect: Connect
    ) -> None:
        page = connect()
        page.subscribe("news")
        for number, data in enumerate(({"a": 1}, [1], "text")):
            event = Event(("news",), "update", data, new_id(), "epoch", number, "m1")
            receipt = provider.publish([event])[0]
            assert (receipt.id, receipt.epoch, receipt.offset) == (event.id, "epoch", number)
            ids = {"id": event.id, "epoch": "epoch", "offset": number, "mutation": "m1"}
            assert page.receive() == Delivery("news", "update", data, ids)

    def test_nothing_to_send_is_no_error(self, provider: Provider) -> None:
        assert provider.publish([]) == []

    def test_the_data_is_left_as_it_was(self, provider: Provider) -> None:
        data = {"a": {"b": [1]}}
        provider.publish([Event(("news", "sport"), "update", data, new_id(), "epoch", 7, "m1")] * 2)
        assert data == {"a": {"b": [1]}}


class LimitsSuite(Suite):
    """What is too much is refused before the first byte is sent, and nothing short of it is.

    `beside`: bytes of an event named `update` that count against the limit, beside its data.
    """

    beside: ClassVar[int] = 0

    @pytest.mark.parametrize("filler", ["a", "é", "☃", "😀"])
    def test_data_up_to_the_limit_in_bytes(
        self, provider: Provider, connect: Connect, filler: str
    ) -> None:
        limit = provider.limits.data
        page = connect()
        page.subscribe("news")
        room = limit - self.beside - size(filler)
        text = filler + "x" * room
        publish(provider, "news", text)
        assert page.receive().data == text
        with pytest.raises(PayloadTooLarge) as caught:
            publish(provider, "news", text + "x")
        assert (caught.value.size, caught.value.limit) == (limit + 1, limit)

    @pytest.mark.parametrize(
        ("event", "error"),
        [
            (Event(("not a name",), "update", {}), InvalidChannel),
            (Event(("",), "update", {}), InvalidChannel),
            (Event(("x" * 500,), "update", {}), InvalidChannel),
            (Event((), "update", {}), InvalidEvent),
            (Event(("news",), "", {}), InvalidEvent),
            (Event(("news",), "x" * 500, {}), InvalidEvent),
            (Event(("news",), "pusher:error", {}), InvalidEvent),
            (Event(("news",), "update", {"a": object()}), InvalidEvent),
            (Event(("news",), "update", float("nan")), InvalidEvent),
            (Event(("news",), "update", {}, exclude="me"), InvalidEvent),
            (Event(("private-encrypted-a", "news"), "update", {}), InvalidEvent),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_one_bad_event_stops_the_call(
        self, provider: Provider, connect: Connect, event: Event, error: type[Exception]
    ) -> None:
        page = connect()
        page.subscribe("news")
        good = [Event(("news",), "update", "too soon")] * (provider.limits.events_per_batch + 1)
        with pytest.raises(error):
            provider.publish([*good, event])
        publish(provider, "news", "first")
        assert page.receive().data == "first"


class ExcludeSuite(Suite):
    """The sender's own connection can be left out."""

    covers = frozenset({Capability.EXCLUDE})

    @pytest.mark.parametrize("count", [1, 2], ids=["one", "batch"])
    def test_the_excluded_page_alone_does_not_receive_it(
        self, provider: Provider, connect: Connect, count: int
    ) -> None:
        sender, other = connect(), connect()
        for page in (sender, other):
            page.subscribe("news")
        event = Event(("news",), "update", "to others", exclude=sender.socket_id)
        provider.publish([event] * count)
        publish(provider, "news", "to all")
        assert sender.receive().data == "to all"
        assert other.receive().data == "to others"


class InfoSuite(Suite):
    """`info=`: the channels' counts come back with the receipts."""

    covers = frozenset({Capability.INFO})

    @pytest.mark.parametrize("count", [1, 2], ids=["one", "batch"])
    def test_counts_come_with_the_receipts(
        self, provider: Provider, connect: Connect, count: int
    ) -> None:
        for _ in range(2):  # one user in two tabs
            join(provider, connect(), "presence-room", Member("7"))
        events = [Event(("presence-room",), "update", {})] * count
        receipts = provider.publish(events, info=["user_count"])
        assert [dict(receipt.info) for receipt in receipts] == [{"user_count": 1}] * count

    def test_without_it_there_are_none(self, provider: Provider) -> None:
        assert not provider.publish([Event(("news",), "update", {})])[0].info

    def test_what_nobody_counts_is_unsupported(self, provider: Provider) -> None:
        with pytest.raises(Unsupported, match="subscribtion_count"):
            provider.publish([Event(("news",), "update", {})], info=["subscribtion_count"])


class CacheSuite(Suite):
    """Cache channels: who comes later receives the last event."""

    covers = frozenset({Capability.CACHE})

    def test_the_last_event_waits_for_who_comes_later(
        self, provider: Provider, connect: Connect
    ) -> None:
        publish(provider, "cache-price", 1)
        publish(provider, "cache-price", 2)
        page = connect()
        page.subscribe("cache-price")
        assert page.receive() == Delivery("cache-price", "update", 2)

    def test_a_private_one_needs_proof_all_the_same(
        self, provider: Provider, connect: Connect
    ) -> None:
        publish(provider, "private-cache-price", 3)
        with pytest.raises(Refused):
            connect().subscribe("private-cache-price")
        page = connect()
        join(provider, page, "private-cache-price")
        assert page.receive().data == 3


class EncryptedSuite(Suite):
    """End-to-end encrypted channels: the page decrypts with the secret of its proof."""

    covers = frozenset({Capability.ENCRYPTED})

    @pytest.mark.parametrize("count", [1, 2], ids=["one", "batch"])
    def test_the_page_reads_what_was_sent(
        self, provider: Provider, connect: Connect, count: int
    ) -> None:
        page = connect()
        join(provider, page, "private-encrypted-room")
        data = {"secret": "☃"}
        provider.publish([Event(("private-encrypted-room",), "update", data)] * count)
        assert [page.receive().data for _ in range(count)] == [data] * count

    def test_the_limit_is_on_the_ciphertext(self, provider: Provider) -> None:
        with pytest.raises(PayloadTooLarge) as caught:
            publish(provider, "private-encrypted-room", "x" * provider.limits.data)
        assert caught.value.size > provider.limits.data
