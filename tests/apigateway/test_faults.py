"""A deployment whose world is against it, from a seed: what must be true all the same.

Frames of a connection run at the same time and overtake each other, `$disconnect` is lost or comes
twice, `@connections` answers 410 and 429, DynamoDB refuses, queue messages come twice, clients are
cut off, and functions die: workers in the middle of a broadcast, `websocket` in the middle of a
frame, `sweep` in the middle of its round.

`SOAK=5` runs five times as many seeds.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import aiohttp
import pytest

from realtime_kit.authorization import Grant, Member
from realtime_kit.emulators.apigateway import Faults, Quotas
from realtime_kit.emulators.apigateway.functions import Killed
from realtime_kit.emulators.deployment import Deployment, Load, deployed
from realtime_kit.events import Event
from realtime_kit.hosting.apigateway import broadcast
from realtime_kit.hosting.apigateway.driver import Driver, Peer
from realtime_kit.hosting.apigateway.ids import to_connection_id
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MemoryDynamoDB

SOAK = int(os.environ.get("SOAK", "1"))
DEADLINE = 20.0
ROOM, NEWS = "presence-room", "news"


class Page:
    """One WebSocket, and what it saw."""

    def __init__(self, number: int, deployment: Deployment, provider: AwsProvider) -> None:
        self.user_id = str(number % 4)
        self.events: list[str] = []
        self.members: set[str] | None = None
        self.subscribed: set[str] = set()
        self.unsure: set[str] = set()  # what became of its frame about these channels is not known
        self.failed = False
        self.closed = False
        self._provider = provider
        self._url = f"{deployment.gateway.websocket_url}?p=/app/key?protocol=7&client=test"
        self._changed = asyncio.Condition()
        self.socket_id = ""

    async def open(self, session: aiohttp.ClientSession) -> None:
        self._websocket = await session.ws_connect(self._url)
        self._reader = asyncio.create_task(self._read())
        await self.until(lambda: self.socket_id)

    @property
    def connection_id(self) -> str:
        return to_connection_id(self.socket_id) or ""

    async def until(self, condition: Any) -> None:
        """Wait for a condition, or until a frame has failed or the connection is closed."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(lambda: condition() or self.failed or self.closed)

    def knows(self, channel: str) -> bool:
        return channel not in self.unsure

    def is_on(self, channel: str) -> bool:
        return self.knows(channel) and channel in self.subscribed

    async def subscribe(self, channel: str) -> None:
        data = {"channel": channel}
        if channel == ROOM:
            grant = Grant(Member(self.user_id), channel=channel)
            request = AuthRequest(self.user_id, self.socket_id, (grant,))
            data |= self._provider.authorize(request).channels[channel]
        await self._send("pusher:subscribe", data)

    async def unsubscribe(self, channel: str) -> None:
        self.subscribed.discard(channel)
        if channel == ROOM:
            self.members = None
        await self._send("pusher:unsubscribe", {"channel": channel})

    async def leave(self) -> None:
        await self._websocket.close()
        await self._reader

    async def _send(self, event: str, data: Any) -> None:
        await self._websocket.send_json({"event": event, "data": data})

    async def _read(self) -> None:
        async for message in self._websocket:
            self._see(json.loads(message.data))
            async with self._changed:
                self._changed.notify_all()
        self.closed = True
        async with self._changed:
            self._changed.notify_all()

    def _see(self, frame: dict[str, Any]) -> None:
        if "event" not in frame:  # API Gateway's own: the function died
            self.failed = True
            return
        event, channel = frame["event"], frame.get("channel")
        data = frame.get("data")
        data = json.loads(data) if isinstance(data, str) else data
        if event == "pusher:connection_established":
            self.socket_id = data["socket_id"]
        elif event == "pusher_internal:subscription_succeeded":
            self.subscribed.add(channel)
            if channel == ROOM:
                self.members = set(data["presence"]["ids"])
        elif event.startswith("pusher_internal:member_"):
            if self.members is not None:  # else the list is still to come
                change = self.members.add if event.endswith("added") else self.members.discard
                change(data["user_id"])
        elif not event.startswith("pusher"):
            self.events.append(frame["id"])


