"""What the functions do, one by one: connect, receive, disconnect, the queue, the sweep."""

from __future__ import annotations

import json

import pytest

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.hosting.apigateway import broadcast
from realtime_kit.hosting.apigateway import sweep as sweep_module
from realtime_kit.hosting.apigateway.ids import to_socket_id
from realtime_kit.hosting.apigateway.registry import Bounds
from realtime_kit.hosting.apigateway.sweep import Swept
from realtime_kit.protocol.app import App, Key
from realtime_kit.protocol.effects import Subscribe
from realtime_kit.protocol.http_api import Request

SUBSCRIBED = "pusher_internal:subscription_succeeded"
ESTABLISHED = "pusher:connection_established"


# --- connect --------------------------------------------------------------------------------


def test_a_client_is_greeted_after_connect_has_returned(world):
    host = world.host()
    conn = world.client(host, greeted=False)
    assert not world.heard(conn)
    host.arrived(world.greetings.pop())
    [frame] = world.gateway.frames[conn]
    assert frame["event"] == ESTABLISHED
    assert json.loads(frame["data"])["socket_id"] == to_socket_id(conn)


def test_a_frame_before_the_greeting_finds_its_connection(world):
    host = world.host()
    conn = world.client(host, greeted=False)
    world.subscribe(host, conn, "news")
    assert world.heard(conn) == [SUBSCRIBED]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"key": "unknown"}, 4001),
        ({"key": ""}, 4001),
        ({"origin": "https://evil.example"}, 4009),
        ({"origin": "null"}, 4009),
    ],
)
def test_who_is_refused_is_told_and_closed(world, more, code):
    host = world.host(origins=["https://shop.example/"])
    conn = world.client(host, **more)
    [frame] = world.gateway.frames[conn]
    assert (frame["event"], frame["data"]["code"]) == ("pusher:error", code)
    assert conn not in world.gateway.open
    world.run(host)
    assert not world.left_behind()


@pytest.mark.parametrize("origin", ["https://SHOP.example", None])
def test_the_applications_pages_and_what_is_no_page_may_connect(world, origin):
    host = world.host(origins=["https://shop.example"])
    assert world.heard(world.client(host, origin=origin)) == [ESTABLISHED]


def test_connections_from_one_address_are_bounded(world):
    host = world.host(bounds=Bounds(per_address=2))
    conns = [world.client(host, address="192.0.2.1") for _ in range(3)]
    assert world.heard(conns[1]) == [ESTABLISHED]
    [frame] = world.gateway.frames[conns[2]]
    assert frame["data"]["code"] == 4004
    assert world.heard(world.client(host, address="192.0.2.2")) == [ESTABLISHED]
    host.disconnect(conns[0])
    assert world.heard(world.client(host, address="192.0.2.1")) == [ESTABLISHED]


def test_subscriptions_of_a_connection_are_bounded(world):
    host = world.host(bounds=Bounds(subscriptions=2))
    conn = world.client(host)
    for channel in ("a", "b", "c"):
        world.subscribe(host, conn, channel)
    assert world.heard(conn)[1:] == [SUBSCRIBED, SUBSCRIBED, "pusher:error"]


def test_the_queue_greets_if_the_function_cannot_be_invoked(world):
    world.greeter_works = False
    host = world.host()
    conn = world.client(host)
    assert not world.heard(conn)
    world.run(host)
    assert world.heard(conn) == [ESTABLISHED]


def test_nothing_is_left_of_a_client_that_nobody_can_greet(world):
    world.greeter_works = world.queue_works = False
    host = world.host()
    with pytest.raises(ProviderUnavailable):
        world.client(host)
    assert not world.left_behind()


def test_a_greeting_that_is_throttled_comes_again(world):
    host = world.host()
    conn = world.client(host, greeted=False)
    world.gateway.throttled[conn] = 2
    host.arrived(world.greetings.pop())
    world.advance(host, 1)
    assert not world.heard(conn)
    world.advance(host, 1)
    assert world.heard(conn) == [ESTABLISHED]


