"""The memory driver where the protocol's own suite cannot see: what it keeps, and what vanishes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from realtime_kit.hosting.local import MemoryDriver
from realtime_kit.protocol import effects as e
from realtime_kit.protocol.connection import Connection


@dataclass
class Socket:
    written: list = field(default_factory=list)
    closed: tuple | None = None

    def write(self, frame):
        self.written.append(frame.decode())

    def close(self, code, reason):
        self.closed = (code, reason)


@pytest.fixture
def notified():
    return []


@pytest.fixture
def driver(app, clock, notified):
    return MemoryDriver(
        app, encode=str.encode, clock=clock, call_later=clock.call_later, notify=notified.append
    )


@pytest.fixture
def connect(driver):
    def connect(socket_id):
        socket = Socket()
        perform = driver.performer(socket_id, socket)
        assert perform(e.Connect(Connection("42", socket_id)))
        return perform, socket

    return connect


def test_nothing_is_left_after_the_last_connection(driver, connect):
    performs = [connect(f"1.{number}")[0] for number in range(3)]
    for number, perform in enumerate(performs):
        perform(e.Subscribe("news"))
        perform(e.Subscribe("presence-room", f"user-{number % 2}"))
        perform(e.SignIn(f"user-{number % 2}", watchlist=("user-0", "user-9")))
    performs[0](e.Unsubscribe("news"))
    for perform in performs:
        perform(e.Drop())
    registry = driver.registry
    assert len(registry) == 0
    assert not registry._channels
    assert not registry._signed_in


def test_a_dropped_connection_does_not_come_back_to_life(driver, connect):
    perform, _ = connect("1.1")
    perform(e.Drop())
    assert perform(e.Subscribe("news")) == e.Joined(new=False)
    assert perform(e.SignIn("7")) == e.SignedIn(accepted=False)
    assert perform(e.Unsubscribe("news")) == e.Left("news", existed=False)
    assert perform(e.Subscribed("news")) is None
    assert perform(e.Drop()) == e.Dropped()
    assert driver.perform(e.QueryChannels()) == {}


def test_a_full_presence_channel_refuses_users_not_tabs(driver, connect):
    one, two, three = (connect(f"1.{number}")[0] for number in range(3))
    assert one(e.Subscribe("presence-r", "a", max_members=1)).first_of_member
    refused = two(e.Subscribe("presence-r", "b", max_members=1))
    assert refused == e.Joined(new=False, count=1, refused=True)
    assert three(e.Subscribe("presence-r", "a", max_members=1)) == e.Joined(True, count=2)
    assert two(e.Subscribed("presence-r")) is None


def test_a_refused_first_member_leaves_no_channel(driver, connect):
    perform, _ = connect("1.1")
    assert perform(e.Subscribe("presence-r", "a", max_members=0)).refused
    assert driver.perform(e.QueryChannels()) == {}


def test_internal_channels_are_reached_and_never_listed(driver, connect):
    perform, socket = connect("1.1")
    perform(e.SignIn("7", watchlist=("8",)))
    perform(e.Subscribe("#server-to-user-7"))
    driver.perform(e.Broadcast(e.watchers_of("8"), "online"))
    driver.perform(e.Broadcast("#server-to-user-7", "hello"))
    assert socket.written == ["online", "hello"]
    assert driver.perform(e.QueryChannels()) == {}


def test_terminate_ends_whoever_is_the_user_anywhere(driver, connect):
    signed_in, member, both, other = (connect(f"1.{number}") for number in range(4))
    signed_in[0](e.SignIn("7"))
    member[0](e.Subscribe("presence-a", "7"))
    both[0](e.SignIn("7"))
    both[0](e.Subscribe("presence-b", "7"))
    other[0](e.Subscribe("presence-a", "8"))
    driver.perform(e.Terminate("7", "only b", 4200, "again", "presence-b"))
    assert [peer[1].closed for peer in (signed_in, member, both)] == [None, None, (4200, "again")]
    driver.perform(e.Terminate("7", "gone", 4009, "over"))
    assert signed_in[1].written == member[1].written == ["gone"]
    assert signed_in[1].closed == member[1].closed == (4009, "over")
    assert other[1].closed is None


def test_the_cache_forgets(driver, clock):
    driver.perform(e.CacheSet("cache-a", "old", 10))
    clock.advance(4)
    driver.perform(e.CacheSet("cache-a", "new", 10))
    driver.perform(e.CacheSet("cache-b", "b", 10))
    assert driver.perform(e.CacheGet("cache-a")) == e.Cached("new", 10)
    clock.advance(9.9)
    assert driver.perform(e.CacheGet("cache-a")) == e.Cached("new", 1)
    clock.advance(0.1)
    assert driver.perform(e.CacheGet("cache-a")) is None
    assert not driver._cache


def test_a_bucket_refills_with_time_and_never_overflows(driver, connect, clock):
    perform, _ = connect("1.1")
    allow = e.Allow("client_events", 2)
    assert [perform(allow) for _ in range(3)] == [True, True, False]
    clock.advance(0.5)
    assert [perform(allow) for _ in range(2)] == [True, False]
    clock.advance(100)
    assert [perform(allow) for _ in range(3)] == [True, True, False]


def test_a_leave_that_is_taken_back_is_never_told(driver, clock, notified):
    gone = e.Notify({"name": "channel_vacated"}, delay=3.0, cancel_key="channel:a")
    back = e.Notify({"name": "channel_occupied"}, cancel_key="channel:a")
    driver.perform(back)
    driver.perform(gone)
    clock.advance(2.9)
    driver.perform(back)
    clock.advance(10)
    assert [event["name"] for event in notified] == ["channel_occupied"]
    driver.perform(gone)
    clock.advance(3)
    driver.perform(back)
    assert [event["name"] for event in notified[1:]] == ["channel_vacated", "channel_occupied"]
    assert not driver._waiting


def test_delayed_webhooks_without_a_key_do_not_meet(driver, clock, notified):
    for number in range(2):
        driver.perform(e.Notify({"number": number}, delay=1.0))
    clock.advance(1)
    assert notified == [{"number": 0}, {"number": 1}]


def test_a_repeated_webhook_is_told_once_in_its_window(driver, clock, notified):
    miss = e.Notify({"name": "cache_miss"}, cancel_key="cache_miss:cache-a", window=10)
    for _ in range(3):
        driver.perform(miss)
    driver.perform(e.Notify({"name": "other"}, cancel_key="cache_miss:cache-b", window=10))
    assert [event["name"] for event in notified] == ["cache_miss", "other"]
    clock.advance(10)
    driver.perform(miss)
    assert len(notified) == 3
    assert len(driver._said) == 1


def test_one_later_waits_for_a_channel(app, clock, notified):
    counting = type(app)(app.id, app.keys, subscription_count=True)
    driver = MemoryDriver(
        counting,
        encode=str.encode,
        clock=clock,
        call_later=clock.call_later,
        notify=notified.append,
    )
    for _ in range(3):
        driver.perform(e.Later("news", 5))
    clock.advance(5)
    assert [event["name"] for event in notified] == ["subscription_count"]
    driver.perform(e.Later("news", 5))
    driver.close()
    clock.advance(5)
    assert len(notified) == 1


def test_close_calls_off_what_waits(driver, clock, notified):
    driver.perform(e.Notify({"name": "late"}, delay=3.0, cancel_key="k"))
    driver.close()
    clock.advance(10)
    assert notified == []


def test_a_send_to_a_socket_that_is_gone_is_no_error(driver, connect):
    perform, socket = connect("1.1")

    def gone(_):
        raise RuntimeError("the handler is closed")

    socket.write = gone
    assert perform(e.Send("hello")) is None