class Reaper:
    """Kills functions before or after one of `calls`: between any two things that they do."""

    calls: tuple[tuple[type, str], ...] = (
        (Peer, "perform"),
        (Driver, "perform"),
        (Driver, "deliver"),
        (Driver, "later"),
        (Table, "_call"),
    )

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shares: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self._random = Random(f"reaper:{seed}")  # noqa: S311 - from a seed on purpose
        for owner, name in self.calls:
            monkeypatch.setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def deadly(*arguments: Any, **options: Any) -> Any:
            self._strike()
            answer = call(*arguments, **options)
            self._strike()
            return answer

        return deadly

    def _strike(self) -> None:
        kind, _, rest = threading.current_thread().name.partition("-")
        function = rest.partition("-")[0]
        if kind == "lambda" and self._random.random() < self.shares.get(function, 0.0):
            self.killed[function] += 1
            raise Killed


class Storm:
    """Pages, and events that are sent to them, in one event loop."""

    def __init__(
        self, deployment: Deployment, provider: AwsProvider, seed: int, reaper: Reaper
    ) -> None:
        self.deployment = deployment
        self.provider = provider
        self.random = Random(seed)  # noqa: S311 - from a seed on purpose
        self.reaper = reaper
        self.pages: list[Page] = []
        self.left: list[Page] = []
        # Of each event: who had to hear it, and who must not.
        self.wanted: dict[str, list[Page]] = {}
        self.unwanted: dict[str, list[Page]] = {}

    async def settle(self) -> None:
        """Until all that clients sent was dealt with, and the queue is empty, delays and all."""
        gateway = self.deployment.gateway
        for _ in range(300):  # a killed worker's message comes back after its visibility timeout
            await asyncio.to_thread(gateway.settle, DEADLINE)
            if not len(self.deployment.queue):
                return
            await asyncio.to_thread(gateway.advance, 1.0, deadline=DEADLINE)
        raise AssertionError("the queue does not get empty")

    async def publish(self, channel: str, number: int, changing: Page | None) -> None:
        event = f"{channel}-{number}"
        sure = [page for page in self.pages if not page.closed and page is not changing]
        self.wanted[event] = [page for page in sure if page.is_on(channel)]
        self.unwanted[event] = [
            page for page in sure if page.knows(channel) and not page.is_on(channel)
        ]
        sent = Event((channel,), "update", {"n": number}, id=event)
        await asyncio.to_thread(self.provider.publish, [sent])

    async def run(self, steps: int) -> None:
        async with aiohttp.ClientSession() as session:
            for number in range(steps):
                await self.fill(session)
                self.reaper.shares = {"websocket": 0.02, "sweep": 0.05}
                await self.step(number)
                self.reaper.shares = {}
            await self.end()
            for page in self.pages:
                await page.leave()

    async def fill(self, session: aiohttp.ClientSession) -> None:
        """Open pages, until there are twelve."""
        numbers = range(len(self.pages), len(self.pages) + 12 - len(self.there))
        new = [Page(number, self.deployment, self.provider) for number in numbers]
        await asyncio.gather(*(page.open(session) for page in new))
        new = [page for page in new if page.socket_id]  # else it was cut off
        await asyncio.gather(*(page.subscribe(channel) for page in new for channel in (ROOM, NEWS)))
        for page in new:
            await page.until(lambda page=page: page.subscribed == {ROOM, NEWS})
        self.pages += new

    @property
    def there(self) -> list[Page]:
        return [page for page in self.pages if not page.closed]

    async def step(self, number: int) -> None:
        """Publish while one page changes its mind and perhaps another is cut off."""
        there = self.there
        changing, lost = self.random.sample(there, 2)
        self.deployment.gateway.faults.kill_at("fanout", self.random.randint(1, 8))
        work = [self.publish(channel, number, changing) for channel in (NEWS, ROOM)]
        work.append(self.change(changing))
        if self.random.random() < 0.4 and len(there) > 5:
            work.append(asyncio.to_thread(self.deployment.gateway.cut, lost.connection_id))
        await asyncio.gather(*work)
        await self.settle()
        if self.random.random() < 0.3:
            await asyncio.to_thread(self.deployment.gateway.advance, 61.0, deadline=60)

    async def change(self, page: Page) -> None:
        channel = self.random.choice([NEWS, ROOM])
        page.failed = False
        if not page.knows(channel):
            return  # the answer would be one or the other
        if channel in page.subscribed:
            await page.unsubscribe(channel)
            await asyncio.to_thread(self.deployment.gateway.settle, DEADLINE)
        else:
            await page.subscribe(channel)
            await page.until(lambda: channel in page.subscribed)
        errors = self.deployment.gateway.log.of("error")
        if any(entry.connection_id == page.connection_id for entry in errors):
            page.unsure.add(channel)
            if self.random.random() < 0.5:
                await page.leave()  # as people do when nothing happens

    async def end(self) -> None:
        """What was lost is found by the time that the sweep has asked after everybody."""
        await self.settle()
        await asyncio.to_thread(self.deployment.gateway.advance, 800.0, deadline=60)
        await self.settle()
        known = set(self.deployment.gateway.connections)
        self.left = [page for page in self.pages if page.connection_id in known]
        self.members = set(await asyncio.to_thread(self.provider.members, ROOM))
        for page in self.left:
            page.failed = False
            if page.is_on(ROOM):
                await page.until(lambda page=page: page.members == self.members)

    # --- what must be true ------------------------------------------------------------------

    def check(self) -> None:
        for event, pages in self.wanted.items():
            missed = [p.connection_id for p in pages if p in self.left and event not in p.events]
            assert not missed, f"{event} was missed by {missed}"
        for event, pages in self.unwanted.items():
            heard = [page.connection_id for page in pages if event in page.events]
            assert not heard, f"{event} was heard, without a subscription, by {heard}"
        sure = {page.user_id for page in self.left if page.is_on(ROOM)}
        assert sure <= self.members
        assert self.members <= sure | {p.user_id for p in self.left if not p.knows(ROOM)}
        for page in self.left:
            if page.is_on(ROOM):
                assert page.members == self.members