def test_who_went_before_the_greeting_leaves_nothing(world):
    host = world.host()
    conn = world.client(host, greeted=False)
    world.gateway.open.clear()
    host.arrived(world.greetings.pop())
    world.run(host)
    assert not world.left_behind()
    assert not world.heard(conn)


# --- frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", '{"event":1}', '{"event":"x"}', "\ud800"])
def test_any_frame_is_answered_with_a_frame_that_clients_can_parse(world, frame):
    host = world.host()
    conn = world.client(host)
    host.receive(conn, frame)
    assert world.heard(conn)[1:] == ["pusher:error"]


def test_a_client_that_is_not_known_any_more_comes_back(world):
    host = world.host()
    world.gateway.open.add("stray")
    host.receive("stray", '{"event":"pusher:ping"}')
    [frame] = world.gateway.frames["stray"]
    assert frame["data"]["code"] == 4200
    assert "stray" not in world.gateway.open


def test_a_table_that_is_away_ends_the_connection(world, monkeypatch):
    host = world.host()
    conn = world.client(host)

    def away(conn):
        raise ProviderUnavailable("away", provider="aws")

    monkeypatch.setattr(host.registry, "connection", away)
    host.receive(conn, '{"event":"pusher:ping"}')
    assert world.gateway.frames[conn][-1]["data"]["code"] == 4100
    assert conn not in world.gateway.open


def test_a_step_that_takes_too_long_is_ended(world):
    seconds = iter([0.0, 0.0, *([100.0] * 50)])
    host = world.host(monotonic=lambda: next(seconds))
    conn = world.client(host)
    world.subscribe(host, conn, "news")
    assert conn not in world.gateway.open


def test_disconnect_may_come_any_number_of_times(world):
    host = world.host(webhooks=True)
    one, two = world.client(host), world.client(host)
    for conn, user in ((one, "1"), (two, "2")):
        world.subscribe(host, conn, "presence-room", user)
    for _ in range(3):
        host.disconnect(two)
    assert world.heard(one).count("pusher_internal:member_removed") == 1
    host.disconnect(one)
    host.disconnect("nobody")
    assert not world.left_behind()


# --- broadcasts -----------------------------------------------------------------------------


def subscribers(world, host, count, channel="news"):
    conns = [world.client(host) for _ in range(count)]
    for conn in conns:
        world.subscribe(host, conn, channel)
    return conns


def test_few_are_reached_at_once_and_the_sender_is_not(world):
    host = world.host()
    conns = subscribers(world, host, 5)
    assert world.trigger(host, "news", socket_id=to_socket_id(conns[2])) == 200
    assert [world.heard(conn).count("update") for conn in conns] == [1, 1, 0, 1, 1]
    assert not world.messages


@pytest.mark.parametrize("mode", ["auto", "inline", "queue"])
def test_many_are_reached_as_the_mode_says(world, monkeypatch, mode):
    monkeypatch.setattr(broadcast, "INLINE", 3)
    monkeypatch.setattr(broadcast, "BATCH", 2)
    host = world.host(mode=mode)
    conns = subscribers(world, host, 5)
    world.trigger(host, "news", socket_id=to_socket_id(conns[2]))
    queued = [message for _, message in world.messages]
    assert [message["do"] for message in queued] == ([] if mode == "inline" else ["shard"])
    world.run(host)
    assert [world.heard(conn).count("update") for conn in conns] == [1, 1, 0, 1, 1]


