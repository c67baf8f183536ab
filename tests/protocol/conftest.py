"""The protocol suite's world: clients, an app and time, on four drivers.

`memory` is the embedded server's driver. `table` keeps every row as JSON text, as a database would,
reads the connection from its row for each frame, and can perform steps one effect at a time.
`deployment` is the Lambda driver over a DynamoDB in memory, `moto` the same over moto's.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from realtime_kit.hosting.local.driver import MemoryDriver
from realtime_kit.protocol import effects, session, signing
from realtime_kit.protocol.app import App, Apps, Key
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import run
from realtime_kit.protocol.http_api import Request, Response, respond
from realtime_kit.testing.deployment import Deployment
from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

KEY = Key("app-key", "app-secret")
NOW = 1_700_000_000


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Timer]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Callable[[], object]) -> Timer:
        timer = Timer(function)
        heapq.heappush(self._timers, (self.now + delay, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            timer.fire()
        self.now = end


class Timer:
    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def cancel(self) -> None:
        self._function = None

    def fire(self) -> None:
        if self._function is not None:
            self._function()


class TableDriver:
    """Every row is JSON text in one dict; every answer is worked out of the rows."""

    def __init__(
        self,
        app: App,
        *,
        encode: Callable[[str], bytes],
        clock: Clock,
        call_later: Callable[[float, Callable[[], object]], Timer],
        notify: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self.app, self.encode, self.clock = app, encode, clock
        self.call_later, self.notify = call_later, notify
        self.rows: dict[tuple[str, ...], str] = {}
        self.sockets: dict[str, Any] = {}
        self.cache: dict[str, tuple[str, float]] = {}
        self.waiting: dict[str, Timer] = {}
        self.said: dict[str, float] = {}
        self.heard: set[str] = set()
        self.counting: set[str] = set()
        self.buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def performer(self, socket_id: str, socket: Any) -> effects.Perform:
        self.sockets[socket_id] = socket
        return lambda effect: self._perform(effect, socket_id)

    def perform(self, effect: effects.Effect) -> Any:
        return self._perform(effect, "")

    def _perform(self, effect: effects.Effect, me: str) -> Any:
        return getattr(self, "_" + type(effect).__name__)(effect, me)

    def stored(self, socket_id: str) -> Connection | None:
        row = self.rows.get(("connection", socket_id))
        return Connection.from_json(json.loads(row)) if row else None

    def left_behind(self) -> dict[str, Any]:
        return dict(self.rows)

    def _of(self, channel: str) -> dict[str, dict[str, Any]]:
        return {
            key[2]: json.loads(row)
            for key, row in self.rows.items()
            if key[:2] == ("subscription", channel)
        }

    def _members(self, channel: str) -> dict[str, str | None]:
        members: dict[str, str | None] = {}
        for row in self._of(channel).values():
            if row["user_id"] is not None:
                members.setdefault(row["user_id"], row["user_info"])
        return members

    def _online(self) -> dict[str, set[str]]:
        online = defaultdict(set)
        for key in self.rows:
            stored = self.stored(key[1]) if key[0] == "connection" else None
            if stored and stored.user_id is not None:
                online[stored.user_id].add(key[1])
        return online

    def _Connect(self, effect: effects.Connect, me: str) -> bool:
        count = sum(key[0] == "connection" for key in self.rows)
        if effect.max_connections is not None and count >= effect.max_connections:
            return False
        self.rows["connection", me] = json.dumps(effect.connection.to_json())
        return True

    def _Send(self, effect: effects.Send, me: str) -> None:
        self.sockets[me].write(self.encode(effect.frame))

    def _Close(self, effect: effects.Close, me: str) -> None:
        self.sockets[me].close(effect.code, effect.reason)

    def _Broadcast(self, effect: effects.Broadcast, _: str) -> None:
        receivers = [one for one in self._of(effect.channel) if one != effect.exclude]
        frame = self.encode(effect.frame) if receivers else b""
        for socket_id in receivers:
            self.sockets[socket_id].write(frame)

    def _Subscribe(self, effect: effects.Subscribe, me: str) -> effects.Joined:
        rows, members = self._of(effect.channel), self._members(effect.channel)
        if me in rows or ("connection", me) not in self.rows:
            return effects.Joined(False, count=len(rows))
        first = effect.user_id is not None and effect.user_id not in members
        if first and effect.max_members is not None and len(members) >= effect.max_members:
            return effects.Joined(False, count=len(rows), refused=True)
        row = {"user_id": effect.user_id, "user_info": effect.user_info}
        self.rows["subscription", effect.channel, me] = json.dumps(row)
        return effects.Joined(True, first, not rows, len(rows) + 1)

    def _Unsubscribe(self, effect: effects.Unsubscribe, me: str) -> effects.Left:
        return self._leave(effect.channel, me)

    def _leave(self, channel: str, me: str) -> effects.Left:
        row = self.rows.pop(("subscription", channel, me), None)
        count = len(self._of(channel))
        if row is None:
            return effects.Left(channel, False, count=count)
        user_id = json.loads(row)["user_id"]
        last = user_id is not None and user_id not in self._members(channel)
        return effects.Left(channel, True, user_id, last, not count, count)

    def _Drop(self, _: effects.Drop, me: str) -> effects.Dropped:
        stored = self.stored(me)
        self.rows.pop(("connection", me), None)
        channels = [key[1] for key in self.rows if key[0] == "subscription" and key[2] == me]
        left = tuple(self._leave(channel, me) for channel in channels)
        user_id = stored.user_id if stored else None
        return effects.Dropped(left, user_id if user_id not in self._online() else None)

    def _Told(self, effect: effects.Told, me: str) -> None:
        assert effect.channel or me not in {key[-1] for key in self.rows}

    def _Subscribed(self, effect: effects.Subscribed, me: str) -> str | None:
        row = self._of(effect.channel).get(me)
        return None if row is None else row["user_id"] or ""

    def _SignIn(self, effect: effects.SignIn, me: str) -> effects.SignedIn:
        stored = self.stored(me)
        if stored is None or stored.user_id not in (None, effect.user_id):
            return effects.SignedIn(False)
        online = self._online()
        row = {**stored.to_json(), "user_id": effect.user_id, "user_info": effect.user_info}
        self.rows["connection", me] = json.dumps(row)
        for user_id in effect.watchlist:
            self._Subscribe(effects.Subscribe(effects.watchers_of(user_id)), me)
        seen = tuple(user_id for user_id in effect.watchlist if user_id in online)
        return effects.SignedIn(True, effect.user_id not in online, seen)

    def _Terminate(self, effect: effects.Terminate, _: str) -> None:
        theirs = set(self._online()[effect.user_id])
        for (kind, *names), row in list(self.rows.items()):
            if kind == "subscription" and json.loads(row)["user_id"] == effect.user_id:
                theirs.add(names[1])
        if effect.channel is not None:
            theirs &= self._of(effect.channel).keys()
        for socket_id in theirs:
            self.sockets[socket_id].write(self.encode(effect.frame))
            self.sockets[socket_id].close(effect.code, effect.reason)

    def _QueryChannel(self, effect: effects.QueryChannel, _: str) -> effects.ChannelState:
        channel = effect.channel
        return effects.ChannelState(len(self._of(channel)), len(self._members(channel)))

    def _QueryChannels(self, effect: effects.QueryChannels, _: str) -> dict[str, Any]:
        names = {key[1] for key in self.rows if key[0] == "subscription" and key[1][0] != "#"}
        return {
            name: self._QueryChannel(effects.QueryChannel(name), "")
            for name in sorted(names)
            if name.startswith(effect.prefix)
        }

    def _QueryMembers(self, effect: effects.QueryMembers, _: str) -> dict[str, str | None]:
        return self._members(effect.channel)

    def _QueryPresent(self, effect: effects.QueryPresent, _: str) -> dict[str, str | None]:
        there: Mapping[str, Any] = (
            self._online() if effect.channel is None else self._members(effect.channel)
        )
        return {user_id: there[user_id] for user_id in effect.user_ids if user_id in there}

    def _CacheGet(self, effect: effects.CacheGet, _: str) -> effects.Cached | None:
        frame, end = self.cache.get(effect.channel, ("", 0.0))
        left = end - self.clock()
        return effects.Cached(frame, max(1, round(left))) if left > 0 else None

    def _CacheSet(self, effect: effects.CacheSet, _: str) -> None:
        self.cache[effect.channel] = (effect.frame, self.clock() + effect.ttl)

    def _Allow(self, effect: effects.Allow, me: str) -> bool:
        now = self.clock()
        tokens, at = self.buckets.get((me, effect.bucket), (effect.rate, now))
        tokens = min(effect.rate, tokens + (now - at) * effect.rate)
        self.buckets[me, effect.bucket] = (tokens - (tokens >= 1), now)
        return tokens >= 1

    def _Notify(self, effect: effects.Notify, _: str) -> None:
        key = effect.cancel_key
        if key is None:
            self.notify(effect.event)
        elif effect.window:
            if self.said.get(key, 0.0) <= self.clock():
                self.said[key] = self.clock() + effect.window
                self.notify(effect.event)
        else:
            self._look(key, effect.event)

    def _look(self, key: str, event: Mapping[str, Any]) -> None:
        """Which of the two states is so, and which was told last?"""
        there = event.get("user_id", "") in {"", *self._members(event["channel"])} and bool(
            self._of(event["channel"])
        )
        if there and key in self.waiting:
            self.waiting.pop(key).cancel()
        if there and key not in self.heard:
            self.heard.add(key)
            name = {"channel_vacated": "channel_occupied", "member_removed": "member_added"}
            self.notify({**event, "name": name.get(event["name"], event["name"])})
        elif not there and key in self.heard and key not in self.waiting:
            self.waiting[key] = self.call_later(3.0, lambda: self._tell_end(key, event))

    def _tell_end(self, key: str, event: Mapping[str, Any]) -> None:
        del self.waiting[key]
        self.heard.remove(key)
        name = {"channel_occupied": "channel_vacated", "member_added": "member_removed"}
        self.notify({**event, "name": name.get(event["name"], event["name"])})

    def _Later(self, effect: effects.Later, _: str) -> None:
        if effect.channel not in self.counting:
            self.counting.add(effect.channel)
            self.call_later(effect.delay, lambda: self._count(effect.channel))

    def _count(self, channel: str) -> None:
        self.counting.remove(channel)
        run(session.announce_count(self.app, channel), self.perform)


class Running:
    """A step that is performed one effect at a time, so that others come between."""

    def __init__(self, step: effects.Step[Any], perform: effects.Perform) -> None:
        self._step, self._perform = step, perform
        self.answer: Any = None
        self.next: effects.Effect | None = None
        self._resume(lambda: next(step))

    def _resume(self, resume: Callable[[], effects.Effect]) -> None:
        try:
            self.next = resume()
        except StopIteration as end:
            self.next, self.answer = None, end.value

    def advance(self) -> None:
        """Perform the effect that is next."""
        assert self.next is not None
        try:
            answer = self._perform(self.next)
        except OSError as error:
            failed = effects.EffectFailed()
            failed.__cause__ = error
            self._resume(lambda: self._step.throw(failed))
        else:
            self._resume(lambda: self._step.send(answer))

    def until(self, kind: type[effects.Effect]) -> None:
        """Go on up to the next effect of this kind, which is not performed yet."""
        while not isinstance(self.next, kind):
            self.advance()

    def finish(self) -> Any:
        while self.next is not None:
            self.advance()
        return self.answer


class Peer:
    """A client: the frames that it was sent, and how its connection ended."""

    def __init__(self, world: World, socket_id: str) -> None:
        self.world, self.socket_id = world, socket_id
        self.connection: Connection | None = None
        self.raw: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.answering = self.overtaken = False
        # What the driver was asked to write and wrote: by channel, the member that this is there.
        self.subscribed: dict[str, str | None] = {}
        self.watched: set[str] = set()
        self.user_id: str | None = None
        # What the client was told that it is subscribed to, and did not end itself.
        self.told: set[str] = set()
        self._taken = 0
        self.perform = world.watched(world.driver.performer(socket_id, self), self)

    # what the driver does with the socket

    @property
    def write(self) -> Callable[[bytes], object]:
        return self._write

    def _write(self, frames: bytes) -> None:
        for text in frames.decode().splitlines():  # a driver may write several together
            self._receive(text)

    def _receive(self, text: str) -> None:
        frame = json.loads(text)
        channel, event = frame.get("channel"), frame["event"]
        # About a channel, not on it; or the answer to a frame that another frame overtook.
        excused = event == "pusher:subscription_error" or (self.answering and self.overtaken)
        if event == "pusher_internal:subscription_succeeded":
            self.told.add(channel)
        if channel is not None and channel not in self.subscribed and not excused:
            self.world.wrong.append(f"{self.socket_id} is not on {channel} and was sent {text}")
        self.raw.append(text)

    def close(self, code: int, reason: str) -> None:
        if len(reason.encode()) > 123:
            self.world.wrong.append(f"no close frame can carry {reason}")
        self.closed = self.closed or (code, reason)

    # what the client does

    def stored(self) -> Connection:
        """The connection as a host finds it when the next frame comes."""
        driver = self.world.driver
        stored = driver.stored(self.socket_id) if not isinstance(driver, MemoryDriver) else None
        return stored or self.connection

    def receive(self, frame: str | bytes) -> effects.Step[Connection]:
        return session.receive(self.world.app, self.stored(), frame)

    def send(self, frame: Any) -> list[dict[str, Any]]:
        """Send a frame (an object, or raw text or bytes); what came back."""
        raw = frame if isinstance(frame, str | bytes) else json.dumps(frame)
        self.connection = run(self.receive(raw), self.perform)
        if self.world.sound and self.closed is None:
            assert self.connection == self.stored()
        return self.take()

    def take(self) -> list[dict[str, Any]]:
        """The frames since the last time, `data` as it came."""
        if isinstance(self.world.driver, MemoryDriver):
            self.world.driver.registry.flush()
        taken, self._taken = self.raw[self._taken :], len(self.raw)
        return [json.loads(frame) for frame in taken]

    def subscribe(self, channel: str, **data: Any) -> list[dict[str, Any]]:
        return self.send({"event": "pusher:subscribe", "data": {"channel": channel, **data}})

    def start(self, event: str, **data: Any) -> Running:
        """Begin to receive a frame of the protocol."""
        return self.begin(json.dumps({"event": f"pusher:{event}", "data": data}))

    def begin(self, frame: str | bytes) -> Running:
        """Begin to receive a frame."""
        self.overtaken = True
        return Running(self.receive(frame), self.perform)

    def join(self, channel: str, channel_data: str | None = None) -> list[dict[str, Any]]:
        """Subscribe with the proof that the application's server would give."""
        return self.subscribe(channel, **self.proof(channel, channel_data))

    def proof(self, channel: str, channel_data: str | None = None) -> dict[str, str]:
        auth = signing.channel_auth(KEY, self.socket_id, channel, channel_data)
        return {"auth": auth} | ({} if channel_data is None else {"channel_data": channel_data})

    def enter(self, channel: str, user_id: str, info: Any = None) -> list[dict[str, Any]]:
        """Join a presence channel."""
        return self.subscribe(channel, **self.member(channel, user_id, info))

    def member(self, channel: str, user_id: str, info: Any = None) -> dict[str, str]:
        """The proof of a member."""
        member = {"user_id": user_id} | ({} if info is None else {"user_info": info})
        return self.proof(channel, json.dumps(member))

    def leave(self, channel: str) -> list[dict[str, Any]]:
        return self.send({"event": "pusher:unsubscribe", "data": {"channel": channel}})

    def sign_in(self, user_id: str, **more: Any) -> list[dict[str, Any]]:
        return self.send({"event": "pusher:signin", "data": self.identity(user_id, **more)})

    def identity(self, user_id: str, **more: Any) -> dict[str, str]:
        """The proof of a user."""
        user_data = json.dumps({"id": user_id, **more})
        auth = signing.user_auth(KEY, self.socket_id, user_data)
        return {"auth": auth, "user_data": user_data}

    def going(self) -> Running:
        """Begin to be gone."""
        return Running(session.disconnect(self.world.app, self.stored()), self.perform)

    def go(self) -> None:
        """The client is gone."""
        run(session.disconnect(self.world.app, self.stored()), self.perform)


