"""What a relay does with rows: in order, at least once, and what fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from realtime_kit import (
    ConfigurationError,
    Event,
    InvalidEvent,
    PartiallySent,
    ProviderUnavailable,
    RateLimited,
    Realtime,
    RealtimeSettings,
    Receipt,
    Rejected,
)
from realtime_kit.outbox import Queue, Relay, Tally
from realtime_kit.testing.fakes import FakeProvider

DOWN = ProviderUnavailable("down", provider="fake", retryable=True)
REFUSED = Rejected("no", provider="fake", status=400)


class Failing(FakeProvider):
    """Fails by the rule that a test sets: `fails(event)` is what to raise, or None. Whatever was
    asked for is in `calls`."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[Event], Exception | None] = lambda event: None
        self.calls: list[list[str]] = []

    def publish(self, events: Sequence[Event], **options: object) -> list[Receipt]:
        self.calls.append([event.name for event in events])
        for event in events:
            if (error := self.fails(event)) is not None:
                raise error
        return super().publish(events)

    @property
    def names(self) -> list[str]:
        return [sent.name for sent in self.sent]


@pytest.fixture
def provider() -> Failing:
    return Failing()


@pytest.fixture
def trigger(realtime, session):
    """Commit events, each `CHANNEL NAME`."""

    def commit(*events: str) -> None:
        for channel, name in map(str.split, events):
            realtime.outbox(session).trigger(channel, name, {})
        session.commit()

    return commit


@pytest.fixture
def relay(make_relay) -> Relay:
    return make_relay()


class TestBatches:
    def test_all_that_is_new_in_one_call(self, relay, provider, trigger):
        trigger("a 1", "b 2", "a 3")
        assert relay.drain() == Tally(sent=3)
        assert provider.calls == [["1", "2", "3"]]

    def test_as_many_as_asked_for(self, make_relay, provider, trigger):
        trigger(*(f"a {n}" for n in range(5)))
        assert make_relay(batch=2).drain() == Tally(sent=5)
        assert provider.calls == [["0", "1"], ["2", "3"], ["4"]]

    def test_an_event_to_many_channels_is_one(self, relay, realtime, provider, session):
        realtime.outbox(session).trigger(["a", "b", "a"], "1", {})
        session.commit()
        assert relay.drain() == Tally(sent=2)
        assert provider.calls == [["1"]]
        assert [sent.channel for sent in provider.sent] == ["a", "b"]

    def test_encrypted_channels_by_themselves(self, relay, realtime, provider, session):
        channels = ["private-encrypted-a", "private-encrypted-b"]
        outbox = realtime.outbox(session)
        outbox.trigger_batch([Event((name,), "1", {}, id="x") for name in channels])
        session.commit()
        relay.drain()
        assert provider.calls == [["1", "1"]]

    def test_nothing_to_do_writes_nothing(self, relay, engine, trigger):
        trigger("a 1")
        relay.drain()
        statements: list[str] = []
        sa.event.listen(
            engine, "before_cursor_execute", lambda *given: statements.append(given[2].split()[0])
        )
        assert relay.drain() == Tally()
        assert set(statements) == {"SELECT"}


class TestBackOff:
    def test_longer_each_time(self, make_relay, provider, trigger, clock):
        relay = make_relay(attempts=99)
        provider.fails = lambda event: DOWN
        trigger("a 1")
        waits = []
        for _ in range(8):
            assert relay.drain() == Tally(put_off=1)
            start = clock.now
            while not relay.queue.take("look", 1, 0):
                clock.now += 0.5
            waits.append(clock.now - start)
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]

    def test_some_of_it_is_chance(self, make_relay, provider, trigger, clock):
        relay = make_relay(chance=lambda: 0.5)
        provider.fails = lambda event: DOWN
        trigger("a 1")
        relay.drain()
        clock.now += 0.74
        assert relay.drain() == Tally()
        clock.now += 0.02
        assert relay.drain() == Tally(put_off=1)

    def test_as_long_as_the_provider_asks(self, relay, provider, trigger, clock):
        provider.fails = lambda event: RateLimited("slow", provider="fake", retry_after=7)
        trigger("a 1")
        relay.drain()
        clock.now += 6.9
        assert relay.drain() == Tally()
        clock.now += 0.2
        assert relay.drain() == Tally(put_off=1)

    def test_a_channel_waits_for_its_first_and_others_go_on(self, relay, provider, trigger, clock):
        provider.fails = lambda event: DOWN if event.name == "bad" else None
        trigger("a bad", "a 2", "b 1")
        relay.drain()
        trigger("a 3", "b 2")
        clock.now += 1
        relay.drain()
        trigger("b 3")
        relay.drain()
        assert [sent.name for sent in provider.on("b")] == ["1", "2", "3"]
        assert provider.on("a") == []
        provider.fails = lambda event: None
        clock.now += 60
        relay.drain()
        assert [sent.name for sent in provider.on("a")] == ["bad", "2", "3"]

    def test_what_failed_before_is_tried_by_itself(self, relay, provider, trigger, clock):
        provider.fails = lambda event: DOWN if event.name == "bad" else None
        trigger("a bad", "a 2", "b 3")
        relay.drain()
        trigger("c 4", "a 5")
        clock.now += 1
        provider.calls.clear()
        relay.drain()
        assert provider.calls == [["4"], ["bad"], ["3"]]


