"""The driver: who is gone, what comes later, what the application is told, what fails."""

from __future__ import annotations

import json

import pytest

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.delivery import Call, Delivery
from realtime_kit.hosting.apigateway.driver import GONE_PER_MESSAGE
from realtime_kit.hosting.apigateway.rows import Names
from realtime_kit.hosting.apigateway.table import Change
from realtime_kit.hosting.apigateway.webhooks import Webhooks
from realtime_kit.protocol import effects, notices

ROOM = "presence-room"


@pytest.fixture
def queued(world, monkeypatch):
    """The messages of the queue, which stay in it."""
    messages = []
    monkeypatch.setattr(
        world.driver, "_queue", lambda message, delay: messages.append((message, delay))
    )
    return messages


def broadcast(world, channel="a", frame='{"event":"e"}'):
    world.driver.perform(effects.Broadcast(channel, frame))


# --- clients --------------------------------------------------------------------------------


def test_who_is_gone_is_disconnected(world):
    here, gone = world.connect(), world.connect()
    for client in (here, gone):
        client.subscribe("a")
    gone.subscribe(ROOM, "2")
    here.subscribe(ROOM, "1")
    gone.vanish()
    broadcast(world)
    assert here.frames[-1] == {"event": "e"}
    world.clock.advance(0)
    assert here.events()[-1] == "member_removed"
    assert world.subscriptions.channel("a").subscriptions == 1
    assert world.deployment.stored(gone.socket_id) is None


def test_who_is_gone_is_found_when_it_is_sent_something(world):
    client = world.connect()
    client.vanish()
    client.subscribe("a")
    world.clock.advance(0)
    assert world.deployment.left_behind() == {}


def test_many_who_are_gone_come_in_messages_of_a_size(world, queued):
    clients = [world.connect() for _ in range(GONE_PER_MESSAGE + 5)]
    for client in clients:
        client.subscribe("a")
        client.vanish()
    broadcast(world)
    assert [len(message["connections"]) for message, _ in queued] == [GONE_PER_MESSAGE, 5]
    assert queued[0][0].keys() == {"app", "do", "connections"}
    assert {delay for _, delay in queued} == {0.0}
    for message, _ in queued * 2:  # a message may come twice
        world.driver.arrived(message)
    assert world.deployment.left_behind() == {}


def test_nobody_is_subscribed(world):
    broadcast(world)
    assert world.deployment.clients.deliveries == 0


def test_a_socket_id_that_cannot_be_excludes_nobody(world):
    client = world.connect()
    client.subscribe("a")
    world.driver.perform(effects.Broadcast("a", '{"event":"e"}', "99999999999999.1"))
    assert client.events()[-1] == ""


def test_all_deliveries_are_observed(make_world):
    world = make_world()
    seen = []
    world.driver._observe = seen.append
    client = world.connect()
    client.subscribe("a")
    broadcast(world)
    assert [len(delivery.delivered) for delivery in seen] == [1, 1, 1]


@pytest.fixture
def failing(world, monkeypatch):
    """Nothing reaches the clients of whom the test says so."""
    unreachable = set()
    deliver = world.deployment.clients.deliver

    def fail(commands, *, timeout=10.0):
        commands = list(commands)
        failed = [
            Call(command, conn, b"", status=429, reason="429 limitexceededexception")
            for command in commands
            for conn in command.to
            if conn in unreachable
        ]
        for command in commands:
            object.__setattr__(command, "to", [c for c in command.to if c not in unreachable])
        delivery: Delivery = deliver(commands)
        delivery.throttled += failed
        return delivery

    monkeypatch.setattr(world.deployment.clients, "deliver", fail)
    return unreachable


def test_a_client_that_cannot_be_told(world, failing):
    client = world.connect()
    failing.add(client.conn)
    peer = world.driver.peer(client.conn)
    for effect in (effects.Send("{}"), effects.Close(4100, "")):
        with pytest.raises(ProviderUnavailable, match="limitexceeded") as raised:
            peer.perform(effect)
        assert (raised.value.status, raised.value.retryable) == (429, True)


def test_an_event_that_reached_nobody_has_failed(world, failing):
    one, two = world.connect(), world.connect()
    for client in (one, two):
        client.subscribe("a")
    failing.add(one.conn)
    broadcast(world)
    assert two.frames[-1] == {"event": "e"}
    failing.add(two.conn)
    with pytest.raises(ProviderUnavailable):
        broadcast(world)