class World:
    """One app on one driver."""

    def __init__(self, driver: Callable[..., Any], app: App) -> None:
        self.app, self.clock = app, Clock()
        self.webhooks: list[dict[str, Any]] = []
        self.encoded: list[str] = []
        self.wrong: list[str] = []
        self.sound = True
        self._ids = itertools.count(1)
        self._fault: Callable[[effects.Effect], str | None] = lambda effect: None
        self.driver = driver(
            app=app,
            encode=self._encode,
            clock=self.clock,
            call_later=self.clock.call_later,
            notify=lambda event: self.webhooks.append(dict(event)),
        )

    def _encode(self, frame: str) -> bytes:
        self.encoded.append(frame)
        return frame.encode() + b"\n"

    def watched(self, perform: effects.Perform, peer: Peer | None = None) -> effects.Perform:
        """`perform`, with faults, and with a book of who is subscribed to what."""

        def watch(effect: effects.Effect) -> Any:
            fault = self._fault(effect)
            if fault == "before":
                raise ConnectionError("injected")
            if peer is not None:
                peer.answering = isinstance(effect, effects.Send)
            try:
                answer = perform(effect)
            except Exception as error:
                self.wrong.append(f"{effect} raised {error!r}")  # the step must not hide it
                raise
            if peer is not None:
                peer.answering = False
                _book(peer, effect, answer)
            if fault == "after":
                raise TimeoutError("injected")
            return answer

        return watch

    def faults(self, fault: Callable[[effects.Effect], str | None]) -> None:
        """From now on: "before" an effect, "after" it, or None."""
        self.sound = False
        self._fault = fault

    def fail(self, *kinds: type[effects.Effect], when: str = "before") -> None:
        self.faults(lambda effect: when if isinstance(effect, kinds) else None)

    def heal(self) -> None:
        self._fault = lambda effect: None

    def peer(self) -> Peer:
        """A client that has not connected."""
        return Peer(self, f"{next(self._ids)}.{next(self._ids)}")

    def open(self, peer: Peer, app: App | None, key: str, query: Mapping[str, str]) -> bool:
        step = session.connect(app, key=key, query=query, socket_id=peer.socket_id)
        peer.connection = run(step, peer.perform)
        return peer.connection is not None

    def connect(self, protocol: str = "7") -> Peer:
        """A client that is connected, with the first frame taken."""
        peer = self.peer()
        assert self.open(peer, self.app, KEY.key, {"protocol": protocol})
        peer.take()
        return peer

    def left_behind(self) -> dict[str, Any]:
        """Rows of the registry."""
        if not isinstance(self.driver, MemoryDriver):
            return self.driver.left_behind()
        rows = vars(self.driver.registry).items()
        return {name: kept for name, kept in rows if isinstance(kept, dict) and kept}

    # the HTTP API

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: Key = KEY,
        time: int = NOW,
        **params: Any,
    ) -> Request:
        """A signed request. `path` is below `/apps/ID`; `body` is an object, or raw bytes."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        full = f"/apps/{self.app.id}{path}"
        signed = {
            **params,
            "auth_key": key.key,
            "auth_timestamp": str(time),
            "auth_version": "1.0",
        }
        if raw:
            signed["body_md5"] = hashlib.md5(raw).hexdigest()  # noqa: S324
        signed["auth_signature"] = signing.http_signature(key.secret, method, full, signed)
        pairs: list[tuple[str, str]] = []
        for name, value in signed.items():
            listed = [(f"{name}[]", one) for one in value]
            pairs += [(name, value)] if isinstance(value, str) else listed
        return Request(method, full, urlencode(pairs, quote_via=quote), {}, raw)

    def respond(self, request: Request, now: float = NOW) -> Response:
        perform = self.watched(self.driver.perform)
        return respond(Apps([self.app]), request, now, lambda app: perform)

    def http(self, method: str, path: str, body: Any = None, **params: Any) -> tuple[int, Any]:
        """Status, and the answer: decoded if it is JSON, else its text."""
        response = self.respond(self.request(method, path, body, **params))
        if response.content_type == "application/json":
            return response.status, json.loads(response.body)
        assert response.content_type == "text/plain; charset=utf-8"
        return response.status, response.body.decode()

    def trigger(self, channel: str, event: str, data: str, **more: Any) -> None:
        body = {"name": event, "channels": [channel], "data": data, **more}
        assert self.http("POST", "/events", body) == (200, {})


def _book(peer: Peer, effect: effects.Effect, answer: Any) -> None:
    match effect:
        case effects.Subscribe(channel, user_id) if answer.new:
            peer.subscribed[channel] = user_id
        case effects.Unsubscribe(channel):
            peer.subscribed.pop(channel, None)
            peer.told.discard(channel)
        case effects.SignIn(user_id, _, watchlist) if answer.accepted:
            peer.user_id = user_id
            peer.watched.update(watchlist)
        case effects.Drop():
            peer.subscribed.clear()
            peer.watched.clear()
            peer.told.clear()
            peer.user_id = None


def _deployment(**arguments: Any) -> Deployment:
    return Deployment(arguments.pop("app"), db=MemoryDynamoDB(), **arguments)


def _moto(**arguments: Any) -> Deployment:
    return Deployment(arguments.pop("app"), db=MotoDynamoDB(), **arguments)


DRIVERS = {
    "memory": MemoryDriver,
    "table": TableDriver,
    "deployment": _deployment,
    "moto": _moto,
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "crowd: a hundred connections")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """moto copies its table for each transaction: a hundred connections take it ten seconds."""
    crowded = [
        item for item in items if item.get_closest_marker("crowd") and "[moto" in item.nodeid
    ]
    config.hook.pytest_deselected(items=crowded)
    items[:] = [item for item in items if item not in crowded]


@pytest.fixture(params=DRIVERS)
def make_world(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """A world with an app of one's own: `make_world(client_events=False)`."""
    yield from _making(DRIVERS[request.param])


