"""The Lambda driver in one process, with time that is told to pass, and a check of its table."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, defaultdict

import pytest

from realtime_kit.protocol import session, signing
from realtime_kit.protocol.app import App, Key
from realtime_kit.protocol.effects import run
from realtime_kit.testing.deployment import Deployment, connection_id
from realtime_kit.testing.dynamodb import MemoryDynamoDB

KEY = Key("app-key", "app-secret")


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0
        self._numbers = itertools.count()
        self._waiting = []

    def __call__(self):
        return self.now

    def call_later(self, delay, function):
        heapq.heappush(self._waiting, (self.now + delay, next(self._numbers), function))

    def advance(self, seconds):
        end = self.now + seconds
        while self._waiting and self._waiting[0][0] <= end:
            self.now, _, function = heapq.heappop(self._waiting)
            function()
        self.now = end


class Client:
    """The frames that a client was sent. Each of its steps runs in a function of its own."""

    def __init__(self, world, socket_id):
        self.world, self.socket_id = world, socket_id
        self.conn = connection_id(socket_id)
        self.frames, self.closed = [], None
        world.deployment.performer(socket_id, self)

    def write(self, frame):
        self.frames.append(json.loads(frame))

    def close(self, code, reason):
        self.closed = (code, reason)

    def perform(self):
        return self.world.deployment.peer(self.socket_id)

    def connect(self):
        query = {"protocol": "7"}
        step = session.connect(self.world.app, key=KEY.key, query=query, socket_id=self.socket_id)
        return run(step, self.perform())

    def receive(self, event, **data):
        """Handle a frame, if the connection is known."""
        stored = self.world.deployment.stored(self.socket_id)
        if stored is not None:
            frame = json.dumps({"event": f"pusher:{event}", "data": data})
            run(session.receive(self.world.app, stored, frame), self.perform())

    def subscribe(self, channel, user_id="1"):
        data = json.dumps({"user_id": user_id, "user_info": {"of": self.socket_id}})
        presence = channel.startswith("presence-")
        auth = signing.channel_auth(KEY, self.socket_id, channel, data if presence else None)
        more = {"channel_data": data} if presence else {}
        self.receive("subscribe", channel=channel, auth=auth, **more)

    def unsubscribe(self, channel):
        self.receive("unsubscribe", channel=channel)

    def sign_in(self, user_id, watchlist=()):
        user_data = json.dumps({"id": user_id, "watchlist": list(watchlist)})
        auth = signing.user_auth(KEY, self.socket_id, user_data)
        self.receive("signin", auth=auth, user_data=user_data)

    def vanish(self):
        """Be gone without a word."""
        self.world.deployment.clients.connected.pop(self.conn, None)

    def go(self):
        self.vanish()
        self.world.driver.disconnect([self.conn])

    def events(self):
        return [frame["event"].partition(":")[2] for frame in self.frames]


class World:
    def __init__(self, db=None, **options):
        self.app = App("1", (KEY,), **options.pop("app", {}))
        self.clock, self.webhooks, self.pauses = Clock(), [], []
        self._ids = itertools.count(1)
        options.setdefault("notify", lambda event: self.webhooks.append(dict(event)))
        self.deployment = Deployment(
            self.app,
            db=db or MemoryDynamoDB(),
            encode=str.encode,
            clock=self.clock,
            call_later=self.clock.call_later,
            sleep=self.pauses.append,
            **options,
        )
        self.driver, self.registry = self.deployment.driver, self.deployment.registry
        self.subscriptions, self.table = self.registry.subscriptions, self.registry.table

    def client(self):
        return Client(self, f"{next(self._ids)}.{next(self._ids)}")

    def connect(self):
        client = self.client()
        assert client.connect()
        return client

    def rows(self):
        return self.deployment.rows()

    def kept(self, kind):
        """The keys of one kind of rows."""
        return [key for key in self.rows() if key.pk.startswith(kind)]


def check_table(rows):
    """What is counted is there, and what is there is counted: so it is after every write."""
    held = defaultdict(dict)  # channel -> connection -> its row
    users, subscriptions, connections = defaultdict(set), Counter(), {}
    for key, row in rows.items():
        kind, _, conn = key.pk.partition("#")
        if kind == "C" and key.sk == "#":
            connections[conn] = row
        elif kind == "C" and "ended" not in row:
            if key.sk == "I":
                users[row["user_id"]].add(conn)
            else:
                held[row["channel"]][conn] = row
                subscriptions[conn] += not row["channel"].startswith("#watchers-of-")
    counted = _counted(rows)
    live = {conn for conn, row in connections.items() if "dropped" not in row}
    _check_channels(held, counted, live)
    assert {user: len(conns) for user, conns in users.items()} == counted["users"]
    for conn, row in connections.items():
        # One that is dropped is not counted any more.
        assert "dropped" in row or row.get("subs", 0) == subscriptions[conn]
    assert set(subscriptions) <= set(connections)
    # Each can be found by a sweep, from its beginning to its end.
    assert counted["due"] >= set(connections)


def _counted(rows):
    found = {name: {} for name in ("heads", "shards", "members", "users")}
    found |= {"subscribers": defaultdict(dict), "present": defaultdict(set), "due": set()}
    for key, row in rows.items():
        kind, rest = key.pk[0], key.pk.split("#", 2)[-1]
        if kind == "H":
            found["heads"][key.sk] = row
        elif kind == "S":
            _count_of_channel(found, rest, int(key.pk[1 : key.pk.index("#")]), key.sk, row)
        elif kind == "U" and key.sk == "#":
            found["users"][rest] = row["conns"]
        elif kind == "U" and key.sk.startswith("P#"):
            channel, _, conn = key.sk[2:].rpartition("#")
            found["present"][channel, rest].add(conn)
        elif kind == "T":
            found["due"].add(key.sk.rpartition("#")[2])
    return found


def _count_of_channel(found, channel, shard, sk, row):
    if sk.startswith("S#"):
        found["subscribers"][channel][sk[2:]] = shard
    elif sk.startswith("M#"):
        found["members"][channel, row["user_id"]] = row["conns"]
    elif sk == "N" and shard:
        found["shards"][channel, shard] = row["conns"]


def _check_channels(held, counted, live):
    on = {
        channel: {conn: row["shard"] for conn, row in conns.items()}
        for channel, conns in held.items()
    }
    for channel in on.keys() | counted["subscribers"].keys():
        # Of a connection that is dropped, what it is found by goes first.
        held_there, there = on.get(channel, {}), counted["subscribers"].get(channel, {})
        assert {pair for pair in held_there.items() if pair[0] in live} <= there.items()
        assert there.items() <= held_there.items()
    heads = {
        channel: _head(conns.values())
        for channel, conns in held.items()
        if not channel.startswith("#")
    }
    names = ("conns", "elsewhere", "members")
    assert heads == {
        channel: tuple(row[name] for name in names) for channel, row in counted["heads"].items()
    }
    shards = Counter((channel, at) for channel, conns in on.items() for at in conns.values() if at)
    assert shards == counted["shards"]  # internal channels have the first shard alone
    present = defaultdict(set)
    for channel, conns in held.items():
        for conn, row in conns.items():
            if "user_id" in row:
                present[channel, row["user_id"]].add(conn)
    for key in present.keys() | counted["present"].keys():
        there = counted["present"].get(key, set())
        assert present[key] & live <= there <= present[key]
    assert {key: len(conns) for key, conns in present.items()} == counted["members"]


def _head(rows):
    rows = list(rows)
    shards = Counter(row["shard"] for row in rows)
    members = {row["user_id"] for row in rows if "user_id" in row}
    return shards[0], len(set(shards) - {0}), len(members)


@pytest.fixture
def make_world():
    return World


@pytest.fixture
def world():
    """Whatever a test did, its table adds up."""
    world = World()
    yield world
    check_table(world.rows())


@pytest.fixture
def check():
    return check_table
