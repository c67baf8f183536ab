"""A deployment without AWS: the Lambda driver over a DynamoDB in this process, with clients that
are objects and a queue that is a clock.

It is made and used like the embedded server's driver, so that one suite runs on both.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from realtime_kit.hosting.apigateway.delivery import (
    Call,
    Command,
    Delivery,
    Description,
    Disconnect,
    Message,
)
from realtime_kit.hosting.apigateway.driver import Driver
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB, Key, Row, key_of, unpacked
from realtime_kit.hosting.apigateway.ids import to_connection_id
from realtime_kit.hosting.apigateway.registry import Bounds, Registry
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.protocol import effects
from realtime_kit.protocol.app import App
from realtime_kit.protocol.connection import Connection

_names = (f"registry-{number}" for number in itertools.count())


class Client(Protocol):
    """One client's end of a connection."""

    @property
    def write(self) -> Callable[[bytes], object]: ...

    def close(self, code: int, reason: str) -> None: ...


class Clients:
    """A `Transport` to clients in this process. Those that are not in it are gone."""

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        self.connected: dict[str, Client] = {}
        self.ending = (1000, "")
        self.deliveries = 0
        self._encode = encode

    def deliver(self, commands: Iterable[Command], *, timeout: float = 10.0) -> Delivery:
        delivery = Delivery()
        self.deliveries += 1
        for command in commands:
            is_message = isinstance(command, Message)
            frame = self._encode(command.frame.decode()) if isinstance(command, Message) else b""
            for conn in command.to:
                client = self.connected.get(conn)
                call = Call(command, conn, b"")
                if client is None:
                    delivery.gone.append(call)
                    continue
                if is_message:
                    client.write(frame)
                elif isinstance(command, Disconnect):
                    client.close(*self.ending)
                delivery.delivered.append(call)
        return delivery

    def describe(
        self, connection_ids: Sequence[str], *, timeout: float = 10.0
    ) -> dict[str, Description | None]:
        return {conn: None for conn in connection_ids if conn not in self.connected}

    def close(self) -> None:
        self.connected.clear()


class Deployment:
    """The driver of one app. `call_later(seconds, function)` is its queue; `sleep` is told of every
    pause before a further try."""

    def __init__(
        self,
        app: App,
        *,
        db: DynamoDB,
        encode: Callable[[str], bytes],
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        notify: Callable[[Mapping[str, Any]], object] | None,
        bounds: Bounds | None = None,
        sleep: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.app = app
        self.db = db
        self.clients = Clients(encode)
        self._call_later = call_later
        # No two moments are the same, so that what came first is known.
        ticks = itertools.count()
        marks = (f"mark-{number}" for number in itertools.count())
        table = Table(db, next(_names), clock=clock, sleep=sleep, random=lambda: 0.5)
        db.call("CreateTable", {"TableName": table.name, **TABLE})
        self.registry = Registry(
            table,
            app.id,
            bounds=bounds,
            clock=lambda: clock() + next(ticks) * 1e-6,
            random=lambda: 0.5,
            mark=lambda: next(marks),
        )
        self.driver = Driver(
            app, registry=self.registry, transport=self.clients, queue=self._queue, notify=notify
        )
        self.perform = self._closing(self.driver.perform)

    def performer(self, socket_id: str, client: Client) -> effects.Perform:
        """What performs the effects of this client's steps, in one function."""
        conn = connection_id(socket_id)
        self.clients.connected[conn] = client
        return self.peer(socket_id)

    def peer(self, socket_id: str) -> effects.Perform:
        """The same for a function of its own, about a client that is there or not."""
        return self._closing(self.driver.peer(connection_id(socket_id)).perform)

    def _closing(self, perform: effects.Perform) -> effects.Perform:
        """`perform`, with what API Gateway cannot do: to give a code when it closes."""

        def performing(effect: effects.Effect) -> Any:
            if isinstance(effect, effects.Close | effects.Terminate):
                self.clients.ending = (effect.code, effect.reason)
            return perform(effect)

        return performing

    def stored(self, socket_id: str) -> Connection | None:
        return self.registry.connection(connection_id(socket_id))

    def left_behind(self) -> dict[Key, Row]:
        """Rows of the registry, without those that only remember something for a while."""
        return {
            key: row
            for key, row in self.rows().items()
            if key.sk not in ("K", "L") and not key.pk.startswith("W#")
        }

    def rows(self) -> dict[Key, Row]:
        """All rows of the table."""
        request = {"TableName": self.registry.table.name}
        items = self.db.call("Scan", request)["Items"]
        return {key_of(item): unpacked(item) for item in items}

    def _queue(self, message: Mapping[str, Any], delay: float) -> None:
        sent = json.dumps(message)
        self._call_later(delay, lambda: self.driver.arrived(json.loads(sent)))


def connection_id(socket_id: str) -> str:
    conn = to_connection_id(socket_id)
    if conn is None:
        raise ValueError(f"not a socket id: {socket_id}")
    return conn
