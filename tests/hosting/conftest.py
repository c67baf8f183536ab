"""What the embedded server's tests share: servers on free ports, plain WebSocket clients, a signed
HTTP client, and time that passes when it is told to."""

from __future__ import annotations

import hashlib
import heapq
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import websocket

from realtime_kit.hosting.local import LocalServer, running
from realtime_kit.protocol import signing
from realtime_kit.protocol.app import App, Key

DEADLINE = 10.0
KEY = Key("test-key", "test-secret")
APP = App("42", (KEY,))


def wait_until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """What `condition` returns once it is true."""
    pause = threading.Event()
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come true in {DEADLINE:.0f} s"
        pause.wait(0.005)
    return value


class Timer:
    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def cancel(self) -> None:
        self._function = None

    def fire(self) -> None:
        if self._function is not None:
            self._function()


class Clock:
    """Seconds, and delayed calls."""

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


class Client:
    """A WebSocket without any knowledge of the protocol but its frames."""

    def __init__(self, url: str, **options: Any) -> None:
        self.socket = websocket.create_connection(url, timeout=DEADLINE, **options)

    def send(self, event: str, data: Any, **members: Any) -> None:
        self.socket.send(json.dumps({"event": event, "data": data, **members}))

    def receive(self) -> dict[str, Any]:
        """The next frame; pings are answered on the way."""
        while True:
            frame = json.loads(self.socket.recv())
            if frame["event"] != "pusher:ping":
                return frame
            self.send("pusher:pong", {})

    def receive_event(self, event: str) -> dict[str, Any]:
        """The next frame with this event; others are passed over."""
        while (frame := self.receive())["event"] != event:
            pass
        return frame

    def connected(self) -> str:
        """The socket id."""
        return json.loads(self.receive_event("pusher:connection_established")["data"])["socket_id"]

    def subscribe(self, channel: str, **fields: str) -> dict[str, Any]:
        self.send("pusher:subscribe", {"channel": channel, **fields})
        return self.receive_event("pusher_internal:subscription_succeeded")

    def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes next, whatever else comes before it."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()

    def close(self) -> None:
        self.socket.shutdown()


@dataclass
class Site:
    """A server that runs, and ways into it."""

    server: LocalServer
    cleanup: ExitStack

    @property
    def port(self) -> int:
        return self.server.port

    def client(self, path: str = "/app/test-key?protocol=7", **options: Any) -> Client:
        """A WebSocket that has just been opened."""
        client = Client(f"ws://127.0.0.1:{self.port}{path}", **options)
        self.cleanup.callback(client.close)
        return client

    def subscriber(self, channel: str, **options: Any) -> Client:
        client = self.client(**options)
        client.connected()
        client.subscribe(channel)
        return client

    def request(
        self, method: str, path: str, body: Any = None, **params: str
    ) -> tuple[int, str, str]:
        """Status, content type and text of a signed request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            connection.request(method, signed(method, path, content, **params), content)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
        finally:
            connection.close()

    def publish(self, channel: str, name: str, data: str = "{}", **members: Any) -> None:
        event = {"name": name, "channels": [channel], "data": data, **members}
        status, _, text = self.request("POST", "/apps/42/events", event)
        assert (status, text) == (200, "{}")


def signed(method: str, path: str, body: bytes, **params: str) -> str:
    params |= {
        "auth_key": KEY.key,
        "auth_timestamp": str(int(time.time())),
        "auth_version": "1.0",
    }
    if body:
        params["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    signature = signing.http_signature(KEY.secret, method, path, params)
    return f"{path}?{urlencode({**params, 'auth_signature': signature})}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def clock_class() -> type[Clock]:
    """For tests that need a clock for each example."""
    return Clock


@pytest.fixture
def app() -> App:
    return APP


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Start a server: `serve(app, **options of LocalServer)`."""
    with ExitStack() as cleanup:

        def start(app: App = APP, **options: Any) -> Site:
            server = cleanup.enter_context(running(LocalServer([app], port=0, **options)))
            return Site(server, cleanup)

        yield start


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """A server of `app` with the defaults."""
    return serve()
