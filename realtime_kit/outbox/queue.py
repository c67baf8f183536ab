"""The outbox as relays use it: rows are taken for a time, then removed, put off, or given up.

A row that is taken bears the relay's name and when its time is over. Whoever is killed leaves
nothing to be cleared up: the rows are there again after that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import sqlalchemy as sa

from realtime_kit.errors import ConfigurationError
from realtime_kit.history.sql import guarded, make_engine
from realtime_kit.outbox.table import outbox, turn

if TYPE_CHECKING:
    from realtime_kit.settings import RealtimeSettings

T = TypeVar("T")


class Row(NamedTuple):
    """An event for one channel. `data` is JSON text. `attempts` have failed so far."""

    seq: int
    channel: str
    id: str
    name: str
    data: str
    mutation: str | None
    exclude: str | None
    attempts: int


class Dead(NamedTuple):
    """An event that was given up. `since` and `created` are milliseconds since 1970."""

    seq: int
    channel: str
    id: str
    name: str
    attempts: int
    created: int
    since: int
    error: str | None


_ROW = [outbox.c[name] for name in Row._fields]
_DEAD = [outbox.c["dead" if name == "since" else name] for name in Dead._fields]
_ALIVE = outbox.c.dead.is_(None)


class Queue:
    """The rows in `database`, an `Engine` or a URL. Thread-safe.

    Raises `ProviderUnavailable` (provider "outbox") where the database fails.
    """

    def __init__(
        self, database: str | sa.Engine, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.engine = make_engine(database) if isinstance(database, str) else database
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        """In `REALTIME_OUTBOX__URL`, or in the event log's database."""
        url = settings.outbox.url or settings.history.url
        if url.get_secret_value().rstrip("/") == "memory:":
            raise ConfigurationError(
                "outbox.url is not set: set REALTIME_OUTBOX__URL to your application's database"
            )
        return cls(url.get_secret_value())

    def check(self) -> None:
        """Raise `ConfigurationError` unless the tables are there."""

        def look(connection: sa.Connection) -> list[str]:
            inspector = sa.inspect(connection)
            return [table.name for table in (outbox, turn) if not inspector.has_table(table.name)]

        missing = self._do(look)
        if missing:
            self.close()
            raise ConfigurationError(
                f"the database has no table {' and no '.join(missing)}: "
                "`realtime-kit relay --create-tables` makes them"
            )

    # --- sending ----------------------------------------------------------------------------

    def take(self, owner: str, limit: int, seconds: float) -> list[Row]:
        """Up to `limit` rows, in order, to be sent by `owner` within `seconds`.

        None of a channel of which a row is taken by another or waits for its next attempt: what
        comes after it must not go before it.
        """
        now = self.now_ms()
        busy = sa.select(outbox.c.channel).where(_ALIVE, outbox.c.due > now)
        free = (_ALIVE, outbox.c.channel.not_in(busy))

        def look(connection: sa.Connection) -> bool:
            query = sa.select(outbox.c.seq).where(*free).limit(1)
            return connection.execute(query).first() is not None

        def take(connection: sa.Connection) -> list[Row]:
            _take_turn(connection, now)
            query = sa.select(outbox.c.seq).where(*free).order_by(outbox.c.seq).limit(limit)
            wanted = list(connection.execute(query).scalars())
            taken = connection.execute(
                sa.update(outbox)
                .where(outbox.c.seq.in_(wanted))
                .values(owner=owner, due=now + int(seconds * 1000))
                .returning(*_ROW)
            )
            return sorted(Row(*row) for row in taken)

        # Who has nothing to do writes nothing.
        return self._do(take) if self._do(look) else []

    def remove(self, rows: Iterable[Row]) -> None:
        """They were sent, by whomever."""
        self._change(sa.delete(outbox), [row.seq for row in rows])

    def put_off(self, rows: Iterable[tuple[Row, float]], owner: str, error: str) -> None:
        """Their attempt failed; each is tried again after so many seconds."""
        now = self.now_ms()
        values = [
            {"row": row.seq, "at": now + int(seconds * 1000), "so_far": row.attempts + 1}
            for row, seconds in rows
        ]
        change = (
            sa.update(outbox)
            .where(outbox.c.seq == sa.bindparam("row"), outbox.c.owner == owner)
            .values(
                owner=None, due=sa.bindparam("at"), attempts=sa.bindparam("so_far"), error=error
            )
        )
        if values:
            self._do(lambda connection: connection.execute(change, values))

    def give_up(self, rows: Iterable[Row], owner: str, error: str) -> None:
        """Their last attempt failed: they are dead, and what comes after them goes on."""
        change = (
            sa.update(outbox)
            .where(outbox.c.owner == owner)
            .values(
                owner=None, due=0, attempts=outbox.c.attempts + 1, error=error, dead=self.now_ms()
            )
        )
        self._change(change, [row.seq for row in rows])

    def release(self, owner: str) -> None:
        """What `owner` still has is not being sent."""
        change = sa.update(outbox).where(outbox.c.owner == owner).values(owner=None, due=0)
        self._do(lambda connection: connection.execute(change))

    # --- looking on -------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many are to be sent."""
        query = sa.select(sa.func.count()).select_from(outbox).where(_ALIVE)
        return self._do(lambda connection: int(connection.execute(query).scalar_one()))

    def dead(self, *, limit: int = 1_000) -> list[Dead]:
        """Those that were given up, oldest first."""
        query = sa.select(*_DEAD).where(~_ALIVE).order_by(outbox.c.seq).limit(limit)
        return self._do(lambda connection: [Dead(*row) for row in connection.execute(query)])

    def replay(self, seqs: Sequence[int] | None = None) -> int:
        """Have dead ones (None: all) sent again, as if they were new; how many."""
        change = sa.update(outbox).values(dead=None, due=0, attempts=0)
        return self._change_dead(change, seqs)

    def discard(self, seqs: Sequence[int] | None = None) -> int:
        """Delete dead ones (None: all); how many."""
        return self._change_dead(sa.delete(outbox), seqs)

    # --- the database -----------------------------------------------------------------------

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def close(self) -> None:
        """Let go of connections. Usable again afterwards."""
        self.engine.dispose()

    def _change_dead(self, change: sa.Update | sa.Delete, seqs: Sequence[int] | None) -> int:
        change = change.where(~_ALIVE)
        if seqs is None:
            return self._do(lambda connection: connection.execute(change).rowcount)
        return self._change(change, seqs)

    def _change(self, change: sa.Update | sa.Delete, seqs: Sequence[int]) -> int:
        if not seqs:
            return 0
        change = change.where(outbox.c.seq.in_(seqs))
        return self._do(lambda connection: connection.execute(change).rowcount)

    def _do(self, work: Callable[[sa.Connection], T]) -> T:
        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return guarded(transaction, "the outbox's database", "outbox")


def _take_turn(connection: sa.Connection, now_ms: int) -> None:
    """Wait until no other relay is taking rows; until the end of the transaction none will."""
    if connection.execute(sa.update(turn).values(taken=now_ms)).rowcount == 0:
        # If another makes the row meanwhile, this transaction fails and is tried again.
        connection.execute(sa.insert(turn).values(id=1, taken=now_ms))
