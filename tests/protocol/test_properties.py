"""Any sequence of frames, valid, invalid and hostile, by several clients, with clients that go,
drivers that fail and steps that interleave.

Nothing raises out of the core, nobody is sent what they are not subscribed to, no leave is lost or
told twice, and when all are gone nothing is left. `SOAK=100` runs a hundred times as many.
"""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime_kit.protocol import effects

SOAK = int(os.environ.get("SOAK", "1"))
EXAMPLES = settings(
    max_examples=60 * SOAK,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# moto takes a hundred times as long as the others.
FEW = settings(EXAMPLES, max_examples=3 * SOAK)
fast = pytest.mark.parametrize("make_world", ["memory", "table", "deployment"], indirect=True)
fast_tables = pytest.mark.parametrize("table_world", ["table", "deployment"], indirect=True)
moto = pytest.mark.parametrize("make_world", ["moto"], indirect=True)
moto_table = pytest.mark.parametrize("table_world", ["moto"], indirect=True)

PUBLIC = ["a", "cache-a", "private-b", "private-encrypted-cache-b"]
PRESENCE = ["presence-c", "presence-cache-d"]
USERS = ["1", "2", "3"]
SUCCEEDED = "pusher_internal:subscription_succeeded"

who = st.integers(0, 3)
channels = st.sampled_from(PUBLIC + PRESENCE)
presences = st.sampled_from(PRESENCE)
users = st.sampled_from(USERS)

strings = st.one_of(
    st.text(max_size=20), st.sampled_from(["\ud800", "\0", "é" * 200, "x" * 20_000])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*PUBLIC, *PRESENCE, "#server-to-user-1", "#watchers-of-1", "", "é"])
fields = st.fixed_dictionaries(
    {},
    optional={
        "channel": names | values,
        "auth": st.sampled_from(["app-key:00", "x:y", ":", "app-key"]) | values,
        "channel_data": st.sampled_from(['{"user_id":"1"}', "{", "[]"]) | values,
        "user_data": st.sampled_from(['{"id":"1"}', "{"]) | values,
    },
)
events = st.sampled_from(
    [
        "pusher:subscribe",
        "pusher:unsubscribe",
        "pusher:signin",
        "pusher:ping",
        "pusher:pong",
        "pusher:error",
        "pusher_internal:member_added",
        "client-e",
        "e",
    ]
)
frames = st.one_of(
    strings,
    st.binary(max_size=20),
    values.map(json.dumps),
    st.sampled_from(["[" * 3_000, '{"event":"client-e","channel":"private-b","data":1e999}']),
    st.fixed_dictionaries(
        {"event": events | values},
        optional={"channel": names | values, "data": fields | fields.map(json.dumps) | values},
    ).map(json.dumps),
)

actions = st.one_of(
    st.tuples(st.just("connect"), who),
    st.tuples(st.just("subscribe"), who, channels, users),
    st.tuples(st.just("subscribe"), who, presences, users),
    st.tuples(st.just("unsubscribe"), who, channels),
    st.tuples(st.just("sign in"), who, users, st.lists(users, max_size=3)),
    st.tuples(st.just("whisper"), who, channels),
    st.tuples(st.just("frame"), who, frames),
    st.tuples(st.just("trigger"), who, channels),
    st.tuples(st.just("terminate"), users),
    st.tuples(st.just("go"), who),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 1.0, 4.0])),
)
FAULTY = [
    effects.Connect,
    effects.Send,
    effects.Broadcast,
    effects.Subscribe,
    effects.Unsubscribe,
    effects.Drop,
    effects.Subscribed,
    effects.SignIn,
    effects.QueryMembers,
    effects.QueryPresent,
    effects.CacheGet,
    effects.Allow,
    effects.Later,
]
failures = st.tuples(
    st.just("fail"),
    st.sampled_from(FAULTY),
    st.sampled_from(["before", "after"]),
    st.integers(0, 3),
)