@pytest.fixture
def storms(load: Load, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Storm]]:
    """Makes storms, of a seed and with faults; broadcasts go to workers, in batches of three."""
    monkeypatch.setattr(broadcast, "INLINE", 3)
    monkeypatch.setattr(broadcast, "BATCH", 3)
    environ = {"REALTIME_AWS__KEYS": "key:secret", "REALTIME_AWS__METRICS": "false"}
    with ExitStack() as stack:

        def make(seed: int, **faults: float) -> Storm:
            running = deployed(
                MemoryDynamoDB(),
                load,
                environ=environ,
                visibility_timeout=3.0,
                faults=Faults(seed=seed, **faults),
                quotas=Quotas(idle=7200.0),
                seed=seed,
            )
            deployment = stack.enter_context(running)
            settings = RealtimeSettings(environ=deployment.environ)
            provider = AwsProvider(settings.aws, clock=deployment.gateway.time)
            stack.callback(provider.close)
            return Storm(deployment, provider, seed, Reaper(seed, monkeypatch))

        yield make


@pytest.mark.parametrize("seed", range(4 * SOAK))
def test_nobody_misses_an_event_nobody_hears_too_much_and_presence_is_exact(
    storms: Callable[..., Storm], seed: int
) -> None:
    storm = storms(
        seed,
        hold_back=0.3,
        lose_disconnect=0.5,
        repeat_disconnect=0.3,
        limit=0.2,
        latency=0.01,
        connect_lag=0.05,
        gone=0.01,
        repeat_message=0.2,
        throttle_table=0.1,
        lose_answer=0.02,
    )
    asyncio.run(storm.run(steps=12))
    storm.check()
    log = storm.deployment.gateway.log
    happened = {entry.detail["fault"] for entry in log.of("fault")}
    assert "kill" in happened, f"no worker was killed, only {happened}"
    assert storm.reaper.killed["websocket"]
    assert any(page.events for page in storm.left)
    assert not storm.deployment.queue.dead


@pytest.mark.parametrize("seed", range(SOAK))
def test_a_worker_that_is_killed_repeats_a_batch_at_most(
    storms: Callable[..., Storm], seed: int
) -> None:
    storm = storms(seed, latency=0.02)
    gateway = storm.deployment.gateway

    async def play() -> None:
        async with aiohttp.ClientSession() as session:
            await storm.fill(session)
            for number in range(12):
                gateway.faults.kill_at("fanout", storm.random.randint(1, 12))
                await storm.publish(NEWS, number, None)
                await storm.settle()
            for page in storm.pages:
                await page.leave()

    asyncio.run(play())
    assert len(gateway.log.of("fault", fault="kill")) > 6
    repeated = 0
    for event in storm.wanted:
        times = [page.events.count(event) for page in storm.wanted[event]]
        assert min(times) == 1
        assert max(times) <= 2
        assert sum(times) - len(times) <= broadcast.BATCH
        repeated += sum(times) - len(times)
    assert repeated
