"""How a channel's counts change when a subscription begins or ends. Pure.

A channel is occupied while its head is there. The head counts the subscribers of the first shard,
the members, and how many of the other shards are occupied. A channel that is large, or at which
many meet, is spread over more shards, each with a counter of its own: many may come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime_kit.hosting.apigateway.dynamodb import Key, Row
from realtime_kit.hosting.apigateway.rows import LIFETIME, Names, lowered, number, raised
from realtime_kit.hosting.apigateway.table import Change


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What was read of a channel. `counters`: those of the shards after the first that are there.
    `member`: of the user whom it is about."""

    channel: str
    head: Row | None = None
    counters: Mapping[int, Row] = field(default_factory=dict)
    member: Row | None = None

    @property
    def counted(self) -> bool:
        """Internal channels are not."""
        return not self.channel.startswith("#")

    @property
    def vacant(self) -> bool:
        return self.counted and self.head is None

    @property
    def spread(self) -> int:
        return 1 if self.head is None else number(self.head, "spread")

    @property
    def members(self) -> int:
        return 0 if self.head is None else number(self.head, "members")

    @property
    def count(self) -> int:
        """Connections that are subscribed."""
        there = [*self.counters.values()] + ([] if self.head is None else [self.head])
        return sum(number(row, "conns") for row in there)

    # --- one more ---------------------------------------------------------------------------

    def joining(
        self, names: Names, shard: int, *, first: bool, most: int | None, expires: int
    ) -> list[Change]:
        """`first`: of a member, of whom there may be `most`."""
        if not self.counted:
            return []
        key = names.head(self.channel)
        if self.head is None:
            made = {"conns": 1, "members": int(first), "elsewhere": 0, "spread": 1}
            values = {**made, "expires": expires}
            return [Change("Put", key, "attribute_not_exists(pk)", values=values)]
        given = {"expires": expires, "one": 1}
        if shard:
            counter = raised(names.counter(self.channel, shard), self.counters.get(shard), expires)
            if shard in self.counters:
                return [counter, *self._refreshed(key, expires)]
            update = "SET expires = :expires ADD elsewhere :one"
            given["shard"] = shard
            return [counter, Change("Update", key, "spread > :shard", update, given=given)]
        condition, update = "attribute_exists(pk)", "SET expires = :expires ADD conns :one"
        if first:
            update += ", members :one"
            if most is not None:
                condition += " AND members < :most"
                given["most"] = most
        return [Change("Update", key, condition, update, given=given)]

    def _refreshed(self, key: Key, expires: int) -> list[Change]:
        """The head must not expire while others than its own subscribers come and go."""
        if self.head is None or number(self.head, "expires") > expires - LIFETIME // 2:
            return []
        given = {"expires": expires}
        return [
            Change("Update", key, "attribute_exists(pk)", "SET expires = :expires", given=given)
        ]

    # --- one less ---------------------------------------------------------------------------

    def vacated_by(self, shard: int) -> bool:
        """Whether it is vacated when a subscriber of `shard` goes."""
        if self.head is None:
            return True
        here, elsewhere = number(self.head, "conns"), number(self.head, "elsewhere")
        if not shard:
            return here <= 1 and not elsewhere
        return here <= 0 and elsewhere <= 1 and self._last_of(shard)

    def _last_of(self, shard: int) -> bool:
        counter = self.counters.get(shard)
        return counter is not None and number(counter, "conns") <= 1

    def leaving(self, names: Names, shard: int, *, last: bool) -> list[Change]:
        """`last`: of a member. What was counted once and is lost is not counted down."""
        if self.head is None:
            return []
        if not shard:
            return self._leaving_head(names, self.head, "conns", "elsewhere", last=last)
        changes = lowered(names.counter(self.channel, shard), self.counters.get(shard))
        if self._last_of(shard):
            changes += self._leaving_head(names, self.head, "elsewhere", "conns", last=last)
        return changes

    def _leaving_head(
        self, names: Names, head: Row, count: str, other: str, *, last: bool
    ) -> list[Change]:
        """One less in one of the head's two counts; both at zero are the end of it."""
        key, one = names.head(self.channel), {"one": 1, "zero": 0}
        if number(head, count) > 1 or number(head, other) > 0:
            if not number(head, count):
                return []
            condition = f"{count} > :one OR ({count} = :one AND {other} > :zero)"
            update = f"ADD {count} :less" + (", members :less" if last else "")
            return [Change("Update", key, condition, update, given={**one, "less": -1})]
        changes = [Change("Delete", key, f"{count} <= :one AND {other} <= :zero", given=one)]
        if self.spread > 1:
            changes.append(Change("Delete", names.spread(self.channel)))
        return changes