class Play:
    """Performs actions on a world with up to four clients."""

    def __init__(self, world):
        self.world = world
        self.peers = {}
        self.gone = []
        self.count = 0
        for number in range(3):
            self.connect(number)

    def act(self, action):
        name, *arguments = action
        getattr(self, name.replace(" ", "_"))(*arguments)
        for number, peer in list(self.peers.items()):
            if peer.closed is not None:
                self.go(number)

    def connect(self, number):
        if number not in self.peers:
            peer = self.world.peer()
            if self.world.open(peer, self.world.app, "app-key", {"protocol": "7"}):
                self.peers[number] = peer

    def frame(self, number, frame):
        if number in self.peers:
            self.peers[number].send(frame)

    def message(self, number, event, **data):
        self.frame(number, json.dumps({"event": f"pusher:{event}", "data": data}))

    def subscribe(self, number, channel, user_id):
        if number in self.peers:
            peer = self.peers[number]
            proof = peer.member(channel, user_id, {"n": number})
            self.message(number, "subscribe", channel=channel, **proof)

    def unsubscribe(self, number, channel):
        self.message(number, "unsubscribe", channel=channel)

    def sign_in(self, number, user_id, watchlist):
        if number in self.peers:
            data = self.peers[number].identity(user_id, watchlist=watchlist)
            self.message(number, "signin", **data)

    def whisper(self, number, channel):
        self.frame(number, json.dumps({"event": "client-e", "channel": channel, "data": number}))

    def trigger(self, number, channel):
        self.count += 1
        excluded = self.peers[number].socket_id if number in self.peers else "0.0"
        body = {"name": "e", "channel": channel, "data": "1", "id": str(self.count)}
        self.world.http("POST", "/events", {**body, "socket_id": excluded})

    def terminate(self, user_id):
        self.world.http("POST", f"/users/{user_id}/terminate_connections", {})

    def go(self, number):
        peer = self.peers.pop(number, None)
        if peer is not None:
            peer.go()
            self.gone.append(peer)

    def wait(self, seconds):
        self.world.clock.advance(seconds)

    def fail(self, kind, when, skip):
        # What a driver must not do: lose the answer of a leave.
        when = "before" if kind in (effects.Drop, effects.Unsubscribe) else when
        left = [skip]

        def fault(effect):
            if not isinstance(effect, kind) or left[0] < 0:
                return None
            left[0] -= 1
            return when if left[0] < 0 else None

        self.world.faults(fault)

    def end(self):
        """All go; a disconnect that failed is run again, as a host must."""
        for number in list(self.peers):
            self.go(number)
        self.world.heal()
        for peer in self.gone:
            peer.go()
        self.world.clock.advance(10)


def view(peer, channel):
    """The members of a channel, from what a client was told."""
    members = None
    for frame in map(json.loads, peer.raw):
        if frame.get("channel") != channel:
            continue
        if frame["event"] == SUCCEEDED:
            members = set(json.loads(frame["data"])["presence"]["ids"])
        elif members is not None and frame["event"].startswith("pusher_internal:member_"):
            change = members.add if frame["event"].endswith("added") else members.discard
            change(json.loads(frame["data"])["user_id"])
    return members


def online(peer):
    """Who of a watchlist is online, from what a client was told."""
    there = set()
    for frame in map(json.loads, peer.raw):
        if frame["event"] == "pusher_internal:watchlist_events":
            for event in frame["data"]["events"]:
                change = there.update if event["name"] == "online" else there.difference_update
                change(event["user_ids"])
    return there


def check_views(peers):
    """What each client was told last is so."""
    for peer in peers:
        peer.take()
        for channel in set(PRESENCE) & peer.subscribed.keys():
            there = {other.subscribed.get(channel) for other in peers} - {None}
            assert view(peer, channel) == there
        assert online(peer) == peer.watched & {other.user_id for other in peers}


def check_subscriptions(peers):
    """A client believes itself subscribed to what it is subscribed to, and to no more."""
    for peer in peers:
        peer.take()
        assert peer.told == peer.subscribed.keys()


def check_webhooks(world, *, strict):
    """By channel and by member, joins and leaves take turns, and the last one is a leave.

    Unless `strict`, a leave may be told for a join that was not; never the reverse.
    """
    joined = {}
    for hook in world.webhooks:
        key, name = (hook["channel"], hook.get("user_id")), hook["name"]
        if name in ("channel_occupied", "member_added"):
            assert not joined.get(key, False)
            joined[key] = True
        elif name in ("channel_vacated", "member_removed"):
            assert joined.get(key, False) or not strict
            joined[key] = False
    assert not any(joined.values())


@fast
@EXAMPLES
@given(script=st.lists(actions, min_size=20, max_size=60))
def test_any_sequence_of_frames(make_world, script):
    any_sequence(make_world, script)


@moto
@FEW
@given(script=st.lists(actions, min_size=20, max_size=60))
def test_any_sequence_of_frames_over_moto(make_world, script):
    any_sequence(make_world, script)


