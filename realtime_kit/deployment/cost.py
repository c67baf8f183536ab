"""What a month costs: a service of one's own on AWS, Pusher, Ably, AppSync Events. An estimate.

The prices are data, in `prices.json`, with the year that they are of. Numbers of a month are of 30
days. Free tiers of new accounts, taxes, support plans and logs are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

MINUTES = 30 * 24 * 60
# The sweep closes connections that are 100 to 115 minutes old, and their clients come back.
SESSION_MINUTES = 107.5

# Request units of DynamoDB, counted by `tests/apigateway/registry/test_units.py`.
WRITES_PER_CONNECTION = 41  # connect, a public and a presence channel, end
READS_PER_CONNECTION = 26
READS_PER_LOOK = 1.3  # of the sweep, every ten minutes, at each connection
READS_PER_SWEEP = 17  # every minute, even if nobody is there
LISTED_BYTES = 76  # of each connection, read by every sweep

LOOK_MINUTES = 10
INVOCATIONS_PER_CONNECTION = 5  # connect, greet, two subscriptions, disconnect
MESSAGES_PER_CONNECTION = 5  # the greeting, two frames and their answers
CONNECTION_GB_SECONDS = 0.5 * 0.02  # each of them: 512 MB for 20 ms
SWEEP_GB_SECONDS = 0.5 * 0.1
LOOK_GB_SECONDS = 0.5 * 0.0004
TRIGGER_GB_SECONDS = 0.5 * 0.03
DELIVERY_GB_SECONDS = 1.769 * 0.0001  # of fan-out: 10,000 a second on one CPU
SUBSCRIBER_BYTES = 100  # of the table, read for each recipient
READ_UNIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Load:
    """`connections`: as many at a time, on average over the month; `peak` at most. `messages`
    triggered in a month, each for `fanout` subscribers, of `size` bytes. `channels` in use at a
    time. `ping`: seconds of silence after which a client pings. `session`: minutes that a
    connection lasts, that is a page; `SESSION_MINUTES` at most."""

    connections: float
    messages: float
    fanout: float
    peak: float = 0
    size: int = 1024
    channels: float = 100
    ping: float = 540
    session: float = SESSION_MINUTES

    @property
    def most(self) -> float:
        return max(self.peak, self.connections)

    @property
    def minutes(self) -> float:
        return self.connections * MINUTES

    @property
    def begun(self) -> float:
        """Connections that begin in the month."""
        return self.minutes / min(self.session, SESSION_MINUTES)

    @property
    def deliveries(self) -> float:
        return self.messages * self.fanout


@dataclass(frozen=True, slots=True)
class Estimate:
    """US dollars a month, by what they are paid for. None: it is not on offer for this load."""

    name: str
    items: Mapping[str, float]
    total: float | None
    note: str = ""

    @property
    def dominates(self) -> str | None:
        """What most of it is paid for."""
        return max(self.items, key=self.items.__getitem__) if self.total else None


def prices() -> dict[str, Any]:
    """The tables."""
    read: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return read


def estimates(load: Load, table: Mapping[str, Any] | None = None) -> list[Estimate]:
    """In the order aws, Pusher, Ably, AppSync Events."""
    given = prices() if table is None else table
    return [
        _aws(load, given["aws"]),
        _pusher(load, given["pusher"]),
        _ably(load, given["ably"]),
        _appsync(load, given["appsync"]),
    ]


def verdict(found: Sequence[Estimate]) -> str:
    """Which is the better choice, plainly."""
    by_name = {one.name: one for one in found}
    aws, appsync = by_name["aws"], by_name["appsync"]
    own = aws.total or 0.0
    possible = [one for one in found if one.total is not None and one.name != "appsync"]
    best = min(possible, key=lambda one: one.total or 0.0)
    if best is aws:
        others = sorted(one.total or 0.0 for one in possible if one is not aws)
        text = f"aws is the cheapest of the providers at ${own:,.0f} a month"
        text += (
            f"; the next is ${others[0]:,.0f}." if others else "; no plan of others is as large."
        )
    else:
        text = (
            f"{best.name} is the better choice: ${best.total or 0:,.0f} a month against ${own:,.0f}"
        )
        text += f" for aws, of which {aws.dominates} is the largest part."
    if appsync.total is not None and appsync.total < 0.7 * (best.total or 0.0):
        text += (
            f" AppSync Events would be ${appsync.total:,.0f}: better yet, if you need neither "
            "presence nor clients and servers of the Pusher protocol."
        )
    return text


def cap(provider: str, messages: int) -> str:
    """What so many messages cost at most, in a sentence, besides what is paid by the month."""
    table = prices()
    if provider == "pusher":
        name, _, _, a_day = table["pusher"]["plans"][0]
        text = f"No charge of its own: {messages / a_day:.1%} of the {a_day:,} a day of {name}"
    elif provider in ("aws", "ably"):
        # As if each were a connection of two hours: far more than it can come to.
        connections = messages * SESSION_MINUTES / MINUTES
        load = Load(connections, messages, 1, channels=connections)
        (found,) = (one for one in estimates(load, table) if one.name == provider)
        dollars = sum(value for item, value in found.items.items() if item != "base")
        text = f"That is less than ${max(dollars, 0.01):.2f}"
    else:
        return "They cost nothing."
    return f"{text} (list prices of {table['as_of']})."


def _aws(load: Load, price: Mapping[str, Any]) -> Estimate:
    parts = ceil(load.size / price["socket_message_bytes"])
    pings = load.minutes * 60 / load.ping * 2  # and the answer
    deliveries = load.deliveries * parts
    hellos = load.begun * MESSAGES_PER_CONNECTION
    sent = deliveries + pings + hellos
    each = _tiered(sent, price["socket_messages"]) / sent if sent else 0.0
    looks = load.minutes / LOOK_MINUTES
    invocations = load.begun * INVOCATIONS_PER_CONNECTION + load.messages + MINUTES
    gb_seconds = (
        load.begun * INVOCATIONS_PER_CONNECTION * CONNECTION_GB_SECONDS
        + load.messages * TRIGGER_GB_SECONDS
        + load.deliveries * DELIVERY_GB_SECONDS
        + looks * LOOK_GB_SECONDS
        + MINUTES * SWEEP_GB_SECONDS
    )
    writes = load.begun * WRITES_PER_CONNECTION + MINUTES
    reads = (
        load.messages * ceil(load.fanout * SUBSCRIBER_BYTES / READ_UNIT_BYTES)
        + load.begun * READS_PER_CONNECTION
        + looks * READS_PER_LOOK
        + load.minutes * LISTED_BYTES / READ_UNIT_BYTES
        + MINUTES * READS_PER_SWEEP
    )
    out = load.deliveries * load.size / 1e9
    items = {
        "deliveries": deliveries * each,
        "pings": pings * each,
        "greetings, subscriptions": hellos * each,
        "connection minutes": load.minutes / 1e6 * price["connection_minutes"],
        "HTTP requests": load.messages / 1e6 * price["http_requests"],
        "Lambda": invocations / 1e6 * price["lambda_requests"]
        + gb_seconds * price["lambda_gb_second"],
        "DynamoDB": writes / 1e6 * price["write_units"] + reads / 1e6 * price["read_units"],
        "data transfer": max(0.0, out - price["transfer_free_gb"]) * price["transfer_gb"],
    }
    return Estimate("aws", items, sum(items.values()), "next to nothing while nobody is connected")


def _pusher(load: Load, price: Mapping[str, Any]) -> Estimate:
    a_day = (load.messages + load.deliveries) / 30
    for name, dollars, connections, messages in price["plans"]:
        if load.most <= connections and a_day <= messages:
            return Estimate("pusher", {f"plan {name}": float(dollars)}, float(dollars))
    return Estimate("pusher", {}, None, "larger than every listed plan: ask for a price")


def _ably(load: Load, price: Mapping[str, Any]) -> Estimate:
    items = {
        "base": float(price["base"]),
        "messages": (load.messages + load.deliveries) / 1e6 * price["messages"],
        "connection minutes": load.minutes / 1e6 * price["connection_minutes"],
        "channel minutes": load.channels * MINUTES / 1e6 * price["channel_minutes"],
    }
    if load.most > price["connections"]:
        note = f"its Standard package ends at {price['connections']:,} connections: ask for a price"
        return Estimate("ably", {}, None, note)
    return Estimate("ably", items, sum(items.values()))


def _appsync(load: Load, price: Mapping[str, Any]) -> Estimate:
    items = {
        "operations": (load.messages + load.deliveries) / 1e6 * price["operations"],
        "connection minutes": load.minutes / 1e6 * price["connection_minutes"],
    }
    return Estimate("appsync", items, sum(items.values()), "no presence, a protocol of its own")


def _tiered(count: float, tiers: Sequence[tuple[float | None, float]]) -> float:
    """Dollars for `count`, where each tier has its price for a million, up to its end."""
    dollars, before = 0.0, 0.0
    for end, price in tiers:
        upto = count if end is None else min(count, end)
        dollars += max(0.0, upto - before) / 1e6 * price
        before = upto
    return dollars
