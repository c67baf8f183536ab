"""What one publish asks of DynamoDB, as the connections on *other* channels grow from 10² to 10⁶.

Counted, not timed: requests, items read, and bytes both ways, for an event to 50 subscribers
through the deployment's own Pusher HTTP API. The peer is the same publish with 100 others; the
ratio is the worst of the three counts. The first hundred others subscribe through the driver; the
rest are copies of their rows. Takes half a minute and 3 GB, most of it for the last step.
"""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks._harness import Result, main, progress
from realtime_kit.hosting.apigateway.dynamodb import Key, key_of
from realtime_kit.hosting.apigateway.ids import to_connection_id
from realtime_kit.hosting.apigateway.rows import Names
from realtime_kit.protocol import session
from realtime_kit.protocol.app import App, Apps
from realtime_kit.protocol.app import Key as AppKey
from realtime_kit.protocol.effects import run
from realtime_kit.protocol.http_api import Request, respond
from realtime_kit.protocol.signing import http_signature
from realtime_kit.testing.deployment import Deployment
from realtime_kit.testing.dynamodb import Item, MemoryDynamoDB

KEY = AppKey("app-key", "app-secret")
APP = App("1", (KEY,))
SUBSCRIBERS = 50
PER_CHANNEL = 100
OTHERS = [10**power for power in range(2, 7)]
NAMES = ("requests", "items", "bytes")


class Counted:
    """A DynamoDB, and a count of what goes over the wire."""

    def __init__(self) -> None:
        self.db = MemoryDynamoDB()
        self.counts = dict.fromkeys(NAMES, 0)

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.db.call(operation, request)
        self.counts["requests"] += 1
        self.counts["items"] += answer.get("ScannedCount", 0) + ("Item" in answer)
        self.counts["items"] += sum(map(len, answer.get("Responses", {}).values()))
        self.counts["bytes"] += len(json.dumps(request)) + len(json.dumps(answer))
        return answer


class Client:
    def __init__(self) -> None:
        self.received = 0

    def write(self, frame: bytes) -> None:
        self.received += 1

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"closed: {code} {reason}")


class World:
    def __init__(self) -> None:
        self.counted = Counted()
        self.deployment = Deployment(
            APP,
            db=self.counted,
            encode=str.encode,
            clock=time.time,
            call_later=lambda delay, function: None,
            notify=None,
        )
        self.table = self.deployment.registry.table.name
        self.subscribers = [self.connect(number, "orders") for number in range(SUBSCRIBERS)]

    def connect(self, number: int, channel: str) -> Client:
        client, socket_id = Client(), f"1.{number}"
        perform = self.deployment.performer(socket_id, client)
        step = session.connect(APP, key=KEY.key, query={"protocol": "7"}, socket_id=socket_id)
        connection = run(step, perform)
        assert connection is not None
        frame = json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}})
        run(session.receive(APP, connection, frame), perform)
        assert client.received == 2
        return client

    def publish(self) -> dict[str, int]:
        """What one event to all subscribers cost."""
        body = b'{"name":"shipped","channels":["orders"],"data":"{}","info":"subscription_count"}'
        now = time.time()
        signed = {"auth_key": KEY.key, "auth_timestamp": str(int(now)), "auth_version": "1.0"}
        signed["body_md5"] = _md5(body)
        signature = http_signature(KEY.secret, "POST", "/apps/1/events", signed)
        query = "&".join(f"{name}={value}" for name, value in signed.items())
        request = Request("POST", "/apps/1/events", f"{query}&auth_signature={signature}", {}, body)
        before = [client.received for client in self.subscribers]
        self.counted.counts = dict.fromkeys(NAMES, 0)
        response = respond(Apps([APP]), request, now, lambda app: self.deployment.perform)
        assert json.loads(response.body)["channels"]["orders"]["subscription_count"] == SUBSCRIBERS
        assert [client.received for client in self.subscribers] == [n + 1 for n in before]
        return dict(self.counted.counts)


class Others:
    """Connections on other channels, a hundred on each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.count = PER_CHANNEL
        for number in range(PER_CHANNEL):
            world.connect(SUBSCRIBERS + number, "other-0")
        self._conn = _conn(SUBSCRIBERS)
        self._rows = [
            item
            for item in world.counted.db.items(world.table)
            if self._conn in item["pk"]["S"] + item["sk"]["S"]
        ]
        assert len(self._rows) == 4
        head = Names.of(APP.id).head("other-0")
        self._head = next(
            item for item in world.counted.db.items(world.table) if key_of(item) == head
        )

    def grow(self, count: int) -> None:
        load, table = self.world.counted.db.load, self.world.table
        for number in range(self.count, count):
            channel = f"other-{number // PER_CHANNEL}"
            for item in self._copies(_conn(SUBSCRIBERS + number), channel):
                load(table, item)
            if not number % PER_CHANNEL:
                load(table, {**self._head, **_keys(Names.of(APP.id).head(channel))})
        self.count = count

    def _copies(self, conn: str, channel: str) -> Iterator[Item]:
        names = Names.of(APP.id)
        for item in self._rows:
            pk, sk = (item[name]["S"].replace(self._conn, conn) for name in ("pk", "sk"))
            key = Key(pk.replace("other-0", channel), sk.replace("other-0", channel))
            if pk.startswith("T"):
                key = names.due(conn, None)
            yield {**item, **_keys(key)}


def _keys(key: Key) -> Item:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _conn(number: int) -> str:
    conn = to_connection_id(f"1.{number}")
    assert conn is not None
    return conn


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()  # noqa: S324


def measure(_pairs: int) -> Result:
    gc.disable()  # it would look at millions of rows again and again
    world = World()
    others = Others(world)
    counts = {}
    for count in OTHERS:
        progress(f"publish_scaling: {count} others")
        others.grow(count)
        counts[count] = world.publish()
    few, many = counts[OTHERS[0]], counts[OTHERS[-1]]
    worst = max(NAMES, key=lambda name: max(counts[n][name] / few[name] for n in OTHERS))
    details = {
        f"at {count} others": ", ".join(f"{counts[count][name]} {name}" for name in NAMES)
        for count in OTHERS
    }
    return Result(
        "publish_scaling",
        many[worst],
        few[worst],
        max(counts[count][worst] for count in OTHERS) / few[worst],
        f"{worst} per publish to {SUBSCRIBERS}",
        "lower",
        1.0,
        details,
    )


if __name__ == "__main__":
    main(measure, __doc__)