class TestGivenUp:
    def test_what_the_provider_refuses(self, relay, provider, trigger):
        provider.fails = lambda event: REFUSED if event.name == "bad" else None
        trigger("a 1", "a bad", "a 2", "b 3")
        assert relay.drain() == Tally(sent=3, put_off=4, dead=1)
        assert [sent.name for sent in provider.on("a")] == ["1", "2"]
        assert [sent.name for sent in provider.on("b")] == ["3"]
        (dead,) = relay.queue.dead()
        assert (dead.channel, dead.name, dead.attempts) == ("a", "bad", 2)
        assert dead.error == "Rejected: no (fake, status 400)"

    def test_what_is_no_event_any_more(self, relay, provider, trigger):
        provider.fails = lambda event: InvalidEvent("too new") if event.name == "bad" else None
        trigger("a bad", "a 1")
        relay.drain()
        assert (provider.names, [dead.name for dead in relay.queue.dead()]) == (["1"], ["bad"])

    def test_after_so_many_attempts(self, relay, provider, trigger, clock):
        provider.fails = lambda event: DOWN if event.name == "bad" else None
        trigger("a bad", "a 1")
        for _ in range(3):
            relay.drain()
            clock.now += 60
        relay.drain()
        assert provider.names == ["1"]
        assert [(dead.name, dead.attempts) for dead in relay.queue.dead()] == [("bad", 3)]

    @pytest.mark.parametrize("status", [401, 402, 403])
    def test_not_for_what_is_wrong_with_the_account(self, relay, provider, trigger, status):
        provider.fails = lambda event: Rejected("no", provider="fake", status=status)
        trigger("a 1")
        assert relay.drain() == Tally(put_off=1)

    def test_not_where_the_settings_are_wrong(self, relay, provider, trigger):
        error = ConfigurationError("set REALTIME_HISTORY__URL")
        provider.fails = lambda event: error
        trigger("a 1")
        with pytest.raises(ConfigurationError):
            relay.drain()
        provider.fails = lambda event: None
        assert relay.drain() == Tally(sent=1)

    def test_replayed(self, relay, provider, trigger):
        provider.fails = lambda event: REFUSED
        trigger("a 1")
        trigger("a 2")
        while relay.drain().put_off:
            pass
        one, two = relay.queue.dead()
        provider.fails = lambda event: None
        assert (relay.queue.replay([one.seq]), relay.queue.replay([999])) == (1, 0)
        assert relay.drain() == Tally(sent=1)
        assert relay.queue.dead() == [two]
        assert relay.queue.replay() == 1
        relay.drain()
        assert provider.names == ["1", "2"]
        assert [sent.id for sent in provider.sent] == [one.id, two.id]

    def test_discarded(self, relay, provider, trigger):
        provider.fails = lambda event: REFUSED if event.name != "alive" else None
        trigger("a 1")
        trigger("a 2")
        trigger("a 3")
        while relay.drain().put_off:
            pass
        one, *_ = relay.queue.dead()
        provider.fails = lambda event: None
        assert relay.queue.discard([one.seq]) == 1
        trigger("a alive")
        assert relay.queue.discard() == 2
        assert relay.queue.dead() == []
        assert relay.drain() == Tally(sent=1)


