"""A gateway with handlers that a test decides, and real clients at both of its ends."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import websocket
from botocore.config import Config

from realtime_kit.emulators.apigateway import (
    ApiGateway,
    Context,
    Function,
    Mock,
    Route,
    running,
)
from realtime_kit.hosting.apigateway.sigv4 import Credentials

DEADLINE = 10.0
REGION = "eu-west-1"
CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret", "a/session+token==")
Event = dict[str, Any]


class Handler:
    """Keeps what it is given; `on[route key]` is its answer, or a function of event and context
    that gives one."""

    def __init__(self) -> None:
        self.on: dict[str, Any] = {}
        self.contexts: list[Context] = []
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def __call__(self, event: Event, context: Context) -> Any:
        key = event.get("requestContext", event).get("routeKey", "")
        with self._changed:
            self._events.append(event)
            self.contexts.append(context)
            self._changed.notify_all()
        answer = self.on.get(key, {"statusCode": 200})
        return answer(event, context) if callable(answer) else answer

    def events(self, kind: str | None = None) -> list[Event]:
        """Those of an `eventType`, or all."""
        with self._changed:
            return [e for e in self._events if kind in (None, _kind(e))]

    def wait(self, kind: str | None = None, count: int = 1) -> Event:
        """The `count`-th event, once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events(kind)) >= count, DEADLINE), (
                f"{len(self.events(kind))} of {count} {kind} events"
            )
            return self.events(kind)[count - 1]


def _kind(event: Event) -> str | None:
    context = event.get("requestContext", {})
    kind: str | None = context.get("eventType")
    return kind


class Client:
    """A WebSocket that knows nothing but frames."""

    def __init__(self, url: str, **options: Any) -> None:
        self.socket = websocket.create_connection(url, timeout=DEADLINE, **options)

    def send(self, text: str) -> None:
        self.socket.send(text)

    def receive(self) -> str:
        """The next message."""
        opcode, data = self.socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_TEXT, (opcode, data)
        return str(data.decode())

    def receive_json(self) -> Any:
        return json.loads(self.receive())

    def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame that comes, whatever comes before it."""
        while True:
            opcode, data = self.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2], "big"), data[2:].decode()

    def cut_off(self) -> None:
        """Asserts that the socket ends without a close frame."""
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
            self.socket.recv_frame()

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown()


@dataclass
class Site:
    """A gateway that runs, and ways into it. All routes lead to `handler`."""

    gateway: ApiGateway
    handler: Handler
    function: Function
    cleanup: ExitStack

    def client(self, path: str = "", **options: Any) -> Client:
        client = Client(self.gateway.websocket_url + path, **options)
        self.cleanup.callback(client.close)
        return client

    def handshake(self, path: str = "", **headers: str) -> http.client.HTTPConnection:
        """A handshake that was sent; `getresponse().status` is how it went."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=DEADLINE)
        self.cleanup.callback(connection.close)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        connection.request(
            "GET", f"/dev{path}", headers={**given, "Sec-WebSocket-Key": key, **headers}
        )
        return connection

    def status(self, path: str = "", **headers: str) -> int:
        """The status of a handshake."""
        connection = self.handshake(path, **headers)
        answer = connection.getresponse()
        answer.close()
        connection.close()
        return answer.status

    def connect(self, path: str = "", **options: Any) -> tuple[Client, str]:
        """A client that is connected, and its id."""
        before = set(self.gateway.connections)
        client = self.client(path, **options)
        (connection_id,) = set(self.gateway.connections) - before
        return client, connection_id

    def aws(self, service: str, **options: Any) -> Any:
        """boto3's client of a service, which tries once."""
        url = self.gateway.url if service == "sqs" else self.gateway.endpoint
        given = {
            "endpoint_url": url,
            "region_name": REGION,
            "aws_access_key_id": CREDENTIALS.access_key,
            "aws_secret_access_key": CREDENTIALS.secret_key,
            "aws_session_token": CREDENTIALS.session_token,
            "config": Config(retries={"total_max_attempts": 1}),
            **options,
        }
        client = boto3.Session().client(service, **given)
        self.cleanup.callback(client.close)
        return client

    def management(self, **options: Any) -> Any:
        return self.aws("apigatewaymanagementapi", **options)


@pytest.fixture
def start() -> Iterator[Callable[..., Site]]:
    """Start a gateway, signatures verified; options are `ApiGateway`'s, `function` are
    `Function`'s, `routes` replace routes or add some, or take one away (None)."""
    with ExitStack() as cleanup:

        def start(
            *,
            routes: dict[str, Any] | None = None,
            function: dict[str, Any] | None = None,
            **options: Any,
        ) -> Site:
            handler = Handler()
            target = Function("websocket", handler, **(function or {}))
            keys = ("$connect", "$disconnect", "$default", "event")
            given = {"credentials": CREDENTIALS, "region": REGION, "seed": 7, **options}
            chosen = {**dict.fromkeys(keys, target), **(routes or {})}
            gateway = ApiGateway({key: to for key, to in chosen.items() if to}, **given)
            cleanup.enter_context(running(gateway))
            return Site(gateway, handler, target, cleanup)

        yield start


@pytest.fixture
def site(start: Callable[..., Site]) -> Site:
    """A gateway as it comes."""
    return start()


@pytest.fixture
def still(start: Callable[..., Site]) -> Site:
    """A gateway whose time is moved by hand."""
    return start(speed=0)


@pytest.fixture
def make_client() -> Iterator[Callable[[str], Client]]:
    """Open clients that are closed at the end, whatever becomes of the gateway."""
    with ExitStack() as cleanup:

        def make(url: str) -> Client:
            client = Client(url)
            cleanup.callback(client.close)
            return client

        yield make


PONG = '{"event":"pusher:pong","data":{}}'


@pytest.fixture
def pinged(start: Callable[..., Site]) -> Site:
    """A gateway that answers pings by itself."""
    return start(routes={"pusher:ping": Route(Mock(PONG), two_way=True)})
