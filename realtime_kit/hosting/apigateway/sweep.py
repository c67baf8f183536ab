"""Seeing to connections when nobody calls: those that are too old, those that proved nothing in
time, and those that went without a word.

A schedule runs it every minute. Each connection has one row that says when it must be seen to, so a
sweep reads those that are due and no others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from realtime_kit.errors import ProviderError
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.broadcast import Broadcaster
from realtime_kit.hosting.apigateway.delivery import Transport
from realtime_kit.hosting.apigateway.dynamodb import Row
from realtime_kit.hosting.apigateway.rows import text
from realtime_kit.protocol import frames

# 42xx asks a client to come straight back, 40xx not to.
TOO_OLD = frames.error("This connection has reached its age, please reconnect", 4200)
UNFINISHED = frames.error("What you sent was not finished, please reconnect", 4200)
NOT_AUTHORIZED = frames.error("Connection not authorized within timeout", 4009)

# A `$disconnect` may be lost, so API Gateway is asked about each connection so often.
ALIVE_SECONDS = 600.0
AT_ONCE = 200

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Swept:
    """`old`, `unauthorized` and `unfinished` (a function died over a frame of theirs) were closed,
    `gone` were gone already, `later` are due again."""

    old: list[str] = field(default_factory=list)
    unauthorized: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)


def sweep(
    driver: Broadcaster, transport: Transport, *, go_on: Callable[[], bool] = lambda: True
) -> Swept:
    """See to all connections that are due, while `go_on()`: what is left is due the next time."""
    swept = Swept()
    for due in driver.registry.due():
        for start in range(0, len(due), AT_ONCE):
            if not go_on():
                return swept
            page = _see_to(driver, transport, due[start : start + AT_ONCE])
            for name in swept.__slots__:
                getattr(swept, name).extend(getattr(page, name))
    return swept


def _see_to(driver: Broadcaster, transport: Transport, due: Sequence[str]) -> Swept:
    registry, page = driver.registry, Swept()
    now = registry.clock()
    keys = {rows.connection(conn): conn for conn in due}
    alive: dict[str, Row] = {}
    for key, row in registry.table.get_many(keys).items():
        conn = keys[key]
        if "dropped" in row:  # somebody began to end it and did not come to the end
            page.gone.append(conn)
        elif text(row, "closes") <= rows.due_time(now):
            page.old.append(conn)
        elif registry.bounds.authorization is not None and "authorized" not in row:
            page.unauthorized.append(conn)
        elif registry.is_unfinished(conn, row):
            page.unfinished.append(conn)
        else:
            alive[conn] = row
    _ask_after(driver, transport, alive, page)
    driver.disconnect(page.gone)
    for conns, frame in (
        (page.old, TOO_OLD),
        (page.unauthorized, NOT_AUTHORIZED),
        (page.unfinished, UNFINISHED),
    ):
        _send_away(driver, conns, frame)
    return page


def _ask_after(
    driver: Broadcaster, transport: Transport, alive: Mapping[str, Row], page: Swept
) -> None:
    """Sort out those that are not there any more; the others are due again."""
    known = transport.describe(list(alive)) if alive else {}
    again = rows.due_time(driver.registry.clock() + ALIVE_SECONDS)
    for conn, row in alive.items():
        if conn in known and known[conn] is None:
            page.gone.append(conn)
        else:
            driver.registry.postpone(conn, row, min(text(row, "closes"), again))
            page.later.append(conn)


def _send_away(driver: Broadcaster, conns: Sequence[str], frame: str) -> None:
    if not conns:
        return
    try:
        driver.send_away(conns, frame)
    except ProviderError:
        _log.exception("not all of %d connections were closed; they are due again", len(conns))