class TestPartly:
    def partial(self, accepted: str = "", unsent: str = "", unknown: str = "", **options: bool):
        """Which events were taken, by name, of those that are asked for in the next call."""

        def fail(events: Sequence[Event]) -> None:
            by_name = {event.name: event for event in events}
            raise PartiallySent(
                "half",
                provider="fake",
                accepted=[
                    Receipt(by_name[name].channels[0], by_name[name].id) for name in accepted
                ],
                unsent=[by_name[name] for name in unsent],
                unknown=[by_name[name] for name in unknown],
                **options,
            ) from DOWN

        return fail

    def test_only_the_rest_is_sent_again(self, relay, provider, trigger, clock, monkeypatch):
        fail = self.partial(accepted="1", unknown="2", unsent="34", retryable=True)
        trigger("a 1", "b 2", "c 3", "b 4")
        with monkeypatch.context() as patch:
            patch.setattr(provider, "publish", lambda events, **_: fail(events))
            assert relay.drain() == Tally(sent=1, put_off=3)
        clock.now += 1
        assert relay.drain() == Tally(sent=3)
        assert [(sent.channel, sent.name) for sent in provider.sent] == [
            ("b", "2"), ("b", "4"), ("c", "3"),
        ]  # fmt: skip

    def test_of_an_event_to_many_channels(self, relay, realtime, provider, session, clock):
        def fail(event: Event) -> Exception:
            return PartiallySent(
                "half", provider="fake", accepted=[Receipt("a", event.id)],
                unsent=[Event(("b", "c"), event.name, event.data, event.id)], unknown=[],
                retryable=True,
            )  # fmt: skip

        provider.fails = fail
        given = realtime.outbox(session).trigger(["a", "b", "c"], "1", {})
        session.commit()
        assert relay.drain() == Tally(sent=1, put_off=2)
        provider.fails = lambda event: None
        clock.now += 1
        relay.drain()
        assert [(sent.channel, sent.id) for sent in provider.sent] == [("b", given), ("c", given)]

    def test_refused_for_good_in_the_middle(self, relay, provider, trigger, monkeypatch):
        fail = self.partial(accepted="1", unsent="x3")
        publish = provider.publish

        def once(events: Sequence[Event], **_: object) -> list[Receipt]:
            monkeypatch.setattr(provider, "publish", publish)
            provider.fails = lambda event: REFUSED if event.name == "x" else None
            return fail(events) or []

        monkeypatch.setattr(provider, "publish", once)
        trigger("a 1", "b x", "c 3")
        assert relay.drain() == Tally(sent=2, put_off=2, dead=1)
        assert provider.names == ["3"]


class TestSeveral:
    def test_a_channel_is_with_one_at_a_time(self, relay, trigger):
        trigger("a 1", "a 2", "b 1")
        (first,) = relay.queue.take("one", 1, 60)
        assert first.channel == "a"
        rest = relay.queue.take("two", 9, 60)
        assert [row.channel for row in rest] == ["b"]
        relay.queue.remove([first])
        assert [row.name for row in relay.queue.take("two", 9, 60)] == ["2"]

    def test_what_a_killed_one_had_is_there_again(self, relay, provider, trigger, clock):
        trigger("a 1", "a 2")
        relay.queue.take("killed", 9, 60)
        clock.now += 59
        assert relay.drain() == Tally()
        clock.now += 2
        assert relay.drain() == Tally(sent=2)
        assert provider.names == ["1", "2"]

    def test_one_that_was_too_slow_changes_nothing_of_the_others(self, relay, trigger, clock):
        trigger("a 1", "b 2")
        slow = relay.queue.take("slow", 9, 60)
        clock.now += 61
        relay.queue.take("quick", 9, 60)
        relay.queue.put_off([(slow[0], 0.0)], "slow", "why")
        relay.queue.give_up(slow, "slow", "why")
        relay.queue.release("slow")
        assert (relay.queue.dead(), relay.queue.take("third", 9, 60)) == ([], [])
        relay.queue.remove(slow)  # these were sent after all
        assert relay.queue.waiting() == 0

    def test_many_threads_send_all_once_and_in_order(self, make_relay, provider, realtime, engine):
        with Session(engine) as session:
            for n in range(300):
                realtime.outbox(session).trigger(f"c{n % 7}", str(n), {})
            session.commit()
        relays = [make_relay(batch=5) for _ in range(4)]
        threads = [threading.Thread(target=relay.drain) for relay in relays]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        make_relay().drain()
        assert len(provider.sent) == 300
        for c in range(7):
            assert [int(sent.name) for sent in provider.on(f"c{c}")] == list(range(c, 300, 7))