def any_sequence(make_world, script):
    world = make_world()
    play = Play(world)
    for action in script:
        before = {number: len(peer.raw) for number, peer in play.peers.items()}
        play.act(action)
        check_views(play.peers.values())
        check_subscriptions(play.peers.values())
        if action[0] == "trigger":
            _check_delivery(play, before, *action[1:])
    play.end()
    assert world.left_behind() == {}
    assert world.wrong == []
    check_webhooks(world, strict=True)


def _check_delivery(play, before, excluded, channel):
    """Each subscriber got the event once; the excluded one, and others, not at all."""
    for number, peer in play.peers.items():
        fresh = [json.loads(frame) for frame in peer.raw[before[number] :]]
        got = [frame for frame in fresh if frame.get("id") == str(play.count)]
        expected = channel in peer.subscribed and number != excluded
        assert len(got) == expected


@fast
@EXAMPLES
@given(script=st.lists(actions | failures, min_size=20, max_size=60))
def test_any_sequence_of_frames_on_a_driver_that_fails(make_world, script):
    any_sequence_with_failures(make_world, script)


@moto
@FEW
@given(script=st.lists(actions | failures, min_size=20, max_size=60))
def test_any_sequence_of_frames_on_a_driver_that_fails_over_moto(make_world, script):
    any_sequence_with_failures(make_world, script)


def any_sequence_with_failures(make_world, script):
    world = make_world()
    play = Play(world)
    for action in script:
        play.act(action)
        check_subscriptions(play.peers.values())
    play.end()
    assert world.left_behind() == {}
    assert world.wrong == []
    check_webhooks(world, strict=False)


class Interleaved(Play):
    """Frames and disconnects are only begun; the effects of all that run come in any order."""

    def __init__(self, world):
        self.running = []
        super().__init__(world)

    def frame(self, number, frame):
        if number in self.peers:
            self.running.append(self.peers[number].begin(frame))

    def go(self, number):
        peer = self.peers.pop(number, None)
        if peer is not None:
            self.running.append(peer.going())
            self.gone.append(peer)

    def advance(self, which, effects):
        for _ in range(effects):
            self.running = [step for step in self.running if step.next is not None]
            if self.running:
                self.running[which % len(self.running)].advance()

    def finish(self, order):
        """Bring all that runs to its end, in the order of `order`, again and again."""
        while any(step.next is not None for step in self.running):
            for which in order or [0]:
                self.advance(which, 1)


# Few names, so that many meet.
meetings = st.one_of(
    st.tuples(st.just("connect"), who),
    st.tuples(st.just("subscribe"), who, st.sampled_from(["presence-cache-d", "a"]), users),
    st.tuples(st.just("unsubscribe"), who, st.sampled_from(["presence-cache-d", "a"])),
    st.tuples(st.just("sign in"), who, users, st.lists(users, max_size=3)),
    st.tuples(st.just("trigger"), who, st.just("presence-cache-d")),
    st.tuples(st.just("go"), who),
    st.tuples(st.just("advance"), st.integers(0, 9), st.integers(1, 8)),
    st.tuples(st.just("advance"), st.integers(0, 9), st.integers(1, 3)),
)


scripts = st.lists(meetings | actions, min_size=20, max_size=100)
orders = st.lists(st.integers(0, 9), max_size=20)


@fast_tables
@EXAMPLES
@given(script=scripts, order=orders)
def test_any_order_of_effects(table_world, script, order):
    any_order(table_world, script, order)


@moto_table
@FEW
@given(script=scripts, order=orders)
def test_any_order_of_effects_over_moto(table_world, script, order):
    any_order(table_world, script, order)


def any_order(table_world, script, order):
    world = table_world()
    play = Interleaved(world)
    for action in script:
        play.act(action)
    play.finish(order)
    check_views(play.peers.values())
    world.clock.advance(10)
    check_told_to_the_application(world, play.peers.values())
    for number in list(play.peers):
        play.go(number)
    play.finish(order)
    world.clock.advance(10)
    assert world.left_behind() == {}
    assert world.wrong == []
    check_told_to_the_application(world, [])


def check_told_to_the_application(world, peers):
    """What the application was told last of each channel and member is so."""
    there = {(channel, None) for peer in peers for channel in peer.subscribed if channel[0] != "#"}
    there |= {(name, user) for peer in peers for name, user in peer.subscribed.items() if user}
    told = {}
    for hook in world.webhooks:
        if hook["name"] not in ("client_event", "cache_miss"):
            told[hook["channel"], hook.get("user_id")] = hook["name"]
    joined = {key for key, name in told.items() if name in ("channel_occupied", "member_added")}
    assert joined == there
