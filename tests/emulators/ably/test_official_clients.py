"""The official SDKs, unmodified, in both encodings."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator

import pytest
from ably import AblyRealtime

from realtime_kit.emulators.ably import DEFAULT_KEY, AblyEmulator, Rule, running
from realtime_kit.emulators.ably.wire import Action

DEADLINE = 30.0


@pytest.fixture
def emulator() -> Iterator[AblyEmulator]:
    with running(AblyEmulator()) as emulator:
        yield emulator


@pytest.mark.node
@pytest.mark.parametrize("format", ["binary", "text"])
def test_ably_js_connects_attaches_publishes_is_present_resumes_and_recovers(
    emulator, checkout, format
):
    # The second: what ably-js pings first has to work.
    emulator.faults.add(Rule("drop", "in", action=Action.HEARTBEAT, skip=1))
    script = "tests/emulators/ably/everyday.mjs"
    ran = subprocess.run(
        ["node", script, str(emulator.port), format],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    ids = report.pop("ids")
    assert ids[0]
    assert set(ids) == {ids[0]}
    assert report == {
        "json": {"data": {"text": "grüezi", "list": [1, None]}, "clientId": "ann", "serial": True},
        "bytes": [0, 1, 255],
        "ping": True,
        "members": [["ann", {"mood": "good"}, "present"]],
        "update": "fine",
        "history": ["bytes", "json"],
        "rewound": [0, 1, 255],
        "missed": "while away",
        "resumed": True,
        "stayed": ["ann"],
        "left": "ann",
        "denied": 40010,
    }


@pytest.mark.parametrize("binary", [True, False])
def test_ably_python_connects_attaches_publishes_is_present_and_resumes(emulator, binary):
    emulator.faults.add(Rule("drop", "in", action=Action.HEARTBEAT, skip=1))
    asyncio.run(asyncio.wait_for(_ably_python(emulator, binary), DEADLINE))


async def _ably_python(emulator: AblyEmulator, binary: bool) -> None:
    def connect(client_id: str) -> AblyRealtime:
        return AblyRealtime(
            DEFAULT_KEY,
            endpoint=f"127.0.0.1:{emulator.port}/",
            tls=False,
            use_binary_protocol=binary,
            client_id=client_id,
        )

    ann, bob = connect("ann"), connect("bob")
    try:
        mine, theirs = ann.channels.get("room"), bob.channels.get("room")
        messages: asyncio.Queue[object] = asyncio.Queue()
        members: asyncio.Queue[object] = asyncio.Queue()
        await mine.subscribe(messages.put_nowait)
        await theirs.presence.subscribe(members.put_nowait)
        await theirs.attach()

        await theirs.publish("json", {"text": "grüezi"})
        await theirs.publish("bytes", bytearray(b"\x00\xff"))
        first, second = await messages.get(), await messages.get()
        assert (first.name, first.data, first.client_id) == ("json", {"text": "grüezi"}, "bob")
        assert second.data == b"\x00\xff"
        assert await ann.connection.ping() >= 0

        await mine.presence.enter({"mood": "good"})
        entered = await members.get()
        assert (entered.client_id, entered.data) == ("ann", {"mood": "good"})
        assert [who.client_id for who in await theirs.presence.get()] == ["ann"]

        id = ann.connection.connection_manager.connection_id
        lost = asyncio.Event()
        ann.connection.once("disconnected", lambda _: lost.set())
        ping = asyncio.create_task(ann.connection.ping())
        await lost.wait()
        await theirs.publish("missed", "while away")
        missed = await messages.get()
        assert (missed.name, missed.data) == ("missed", "while away")
        assert ann.connection.connection_manager.connection_id == id
        ping.cancel()
        await asyncio.gather(ping, return_exceptions=True)

        await mine.presence.leave()
        left = await members.get()
        assert left.client_id == "ann"
        assert await theirs.presence.get() == []
    finally:
        await ann.close()
        await bob.close()
