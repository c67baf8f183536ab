"""What stands in the table: one item for each fact, found by its key alone. No index is needed, so
that every read sees every write before it.

    pk                  sk              what it says
    C#conn              #               a connection: its value, what it is counted in
                        I               it is signed in
                        S#channel       it is subscribed; with `untold_by`: which is to be told of;
                                        with `ended`: was, which is to be told of
                        E#channel#claim the same, of one that was subscribed again since
    H{0..15}#app        channel         a channel that is occupied: its head (`occupancy.py`)
    S0#app#channel      K               its last event
                        L               its count is about to be announced
                        M#user          a member, with `conns` connections
                        N               it is spread over `spread` shards
                        S#conn          a subscriber
    S{1..15}#app#chann. N               a shard with `conns` subscribers
                        S#conn          a subscriber
    U#app#user          #               a user with `conns` signed-in connections
                        I#conn          one of them
                        P#channel#conn  a connection that is the user on a presence channel
    T{0..15}#app        address#conn    when a connection must be looked at (`schedule.py`); those
                                        from an address are together
    R#app               #               how far the sweeps have come with that
    A#app               #               connections, where the app has a limit
    W#app#key           #               what the application was told (`webhooks.py`)
    B#app#id            shard           how far a worker has come (`broadcast.py`)

Channels that begin with `#` have subscribers and nothing else. What a sweep should have ended goes
by itself: connections live two hours, and all that is written for one carries `expires`, the
table's TTL attribute, a day ahead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote
from zlib import crc32

from realtime_kit.hosting.apigateway.dynamodb import Key, Row
from realtime_kit.hosting.apigateway.table import Change

HEAD_PARTITIONS = 16
DUE_PARTITIONS = 16
LIFETIME = 24 * 3600

# The condition of whatever a connection is given: it is there, and nobody has begun to end it.
LIVE = "attribute_exists(pk) AND attribute_not_exists(dropped)"

TABLE = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
}
TTL_ATTRIBUTE = "expires"


def text(row: Row, name: str) -> str:
    return str(row[name])


def number(row: Row, name: str) -> int:
    """0 if it is not there."""
    return int(row.get(name, 0))


def connection(conn: str) -> Key:
    return Key(f"C#{conn}", "#")


def sign_in(conn: str) -> Key:
    return Key(f"C#{conn}", "I")


def subscription(conn: str, channel: str) -> Key:
    return Key(f"C#{conn}", f"S#{channel}")


def earlier(conn: str, channel: str, claim: str) -> Key:
    return Key(f"C#{conn}", f"E#{channel}#{claim}")


@dataclass(frozen=True, slots=True)
class Names:
    """The keys of one app's rows. A `#` in its id cannot run into what follows."""

    app: str

    @classmethod
    def of(cls, app_id: str) -> Names:
        return cls(quote(app_id, safe=""))

    def heads(self, partition: int) -> str:
        return f"H{partition}#{self.app}"

    def head(self, channel: str) -> Key:
        return Key(self.heads(spread_over(HEAD_PARTITIONS, channel)), channel)

    def shard(self, channel: str, shard: int = 0) -> str:
        return f"S{shard}#{self.app}#{channel}"

    def counter(self, channel: str, shard: int) -> Key:
        return Key(self.shard(channel, shard), "N")

    def spread(self, channel: str) -> Key:
        return Key(self.shard(channel), "N")

    def subscriber(self, channel: str, shard: int, conn: str) -> Key:
        return Key(self.shard(channel, shard), f"S#{conn}")

    def member(self, channel: str, user_id: str) -> Key:
        return Key(self.shard(channel), f"M#{user_id}")

    def last_event(self, channel: str) -> Key:
        return Key(self.shard(channel), "K")

    def announcement(self, channel: str) -> Key:
        return Key(self.shard(channel), "L")

    def user(self, user_id: str) -> Key:
        return Key(f"U#{self.app}#{user_id}", "#")

    def signed_in(self, user_id: str, conn: str) -> Key:
        return Key(self.user(user_id).pk, f"I#{conn}")

    def presence(self, user_id: str, channel: str, conn: str) -> Key:
        return Key(self.user(user_id).pk, f"P#{channel}#{conn}")

    def due_partition(self, partition: int) -> str:
        return f"T{partition}#{self.app}"

    def due(self, conn: str, address: str | None) -> Key:
        """`address`: if it is counted what comes from there."""
        partition = self.due_partition(spread_over(DUE_PARTITIONS, address or conn))
        return Key(partition, f"{address or ''}#{conn}")

    def swept(self) -> Key:
        return Key(f"R#{self.app}", "#")

    def connections(self) -> Key:
        return Key(f"A#{self.app}", "#")

    def told(self, key: str) -> Key:
        return Key(f"W#{self.app}#{key}", "#")


def spread_over(many: int, name: str) -> int:
    """One of so many, always the same for a name."""
    return crc32(name.encode("utf-8", "surrogatepass")) % many


def micros(time: float) -> int:
    return round(time * 1_000_000)


def expiry(time: float) -> int:
    """When what is written at `time` goes by itself: seconds since 1970."""
    return int(time) + LIFETIME


def ending(key: Key, own: Row, told: object, claim: str, time: float) -> Change:
    """Mark what a connection had, and `own` is the row of, as ended. It stays, with what is to be
    told of it, until who has the claim has told it."""
    untold = " AND attribute_exists(untold_by)" if "untold_by" in own else ""
    return Change(
        "Update",
        key,
        "mark = :mark AND attribute_not_exists(ended)" + untold,
        "SET ended = :told, ended_by = :claim, ended_at = :now",
        given={
            "mark": own["mark"],
            "told": json.dumps(told),
            "claim": claim,
            "now": micros(time),
        },
    )


def told(key: Key, claim: str) -> Change:
    """Who has the claim has told of what a connection began."""
    return Change(
        "Update", key, "untold_by = :claim", "REMOVE untold_by, untold", given={"claim": claim}
    )


def is_overdue(row: Row, before: int) -> bool:
    """Whether what a connection has began or ended `before`, microseconds, and was not told of."""
    if "ended" in row:
        return number(row, "ended_at") < before
    return "untold_by" in row and number(row, "since") < before


def raised(
    key: Key, row: Row | None, expires: int, *, most: int | None = None, values: Row | None = None
) -> Change:
    """One more in `conns` of a counter that is `row` now; made, with `values`, if it was not there.

    It fails if it has `most` by then.
    """
    if row is None:
        made = {"conns": 1, "expires": expires, **(values or {})}
        return Change("Put", key, "attribute_not_exists(pk)", values=made)
    limit = {} if most is None else {"most": most}
    return Change(
        "Update",
        key,
        "attribute_exists(pk)" + (" AND conns < :most" if limit else ""),
        "SET expires = :expires ADD conns :one",
        given={"one": 1, "expires": expires, **limit},
    )


def lowered(key: Key, row: Row | None) -> list[Change]:
    """One less; gone with the last. What is not there is left as it is."""
    if row is None:
        return []
    if number(row, "conns") > 1:
        return [
            Change("Update", key, "conns > :one", "ADD conns :less", given={"one": 1, "less": -1})
        ]
    return [Change("Delete", key, "conns <= :one", given={"one": 1})]
