"""What to pass to the SDKs; that it works is proved by those who pass it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from ably import AblyRealtime, AblyRest

from realtime_kit.emulators.ably import DEFAULT_KEY, AblyEmulator, options_for, running


def test_options_of_ably_js() -> None:
    """Its `endpoint` is a host, and the port beside it"""
    assert options_for("ably-js", "http://127.0.0.1:8787") == {
        "endpoint": "127.0.0.1",
        "port": 8787,
        "tls": False,
        "key": DEFAULT_KEY,
    }
    assert options_for("ably-js", "https://ably.test", key=None) == {
        "endpoint": "ably.test",
        "tlsPort": 443,
        "tls": True,
    }


def test_options_of_ably_python() -> None:
    """It sends no key without TLS (RSA1), and knows no port of realtime's"""
    assert options_for("ably-python", "http://localhost:8787", key="local0.a:b") == {
        "endpoint": "localhost:8787/",
        "tls": False,
        "key": "local0.a:b",
        "use_token_auth": True,
    }
    assert options_for("ably-python", "https://localhost:8787/") == {
        "endpoint": "localhost:8787/",
        "tls": True,
        "key": DEFAULT_KEY,
    }
    assert "use_token_auth" not in options_for("ably-python", "http://localhost:1", key=None)


def test_options_of_somebody() -> None:
    """Beside, as `client_id=`, Python's realtime client would ask for a token of nobody's"""
    assert options_for("ably-js", "http://localhost:1", client_id="ann")["clientId"] == "ann"
    given = options_for("ably-python", "http://localhost:1", client_id="ann")
    assert given["client_id"] == "ann"
    assert given["default_token_params"] == {"client_id": "ann"}
    secure = options_for("ably-python", "https://localhost:1", client_id="ann")
    assert secure["client_id"] == "ann"
    assert "default_token_params" not in secure


@pytest.mark.parametrize("url", ["", "localhost:8787", "ws://localhost:8787", "http://"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL"):
        options_for("ably-js", url)


def test_a_client_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="ably-js or ably-python"):
        options_for("ably-ruby", "http://localhost:8787")  # type: ignore[arg-type]


@pytest.fixture
def emulator() -> Iterator[AblyEmulator]:
    with running(AblyEmulator()) as emulator:
        yield emulator


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_one_set_of_options_is_for_both_of_pythons_clients(
    emulator: AblyEmulator, host: str
) -> None:
    options = options_for("ably-python", f"http://{host}:{emulator.port}")

    async def work() -> Any:
        async with AblyRest(**options) as rest:
            await rest.channels.get("foo").publish("n", "of REST")
        realtime = AblyRealtime(**options)
        channel = realtime.channels.get("foo")
        await channel.attach()
        found = await channel.history()
        await realtime.close()
        return [message.data for message in found.items]

    assert asyncio.run(asyncio.wait_for(work(), 10)) == ["of REST"]


def test_pythons_clients_as_somebody(emulator: AblyEmulator) -> None:
    options = options_for("ably-python", emulator.url, client_id="ann")

    async def work() -> list[str]:
        realtime = AblyRealtime(**options)
        channel = realtime.channels.get("foo")
        await channel.presence.enter()
        members = await channel.presence.get()
        async with AblyRest(**options) as rest:
            await rest.channels.get("foo").publish("n", "of REST")
            (message,) = (await rest.channels.get("foo").history()).items
        await realtime.close()
        return [message.client_id, *(member.client_id for member in members)]

    assert asyncio.run(asyncio.wait_for(work(), 10)) == ["ann", "ann"]