@pytest.mark.parametrize("dies_at", range(5))
def test_a_worker_that_dies_is_followed_by_one_that_repeats_a_batch_at_most(
    world, monkeypatch, dies_at
):
    monkeypatch.setattr(broadcast, "BATCH", 3)
    host = world.host(mode="queue")
    conns = subscribers(world, host, 10)
    world.trigger(host, "news")
    [(_, message)] = world.messages
    world.gateway.deliveries.clear()

    class Death(BaseException):
        pass

    def die():
        if len(world.gateway.deliveries) == dies_at:
            raise Death

    world.gateway.after = die
    if dies_at in range(1, 5):
        with pytest.raises(Death):
            host.arrived(message)
    host.arrived(message)
    counts = [world.heard(conn).count("update") for conn in conns]
    assert min(counts) == 1
    assert sum(counts) - len(conns) <= 3


def test_a_worker_whose_time_is_up_hands_on(world, monkeypatch):
    monkeypatch.setattr(broadcast, "BATCH", 3)
    host = world.host(mode="queue")
    conns = subscribers(world, host, 10)
    world.trigger(host, "news")
    rounds = 0
    while world.messages:
        rounds += 1
        _, message = world.messages.pop()
        host.arrived(message, left=lambda: 1.0)
    assert rounds == 4
    assert [world.heard(conn).count("update") for conn in conns] == [1] * 10


def test_who_is_throttled_hears_it_later(world):
    host = world.host()
    conns = subscribers(world, host, 3)
    world.gateway.throttled[conns[1]] = 3
    assert world.trigger(host, "news") == 200
    assert [world.heard(conn).count("update") for conn in conns] == [1, 0, 1]
    world.advance(host, 60)
    assert [world.heard(conn).count("update") for conn in conns] == [1, 1, 1]


def test_who_is_never_reached_is_sent_away(world):
    host = world.host()
    conns = subscribers(world, host, 2)
    world.gateway.throttled[conns[0]] = broadcast.TRIES
    world.trigger(host, "news")
    world.advance(host, 300)
    assert world.heard(conns[0])[-1] == "pusher:error"
    assert world.gateway.open == {conns[1]}


def test_who_misses_a_member_is_sent_away_at_once(world):
    """Told later, the members would be in the wrong order."""
    host = world.host()
    one = world.client(host)
    world.subscribe(host, one, "presence-room", "1")
    world.gateway.throttled[one] = 1
    two = world.client(host)
    world.subscribe(host, two, "presence-room", "2")
    world.run(host)
    assert world.gateway.open == {two}


def test_who_is_gone_is_forgotten_and_leaves(world):
    host = world.host()
    one, two = world.client(host), world.client(host)
    world.subscribe(host, one, "presence-room", "1")
    world.subscribe(host, two, "presence-room", "2")
    world.gateway.open.discard(two)
    world.trigger(host, "presence-room")
    world.run(host)
    assert world.heard(one)[-2:] == ["update", "pusher_internal:member_removed"]


def test_a_user_who_is_ended_is_ended_though_throttled(world):
    host = world.host()
    conn = world.client(host)
    world.subscribe(host, conn, "presence-room", "7")
    world.gateway.throttled[conn] = 2  # the error and the end
    request = Request("POST", "/apps/1/users/7/terminate_connections", "", {}, b"{}")
    assert host.perform(request).status == 200
    assert conn in world.gateway.open
    world.advance(host, 2)
    assert world.gateway.frames[conn][-1]["data"]["code"] == 4009
    assert conn not in world.gateway.open


# --- webhooks -------------------------------------------------------------------------------


def test_webhooks_go_through_the_queue(world):
    host = world.host(webhooks=True)
    conn = world.client(host)
    world.subscribe(host, conn, "presence-room", "7")
    assert not world.webhooks
    world.run(host)
    names = [event["name"] for event, _ in world.webhooks]
    assert sorted(names) == ["channel_occupied", "member_added"]
    assert abs(world.webhooks[0][1] - world.now * 1000) < 5
    host.disconnect(conn)
    world.advance(host, 2)
    assert len(world.webhooks) == 2
    world.advance(host, 2)
    names = [event["name"] for event, _ in world.webhooks[2:]]
    assert sorted(names) == ["channel_vacated", "member_removed"]


