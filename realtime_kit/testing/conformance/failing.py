"""A vendor that is down, slow, or wrong: one typed error within the timeout, nothing sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import ClassVar

import pytest

from realtime_kit.errors import (
    PartiallySent,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    Rejected,
)
from realtime_kit.events import Event
from realtime_kit.providers.base import Capability, Provider
from realtime_kit.testing.faults import (
    Answer,
    Drip,
    Fault,
    FaultServer,
    Hang,
    Raw,
    Received,
    Reset,
    unused_port,
)

ProviderAt = Callable[[str, int], Provider]

TIMEOUT = 1.0
"""Seconds for which `provider_at` lets its provider wait."""

EVENT = Event(("news",), "update", {"n": 1}, id="e1")


class ErrorSuite:
    """Faults of the network and of the vendor.

    Fixture `provider_at`: from a host and a port, a provider that posts there, in clear, and waits
    `failing.TIMEOUT` for a whole answer. `accept` is overridden where what a vendor answers to
    what it takes depends on the request.
    """

    covers: ClassVar[frozenset[Capability]] = frozenset()

    def accept(self, received: Received) -> Answer:
        """The vendor's answer to what it takes."""
        return Answer()

    @pytest.fixture
    def vendor(self) -> Iterator[FaultServer]:
        with FaultServer(decide=self.accept) as server:
            yield server

    @pytest.fixture
    def faulty(self, vendor: FaultServer, provider_at: ProviderAt) -> Iterator[Provider]:
        provider = provider_at(vendor.host, vendor.port)
        yield provider
        provider.close()

    def _first_accepted(self, vendor: FaultServer, later: Answer) -> Callable[[Received], Answer]:
        return lambda received: self.accept(received) if len(vendor.received) == 1 else later

    @pytest.mark.parametrize(
        "fault",
        [
            Raw(),
            Reset(),
            Reset(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"),
            Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"),
            Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"),
            Raw(b"SSH-2.0-OpenSSH\r\n\r\n"),
            Hang(),
            Hang(b"HTTP/1.1 200 OK\r\n"),
            Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", TIMEOUT / 8),
            Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{"),
        ],
        ids=[
            "end at once",
            "reset at once",
            "reset inside the answer",
            "end inside the answer",
            "end inside a chunk",
            "not HTTP",
            "silence",
            "silence inside the answer",
            "dripping",
            "endless",
        ],
    )
    def test_no_whole_answer(self, vendor: FaultServer, faulty: Provider, fault: Fault) -> None:
        vendor.script(fault)
        start = monotonic()
        with pytest.raises(ProviderUnavailable) as caught:
            faulty.publish([EVENT])
        assert monotonic() - start < 4 * TIMEOUT
        error = caught.value
        assert (error.provider, error.retryable, error.maybe_sent) == (faulty.name, True, True)
        assert error.__cause__ is not None
        assert len(vendor.received) == 1, "what may have been taken was sent again"
        assert len(faulty.publish([EVENT])) == 1

    @pytest.mark.parametrize(
        ("status", "error", "retryable", "maybe_sent"),
        [
            (302, Rejected, False, False),
            (400, Rejected, False, False),
            (401, Rejected, False, False),
            (403, Rejected, False, False),
            (404, Rejected, False, False),
            (413, Rejected, False, False),
            (429, RateLimited, True, False),
            (500, ProviderUnavailable, True, True),
            (502, ProviderUnavailable, True, True),
            (503, ProviderUnavailable, True, True),
        ],
    )
    def test_a_status_that_is_no_success(
        self,
        vendor: FaultServer,
        faulty: Provider,
        status: int,
        error: type[ProviderError],
        retryable: bool,
        maybe_sent: bool,
    ) -> None:
        vendor.script(Answer(status, b"because of the weather\n", {"Retry-After": "7"}))
        with pytest.raises(error, match="because of the weather") as caught:
            faulty.publish([EVENT])
        assert type(caught.value) is error
        assert (caught.value.status, caught.value.retryable) == (status, retryable)
        assert caught.value.maybe_sent is maybe_sent
        if isinstance(caught.value, RateLimited):
            assert caught.value.retry_after == 7
        assert len(vendor.received) == 1

    @pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"null", b"\xff"])
    def test_a_success_that_is_none(
        self, vendor: FaultServer, faulty: Provider, body: bytes
    ) -> None:
        vendor.script(Answer(200, body))
        with pytest.raises(ProviderUnavailable) as caught:
            faulty.publish([EVENT])
        assert caught.value.maybe_sent

    def test_nobody_listens(self, provider_at: ProviderAt) -> None:
        provider = provider_at("127.0.0.1", unused_port())
        with pytest.raises(ProviderUnavailable) as caught:
            provider.publish([EVENT])
        assert (caught.value.retryable, caught.value.maybe_sent) == (True, False)

    def test_a_name_that_is_not_found(self, provider_at: ProviderAt) -> None:
        provider = provider_at("nowhere.invalid", 80)
        with pytest.raises(ProviderUnavailable, match=r"nowhere\.invalid") as caught:
            provider.publish([EVENT])
        assert not caught.value.maybe_sent

    def test_one_connection_serves_many_calls(self, vendor: FaultServer, faulty: Provider) -> None:
        for _ in range(5):
            faulty.publish([EVENT])
        assert {request.connection for request in vendor.received} == {0}

    def test_an_idle_connection_that_was_closed(
        self, vendor: FaultServer, faulty: Provider
    ) -> None:
        vendor.decide = lambda received: replace(self.accept(received), close=True)
        faulty.publish([EVENT])
        vendor.wait_closed()
        vendor.decide = self.accept
        faulty.publish([EVENT])
        assert [request.connection for request in vendor.received] == [0, 1]

    def test_it_works_again_after_close(self, vendor: FaultServer, faulty: Provider) -> None:
        faulty.publish([EVENT])
        faulty.close()
        vendor.wait_closed()
        faulty.publish([EVENT])
        assert len(vendor.received) == 2

    def test_a_call_that_fails_half_way(self, vendor: FaultServer, faulty: Provider) -> None:
        """One event to so many channels that it takes several requests."""
        size = faulty.limits.channels_per_trigger
        event = Event(tuple(f"room-{n}" for n in range(3 * size)), "update", {}, id="e1")
        vendor.decide = self._first_accepted(vendor, Answer(503, b"busy"))
        with pytest.raises(PartiallySent) as caught:
            faulty.publish([event])
        error = caught.value
        assert [receipt.channel for receipt in error.accepted] == list(event.channels[:size])
        assert [e.channels for e in error.unknown] == [event.channels[size : 2 * size]]
        assert [e.channels for e in error.unsent] == [event.channels[2 * size :]]
        assert {e.id for e in (*error.unknown, *error.unsent)} == {"e1"}
        assert (error.status, error.retryable, error.maybe_sent) == (503, True, True)
        assert isinstance(error.__cause__, ProviderUnavailable)
        assert len(vendor.received) == 2, "it went on after a failure"

    def test_a_batch_that_is_refused_half_way(self, vendor: FaultServer, faulty: Provider) -> None:
        count = 2 * faulty.limits.events_per_batch
        events = [Event(("news",), "update", n, id=f"e{n}") for n in range(count)]
        vendor.decide = self._first_accepted(vendor, Answer(429, b"slower"))
        with pytest.raises(PartiallySent) as caught:
            faulty.publish(events)
        assert [e.id for e in caught.value.unsent] == [e.id for e in events[count // 2 :]]
        assert caught.value.unknown == ()
        assert isinstance(caught.value.__cause__, RateLimited)
        assert not caught.value.maybe_sent

    def test_a_long_call_whose_first_request_fails(
        self, vendor: FaultServer, faulty: Provider
    ) -> None:
        """Nothing was sent: the error itself, because nothing is partial about it."""
        events = [EVENT] * (2 * faulty.limits.events_per_batch)
        vendor.script(Answer(400, b"no"))
        with pytest.raises(Rejected):
            faulty.publish(events)
        assert len(vendor.received) == 1

    def test_no_secret_in_an_error(
        self, vendor: FaultServer, faulty: Provider, secrets: list[str]
    ) -> None:
        """A server that quotes what it was sent, as Pusher's 401 does."""
        faulty.publish([EVENT])
        target = vendor.received[0].target
        vendor.script(Answer(401, f"Invalid signature: {target}".encode()))
        with pytest.raises(Rejected) as caught:
            faulty.publish([EVENT])
        signature = target.partition("auth_signature=")[2][:64]
        text = f"{caught.value} {caught.value!r}"
        assert not [secret for secret in (*secrets, signature) if secret and secret in text]
