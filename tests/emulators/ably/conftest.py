"""A world without sockets: a clock that is moved by hand, and clients that speak in frames."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any
from urllib.parse import quote

import msgpack
import pytest

from realtime_kit.emulators.ably.app import App, Key, Namespace
from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.rest import Request, handle
from realtime_kit.emulators.ably.session import Session
from realtime_kit.emulators.ably.wire import Action, Frame, pack, to_json
from realtime_kit.emulators.ably.world import World

KEY = "local0.dev:secret"
START = 1_700_000_000_000


class Client:
    """What a client sent is answered before `say` returns; what it got is in `frames`."""

    def __init__(self, world: World, params: dict[str, str]) -> None:
        self.frames: list[dict[str, Any]] = []
        self.pings = 0
        self.closed = False
        self.binary = params.get("format") == "msgpack"
        self.serial = 0
        self.session = Session(world, self)
        self.session.open(params)

    # the session's socket

    def send(self, frame: Frame) -> None:
        assert not self.closed
        frame.encode(binary=self.binary)  # it can be written
        self.frames.append(frame.message(binary=self.binary))

    def ping(self) -> None:
        self.pings += 1

    def close(self) -> None:
        self.closed = True

    # what tests do

    def say(self, action: Action, **fields: Any) -> list[dict[str, Any]]:
        """Send a protocol message; what came since."""
        before = len(self.frames)
        message = {"action": int(action), **fields}
        self.session.receive(pack(message) if self.binary else to_json(message))
        return self.frames[before:]

    def attach(self, channel: str, **fields: Any) -> dict[str, Any]:
        """The answer to ATTACH."""
        return self.say(Action.ATTACH, channel=channel, **fields)[0]

    def publish(self, channel: str, *messages: dict[str, Any]) -> dict[str, Any]:
        """The ACK or NACK."""
        return self._numbered(Action.MESSAGE, channel=channel, messages=list(messages))

    def presence(self, channel: str, *events: dict[str, Any]) -> dict[str, Any]:
        """The ACK or NACK."""
        return self._numbered(Action.PRESENCE, channel=channel, presence=list(events))

    def _numbered(self, action: Action, **fields: Any) -> dict[str, Any]:
        answers = self.say(action, msgSerial=self.serial, **fields)
        self.serial += 1
        return next(a for a in answers if a["action"] in (Action.ACK, Action.NACK))

    def got(self, action: Action) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["action"] == action]

    def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """All messages that came, in order."""
        return [
            message
            for frame in self.got(Action.MESSAGE)
            if channel in (None, frame["channel"])
            for message in frame["messages"]
        ]

    def members(self) -> list[tuple[int, str]]:
        """The presence events that came: action and client id."""
        return [
            (event["action"], event["clientId"])
            for frame in self.frames
            if frame["action"] in (Action.PRESENCE, Action.SYNC)
            for event in frame.get("presence", ())
        ]

    def lose(self) -> None:
        """Its network is gone."""
        self.closed = True
        self.session.lost()

    @property
    def connected(self) -> dict[str, Any]:
        return self.got(Action.CONNECTED)[-1]

    @property
    def id(self) -> str:
        return str(self.connected["connectionId"])

    @property
    def key(self) -> str:
        return str(self.connected["connectionDetails"]["connectionKey"])


class Rig:
    """A world with one app, `app`, and keys: `KEY` may do anything."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = START
        self.world = World(
            [Key.parse(KEY)],
            clock=lambda: self.now,
            random=Random(7),  # noqa: S311
            limits=limits,
        )
        self.app.namespaces["persisted"] = Namespace("persisted", persisted=True)

    @property
    def app(self) -> App:
        return self.world.apps["local0"]

    def connect(self, **params: str) -> Client:
        """With the key, if nothing else is said."""
        if not {"key", "access_token", "accessToken"} & params.keys():
            params["key"] = KEY
        return Client(self.world, params)

    def key(self, capability: str) -> str:
        """A key that may do so much."""
        name = f"local0.{self.app.token(6)}"
        self.app.keys[name] = Key(name, "secret", capability)
        return f"{name}:secret"

    def pass_time(self, milliseconds: int) -> None:
        """What is due meanwhile happens, in order."""
        end, timers = self.now + milliseconds, self.world.timers
        while (due := timers.next_due) is not None and due <= end:
            self.now = max(self.now, due)
            timers.run()
        self.now = end


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture(scope="session")
def rig_with():
    """Makes one with limits of its own: `rig_with(channels_per_connection=2)`."""
    return lambda **limits: Rig(Limits(**limits))


class Rest:
    """A client with a key, which speaks JSON or msgpack."""

    def __init__(self, rig: Any, key: str = KEY, *, binary: bool = False, **headers: str) -> None:
        self.rig = rig
        self.binary = binary
        kind = "application/x-msgpack" if binary else "application/json"
        self.headers = {
            "authorization": "Basic " + base64.b64encode(key.encode()).decode(),
            "accept": kind,
            "content-type": kind,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    def __call__(self, method: str, path: str, query: str = "", body: Any = None) -> Any:
        """The answer, which is no error."""
        status, answer = self.ask(method, path, query, body)
        assert status < 300, answer
        return answer

    def ask(
        self, method: str, path: str, query: str = "", body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        if not isinstance(body, bytes):
            body = msgpack.packb(body) if self.binary else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, path, query, {**self.headers, **named}, body)
        response = handle(self.rig.world, request)
        read: Any = msgpack.unpackb if self.binary else json.loads
        return response.status, read(response.body)

    def refused(self, method: str, path: str, query: str = "", body: Any = None) -> tuple[int, int]:
        """The code and status of the error."""
        status, answer = self.ask(method, path, query, body)
        assert status == answer["error"]["statusCode"]
        return answer["error"]["code"], status

    def publish(self, channel: str, body: Any, query: str = "") -> Any:
        return self("POST", f"/channels/{quote(channel, safe='')}/messages", query, body)

    def history(self, channel: str, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self(
            "GET", f"/channels/{quote(channel, safe='')}/messages", query
        )
        return found


@pytest.fixture
def rest_of(rig: Rig) -> Callable[..., Rest]:
    """Makes a client of the REST API: `rest_of(key, binary=True, x_ably_version="2")`."""
    return partial(Rest, rig)


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def rest(rest_of: Callable[..., Rest], request: pytest.FixtureRequest) -> Rest:
    """One which may do anything, in either format."""
    return rest_of(binary=request.param)
