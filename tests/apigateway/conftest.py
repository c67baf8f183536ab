"""A deployment in this process: a gateway that is a dict, a queue that is a list, time that passes
when it is told to."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from realtime_kit.emulators.deployment import Handlers, Load
from realtime_kit.errors import ProviderUnavailable
from realtime_kit.hosting.apigateway.delivery import (
    Call,
    Command,
    Delivery,
    Description,
    Disconnect,
    Message,
)
from realtime_kit.hosting.apigateway.host import Host
from realtime_kit.hosting.apigateway.ids import to_socket_id
from realtime_kit.hosting.apigateway.metrics import Metrics
from realtime_kit.hosting.apigateway.registry import Bounds, Registry
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.protocol.app import App, Key
from realtime_kit.protocol.http_api import Request
from realtime_kit.protocol.signing import channel_auth
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MemoryDynamoDB
from realtime_kit.web.aws_lambda import trigger_handler
from realtime_kit.web.aws_websocket import fanout_handler, sweep_handler, websocket_handler

KEY = Key("app-key", "app-secret")


class Gateway:
    """The connections, and what each was sent. `throttled` connections answer 429 so often."""

    def __init__(self) -> None:
        self.frames: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.open: set[str] = set()
        self.throttled: dict[str, int] = {}
        self.deliveries: list[int] = []
        self.after = lambda: None

    def deliver(self, commands: Iterable[Command], *, timeout: float = 10.0) -> Delivery:
        delivery = Delivery()
        commands = list(commands)
        self.deliveries.append(sum(len(command.to) for command in commands))
        for command in commands:
            for conn in command.to:
                call = Call(command, conn, b"")
                delivery.requests += 1
                if conn not in self.open:
                    delivery.gone.append(call)
                elif self.throttled.get(conn, 0):
                    self.throttled[conn] -= 1
                    call.status, call.reason = 429, "429 limitexceeded"
                    delivery.throttles += 1
                    delivery.throttled.append(call)
                elif isinstance(command, Disconnect):
                    self.open.discard(conn)
                    delivery.delivered.append(call)
                else:
                    assert isinstance(command, Message)
                    self.frames[conn].append(json.loads(command.frame))
                    delivery.delivered.append(call)
        self.after()
        return delivery

    def describe(
        self, connection_ids: Sequence[str], *, timeout: float = 10.0
    ) -> dict[str, Description | None]:
        return {
            conn: Description(0, 0, "", "") if conn in self.open else None
            for conn in connection_ids
        }

    def close(self) -> None:
        self.open.clear()


class World:
    """`run()` does what the queue holds by now; `advance` lets time pass first."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.gateway = Gateway()
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.greetings: list[Mapping[str, Any]] = []
        self.webhooks: list[tuple[Mapping[str, Any], int]] = []
        self.lines: list[str] = []
        self.queue_works = self.greeter_works = True
        self.db = MemoryDynamoDB()
        self.db.call("CreateTable", {"TableName": "realtime", **TABLE})
        self.app = App("1", (KEY,))
        self._ids = itertools.count()
        self._ticks = itertools.count()

    def host(self, *, bounds: Bounds | None = None, webhooks: bool = False, **options: Any) -> Host:
        table = Table(self.db, "realtime", sleep=lambda _: None)
        registry = Registry(table, "1", bounds=bounds, clock=self._clock)
        return Host(
            lambda: self.app,
            registry=registry,
            transport=self.gateway,
            queue=self,
            greet=self._greet,
            on_webhook=self._hear if webhooks else None,
            metrics=Metrics("test", write=self.lines.append, clock=self._clock),
            clock=self._clock,
            **options,
        )

    def _clock(self) -> float:
        return self.now + next(self._ticks) * 1e-6

    def _hear(self, app: App, event: Mapping[str, Any], time_ms: int) -> None:
        self.webhooks.append((event, time_ms))

    def _greet(self, message: Mapping[str, Any]) -> None:
        if not self.greeter_works:
            raise ProviderUnavailable("no", provider="aws")
        self.greetings.append(json.loads(json.dumps(message)))

    # --- the queue --------------------------------------------------------------------------

    def send(self, message: Mapping[str, Any], delay: float = 0.0) -> None:
        if not self.queue_works:
            raise ProviderUnavailable("no", provider="aws")
        self.messages.append((self.now + delay, json.loads(json.dumps(message))))

    def send_many(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages:
            self.send(message)

    def run(self, host: Host) -> None:
        while due := [entry for entry in self.messages if entry[0] <= self.now]:
            self.messages.remove(due[0])
            host.arrived(due[0][1])

    def advance(self, host: Host, seconds: float) -> None:
        end = self.now + seconds
        self.run(host)
        while (due := min((at for at, _ in self.messages), default=end + 1)) <= end:
            self.now = due
            self.run(host)
        self.now = end

    # --- clients ----------------------------------------------------------------------------

    def client(self, host: Host, *, key: str = KEY.key, greeted: bool = True, **more: Any) -> str:
        """A client that has connected; its connection id."""
        conn = f"client-{next(self._ids)}"
        host.connect(conn, key=key, query={"protocol": "7"}, **more)
        self.gateway.open.add(conn)
        while greeted and self.greetings:
            host.arrived(self.greetings.pop(0))
        return conn

    def subscribe(self, host: Host, conn: str, channel: str, user_id: str | None = None) -> None:
        data: dict[str, Any] = {"channel": channel}
        if channel.startswith(("private-", "presence-")):
            member = None if user_id is None else json.dumps({"user_id": user_id})
            data["auth"] = channel_auth(KEY, to_socket_id(conn), channel, member)
            if member is not None:
                data["channel_data"] = member
        host.receive(conn, json.dumps({"event": "pusher:subscribe", "data": data}))

    def trigger(self, host: Host, channel: str, name: str = "update", **more: Any) -> int:
        """Post an event; the status."""
        body = json.dumps({"name": name, "channel": channel, "data": "{}", **more}).encode()
        return host.perform(Request("POST", "/apps/1/events", "", {}, body)).status

    def heard(self, conn: str) -> list[str]:
        """The names of the events that a client was sent."""
        return [frame["event"] for frame in self.gateway.frames[conn]]

    def left_behind(self) -> list[str]:
        """Keys of rows that are somebody's presence or subscription."""
        keys = (item["pk"]["S"] for item in self.db.items("realtime"))
        return [key for key in keys if key[0] in "CHSUT"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def load() -> Load:
    """The deployment's functions, as `lambdas/` makes them, of an application without rules."""

    def load(environ: Mapping[str, str], clock: Callable[[], float]) -> Handlers:
        settings = RealtimeSettings(environ=environ)
        realtime = Realtime(AwsProvider(settings.aws, clock=clock), settings=settings)
        return {
            "trigger": trigger_handler(realtime),
            "websocket": websocket_handler(realtime),
            "fanout": fanout_handler(realtime),
            "sweep": sweep_handler(realtime),
        }

    return load