def test_who_comes_straight_back_was_never_away(world):
    host = world.host(webhooks=True)
    conn = world.client(host)
    world.subscribe(host, conn, "presence-room", "7")
    world.run(host)
    host.disconnect(conn)
    world.advance(host, 1)
    world.subscribe(host, world.client(host), "presence-room", "7")
    world.advance(host, 10)
    assert len(world.webhooks) == 2


def test_without_a_listener_nothing_is_queued(world):
    host = world.host()
    world.subscribe(host, world.client(host), "presence-room", "7")
    assert not world.messages


# --- the sweep ------------------------------------------------------------------------------


def test_old_connections_are_asked_to_come_back_at_different_ages(world):
    host = world.host()
    conns = [world.client(host) for _ in range(20)]
    for conn in conns:
        world.subscribe(host, conn, "private-news")
    closed = {}
    for minute in range(120):
        world.now += 60
        for conn in host.sweep().old:
            closed[conn] = minute + 1
            assert world.gateway.frames[conn][-1]["data"]["code"] == 4200
    assert set(closed) == set(conns)
    assert min(closed.values()) >= 100
    assert max(closed.values()) <= 116
    assert len(set(closed.values())) > 4
    assert not world.left_behind()


def test_who_proves_nothing_is_closed(world):
    host = world.host()
    idle, public, private = (world.client(host) for _ in range(3))
    world.subscribe(host, public, "news")
    world.subscribe(host, private, "private-news")
    world.now += 29
    assert host.sweep().unauthorized == []
    world.now += 2
    swept = host.sweep()
    assert sorted(swept.unauthorized) == sorted([idle, public])
    assert swept.later == [private]
    assert world.gateway.frames[idle][-1]["data"]["code"] == 4009
    assert world.gateway.open == {private}


def test_who_went_without_a_word_is_found_and_leaves(world):
    host = world.host()
    one, two = world.client(host), world.client(host)
    world.subscribe(host, one, "presence-room", "1")
    world.subscribe(host, two, "presence-room", "2")
    world.gateway.open.discard(two)
    world.now += 31
    assert host.sweep().gone == [two]
    assert world.heard(one)[-1] == "pusher_internal:member_removed"
    for _ in range(3):
        world.now += 601
        assert host.sweep().later == [one]


def test_who_is_listed_and_not_there_is_forgotten(world):
    """A function died while one connected, or while it was forgotten."""
    host = world.host(bounds=Bounds(authorization=None))
    schedule, names = host.registry.schedule, host.registry.names
    for age in (10, 700):
        listed = names.due(f"{age} s", "192.0.2.1")
        schedule.begin(listed, world.now - age, world.now + 6_000)
    assert host.sweep() == Swept()
    world.now += 595
    host.sweep()
    assert not world.left_behind()


def test_who_may_be_about_to_come_is_not_forgotten(world):
    host = world.host(bounds=Bounds(authorization=1.0))
    listed = host.registry.names.due("new", None)
    host.registry.schedule.begin(listed, world.now, world.now + 6_000)
    world.now += 2
    assert host.sweep() == Swept()
    assert world.left_behind()


def test_who_was_left_in_the_middle_of_a_frame_comes_back(world):
    host = world.host()
    one, two = world.client(host), world.client(host)
    world.subscribe(host, one, "presence-room", "1")
    world.subscribe(host, two, "private-a")
    host.driver.peer(two).perform(Subscribe("presence-room", "2"))  # and the function dies
    world.now += 31
    assert host.sweep().unfinished == [two]
    assert world.gateway.frames[two][-1]["data"]["code"] == 4200
    assert world.gateway.open == {one}
    members = [event for event in world.heard(one) if "member_" in event]
    assert members == ["pusher_internal:member_added", "pusher_internal:member_removed"]


def test_a_sweep_ends_with_its_time(world):
    host = world.host()
    world.client(host)
    world.now += 31
    assert host.sweep(left=lambda: 1.0).unauthorized == []
    assert len(host.sweep().unauthorized) == 1


