"""CPU of one `Realtime.trigger` to a channel with history against the same without it.

Both publish over provider `local` to an embedded server in a process of its own. The log is in a
SQLite file, as on a server; the same in memory, the statements and transactions of a trigger, and
what it takes to read 1,000 events that somebody has missed, are told beside.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import sqlalchemy as sa

from benchmarks._harness import Result, compare, main
from benchmarks._servers import embedded
from realtime_kit import Position, Realtime, RealtimeSettings
from realtime_kit.history.sql import SqlLog

CALLS = 500
MISSED = 1_000
DATA = {"order": 42, "eta": "2026-01-01T12:00:00Z", "items": [{"sku": "a-1", "n": 2}] * 3}
BAR = 4.0  # a transaction that is on disk costs more than a request on an open socket


def realtime(port: int, log: str) -> Realtime:
    environ = {"REALTIME_PORT": str(port), "REALTIME_HISTORY__URL": log}
    made = Realtime("local", settings=RealtimeSettings(environ=environ))
    made.channel_rule("kept", history="2000/1h")(lambda user: True)
    return made


def microseconds(call: Callable[[], object], calls: int = CALLS) -> float:
    """CPU of one call."""
    start = process_time()
    for _ in range(calls):
        call()
    return (process_time() - start) / calls * 1e6


def statements(made: Realtime, calls: int = 100) -> str:
    """What a trigger asks of the database."""
    counted = {"statements": 0, "transactions": 0}
    log = made.recorder.log
    assert isinstance(log, SqlLog)

    def count(what: str) -> Callable[..., None]:
        def counts(*_: object) -> None:
            counted[what] += 1

        return counts

    sa.event.listen(log.engine, "before_cursor_execute", count("statements"))
    sa.event.listen(log.engine, "commit", count("transactions"))
    for _ in range(calls):
        made.trigger("kept", "shipped", DATA)
    return ", ".join(f"{number / calls:.2f} {what}" for what, number in counted.items())


def catch_up(made: Realtime) -> str:
    """Milliseconds of CPU to read what was missed."""
    newest = Position.parse(made.position("kept"))
    while newest.offset < MISSED:
        made.trigger("kept", "shipped", DATA)
        newest = Position.parse(made.position("kept"))
    start = Position(newest.epoch, newest.offset - MISSED)

    def read() -> None:
        assert len(made.recorder.read("kept", start).entries) == MISSED

    read()
    return f"{microseconds(read, 20) / 1000:.2f} ms"


def measure(pairs: int) -> Result:
    with TemporaryDirectory() as folder, embedded() as server:
        in_sql = realtime(server.port, f"sqlite:///{Path(folder, 'log.db')}")
        in_memory = realtime(server.port, "memory:")
        with closing(in_sql), closing(in_memory):
            for made in (in_sql, in_memory):
                for channel in ("kept", "plain"):
                    microseconds(lambda made=made, channel=channel: _send(made, channel), 50)
            result = compare(
                "history",
                lambda: microseconds(lambda: _send(in_sql, "kept")),
                lambda: microseconds(lambda: _send(in_sql, "plain")),
                unit="µs CPU per trigger",
                better="lower",
                bar=BAR,
                pairs=pairs,
            )
            result.details["in memory"] = (
                f"{microseconds(lambda: _send(in_memory, 'kept')):.1f} µs against "
                f"{microseconds(lambda: _send(in_memory, 'plain')):.1f}"
            )
            result.details["per trigger"] = statements(in_sql)
            result.details[f"catch-up of {MISSED}"] = (
                f"{catch_up(in_sql)}; in memory {catch_up(in_memory)}"
            )
            return result


def _send(made: Realtime, channel: str) -> None:
    made.trigger(channel, "shipped", DATA)


if __name__ == "__main__":
    main(measure, __doc__)