def test_terminating(world):
    signed_in, member, other = (world.connect() for _ in range(3))
    signed_in.sign_in("7")
    member.subscribe(ROOM, "7")
    other.subscribe(ROOM, "8")
    signed_in.subscribe("a")
    end = effects.Terminate("7", '{"event":"x"}', 4009, "", channel="a")
    world.driver.perform(end)
    assert [client.closed for client in (signed_in, member, other)] == [(1000, ""), None, None]
    world.driver.perform(effects.Terminate("7", '{"event":"x"}', 4009, ""))
    assert member.closed
    assert other.closed is None
    world.driver.perform(effects.Terminate("9", "{}", 4009, ""))


# --- later ----------------------------------------------------------------------------------


def test_one_announcement_waits_for_a_channel(make_world):
    world = make_world(app={"subscription_count": True})
    client = world.connect()
    client.subscribe("a")
    client.frames.clear()
    for _ in range(3):
        world.driver.perform(effects.Later("a", 5.0))
    world.clock.advance(4.9)
    assert client.frames == []
    world.clock.advance(0.2)
    assert len(client.frames) == 1
    world.driver.perform(effects.Later("a", 5.0))
    world.clock.advance(5.1)
    assert len(client.frames) == 2


def test_an_announcement_that_is_lost_is_asked_for_again(world, queued):
    world.driver.perform(effects.Later("a", 5.0))
    world.clock.advance(60)
    world.driver.perform(effects.Later("a", 5.0))
    assert len(queued) == 1
    world.clock.advance(6)
    world.driver.perform(effects.Later("a", 5.0))
    assert queued == [({"app": "1", "do": "count", "channel": "a"}, 5.0)] * 2


def test_a_message_of_another_kind(world):
    with pytest.raises(ValueError, match="not a message of the driver"):
        world.driver.arrived({"do": "dance"})


def test_a_drop_that_fails_is_asked_for_again(world, queued, monkeypatch):
    client = world.connect()
    client.subscribe("a")

    def down(*_):
        raise ProviderUnavailable("down", provider="aws")

    monkeypatch.setattr(world.table, "transact", down)
    client.go()
    assert [(message["connections"], delay) for message, delay in queued] == [([client.conn], 31.0)]
    monkeypatch.undo()
    assert world.driver.peer(client.conn).perform(effects.Subscribed("a")) == ""
    world.driver.arrived(queued[0][0])
    assert world.deployment.left_behind() == {}


# --- functions that die ---------------------------------------------------------------------


def told(client):
    """What a client was told of members, since it was asked before."""
    frames = [frame for frame in client.frames if "member_" in frame["event"]]
    client.frames.clear()
    return [(frame["event"].rpartition("_")[2], json.loads(frame["data"])) for frame in frames]


@pytest.fixture
def watcher(world):
    client = world.connect()
    client.subscribe(ROOM, "watcher")
    return client


def is_unfinished(world, client, since=0):
    row = world.rows()[rows.connection(client.conn)]
    return world.registry.is_unfinished(client.conn, row, since)


def test_a_join_whose_function_died(world, watcher):
    client = world.connect()
    peer = world.driver.peer(client.conn)
    assert peer.perform(effects.Subscribe(ROOM, "1", '{"n":1}')).first_of_member
    assert not is_unfinished(world, client)  # it may live
    world.clock.advance(31)
    assert is_unfinished(world, client)
    client.go()
    user = {"user_id": "1"}
    assert told(watcher) == [("added", {**user, "user_info": {"n": 1}}), ("removed", user)]


def test_a_join_whose_function_died_of_a_member_who_stays(world, watcher):
    dead, other = world.connect(), world.connect()
    world.driver.peer(dead.conn).perform(effects.Subscribe(ROOM, "1"))
    other.subscribe(ROOM, "1")
    assert told(watcher) == []
    dead.go()
    assert told(watcher) == [("added", {"user_id": "1"})]