def test_a_number_that_is_committed_late_is_not_skipped(postgres_database):
    """Two transactions at once: the second commits first, and is sent before the first has."""
    from realtime_kit.history.sql import make_engine
    from realtime_kit.outbox import create_tables

    provider = FakeProvider()
    realtime = Realtime(provider, settings=RealtimeSettings(environ={}))
    engine = make_engine(postgres_database)
    create_tables(engine)
    relay = Relay(realtime, engine)
    with Session(engine) as first, Session(engine) as second:
        realtime.outbox(first).trigger("a", "first", {})
        realtime.outbox(second).trigger("a", "second", {})
        second.commit()
        relay.drain()
        assert [sent.name for sent in provider.sent] == ["second"]
        first.commit()
        relay.drain()
    assert [sent.name for sent in provider.sent] == ["second", "first"]
    engine.dispose()


class TestHistory:
    @pytest.fixture
    def realtime(self, provider):
        environ = {"REALTIME_HISTORY__DEFAULT": "99/1h"}
        return Realtime(provider, settings=RealtimeSettings(environ=environ))

    def test_a_repeat_is_the_same_event_at_the_same_place(
        self, relay, realtime, provider, trigger, clock
    ):
        start = realtime.recorder.position("a")
        provider.fails = lambda event: DOWN
        trigger("a 1")
        relay.drain()
        trigger("a 2")
        provider.fails = lambda event: None
        clock.now += 1
        relay.drain()
        entries = realtime.recorder.read("a", start).entries
        assert [(entry.offset, entry.name) for entry in entries] == [(1, "1"), (2, "2")]
        assert [entry.id for entry in entries] == [sent.id for sent in provider.sent]


class TestRunning:
    @pytest.fixture
    def start(self):
        started = []

        def run(relay: Relay, **options: object) -> threading.Thread:
            thread = threading.Thread(target=relay.run, kwargs=options)
            thread.start()
            started.append((relay, thread))
            return thread

        yield run
        for relay, thread in started:
            relay.stop()
            thread.join(10)
            assert not thread.is_alive()

    def test_woken_by_a_commit_of_this_process(self, make_relay, start, trigger, provider):
        news = threading.Event()
        relay = make_relay(interval=600)
        start(relay, on_round=lambda done: news.set())
        for n in range(3):
            trigger(f"a {n}")
            assert news.wait(10)
            news.clear()
        assert provider.names == ["0", "1", "2"]

    def test_looks_by_itself(self, make_relay, start, provider, engine, trigger, monkeypatch):
        monkeypatch.setattr("realtime_kit.outbox.writing.running", ())
        news = threading.Event()
        start(make_relay(interval=0.01), on_round=lambda done: news.set())
        trigger("a 1")
        assert news.wait(10)
        assert provider.names == ["1"]

    def test_waits_for_a_database_that_is_gone(self, make_relay, start, trigger, provider, caplog):
        relay = make_relay(interval=0.01)
        news, failed = threading.Event(), threading.Event()
        take = relay.queue.take

        def broken(*given: object) -> object:
            if not failed.is_set():
                failed.set()
                raise ProviderUnavailable("gone", provider="outbox", retryable=True)
            return take(*given)

        relay.queue.take = broken
        trigger("a 1")
        start(relay, on_round=lambda done: news.set())
        assert news.wait(10)
        assert provider.names == ["1"]
        assert "the relay waits: gone" in caplog.text

    def test_stops_between_two_calls(self, make_relay, start, trigger, provider):
        relay = make_relay(batch=1)
        trigger("a 1", "a 2")
        provider.fails = lambda event: relay.stop()
        start(relay).join(10)
        assert provider.names == ["1"]
        assert make_relay().drain() == Tally(sent=1)

    def test_not_for_ever_where_nothing_can_be_sent(
        self, make_relay, trigger, provider, clock, monkeypatch
    ):
        monkeypatch.setattr("realtime_kit.outbox.relay.LONGEST_PAUSE", 0)
        provider.fails = lambda event: DOWN
        trigger(*(f"c{n} {n}" for n in range(30)))
        assert make_relay(batch=1).drain() == Tally(put_off=20)
        provider.fails = lambda event: None
        clock.now += 1
        assert make_relay().drain() == Tally(sent=30)

    def test_a_bounded_time(self, relay, trigger):
        trigger("a 1")
        assert relay.drain(seconds=0) == Tally()
        assert relay.drain(seconds=60) == Tally(sent=1)


def test_a_database_that_fails_is_a_provider_error(tmp_path, url):
    queue = Queue(f"sqlite:///{tmp_path}/no/such/place.db")
    with pytest.raises(ProviderUnavailable, match="the outbox's database failed"):
        queue.waiting()
