"""Somebody opens more connections than anybody needs, and proves nothing."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from realtime_kit.emulators.deployment import deployed
from realtime_kit.testing.dynamodb import MemoryDynamoDB

ATTEMPTS, ALLOWED = 60, 10


async def attempt(session, url):
    """Connect, and read until it is over; the events that came."""
    events = []
    async with session.ws_connect(url) as websocket:
        async for message in websocket:
            events.append(json.loads(message.data)["event"])
    return events


async def flood(deployment):
    url = f"{deployment.gateway.websocket_url}?p=/app/key?protocol=7"
    gateway = deployment.gateway
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        work = asyncio.gather(*(attempt(session, url) for _ in range(ATTEMPTS)))
        await asyncio.to_thread(gateway.log.wait, "connected", count=ATTEMPTS)
        await asyncio.to_thread(gateway.settle)
        there = len(gateway.connections)
        await asyncio.to_thread(gateway.advance, 120.0)
        return there, await work


@pytest.mark.timeout(60)
def test_a_flood_is_bounded_and_costs_little(load, capsys):
    environ = {
        "REALTIME_AWS__KEYS": "key:secret",
        "REALTIME_AWS__PER_ADDRESS": str(ALLOWED),
        "REALTIME_AWS__METRICS": "false",
    }
    with deployed(MemoryDynamoDB(), load, environ=environ) as deployment:
        there, heard = asyncio.run(flood(deployment))
        usage = deployment.gateway.usage
    assert there <= ALLOWED
    welcome = [events for events in heard if events[0] == "pusher:connection_established"]
    assert len(welcome) == ALLOWED
    # Those proved nothing within 30 seconds, and were told so and closed by the next sweep.
    assert all(events[-1] == "pusher:error" for events in heard)
    dollars = usage.dollars() / ATTEMPTS * 1_000_000
    with capsys.disabled():
        print(f"\na million such connections would have cost ${dollars:.2f}")
    assert dollars < 100