def test_a_leave_whose_function_died(world, watcher):
    client = world.connect()
    client.subscribe(ROOM, "1")
    assert world.driver.peer(client.conn).perform(effects.Unsubscribe(ROOM)).last_of_member
    told(watcher)
    world.clock.advance(31)
    assert is_unfinished(world, client)
    client.go()
    assert told(watcher) == [("removed", {"user_id": "1"})]


def test_a_leave_whose_function_died_and_another_who_comes_on_the_same_connection(world, watcher):
    client = world.connect()
    client.subscribe(ROOM, "1")
    world.driver.peer(client.conn).perform(effects.Unsubscribe(ROOM))
    client.subscribe(ROOM, "2")
    told(watcher)
    world.clock.advance(31)
    assert is_unfinished(world, client)
    client.go()
    assert told(watcher) == [("removed", {"user_id": "1"}), ("removed", {"user_id": "2"})]


def test_nothing_is_looked_up_for_who_has_not_moved(world, watcher, monkeypatch):
    world.clock.advance(31)
    assert not is_unfinished(world, watcher)
    looked = rows.micros(world.clock())
    monkeypatch.setattr(world.table, "query", None)
    assert not is_unfinished(world, watcher, looked)


def test_one_write_settles_what_was_told(world, watcher):
    client = world.connect()
    client.subscribe("a")
    writes = []
    write = world.table.write
    world.table.write = lambda change: writes.append(change.update) or write(change)
    client.subscribe(ROOM, "1")
    second = world.connect()
    second.subscribe(ROOM, "1")
    del world.table.write
    settling = "REMOVE untold_by, untold"
    assert writes.count(settling) == 1  # nobody is told of a member's second connection


def test_a_user_whose_sign_in_was_not_told(world):
    watcher, dead, other = (world.connect() for _ in range(3))
    watcher.sign_in("w", ["7"])
    watcher.frames.clear()
    world.driver.peer(dead.conn).perform(effects.SignIn("7"))
    other.sign_in("7")
    assert watcher.frames == []
    dead.go()
    assert [frame["data"]["events"][0]["name"] for frame in watcher.frames] == ["online"]


# --- webhooks -------------------------------------------------------------------------------


def test_without_webhooks(make_world):
    world = make_world(notify=None)
    client = world.connect()
    client.subscribe(ROOM)
    client.go()
    world.clock.advance(10)
    world.driver.arrived(
        {"do": "look", "event": {}, "key": "x", "mark": "m"}
    )  # from before it was off
    assert world.rows() == {}


def names(world):
    taken = [webhook["name"] for webhook in world.webhooks]
    world.webhooks.clear()
    return taken


def test_who_comes_back_was_not_away(world):
    one, two = world.connect(), world.connect()
    one.subscribe("a")
    one.go()
    world.clock.advance(1)
    two.subscribe("a")
    world.clock.advance(10)
    assert names(world) == ["channel_occupied"]
    two.go()
    world.clock.advance(3)
    assert names(world) == ["channel_vacated"]
    assert world.rows() == {}


def test_a_leave_is_told_when_its_own_time_is_over(world):
    one, two = world.connect(), world.connect()
    one.subscribe("a")
    one.go()
    world.clock.advance(2)
    two.subscribe("a")
    two.go()
    world.clock.advance(2.9)
    assert names(world) == ["channel_occupied"]
    world.clock.advance(0.2)
    assert names(world) == ["channel_vacated"]


def test_a_leave_that_is_looked_into_twice_is_told_once(world, queued):
    client = world.connect()
    client.subscribe("a")
    client.go()
    world.clock.advance(3)
    for message, _ in queued * 2:
        world.driver.arrived(message)
    assert names(world) == ["channel_occupied", "channel_vacated"]


def test_a_leave_that_cannot_be_told_is_looked_into_again(world, queued, monkeypatch):
    client = world.connect()
    client.subscribe("a")
    client.go()
    world.clock.advance(3)

    def down(event):
        raise ProviderUnavailable("down", provider="aws")

    with monkeypatch.context() as patch:
        patch.setattr(world.driver._webhooks, "_notify", down)
        with pytest.raises(ProviderUnavailable):
            world.driver.arrived(queued[0][0])
    world.driver.arrived(queued[0][0])
    assert names(world) == ["channel_occupied", "channel_vacated"]


