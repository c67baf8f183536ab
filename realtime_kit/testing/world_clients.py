"""The clients of a world: over a socket, a stream that is torn off again and again, and polls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from realtime_kit.protocol import session
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import run
from realtime_kit.testing.resuming import COLLECT, GRACE, Arrived, Place, Track
from realtime_kit.testing.world import World
from realtime_kit.testing.world_truth import Had
from realtime_kit.web.http import HttpRequest, HttpResponse

POLL = 3.0  # seconds between two questions of those that ask
MAX_BACK_OFF = 10.0
FAILED = HttpResponse(0)


class Client:
    """What all have in common: channels, what they had of them, and questions to `/events`."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        many = world.random.randint(1, len(world.names))
        self.channels = sorted(world.random.sample(world.names, many))
        self.had: dict[str, list[Had]] = {channel: [] for channel in self.channels}
        self.tracks = {channel: self._track(channel) for channel in self.channels}
        self.socket_id: str | None = None
        self.past_sockets: list[str] = []
        self._failures = 0

    def _track(self, channel: str) -> Track:
        had = self.had[channel]

        def deliver(event: Arrived, place: Place | None) -> None:
            assert place is not None
            sender = self.world.application.senders.get(event.id or "")
            if sender is not None and sender == self.socket_id:
                self.world.fail(f"{self.name} had {event.id}, which it sent itself", self.name)
            if not had or (len(had) == 1 and had[0].offset >= place.offset):
                had[:] = [Had("start", place.epoch, place.offset - 1)]  # from its first frame on
            had.append(Had("event", *place, str(event.id)))
            self.note(f"{channel} had {event.id}")

        def tell(place: Place) -> None:
            had.append(Had("gap", *place))
            self.note(f"{channel} has a gap")

        return self.world.track(deliver, tell)

    @property
    def sockets(self) -> frozenset[str]:
        return frozenset(self.past_sockets)

    def note(self, what: str) -> None:
        self.world.note(self.name, what)

    def begin(self) -> None:
        """Come into the world."""
        raise NotImplementedError

    def cut(self) -> None:
        """What holds the connection, breaks."""

    def back_off(self) -> float:
        """Seconds until the next try."""
        self._failures += 1
        most = min(MAX_BACK_OFF, 0.5 * 2.0**self._failures)
        return self.world.random.uniform(0, most)

    # --- requests ---------------------------------------------------------------------------

    def ask(
        self,
        questions: Mapping[str, str],
        headers: Mapping[str, str],
        then: Callable[[HttpResponse], object],
    ) -> None:
        """`GET /events` from the positions `questions`; `then` gets the answer, or `FAILED`."""
        self.world.counts["questions"] += 1
        pairs = [("channel", name) for name in questions]
        query = urlencode([*pairs, ("position", ",".join(questions.values()))])
        own = {"x-socket-id": ",".join(self.past_sockets), **headers}
        request = HttpRequest("GET", "/events", own, query_string=query)
        self.send(request, then)

    def send(self, request: HttpRequest, then: Callable[[HttpResponse], object]) -> None:
        """A request takes its time there and back, and may not come back at all."""
        world = self.world
        slow = world.happens("answer_slow")

        def arrive() -> None:
            response = world.application.respond(request)
            back = world.random.uniform(0.5, 10) if slow else world.random.uniform(0.001, 0.1)
            if response is None or response.status >= 500 or world.happens("answer_fails"):
                response = FAILED
            if response.status not in (0, 200, 304):
                world.fail(f"{request.path} answered {response.status} {response.body!r}")
            world.later(back, lambda: then(response))

        world.later(world.random.uniform(0.001, 0.1), arrive)

    def begun(self, channel: str) -> None:
        """Note from where on it was there."""
        track, had = self.tracks[channel], self.had[channel]
        if not had and track.position is not None:
            had.append(Had("start", *track.position))


def _arrived(event: Mapping[str, Any]) -> Arrived:
    return Arrived(event["id"], event["name"], event["data"], event["epoch"], event["offset"])


