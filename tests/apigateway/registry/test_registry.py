"""The registry: bounds, ages, shards, claims, and what is kept for how long."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.hosting.apigateway import rows, subscriptions
from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError
from realtime_kit.hosting.apigateway.ids import to_socket_id
from realtime_kit.hosting.apigateway.registry import CLAIM_SECONDS, Bounds
from realtime_kit.hosting.apigateway.rows import Names
from realtime_kit.protocol import effects
from realtime_kit.protocol.connection import Connection
from realtime_kit.testing.dynamodb import MemoryDynamoDB

ROOM = "presence-room"


def perform(client, effect):
    """One effect, in a function that also tells the others."""
    peer = client.perform()
    answer = peer(effect)
    if isinstance(effect, effects.Subscribe | effects.Unsubscribe):
        peer(effects.Told(effect.channel))
    return answer


def connect(world, address):
    client = world.client()
    value = Connection("1", client.socket_id)
    peer = world.driver.peer(client.conn, address=address)
    return client, peer.perform(effects.Connect(value, world.app.max_connections))


# --- bounds ---------------------------------------------------------------------------------


def test_connections_of_an_address(make_world, check):
    world = make_world(bounds=Bounds(per_address=2))
    clients = [connect(world, "192.0.2.1") for _ in range(3)]
    assert [accepted for _, accepted in clients] == [True, True, False]
    assert connect(world, "192.0.2.2")[1]
    assert connect(world, None)[1]
    clients[0][0].go()
    clients[0][0].go()  # counted once
    assert connect(world, "192.0.2.1")[1]
    assert not connect(world, "192.0.2.1")[1]
    check(world.rows())


def test_connections_of_the_app(make_world):
    world = make_world(app={"max_connections": 2})
    first = world.connect()
    world.connect()
    assert not world.client().connect()
    assert world.rows()[Names.of("1").connections()]["conns"] == 2
    first.go()
    world.connect()


def test_no_connections_at_all(make_world):
    world = make_world(app={"max_connections": 0})
    assert not world.client().connect()
    assert world.rows() == {}


def test_counters_go_with_the_last(make_world):
    world = make_world(app={"max_connections": 9})
    client, _ = connect(world, "192.0.2.1")
    other = world.connect()
    for one in (client, other):
        one.go()
    assert world.rows() == {}


def test_connections_of_a_user(make_world, check):
    world = make_world(bounds=Bounds(per_user=1))
    one, two = world.connect(), world.connect()
    one.sign_in("7")
    two.sign_in("7")
    assert (
        two.frames[-1]["data"]["message"] == "This user has as many connections as a user may have"
    )
    one.sign_in("7")  # again, on the same connection
    assert one.events()[-1] == "signin_success"
    one.go()
    two.sign_in("7")
    assert two.events()[-1] == "signin_success"
    check(world.rows())


def test_subscriptions_of_a_connection(make_world, check):
    world = make_world(bounds=Bounds(subscriptions=2))
    client = world.connect()
    client.sign_in("1", [str(number) for number in range(5)])  # a watchlist is none
    for channel in ("a", ROOM, "b"):
        client.subscribe(channel)
    assert client.frames[-1]["data"]["message"] == (
        "This connection has as many subscriptions as it may have"
    )
    client.unsubscribe("a")
    client.unsubscribe("a")  # counted once
    client.subscribe("b")
    assert client.events()[-1] == "subscription_succeeded"
    client.subscribe("c")
    assert client.events()[-1] == "error"
    check(world.rows())


def test_no_bounds(make_world):
    world = make_world(bounds=Bounds(None, None, None, None))
    client, accepted = connect(world, "192.0.2.1")
    assert accepted
    client.subscribe("a")
    client.sign_in("1")
    assert client.events()[-1] == "signin_success"
    assert world.kept("A#") == []


# --- age and proof --------------------------------------------------------------------------


def due(world, seconds=1e9):
    """Who had a moment within the last `seconds`."""
    schedule, now = world.registry.schedule, rows.micros(world.clock())
    parts = range(rows.DUE_PARTITIONS)
    after = max(0, now - rows.micros(seconds))
    return [conn for part in parts for page in schedule.due(part, after, now) for conn in page]


def test_the_moments_at_which_a_connection_is_looked_at(world):
    client = world.connect()
    moments = []
    for second in range(1, 100 * 60):
        world.clock.advance(1)
        if due(world, 1):
            moments.append(second)
    # When it must have proven something, and all ten minutes.
    assert moments == [30, *range(600, 6000, 600)]
    world.clock.advance(7.5 * 60 + 2)
    assert due(world, 1) == due(world, 0) == [client.conn]  # it is too old, and stays so


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pauses=st.lists(st.integers(1, 2_000), min_size=1))
def test_no_moment_is_passed_over_however_late_sweeps_are(make_world, pauses):
    world = make_world()
    world.connect()
    moments, passed = [30, *range(600, 6_000, 600)], 0
    for pause in pauses:
        world.clock.advance(pause)
        between = [at for at in moments if passed < at <= passed + pause]
        passed += pause
        if passed < 6_000:
            assert bool(due(world, pause)) is bool(between)


@pytest.mark.parametrize(("drawn", "minutes"), [(0.0, 100), (0.5, 107.5), (0.999, 115)])
def test_connections_that_began_together_end_apart(make_world, drawn, minutes):
    world = make_world(bounds=Bounds(authorization=None))
    world.registry._random = lambda: drawn
    world.connect()
    world.clock.advance(minutes * 60 - 1)
    assert due(world, 0) == []
    world.clock.advance(1.1)
    assert len(due(world, 0)) == 1


def test_who_has_gone_is_not_looked_at(world):
    client = world.connect()
    client.go()
    world.clock.advance(31)
    assert due(world) == []
    assert world.rows() == {}


@pytest.mark.parametrize(
    ("proves", "authorized"),
    [
        (lambda client: client.subscribe("a"), False),
        (lambda client: client.subscribe("private-a"), True),
        (lambda client: client.subscribe(ROOM), True),
        (lambda client: client.sign_in("1"), True),
    ],
)
def test_what_is_a_proof(world, proves, authorized):
    client = world.connect()
    proves(client)
    assert ("authorized" in world.rows()[rows.connection(client.conn)]) is authorized


def test_what_a_sweep_did_not_end_goes_by_itself(world):
    for number in range(3):
        client = world.connect()
        client.subscribe(ROOM, str(number))
        client.subscribe("a")
        client.sign_in(str(number), ["1"])
    world.clock.advance(3600)
    assert [key for key, row in world.rows().items() if "expires" not in row] == world.kept("W#")
    world.deployment.db.expire(world.table.name, world.clock() - rows.LIFETIME)
    assert len(due(world)) == 3
    world.deployment.db.expire(world.table.name, world.clock() + rows.LIFETIME)
    assert world.deployment.left_behind() == {}


# --- shards ---------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(subscriptions, "SHARD_SIZE", 3)


@pytest.mark.usefixtures("small_shards")
def test_a_large_channel_is_spread(world, check):
    clients = [world.connect() for _ in range(60)]
    counts = []
    for client in clients:
        counts.append(perform(client, effects.Subscribe("a")))
        check(world.rows())
    assert [joined.occupied for joined in counts] == [True] + [False] * 59
    assert [joined.count for joined in counts] == list(range(1, 61))
    head = world.rows()[Names.of("1").head("a")]
    assert head["spread"] == subscriptions.MAX_SHARDS == 16
    on_it = [conn for page in world.subscriptions.subscribers("a") for conn in page]
    assert sorted(on_it) == sorted(client.conn for client in clients)
    assert world.subscriptions.channel("a").subscriptions == 60
    assert world.subscriptions.channels("")["a"].subscriptions == 60
    left = []
    for client in clients:
        left.append(perform(client, effects.Unsubscribe("a")))
        check(world.rows())
    assert [one.vacated for one in left] == [False] * 59 + [True]
    assert [one.count for one in left] == list(reversed(range(60)))
    for client in clients:
        client.go()
    assert world.deployment.left_behind() == {}


@pytest.mark.usefixtures("small_shards")
def test_an_event_reaches_all_shards(world):
    clients = [world.connect() for _ in range(40)]
    for client in clients:
        client.subscribe("a")
    world.driver.perform(effects.Broadcast("a", '{"event":"e"}', clients[3].socket_id))
    reached = [client for client in clients if client.frames[-1] == {"event": "e"}]
    assert reached == clients[:3] + clients[4:]


@pytest.mark.usefixtures("small_shards")
def test_who_leaves_first_does_not_take_the_channel_along(world, check):
    early = [world.connect() for _ in range(4)]
    for client in early:
        client.subscribe("a")
    late = [world.connect() for _ in range(20)]
    for client in late:
        client.subscribe("a")
    elsewhere = [row for key, row in world.rows().items() if re.match("S[1-9].*#a", key.pk)]
    assert elsewhere
    for client in [*early, *late]:
        assert world.subscriptions.occupied("a")
        client.go()
        check(world.rows())
    assert not world.subscriptions.occupied("a")


@pytest.mark.usefixtures("small_shards")
def test_a_large_channel_lasts_as_long_as_it_has_subscribers(world):
    """Connections live two hours; rows a day, and a channel for weeks."""
    before = [world.connect() for _ in range(40)]
    for client in before:
        client.subscribe("a")
    there = [client.conn for client in before]
    # From now on nobody comes to the first shard, and none of the others is vacated.
    elsewhere = (conn for conn in map(str, range(9_999)) if rows.spread_over(16, conn) == 5)
    for _ in range(60):
        world.clock.advance(3600)
        world.deployment.db.expire(world.table.name, world.clock())
        conn = next(elsewhere)
        perform = world.driver.peer(conn).perform
        perform(effects.Connect(Connection("1", to_socket_id(conn))))
        assert not perform(effects.Subscribe("a")).occupied
        world.driver.disconnect(there)
        there = [conn]
    assert [conn for page in world.subscriptions.subscribers("a") for conn in page] == there
    world.driver.disconnect(there)
    assert not world.subscriptions.occupied("a")


@pytest.mark.usefixtures("small_shards")
def test_a_presence_channel_is_not_spread(world):
    for number in range(10):
        world.connect().subscribe(ROOM, str(number))
    assert world.rows()[Names.of("1").head(ROOM)]["spread"] == 1
    assert list(world.subscriptions.members(ROOM)) == [str(number) for number in range(10)]


class Contended:
    """A DynamoDB in which others are in the way of subscriptions."""

    def __init__(self, conflicts, fail_to_spread=False):
        self._db, self.conflicts, self.left = MemoryDynamoDB(), conflicts, 0
        self.fail_to_spread = fail_to_spread

    def call(self, operation, request):
        text = str(request)
        if operation == "TransactWriteItems" and "subs :one" in text and self.left:
            self.left -= 1
            reasons = [{"Code": "TransactionConflict"}]
            answer = {"message": "cancelled", "CancellationReasons": reasons}
            raise DynamoDBError(400, "TransactionCanceledException", answer)
        if "spread = :spread" in text and self.fail_to_spread:
            raise DynamoDBError(400, "ValidationException", {"message": "injected"})
        return self._db.call(operation, request)


@pytest.mark.parametrize(("conflicts", "spread"), [(1, 1), (2, 2)])
def test_a_channel_that_many_come_to_at_once_is_spread(make_world, monkeypatch, conflicts, spread):
    monkeypatch.setattr(subscriptions, "SHARD_SIZE_CONTENDED", 2)
    db = Contended(conflicts)
    world = make_world(db)
    for _ in range(3):
        client = world.connect()
        db.left = conflicts
        client.subscribe("a")
        assert client.events()[-1] == "subscription_succeeded"
    assert len(world.pauses) == 3 * conflicts
    assert world.rows()[Names.of("1").head("a")]["spread"] == spread


@pytest.mark.usefixtures("small_shards")
def test_a_channel_that_cannot_be_spread(make_world, caplog):
    world = make_world(Contended(0, fail_to_spread=True))
    for _ in range(5):
        client = world.connect()
        client.subscribe("a")
        assert client.events()[-1] == "subscription_succeeded"
    assert "could not be spread" in caplog.text
    assert world.rows()[Names.of("1").head("a")]["spread"] == 1


# --- claims ---------------------------------------------------------------------------------


def test_what_was_not_told_is_answered_again(world):
    client = world.connect()
    client.subscribe("a")
    client.subscribe(ROOM)
    client.sign_in("7")
    peer = world.driver.peer(client.conn)
    dropped = peer.perform(effects.Drop())
    assert [(left.channel, left.vacated) for left in dropped.left] == [("a", True), (ROOM, True)]
    assert dropped.signed_out == "7"
    assert peer.perform(effects.Drop()) == dropped
    peer.perform(effects.Told())
    assert peer.perform(effects.Drop()) == effects.Dropped()
    assert world.deployment.left_behind() == {}


def test_a_claim_is_honoured_for_a_while(world):
    client = world.connect()
    client.subscribe("a")
    client.sign_in("7")
    dead = world.driver.peer(client.conn)
    dropped = dead.perform(effects.Drop())
    other = world.driver.peer(client.conn)
    assert other.perform(effects.Drop()) == effects.Dropped()
    other.perform(effects.Told())
    assert world.deployment.left_behind() != {}  # there is something to tell yet
    world.clock.advance(CLAIM_SECONDS + 0.5)
    late = world.driver.peer(client.conn)
    assert late.perform(effects.Drop()) == dropped
    dead.perform(effects.Told())  # it was not dead, but its claim is
    assert late.perform(effects.Drop()) == dropped
    late.perform(effects.Told())
    assert world.deployment.left_behind() == {}


def test_told_before_it_was_dropped_is_nothing(world):
    client = world.connect()
    client.subscribe("a")
    before = world.rows()
    perform(client, effects.Told())
    assert world.rows() == before


def test_nothing_comes_back_to_life(world):
    client = world.connect()
    client.subscribe("a")
    perform(client, effects.Drop())
    for effect in (effects.Subscribe("b"), effects.Subscribe("#server-to-user-1")):
        assert not perform(client, effect).new
    assert not perform(client, effects.SignIn("7", None, ("8",))).accepted
    assert not perform(client, effects.Allow("client_events", 10))
    assert perform(client, effects.Subscribed("a")) is None
    assert world.deployment.stored(client.socket_id) is None
    client.go()
    world.clock.advance(CLAIM_SECONDS + 2)
    assert world.deployment.left_behind() == {}


def test_who_is_not_there(world):
    client = world.client()
    assert perform(client, effects.Subscribe("a")) == effects.Joined(new=False)
    assert perform(client, effects.Unsubscribe("a")) == effects.Left("a", existed=False)
    assert perform(client, effects.SignIn("7")) == effects.SignedIn(accepted=False)
    assert not perform(client, effects.Allow("client_events", 10))
    assert perform(client, effects.Drop()) == effects.Dropped()
    perform(client, effects.Told())
    assert world.rows() == {}


def test_a_connection_that_is_written_twice(world):
    client = world.connect()
    client.subscribe("a")
    before = world.rows()
    assert client.connect()
    assert world.rows() == before


def test_a_lost_connection_row_stands_in_nobody_s_way(world):
    """The TTL may take a row before the sweep does; what is left can be ended all the same."""
    client, other = world.connect(), world.connect()
    for one in (client, other):
        one.subscribe("a")
        one.subscribe(ROOM)
    world.table.delete_many(
        [Names.of("1").head("a"), Names.of("1").head(ROOM), Names.of("1").member(ROOM, "1")]
    )
    for one in (client, other):
        one.go()
    assert world.deployment.left_behind() == {}


# --- answers that are lost ------------------------------------------------------------------


class Lossy:
    """A DynamoDB whose answer to a request is lost, or before which something happens."""

    def __init__(self):
        self._db, self.lost, self.before = MemoryDynamoDB(), None, None

    def call(self, operation, request):
        for_this = self.lost is not None and self.lost in str(request)
        if self.before is not None and self.before[0] in str(request):
            happen, self.before = self.before[1], None
            happen()
        answer = self._db.call(operation, request)
        if for_this:
            self.lost = None
            raise ProviderUnavailable("lost", provider="aws", retryable=True, maybe_sent=True)
        return answer


@pytest.fixture
def lossy(make_world, check):
    db = Lossy()
    world = make_world(db)
    yield world, db
    assert db.lost is db.before is None
    check(world.rows())


@pytest.mark.parametrize(
    ("lost", "effect", "answer"),
    [
        ("subs :one", effects.Subscribe("a"), effects.Joined(True, False, True, 1)),
        ("subs :one", effects.Subscribe(ROOM, "7"), effects.Joined(True, True, True, 1)),
        ("user_id = :user_id", effects.SignIn("7"), effects.SignedIn(True, True)),
        ("user_id = :user_id", effects.SignIn("8", None, ("7",)), effects.SignedIn(True, True)),
        ("watchers-of", effects.SignIn("8", None, ("7",)), effects.SignedIn(True, True)),
    ],
)
def test_a_beginning_whose_answer_was_lost(lossy, lost, effect, answer):
    world, db = lossy
    client = world.connect()
    db.lost = lost
    assert perform(client, effect) == answer
    client.go()
    assert world.deployment.left_behind() == {}


@pytest.mark.parametrize("lost", ["ended = :told", "ended_by = :claim'"])
def test_an_end_whose_answer_was_lost(lossy, lost):
    world, db = lossy
    client = world.connect()
    client.subscribe(ROOM, "7")
    db.lost = lost
    assert perform(client, effects.Unsubscribe(ROOM)) == effects.Left(
        ROOM, True, "7", True, True, 0
    )
    assert perform(client, effects.Unsubscribe(ROOM)) == effects.Left(ROOM, existed=False)


@pytest.mark.parametrize(
    "lost",
    ["dropped = if_not_exists", "ended = :told", "DeleteRequest", "attribute_exists(dropped)"],
)
def test_a_drop_some_of_whose_answers_were_lost(lossy, lost):
    world, db = lossy
    client, _ = connect(world, "192.0.2.1")
    client.subscribe(ROOM, "7")
    client.sign_in("7")
    peer = world.driver.peer(client.conn)
    db.lost = lost
    assert peer.perform(effects.Drop()) == effects.Dropped(
        (effects.Left(ROOM, True, "7", True, True, 0),), "7"
    )
    peer.perform(effects.Told())
    assert world.deployment.left_behind() == {}


def test_a_connection_whose_answer_was_lost(lossy):
    world, db = lossy
    db.lost = "closes"
    client, accepted = connect(world, "192.0.2.1")
    assert accepted
    client.go()
    assert world.rows() == {}


def test_a_join_that_was_told_is_not_told_again(lossy):
    world, db = lossy
    one, two = world.connect(), world.connect()
    one.subscribe("a")
    one.go()
    db.lost = "telling': {"
    two.subscribe("a")  # within three seconds
    db.lost = "telling': {"
    two.subscribe("b")
    world.clock.advance(10)
    assert world.webhooks == [
        {"name": "channel_occupied", "channel": "a"},
        {"name": "channel_occupied", "channel": "b"},
    ]


def test_who_is_dropped_watches_nobody(lossy):
    world, db = lossy
    client = world.connect()
    db.before = ("watchers-of", client.go)
    assert perform(client, effects.SignIn("7", None, ("8",))).accepted
    assert world.deployment.left_behind() == {}


def test_who_is_dropped_subscribes_to_nothing(lossy):
    world, db = lossy
    client = world.connect()
    db.before = ("subs :one", client.go)
    assert not perform(client, effects.Subscribe("a")).new
    assert world.deployment.left_behind() == {}


def test_who_subscribes_again_while_the_end_is_written_is_subscribed(lossy):
    world, db = lossy
    client = world.connect()
    client.subscribe("a")
    again = []
    db.before = (
        "'ConditionExpression': 'ended_by = :claim'",
        lambda: again.append(perform(client, effects.Subscribe("a"))),
    )
    assert perform(client, effects.Unsubscribe("a")).vacated
    assert again == [effects.Joined(True, occupied=True, count=1)]
    assert perform(client, effects.Subscribed("a")) == ""


def test_two_at_once_for_the_last_place(lossy):
    world, db = lossy
    first, one, two = (world.connect() for _ in range(3))
    for client in (first, one, two):
        client.wanted = effects.Subscribe(ROOM, client.socket_id, max_members=2)
    perform(first, first.wanted)
    joined = []
    db.before = ("members < :most", lambda: joined.append(perform(two, two.wanted)))
    assert perform(one, one.wanted) == effects.Joined(new=False, count=2, refused=True)
    assert joined == [effects.Joined(True, True, False, 2)]


@pytest.mark.parametrize("what", ["address", "app", "user", "subscriptions"])
def test_two_at_once_for_the_last_of(make_world, check, what):
    db = Lossy()
    world = make_world(
        db,
        bounds=Bounds(per_address=1, per_user=1, subscriptions=1),
        app={"max_connections": 3 if what == "app" else None},
    )
    one, two = world.connect(), world.connect()
    accepted = []
    if what in ("address", "app"):
        address = "192.0.2.1" if what == "address" else None
        turns = [lambda: connect(world, address)[1]] * 2
        at = "closes"
    elif what == "user":
        turns = [lambda c=client: perform(c, effects.SignIn("7")).accepted for client in (one, two)]
        at = "signed_by"
    else:
        turns = [lambda c=c: perform(one, effects.Subscribe(c)).new for c in ("a", "b")]
        at = "subs :one"
    db.before = (at, lambda: accepted.append(turns[0]()))
    accepted.append(turns[1]())
    assert accepted == [True, False]
    check(world.rows())


def test_who_came_first_waits_for_the_others_to_give_up(make_world, check):
    world = make_world(bounds=Bounds(per_address=1))
    now, schedule = world.clock(), world.registry.schedule
    later = world.registry.names.due("later", "192.0.2.1")
    schedule.begin(later, now + 1, now + 6_000)
    world.pauses.clear()
    assert not connect(world, "192.0.2.1")[1]  # it did not give up: it was there before
    assert 1 < sum(world.pauses) < 5
    assert list(world.rows()) == [later]
    world.table._sleep = lambda _: schedule.end(later)
    assert connect(world, "192.0.2.1")[1]
    check(world.rows())


def test_who_may_be_about_to_tell_is_looked_after(world):
    client, watcher = world.connect(), world.connect()
    client.subscribe(ROOM, "7")
    watcher.subscribe(ROOM, "w")
    dead = world.driver.peer(client.conn)
    dead.perform(effects.Drop())
    client.go()
    assert watcher.events()[-1] == "subscription_succeeded"
    world.clock.advance(CLAIM_SECONDS + 2)  # asked for by who found the claim
    assert watcher.events()[-1] == "member_removed"
    watcher.go()
    assert world.deployment.left_behind() == {}


# --- the bucket -----------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.25, 1.0, 5.0]), max_size=60))
def test_the_bucket_is_that_of_the_embedded_server(make_world, waits):
    world = make_world()
    client = world.connect()
    tokens, at = 10.0, world.clock()
    for wait in waits:
        world.clock.advance(wait)
        now = world.clock()
        tokens = min(10.0, tokens + (now - at) * 10)
        at = now
        allowed = perform(client, effects.Allow("client_events", 10))
        if abs(tokens - round(tokens)) > 0.001:  # on the edge, microseconds decide
            assert allowed is (tokens >= 1)
        tokens -= allowed


def test_buckets_are_apart(world):
    one, two = world.connect(), world.connect()
    taken = [perform(one, effects.Allow("a", 3)) for _ in range(5)]
    assert taken == [True, True, True, False, False]
    assert perform(one, effects.Allow("b", 3))
    assert perform(two, effects.Allow("a", 3))
    assert not perform(two, effects.Allow("c", 0))


# --- keys and expressions -------------------------------------------------------------------


def test_apps_are_apart():
    one, other = Names.of("1"), Names.of("1#a")
    assert one.shard("a#b") != other.shard("b")
    assert one.user("a#7") != other.user("7")


class Recorded:
    def __init__(self):
        self._db, self.expressions = MemoryDynamoDB(), set()

    def call(self, operation, request):
        changes = [one for each in request.get("TransactItems", ()) for one in each.values()]
        for part in [request, *changes]:
            for name in ("ConditionExpression", "UpdateExpression", "KeyConditionExpression"):
                self.expressions.add(part.get(name, ""))
        return self._db.call(operation, request)


@pytest.mark.usefixtures("small_shards")
def test_no_expression_uses_a_reserved_word(make_world):
    from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

    db = Recorded()
    world = make_world(db, app={"max_connections": 100, "subscription_count": True})
    for number in range(12):
        client = world.connect()
        client.sign_in(str(number), ["1"])
        for channel in ("a", "cache-a", ROOM, ROOM):
            client.subscribe(channel, str(number % 2))
        perform(client, effects.Allow("client_events", 10))
        world.driver.perform(effects.CacheSet("cache-a", "{}", 10))
        client.unsubscribe("a")
        if number % 3:
            client.go()
    words = {
        word for text in db.expressions for word in re.findall(r"(?<![:\w])[A-Za-z_]\w*", text)
    }
    syntax = {"SET", "ADD", "REMOVE", "AND", "OR", "BETWEEN"}
    assert len(words) > 25
    reserved = set(ReservedKeywords.get_reserved_keywords())
    assert {word for word in words if word.upper() in reserved} <= syntax


def test_a_failure_is_the_caller_s(make_world):
    class Down:
        def call(self, operation, request):
            if operation == "CreateTable":
                return {}
            raise ProviderUnavailable("down", provider="aws")

    world = make_world(Down())
    with pytest.raises(ProviderUnavailable, match="down"):
        perform(world.client(), effects.Subscribe("a"))
