"""What a flood would have cost."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_kit.emulators.apigateway import Prices, Usage
from realtime_kit.emulators.apigateway.log import metered

KB = 1024


@pytest.mark.parametrize(
    ("size", "messages"),
    [(0, 1), (1, 1), (32 * KB, 1), (32 * KB + 1, 2), (64 * KB, 2), (128 * KB, 4)],
)
def test_a_message_is_billed_by_32_kb(size: int, messages: int) -> None:
    assert metered(size) == messages


def test_the_bill() -> None:
    usage = Usage(
        messages_in=600_000,
        messages_out=400_000,
        connection_seconds=60e6,
        http_requests=1_000_000,
        invocations=1_000_000,
        queue_requests=1_000_000,
        gigabyte_seconds=1000,
    )
    assert usage.dollars() == pytest.approx(1.00 + 0.25 + 1.00 + 0.20 + 0.40 + 0.0133334)
    free = Prices(0, 0, 0, 0, 0, 0)
    assert usage.dollars(free) == 0


def test_a_flood(still: Any) -> None:
    refused = still.client()
    refused.send("x" * 33 * KB)
    assert refused.closed()[0] == 1009  # a frame that is too large costs nothing
    client, connection_id = still.connect()
    for number in range(200):
        client.send("x" * (1 + number % 2 * 16 * KB))
    still.gateway.log.wait("message", count=200)
    management = still.management()
    for _ in range(3):
        management.post_to_connection(ConnectionId=connection_id, Data=b"x" * 100 * KB)
    still.gateway.advance(600)
    usage = still.gateway.usage
    assert usage.messages_in == 200
    assert usage.messages_out == 3 * 4
    assert usage.connections == 2
    assert usage.connection_seconds == pytest.approx(600)
    assert usage.management_requests == 3
    assert usage.invocations == 2 + 200 + 2  # $connect, messages, $disconnect
    prices = Prices(gigabyte_second=0)
    expected = (212 * 1.00 + 10 * 0.25 + 204 * 0.20) / 1e6
    assert usage.dollars(prices) == pytest.approx(expected)