class SocketClient(Client):
    """Speaks the protocol with the server, and asks `/events` as `resuming` says."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._socket: _Socket | None = None
        self._asking: object = None  # the question that is under way
        self._due = float("inf")  # when the next one is to be asked
        self._not_before = 0.0

    def begin(self) -> None:
        self._connect()

    def cut(self) -> None:
        if self._socket is not None:
            self._socket.cut()

    # --- the connection ---------------------------------------------------------------------

    def _connect(self) -> None:
        world = self.world
        if not world.server.is_up:
            world.later(self.back_off(), self._connect)
            return
        self._socket = _Socket(world, self)
        self._socket.open()

    def lost(self, socket: _Socket) -> None:
        """The client finds out that its socket is gone."""
        if self._socket is socket:
            self.note("lost its socket")
            self._socket = self.socket_id = None
            self._asking = None
            for track in self.tracks.values():
                track.disconnected()
            self.world.later(self.back_off(), self._connect)

    def receive(self, socket: _Socket, frame: str) -> None:
        if socket is not self._socket:
            return
        message = json.loads(frame)
        name, channel = message["event"], message.get("channel")
        if name == "pusher:connection_established":
            self._established(socket, json.loads(message["data"])["socket_id"])
        elif name == "pusher_internal:subscription_succeeded":
            self._failures = 0
            self.tracks[channel].subscribed()
            self._schedule(COLLECT)
        elif not name.startswith("pusher"):
            event = Arrived(
                message["id"], name, message["data"], message["epoch"], message["offset"]
            )
            self.tracks[channel].frame(event)
            self._schedule(GRACE)

    def _established(self, socket: _Socket, socket_id: str) -> None:
        self.socket_id = socket_id
        self.past_sockets.append(socket_id)
        guarded = [channel for channel in self.channels if channel.startswith("private-")]
        for channel in self.channels:
            if channel not in guarded:
                socket.send(_subscribe({"channel": channel}))
        if not guarded:
            return
        body = json.dumps({"socket_id": socket_id, "channels": guarded}).encode()
        headers = {"content-type": "application/json"}

        def authorized(response: HttpResponse) -> None:
            if response is FAILED:
                socket.cut()  # a client tries again; so this one does, all of it
                return
            for channel, proof in json.loads(response.body)["channels"].items():
                socket.send(_subscribe({"channel": channel, **proof}))

        self.send(HttpRequest("POST", "/auth", headers, body=body), authorized)

    # --- questions --------------------------------------------------------------------------

    def _schedule(self, seconds: float) -> None:
        if not any(track.due or track.held for track in self.tracks.values()):
            return
        at = max(self.world.now + seconds, self._not_before)
        if self._asking is None and at < self._due:
            self._due = at
            self.world.later(at - self.world.now, lambda: self._ask(at))

    def _ask(self, at: float) -> None:
        """Ask for all channels that want it, one question at a time."""
        if at != self._due:
            return  # an earlier one was asked
        self._due = float("inf")
        asked = [name for name, track in self.tracks.items() if track.due or track.held]
        if self._socket is None or self._asking is not None or not asked:
            return
        mine = self._asking = object()
        questions = {channel: self.tracks[channel].question() for channel in asked}
        accept = {"accept": "application/json"}

        def answered(response: HttpResponse) -> None:
            if self._asking is mine:  # or else it was forgotten with its connection
                self._asking = None
                self._answered(asked, response)

        self.ask(questions, accept, answered)

    def _answered(self, asked: Sequence[str], response: HttpResponse) -> None:
        if response is FAILED:
            for channel in asked:
                self.tracks[channel].failed()
            self._not_before = self.world.now + self.back_off()
        else:
            self._failures = 0
            answer = json.loads(response.body)
            for channel in asked:
                told, track = answer["channels"][channel], self.tracks[channel]
                events = [_arrived(one) for one in answer["events"] if one["channel"] == channel]
                track.answer(
                    events, told["position"], recovered=told["recovered"], more=told["more"]
                )
                self.begun(channel)
        self._schedule(0 if any(track.due for track in self.tracks.values()) else GRACE)


def _subscribe(data: Mapping[str, str]) -> str:
    return json.dumps({"event": "pusher:subscribe", "data": data})


class _Socket:
    """Both ends of a connection and the network in between, which keeps the order and loses nothing
    unless a fault is that it does not. It is the driver's `Socket`."""

    def __init__(self, world: World, client: SocketClient) -> None:
        self._world, self._client, self._server = world, client, world.server
        chance = world.random
        self.id = f"{chance.randrange(1, 10**9)}.{chance.randrange(1, 10**9)}"
        self._driver = self._server.driver
        self._perform = self._driver.performer(self.id, self)
        self._connection: Connection | None = None
        self._there = self._back = 0.0  # when what was sent last arrives
        self._is_cut = False

    def open(self) -> None:
        self._server.closers[self.id] = self.cut
        app, query = self._driver.app, {"protocol": "7"}
        step = session.connect(app, key=app.keys[0].key, query=query, socket_id=self.id)
        self._connection = run(step, self._perform)

    def cut(self) -> None:
        """Nothing passes any more. Both ends find out in their own time."""
        if self._is_cut:
            return
        self._is_cut = True
        self._world.counts["sockets cut"] += 1
        del self._server.closers[self.id]
        self._world.later(self._world.random.uniform(0, 5), self._leave)
        self._world.later(self._world.random.uniform(0, 2), lambda: self._client.lost(self))

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._driver is self._server.driver:
            run(session.disconnect(self._driver.app, connection), self._perform)

    # --- to the server ----------------------------------------------------------------------

    def send(self, frame: str) -> None:
        self._there = max(self._there, self._world.now + self._world.random.uniform(0.001, 0.05))
        self._world.later(self._there - self._world.now, lambda: self._arrive(frame))

    def _arrive(self, frame: str) -> None:
        if not self._is_cut and self._connection is not None:
            step = session.receive(self._driver.app, self._connection, frame)
            self._connection = run(step, self._perform)

    # --- to the client ----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        for frame in data.decode().splitlines():
            if not frame.startswith('{"event":"pusher') and self._world.happens("lost"):
                continue
            self._pass(frame)
            if self._world.happens("duplicated"):
                self._pass(frame)

    def _pass(self, frame: str) -> None:
        world, wait = self._world, self._world.random.uniform(0.001, 0.05)
        if not frame.startswith('{"event":"pusher') and world.happens("delayed"):
            wait += world.random.uniform(0, 3)  # others overtake it
        else:
            self._back = max(self._back, world.now + wait)
            wait = self._back - world.now
        world.later(wait, lambda: self._come(frame))

    def _come(self, frame: str) -> None:
        if not self._is_cut:
            self._client.receive(self, frame)

    def close(self, code: int, reason: str) -> None:
        self.cut()