def test_a_sweep_that_dies_has_passed_over_nobody(world):
    """What it did is noted, and the rest is due the next time."""
    host = world.host()
    conns = {world.client(host) for _ in range(40)}
    world.now += 31
    looked = iter([True] * 5)
    first = host.sweep(left=lambda: 30.0 if next(looked, False) else 0.0).unauthorized
    reached = host.registry.schedule.reached()
    assert 0 < len(first) < 40
    assert {each.time > 0 for each in reached} == {True, False}
    assert {*first, *host.sweep().unauthorized} == conns


def test_a_sweep_goes_on_where_the_last_had_no_time_left(world, monkeypatch):
    monkeypatch.setattr(sweep_module, "AT_ONCE", 3)
    host = world.host(bounds=Bounds(per_address=100))
    conns = [world.client(host, address="192.0.2.1") for _ in range(20)]  # in one part of the list
    world.now += 31
    closed, looked = [], []
    for _ in range(7):
        turns = iter([True])
        page = host.sweep(left=lambda turns=turns: 30.0 if next(turns, False) else 0.0)
        looked.append(len(page.unauthorized))
        closed += page.unauthorized
        world.now += 1
    assert looked == [3] * 6 + [2]
    assert sorted(closed) == sorted(conns)
    assert all(not each.row for each in host.registry.schedule.reached())


def test_the_rest_of_a_list_is_gone_through_for_the_moments_of_its_beginning(world, monkeypatch):
    monkeypatch.setattr(sweep_module, "AT_ONCE", 3)
    host = world.host(bounds=Bounds(per_address=100))
    conns = [world.client(host, address="192.0.2.1") for _ in range(5)]
    for conn in conns:
        world.subscribe(host, conn, "private-news")
    looks = []
    for seconds in (31, 580, 1, 1):  # the last sweeps are late, and short of time
        world.now += seconds
        turns = iter([True] if seconds != 31 else [True] * 9)
        looks.append(host.sweep(left=lambda turns=turns: 30.0 if next(turns, 0) else 0.0).later)
    assert [len(look) for look in looks] == [5, 3, 2, 0]
    assert sorted(looks[1] + looks[2]) == sorted(conns)


def test_who_cannot_be_closed_is_due_again(world):
    host = world.host()
    conn = world.client(host)
    world.gateway.throttled[conn] = 2
    world.now += 31
    host.sweep()
    assert conn in world.gateway.open
    assert host.sweep().unauthorized == [conn]
    assert not world.left_behind()


# --- the rest -------------------------------------------------------------------------------


def test_keys_are_rotated_without_a_deployment(world):
    host = world.host()
    old = world.client(host)
    world.app = App("1", (Key("new-key", "new-secret"), *world.app.keys))
    assert world.heard(world.client(host, key="new-key")) == [ESTABLISHED]
    world.app = App("1", (world.app.keys[0],))
    assert world.heard(world.client(host)) == ["pusher:error"]
    world.subscribe(host, old, "news")
    assert world.heard(old) == [ESTABLISHED, SUBSCRIBED]


def test_what_is_delivered_is_measured_once_an_invocation(world):
    host = world.host()
    conns = subscribers(world, host, 12)
    host.flush()
    world.lines.clear()
    world.gateway.open.discard(conns[0])
    world.trigger(host, "news")
    host.flush()
    host.flush()
    [line] = map(json.loads, world.lines)
    assert (line["Deliveries"], line["Gone"], line["Throttled"]) == (11, 1, 0)
    named = {metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert named == set(line) - {"_aws", "Function"}


def test_a_message_of_another_app_is_let_be(world):
    host = world.host()
    host.arrived({"app": "2", "do": "disconnect", "connections": ["x"]})
    with pytest.raises(ValueError, match="not a message"):
        host.arrived({"app": "1", "do": "dance"})
