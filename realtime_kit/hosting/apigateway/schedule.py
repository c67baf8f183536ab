"""When each connection must be looked at.

A connection has one row in a list, from its beginning to its end, which nobody writes in between:
the moments follow from when it began. A sweep reads the list and notes in one row how far it came,
for each part of the list, so no moment is passed over when a sweep fails or is late. Written anew
for each look, the rows would cost more than all that a connection does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import Key, Row, unpacked
from realtime_kit.hosting.apigateway.rows import Names, number, text
from realtime_kit.hosting.apigateway.table import Change, Table

# A `$disconnect` may be lost, so API Gateway is asked about each connection so often.
ALIVE_SECONDS = 600.0
# In which who came first waits for the others to give up: some two seconds.
CROWD_TURNS = 10


class Reached(NamedTuple):
    """How far sweeps have come in one part of the list: every moment up to `time` was seen to, and
    those up to `until` of the rows up to `row`, if a sweep ran out of time there."""

    time: int = 0
    until: int = 0
    row: str = ""


class Schedule:
    """`proof`: seconds in which a connection must have proven something, None for ever. Times are
    microseconds since 1970, of `clock`, which gives seconds."""

    def __init__(
        self, table: Table, names: Names, *, clock: Callable[[], float], proof: float | None
    ) -> None:
        self._table = table
        self._names = names
        self._clock = clock
        self._proof = None if proof is None else rows.micros(proof)

    def begin(self, key: Key, since: float, closes: float) -> None:
        """Of a connection that is closed at the latest at `closes`. `key`: `Names.due`."""
        times = {"since": rows.micros(since), "closes": rows.micros(closes)}
        values: Row = {**times, "expires": rows.expiry(since)}
        self._table.write(Change("Put", key, values=values))

    def end(self, key: Key) -> None:
        self._table.write(Change("Delete", key))

    def is_crowded(self, key: Key, most: int) -> bool:
        """Whether more than `most` are listed of its address, itself among them. Of those who come
        at once the first wait for the others to give up."""
        address = key.sk[: key.sk.rindex("#") + 1]
        for turn in range(1, CROWD_TURNS):
            listed = self._table.query(key.pk, begins=address)
            there = sorted((number(row, "since"), row["sk"]) for row in listed)
            if len(there) <= most:
                return False
            if key.sk not in (sk for _, sk in there[:most]):
                return True
            self._table.pause(turn)
        return True

    def due(
        self, partition: int, reached: int, now: int, *, after: str = ""
    ) -> Iterator[dict[str, Row]]:
        """Those with a moment after `reached`, up to `now`: for each page of the list their rows by
        connection, from `after` the row with that key. An empty list has no page."""
        start = after + "\0" if after else ""
        for items in self._table.pages(self._names.due_partition(partition), start=start):
            if items:
                found = map(unpacked, items)
                due = (row for row in found if self._is_due(row, reached, now))
                yield {text(row, "sk").rpartition("#")[2]: row for row in due}

    def _is_due(self, row: Row, reached: int, now: int) -> bool:
        since, period = number(row, "since"), rows.micros(ALIVE_SECONDS)
        if number(row, "closes") <= now:
            return True
        if self._proof is not None and reached < since + self._proof <= now:
            return True
        return (now - since) // period > max(0, reached - since) // period

    def reached(self) -> list[Reached]:
        """For each part."""
        row = self._table.get(self._noted())
        if row is None:
            return [Reached()] * rows.DUE_PARTITIONS
        return [Reached(*each) for each in json.loads(text(row, "reached"))]

    def note(self, reached: Sequence[Reached]) -> None:
        values: Row = {"reached": json.dumps(reached), "expires": rows.expiry(self._clock())}
        self._table.write(Change("Put", self._noted(), values=values))

    def _noted(self) -> Key:
        return self._names.swept()