def test_a_join_that_was_not_told_is_told_with_its_leave(world):
    client = world.connect()
    peer = world.driver.peer(client.conn)
    peer.perform(effects.Subscribe("a"))  # and then its function died
    client.go()
    assert names(world) == ["channel_occupied"]
    world.clock.advance(10)
    assert names(world) == ["channel_vacated"]


def test_a_join_that_is_told_after_its_leave_has_one(world):
    world.driver.perform(notices.channel_occupied("a"))
    world.driver.perform(notices.member_added(ROOM, "1"))
    world.clock.advance(10)
    assert names(world) == ["channel_occupied", "member_added", "channel_vacated", "member_removed"]
    assert world.rows() == {}


class Meddling:
    """Webhooks during whose telling something happens."""

    def __init__(self, world, *happenings):
        self.world, self.happenings = world, list(happenings)
        self.webhooks = Webhooks(world.registry, self.notify, world.driver._look_later)

    def notify(self, event):
        self.world.webhooks.append(event)
        if self.happenings:
            self.happenings.pop(0)()


def test_who_goes_while_its_join_is_told(world):
    client = world.connect()
    peer = world.driver.peer(client.conn)
    peer.perform(effects.Subscribe("a"))

    def dies():
        peer.perform(effects.Drop())
        peer.perform(effects.Told())

    Meddling(world, dies).webhooks.notify(notices.channel_occupied("a"))
    assert names(world) == ["channel_occupied"]
    world.clock.advance(3)
    assert names(world) == ["channel_vacated"]
    assert world.rows() == {}


def test_who_comes_while_a_leave_is_told(world, queued):
    client, other = world.connect(), world.connect()
    client.subscribe("a")
    client.subscribe(ROOM, "1")
    client.go()
    world.clock.advance(3)
    peer = world.driver.peer(other.conn)
    for message, _ in queued:
        request = effects.Subscribe(message["event"]["channel"], message["event"].get("user_id"))
        meddling = Meddling(world, lambda request=request: peer.perform(request))
        meddling.webhooks.look(message["event"], message["key"], message["mark"])
    assert names(world) == [
        "channel_occupied",
        "channel_occupied",
        "member_added",
        "channel_vacated",
        "channel_occupied",
        "member_removed",
        "member_added",
    ]


def about_to_tell(world, key):
    """Somebody has written down that a join is about to be told; and died, or not."""
    values = {"mark": "another", "telling": rows.micros(world.clock())}
    world.table.write(Change("Put", Names.of("1").told(key), values=values))


def test_a_join_whose_teller_died_is_told_by_who_comes(world):
    about_to_tell(world, "channel:a")
    world.connect().subscribe("a")
    assert names(world) == []  # it may live
    world.clock.advance(31)
    assert names(world) == ["channel_occupied"]
    world.clock.advance(60)
    assert names(world) == []


def test_a_join_whose_teller_died_is_told_before_its_leave(world):
    client = world.connect()
    client.subscribe("a")
    names(world)
    about_to_tell(world, "channel:a")
    client.go()
    world.clock.advance(4)
    assert names(world) == []
    world.clock.advance(31)
    assert names(world) == ["channel_occupied", "channel_vacated"]
    assert world.rows() == {}


def test_what_is_said_often_is_told_once_in_a_window(world):
    for _ in range(4):
        world.driver.perform(notices.cache_miss("cache-a"))
        world.clock.advance(4)
    assert names(world) == ["cache_miss", "cache_miss"]
    key = Names.of("1").told("cache_miss:cache-a")
    assert world.rows()[key]["expires"] > world.clock()


# --- the last event -------------------------------------------------------------------------


def test_the_last_event_of_a_channel(world):
    world.driver.perform(effects.CacheSet("cache-a", '{"n":1}', 60))
    world.driver.perform(effects.CacheSet("cache-a", '{"n":2}', 60))
    world.clock.advance(29.5)
    assert world.driver.perform(effects.CacheGet("cache-a")) == effects.Cached('{"n":2}', 30)
    world.clock.advance(30)
    assert world.driver.perform(effects.CacheGet("cache-a")) == effects.Cached('{"n":2}', 1)
    world.clock.advance(0.6)  # long before the TTL takes it
    assert world.driver.perform(effects.CacheGet("cache-a")) is None
    assert world.driver.perform(effects.CacheGet("cache-b")) is None
