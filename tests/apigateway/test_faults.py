"""A deployment whose world is against it, from a seed: what must be true all the same.

Frames of a connection run at the same time and overtake each other, `$disconnect` is lost or comes
twice, `@connections` answers 410 and 429, DynamoDB refuses, queue messages come twice, workers die
in the middle of a broadcast, clients are cut off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import aiohttp
import pytest

from realtime_kit.authorization import Grant, Member
from realtime_kit.emulators.apigateway import Faults, Quotas
from realtime_kit.emulators.deployment import Deployment, Load, deployed
from realtime_kit.events import Event
from realtime_kit.hosting.apigateway import broadcast
from realtime_kit.hosting.apigateway.ids import to_connection_id
from realtime_kit.providers.aws import AwsProvider
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MemoryDynamoDB

DEADLINE = 20.0
ROOM, NEWS = "presence-room", "news"


class Page:
    """One WebSocket, and what it saw."""

    def __init__(self, number: int, deployment: Deployment, provider: AwsProvider) -> None:
        self.user_id = str(number % 4)
        self.events: list[str] = []
        self.members: set[str] | None = None
        self.subscribed: set[str] = set()
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
        """Wait for a condition, or until the connection is closed."""
        async with asyncio.timeout(DEADLINE), self._changed:
            await self._changed.wait_for(lambda: condition() or self.closed)

    async def subscribe(self, channel: str) -> None:
        data = {"channel": channel}
        if channel == ROOM:
            grant = Grant(Member(self.user_id), channel=channel)
            request = AuthRequest(self.user_id, self.socket_id, (grant,))
            data |= self._provider.authorize(request).channels[channel]
        await self._send("pusher:subscribe", data)

    async def unsubscribe(self, channel: str) -> None:
        self.subscribed.discard(channel)
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


class Storm:
    """Pages, and events that are sent to them, in one event loop."""

    def __init__(self, deployment: Deployment, provider: AwsProvider, seed: int) -> None:
        self.deployment = deployment
        self.provider = provider
        self.random = Random(seed)  # noqa: S311 - from a seed on purpose
        self.pages: list[Page] = []
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

    async def publish(self, channel: str, number: int, changing: Page) -> None:
        event = f"{channel}-{number}"
        sure = [page for page in self.pages if not page.closed and page is not changing]
        self.wanted[event] = [page for page in sure if channel in page.subscribed]
        self.unwanted[event] = [page for page in sure if channel not in page.subscribed]
        sent = Event((channel,), "update", {"n": number}, id=event)
        await asyncio.to_thread(self.provider.publish, [sent])

    async def run(self, steps: int) -> None:
        async with aiohttp.ClientSession() as session:
            self.pages = [Page(n, self.deployment, self.provider) for n in range(12)]
            await asyncio.gather(*(page.open(session) for page in self.pages))
            await asyncio.gather(
                *(page.subscribe(channel) for page in self.pages for channel in (ROOM, NEWS))
            )
            for page in self.pages:
                await page.until(lambda page=page: page.subscribed == {ROOM, NEWS})
            for number in range(steps):
                await self.step(number)
            await self.end()
            for page in self.pages:
                await page.leave()

    async def step(self, number: int) -> None:
        """Publish while one page changes its mind and perhaps another is cut off."""
        there = [page for page in self.pages if not page.closed]
        changing, lost = self.random.sample(there, 2)
        self.deployment.gateway.faults.kill_at("fanout", self.random.randint(1, 8))
        work = [self.publish(channel, number, changing) for channel in (NEWS, ROOM)]
        work.append(self.change(changing))
        if self.random.random() < 0.4 and len(there) > 5:
            work.append(asyncio.to_thread(self.deployment.gateway.cut, lost.connection_id))
        await asyncio.gather(*work)
        await self.settle()

    async def change(self, page: Page) -> None:
        if NEWS in page.subscribed:
            await page.unsubscribe(NEWS)
        else:
            await page.subscribe(NEWS)
            await page.until(lambda: NEWS in page.subscribed)

    async def end(self) -> None:
        """What was lost is found by the time that the sweep has asked after everybody."""
        await self.settle()
        await asyncio.to_thread(self.deployment.gateway.advance, 800.0, deadline=60)
        await self.settle()
        self.left = [page for page in self.pages if not page.closed]
        self.there = set(await asyncio.to_thread(self.provider.members, ROOM))
        for page in self.left:
            await page.until(lambda page=page: page.members == self.there)

    # --- what must be true ------------------------------------------------------------------

    def check(self) -> None:
        for event, pages in self.wanted.items():
            missed = [p.connection_id for p in pages if p in self.left and event not in p.events]
            assert not missed, f"{event} was missed by {missed}"
        for event, pages in self.unwanted.items():
            heard = [page.connection_id for page in pages if event in page.events]
            assert not heard, f"{event} was heard, without a subscription, by {heard}"
        assert self.there == {page.user_id for page in self.left}
        for page in self.left:
            assert page.members == self.there


@pytest.fixture
def storm(
    load: Load, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storm]:
    seed = request.param
    monkeypatch.setattr(broadcast, "INLINE", 3)
    monkeypatch.setattr(broadcast, "BATCH", 3)
    faults = Faults(
        seed=seed,
        hold_back=0.3,
        lose_disconnect=0.5,
        repeat_disconnect=0.3,
        limit=0.2,
        latency=0.01,
        connect_lag=0.05,
        gone=0.01,
        repeat_message=0.2,
        throttle_table=0.1,
    )
    environ = {"REALTIME_AWS__KEYS": "key:secret", "REALTIME_AWS__METRICS": "false"}
    with deployed(
        MemoryDynamoDB(),
        load,
        environ=environ,
        visibility_timeout=3.0,
        faults=faults,
        quotas=Quotas(idle=7200.0),
        seed=seed,
    ) as deployment:
        settings = RealtimeSettings(environ=deployment.environ)
        provider = AwsProvider(settings.aws, clock=deployment.gateway.time)
        yield Storm(deployment, provider, seed)
        provider.close()


@pytest.mark.parametrize("storm", range(4), indirect=True)
def test_nobody_misses_an_event_nobody_hears_too_much_and_presence_is_exact(storm: Storm) -> None:
    asyncio.run(storm.run(steps=12))
    storm.check()
    log = storm.deployment.gateway.log
    happened = {entry.detail["fault"] for entry in log.of("fault")}
    assert "kill" in happened, f"no worker was killed, only {happened}"
    assert any(page.events for page in storm.left)
    assert not storm.deployment.queue.dead