class PollClient(Client):
    """Asks every few seconds for all its channels."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._tag = ""

    def begin(self) -> None:
        questions = {channel: track.question() for channel, track in self.tracks.items()}
        headers = {"accept": "application/json", "if-none-match": self._tag}
        self.ask(questions, headers, self._answered)

    def _answered(self, response: HttpResponse) -> None:
        if response is FAILED:
            for track in self.tracks.values():
                track.failed()
            self.world.later(self.back_off(), self.begin)
            return
        self._failures = 0
        more = False
        if response.status == 304:
            self.world.counts["not modified"] += 1
        else:
            self._tag = response.headers["ETag"]
            more = self._read(json.loads(response.body))
        self.world.later(0 if more else POLL * self.world.random.uniform(0.9, 1.1), self.begin)

    def _read(self, answer: Mapping[str, Any]) -> bool:
        for channel, told in answer["channels"].items():
            events = [_arrived(one) for one in answer["events"] if one["channel"] == channel]
            self.tracks[channel].answer(
                events, told["position"], recovered=told["recovered"], more=told["more"]
            )
            self.begun(channel)
        return any(told["more"] for told in answer["channels"].values())


class StreamClient(Client):
    """An EventSource where streams cannot stay open: it comes back with its `Last-Event-ID`. Some
    streams are torn off in the middle of a frame."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._last = ""

    def begin(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self._last:
            headers["last-event-id"] = self._last
        self.ask(dict.fromkeys(self.channels, ""), headers, self._answered)

    def _answered(self, response: HttpResponse) -> None:
        if response is FAILED:
            self.world.later(self.back_off(), self.begin)
            return
        self._failures = 0
        text = response.body.decode()
        if self.world.happens("answer_torn"):
            text = text[: self.world.random.randrange(len(text))]
        for frame in text.split("\n\n")[:-1]:  # the last one's empty line has not come
            self._frame(dict(line.split(": ", 1) for line in frame.splitlines()))
        self.world.later(POLL * self.world.random.uniform(0.9, 1.1), self.begin)

    def _frame(self, frame: Mapping[str, str]) -> None:
        if frame.get("event") == "realtime:gap":
            told = json.loads(frame["data"])
            self.tracks[told["channel"]].lose(Place.parse(told["position"]))
        elif "data" in frame:
            event = json.loads(frame["data"])
            self.tracks[event["channel"]].take([_arrived(event)])
        if "id" in frame:
            self._moved(frame["id"].split(","))

    def _moved(self, positions: Sequence[str]) -> None:
        self._last = ",".join(positions)
        for channel, position in zip(self.channels, positions, strict=True):
            if position:  # of who came without one, a stream that could not be read says none
                self.tracks[channel].position = Place.parse(position)
                self.begun(channel)


KINDS: tuple[type[Client], ...] = (SocketClient, StreamClient, PollClient)
