"""Functions that run at the same time, between whose requests to DynamoDB others come; requests
that fail before or after they took effect; functions that die. Any of it, in any order.

`SOAK=100` runs a hundred times as many.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random

from greenlet import getcurrent, greenlet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError
from realtime_kit.protocol import effects
from realtime_kit.testing.dynamodb import MemoryDynamoDB

SOAK = int(os.environ.get("SOAK", "1"))
EXAMPLES = settings(
    max_examples=100 * SOAK,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROOM = "presence-room"


class Scheduled:
    """A DynamoDB before whose every request another function may come, or a failure."""

    def __init__(self, db):
        self._db, self.failures, self.main = db, [], None
        self.lost = set()  # channels and users of what began, and its answer was lost

    def call(self, operation, request):
        if getcurrent() is self.main or self.main is None:
            return self._db.call(operation, request)
        self.main.switch()
        failure = self.failures.pop(0) if self.failures else None
        if failure == "throttled":
            code = "ProvisionedThroughputExceededException"
            raise DynamoDBError(400, code, {"message": "slow down"})
        if failure == "conflict" and operation == "TransactWriteItems":
            reasons = [{"Code": "TransactionConflict"}] * len(request["TransactItems"])
            answer = {"message": "cancelled", "CancellationReasons": reasons}
            raise DynamoDBError(400, "TransactionCanceledException", answer)
        if failure == "before":
            raise ProviderUnavailable("injected", provider="aws", retryable=True)
        answer = self._db.call(operation, request)
        if failure == "after":
            self._note(request)
            raise ProviderUnavailable("injected", provider="aws", retryable=True, maybe_sent=True)
        return answer

    def _note(self, request):
        for change in request.get("TransactItems", ()):
            item = change.get("Put", {}).get("Item", {"pk": {"S": ""}})
            if item["pk"]["S"].startswith("C#"):
                name = "user_id" if item["sk"]["S"] == "I" else "channel"
                self.lost.add(item.get(name, {"S": ""})["S"])


class Play:
    """Up to four clients, whose steps are begun and go on a request at a time."""

    def __init__(self, make_world, check):
        self.db = Scheduled(MemoryDynamoDB())
        self.world, self.check = make_world(self.db), check
        self.db.main = getcurrent()
        self.clients, self.running, self.dead = {}, [], 0
        self.callers, self.unanswered = {}, set()  # whose function each is; whose died
        self._pause_before(self.world.driver, "_queue")
        self._pause_before(self.world.driver._webhooks, "_notify")
        self._pause_before(self.world.deployment.clients, "deliver")
        self.flips, self.late = Counter(), Counter()
        for number in range(3):
            self.connect(number)

    def _pause_before(self, owner, name):
        """Others may come before this, too, and a function die."""
        call = getattr(owner, name)

        def paused(*arguments, **options):
            if getcurrent() is not self.db.main:
                self.db.main.switch()
            return call(*arguments, **options)

        setattr(owner, name, paused)

    def act(self, action):
        name, *arguments = action
        getattr(self, name.replace(" ", "_"))(*arguments)

    def begin(self, function, *arguments):
        self.running.append(greenlet(lambda: function(*arguments)))
        self.callers[self.running[-1]] = function.__self__

    # what happens

    def connect(self, number):
        if number not in self.clients:
            client = self.clients[number] = self.world.client()
            client.perform = self._watched(client.perform)
            client.connect()

    def subscribe(self, number, channel, user_id):
        if number in self.clients:
            self.begin(self.clients[number].subscribe, channel, user_id)

    def unsubscribe(self, number, channel):
        if number in self.clients:
            self.begin(self.clients[number].unsubscribe, channel)

    def sign_in(self, number, user_id, watchlist):
        if number in self.clients:
            self.begin(self.clients[number].sign_in, user_id, watchlist)

    def go(self, number, times):
        """`$disconnect`, perhaps more than once."""
        client = self.clients.pop(number, None)
        if client is not None:
            self.world.deployment.clients.connected.pop(client.conn)
            for _ in range(times):
                self.begin(self._disconnect, client)

    def _disconnect(self, client):
        effects.run(
            _disconnecting(self.world.app, client.socket_id),
            self._watched(lambda: self.world.deployment.peer(client.socket_id))(),
        )

    def advance(self, which, requests):
        for _ in range(requests):
            self.running = [function for function in self.running if not function.dead]
            if self.running:
                self.running[which % len(self.running)].switch()
                self.check(self.world.rows())

    def fail(self, failures):
        self.db.failures += failures

    def die(self, which):
        """A function dies before its next request."""
        alive = [function for function in self.running if function and not function.dead]
        if alive:
            dead = alive[which % len(alive)]
            self.running.remove(dead)
            self.unanswered.add(self.callers[dead])
            self.dead += 1

    def finish(self, order):
        """Bring all that runs to its end; `order` is the seed of who goes on."""
        chance = Random(order)  # noqa: S311
        while any(not function.dead for function in self.running):
            self.advance(chance.randrange(len(self.running)), 1)

    def _watched(self, performer):
        """Count what was answered: every first has a last."""

        def watching():
            perform = performer()

            def watch(effect):
                answer = perform(effect)
                if isinstance(effect, effects.Subscribe) and answer.new:
                    self._joined(effect, answer)
                for left in answer.left if isinstance(effect, effects.Drop) else ():
                    self._left(left)
                if isinstance(effect, effects.Unsubscribe) and answer.existed:
                    self._left(answer)
                if isinstance(effect, effects.SignIn) and answer.first:
                    self.flips["signed in", effect.user_id] += 1
                if isinstance(effect, effects.Drop) and answer.signed_out is not None:
                    self.flips["signed in", answer.signed_out] -= 1
                return answer

            return watch

        return watching

    def _joined(self, effect, joined):
        if effect.channel.startswith("#"):  # nobody is told of them
            return
        self.flips["subscribed", effect.channel] += 1
        self.flips["occupied", effect.channel] += joined.occupied
        self.flips["member", effect.channel, effect.user_id] += joined.first_of_member

    def _left(self, left):
        if left.channel.startswith("#"):
            return
        self.flips["subscribed", left.channel] -= 1
        self.flips["occupied", left.channel] -= left.vacated
        self.flips["member", left.channel, left.user_id] -= left.last_of_member
        if left.untold is not None:
            self.late["occupied", left.channel] += left.untold.occupied
            self.late["member", left.channel, left.user_id] += left.untold.first_of_member

    def sweep(self):
        """Send those away of whom something is to be told; time enough has passed."""
        world = self.world
        for number, client in list(self.clients.items()):
            row = world.rows().get(rows.connection(client.conn))
            if row is None or world.registry.is_unfinished(client.conn, row, 0):
                del self.clients[number]
                client.go()


def _disconnecting(app, socket_id):
    from realtime_kit.protocol import session
    from realtime_kit.protocol.connection import Connection

    return session.disconnect(app, Connection(app.id, socket_id))


who, users = st.integers(0, 3), st.sampled_from(["1", "2"])
channels = st.sampled_from([ROOM, ROOM, "a", "#server-to-user-1"])
which, order = st.integers(0, 9), st.integers(0, 2**32)
happenings = [
    st.tuples(st.just("connect"), who),
    st.tuples(st.just("subscribe"), who, channels, users),
    st.tuples(st.just("subscribe"), who, channels, users),
    st.tuples(st.just("unsubscribe"), who, channels),
    st.tuples(st.just("sign in"), who, users, st.lists(users, unique=True)),
    st.tuples(st.just("go"), who, st.integers(1, 2)),
    st.tuples(st.just("advance"), which, st.integers(1, 12)),
]
kinds = st.sampled_from(["before", "after", "conflict", "throttled", None, None])
failures = st.tuples(st.just("fail"), st.lists(kinds, min_size=1, max_size=6))
deaths = st.tuples(st.just("die"), which)


def scripts(*more):
    return st.lists(st.one_of(*happenings, *more), min_size=10, max_size=60)


def check_told(world, clients):
    """What the members were told last, and the application, is so."""
    rows = world.rows()
    there = {row["user_id"] for key, row in rows.items() if key.sk.startswith("M#")}
    for client in clients:
        if world.subscriptions.subscribed(client.conn, ROOM) is not None:
            assert view(client) == there
    told = {}
    for hook in world.webhooks:
        told[hook["channel"], hook.get("user_id")] = hook["name"]
    heads = {(key.sk, None) for key in rows if key.pk.startswith("H")}
    assert {
        key for key, name in told.items() if name in ("channel_occupied", "member_added")
    } == heads | {(ROOM, user_id) for user_id in there}


def view(client):
    members = None
    for frame in client.frames:
        if frame.get("channel") == ROOM:
            event, data = frame["event"].partition(":")[2], json.loads(frame["data"])
            if event == "subscription_succeeded":
                members = set(data["presence"]["ids"])
            elif members is not None:
                change = members.add if event == "member_added" else members.discard
                change(data["user_id"])
    return members


def end(play, order):
    """All go; nothing of them stays, but what is kept for a while."""
    for number in list(play.clients):
        play.go(number, 1)
    play.finish(order)
    play.world.clock.advance(60)
    play.world.clock.advance(60)
    assert play.world.deployment.left_behind() == {}


@EXAMPLES
@given(script=scripts(), order=order)
def test_any_order_of_requests(make_world, check, script, order):
    play = Play(make_world, check)
    for action in script:
        play.act(action)
    play.finish(order)
    play.world.clock.advance(10)
    check_told(play.world, play.clients.values())
    end(play, order)
    assert set(play.flips.values()) <= {0}
    assert [key for key in play.world.rows() if key.pk.startswith("W#")] == []
    check_told(play.world, [])


@EXAMPLES
@given(script=scripts(failures), order=order)
def test_requests_that_fail_are_made_again(make_world, check, script, order):
    play = Play(make_world, check)
    for action in script:
        play.act(action)
    play.finish(order)
    play.db.failures.clear()
    play.world.clock.advance(10)
    check_told(play.world, play.clients.values())
    end(play, order)
    for key, flips in play.flips.items():
        # What was ended before it was known to have begun. Its end tells of both, where there was
        # anything to tell; of users who signed in only the end is told.
        told = -flips <= play.late[key] or key[0] in ("subscribed", "signed in")
        assert flips == 0 or (flips < 0 and key[1] in play.db.lost and told)
    check_told(play.world, [])


@EXAMPLES
@given(script=scripts(failures, deaths), order=order)
def test_functions_that_die(make_world, check, script, order):
    play = Play(make_world, check)
    watcher = play.world.connect()
    watcher.subscribe(ROOM, "watcher")
    gone = []
    for action in script:
        if action[0] == "go" and action[1] in play.clients:
            gone.append(play.clients[action[1]])
        play.act(action)
    play.finish(order)
    play.db.failures.clear()
    gone += play.clients.values()
    play.clients.clear()
    play.world.clock.advance(60)  # nobody honours a claim any more
    play.world.driver.disconnect([client.conn for client in gone])
    play.world.clock.advance(60)
    there = {row["user_id"] for key, row in play.world.rows().items() if key.sk.startswith("M#")}
    assert view(watcher) == there == {"watcher"}
    watcher.go()
    play.world.clock.advance(60)
    # A function may die before the last it does, to strike a connection off the sweep's list.
    left = list(play.world.deployment.left_behind())
    assert len(left) <= play.dead
    assert all(key.pk.startswith("T") for key in left)


@EXAMPLES
@given(script=scripts(failures, deaths), order=order)
def test_what_dead_functions_had_to_tell_is_told(make_world, check, script, order):
    play = Play(make_world, check)
    watcher = play.world.connect()
    watcher.subscribe(ROOM, "watcher")
    for action in script:
        play.act(action)
    play.finish(order)
    play.db.failures.clear()
    there = {watcher.conn} | {client.conn for client in play.clients.values()}
    gone = {key.pk[2:] for key in play.world.kept("C#")} - there
    play.world.clock.advance(60)  # nobody honours a claim any more
    play.world.driver.disconnect(sorted(gone))
    play.sweep()
    play.world.clock.advance(60)
    check(play.world.rows())
    check_told(play.world, {watcher, *play.clients.values()} - play.unanswered)