@pytest.fixture(params=["table", "deployment", "moto"])
def table_world(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Like `make_world`, on the drivers whose steps may interleave."""
    yield from _making(DRIVERS[request.param])


def _making(driver: Callable[..., Any]) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**changes: Any) -> World:
        worlds.append(World(driver, App("1", (KEY,), **changes)))
        return worlds[-1]

    yield make
    assert [wrong for world in worlds for wrong in world.wrong] == []


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def data() -> Callable[[dict[str, Any]], Any]:
    """A frame's data, decoded: it must be a string of JSON."""

    def decode(frame: dict[str, Any]) -> Any:
        assert isinstance(frame["data"], str)
        return json.loads(frame["data"])

    return decode


@pytest.fixture
def error() -> Callable[..., dict[str, Any]]:
    """The frame of a protocol error."""
    return lambda message, code=None: {
        "event": "pusher:error",
        "data": {"code": code, "message": message},
    }


@pytest.fixture
def peers(world: World) -> Iterator[Callable[[], Peer]]:
    """Connect clients; at the end all go, and nothing of them may be left."""
    connected: list[Peer] = []

    def connect() -> Peer:
        connected.append(world.connect())
        return connected[-1]

    yield connect
    for peer in connected:
        peer.go()
    assert world.left_behind() == {}
