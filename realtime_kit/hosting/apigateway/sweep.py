"""Seeing to connections when nobody calls: those that are too old, those that proved nothing in
time, and those that went without a word.

It runs every minute, and goes through the list of all connections (`schedule.py`). A look at one
that is well writes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from realtime_kit.errors import ProviderError
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.broadcast import Broadcaster
from realtime_kit.hosting.apigateway.delivery import Transport
from realtime_kit.hosting.apigateway.dynamodb import Key, Row
from realtime_kit.hosting.apigateway.registry import CLAIM_SECONDS
from realtime_kit.hosting.apigateway.rows import number, text
from realtime_kit.hosting.apigateway.schedule import ALIVE_SECONDS, Reached
from realtime_kit.protocol import frames

# 42xx asks a client to come straight back, 40xx not to.
TOO_OLD = frames.error("This connection has reached its age, please reconnect", 4200)
UNFINISHED = frames.error("What you sent was not finished, please reconnect", 4200)
NOT_AUTHORIZED = frames.error("Connection not authorized within timeout", 4009)

AT_ONCE = 200

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Swept:
    """`old`, `unauthorized` and `unfinished` (a function died over a frame of theirs) were closed,
    `gone` were gone already, `later` are well."""

    old: list[str] = field(default_factory=list)
    unauthorized: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)


def sweep(
    driver: Broadcaster, transport: Transport, *, go_on: Callable[[], bool] = lambda: True
) -> Swept:
    """See to all connections that are due, while `go_on()`: what is left is due the next time."""
    schedule, now = driver.registry.schedule, rows.micros(driver.registry.clock())
    before = schedule.reached()
    reached, swept = list(before), Swept()
    try:
        for partition in sorted(range(len(before)), key=before.__getitem__):
            begun = before[partition]
            one = _Round(driver, transport, swept, begun, begun.until if begun.row else now)
            whole = one.run(partition, go_on)
            reached[partition] = one.came_to(whole)
            if not whole:
                break
    finally:
        if reached != before:
            schedule.note(reached)
    return swept


@dataclass(slots=True)
class _Round:
    """Through one part of the list, or the rest of it, for the moments up to `now`."""

    driver: Broadcaster
    transport: Transport
    swept: Swept
    begun: Reached
    now: int
    row: str = ""
    pages: int = 0
    failed: bool = False

    def run(self, partition: int, go_on: Callable[[], bool]) -> bool:
        """Whether it came to the end."""
        schedule, begun = self.driver.registry.schedule, self.begun
        self.row = begun.row
        for due in schedule.due(partition, begun.time, self.now, after=begun.row):
            self.pages += 1
            conns = list(due)
            for start in range(0, len(conns), AT_ONCE):
                if not go_on():
                    return False
                part = conns[start : start + AT_ONCE]
                self._see_to({conn: due[conn] for conn in part})
                self.row = text(due[part[-1]], "sk")
        return True

    def came_to(self, whole: bool) -> Reached:
        if self.failed:  # who could not be closed is due again
            return Reached(self.begun.time)
        if not whole:
            return Reached(self.begun.time, self.now, self.row) if self.row else self.begun
        return Reached(self.now) if self.pages or self.begun.row else self.begun

    def _see_to(self, due: Mapping[str, Row]) -> None:
        registry, page = self.driver.registry, Swept()
        alive: list[str] = []
        looked = self.begun.time - rows.micros(ALIVE_SECONDS)
        found = registry.table.get_many(map(rows.connection, due))
        for conn, listed in due.items():
            row = found.get(rows.connection(conn))
            if row is None:
                self._forget(listed)
            elif "dropped" in row:  # somebody began to end it and did not come to the end
                page.gone.append(conn)
            elif number(listed, "closes") <= self.now:
                page.old.append(conn)
            elif registry.bounds.authorization is not None and "authorized" not in row:
                page.unauthorized.append(conn)
            elif registry.is_unfinished(conn, row, looked):
                page.unfinished.append(conn)
            else:
                alive.append(conn)
        known = self.transport.describe(alive) if alive else {}
        for conn in alive:
            is_gone = conn in known and known[conn] is None
            (page.gone if is_gone else page.later).append(conn)
        self._end(page)
        for name in Swept.__slots__:
            getattr(self.swept, name).extend(getattr(page, name))

    def _forget(self, listed: Row) -> None:
        """It is listed and not there: it has gone, or is about to come."""
        if number(listed, "since") < self.now - rows.micros(CLAIM_SECONDS):
            self.driver.registry.schedule.end(Key(text(listed, "pk"), text(listed, "sk")))

    def _end(self, page: Swept) -> None:
        self.driver.disconnect(page.gone)
        self._send_away(page.old, TOO_OLD)
        self._send_away(page.unauthorized, NOT_AUTHORIZED)
        self._send_away(page.unfinished, UNFINISHED)

    def _send_away(self, conns: Sequence[str], frame: str) -> None:
        if not conns:
            return
        try:
            self.driver.send_away(conns, frame)
        except ProviderError:
            self.failed = True
            _log.exception("not all of %d connections were closed; they are due again", len(conns))
