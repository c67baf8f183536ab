"""The event log in a SQL database, over SQLAlchemy: SQLite, PostgreSQL, and others that have row
locks. The tables are made on first use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from threading import Lock
from typing import TypeVar

from realtime_kit.errors import ProviderUnavailable, missing_extra
from realtime_kit.history.base import (
    MEMORY,
    Draft,
    Entry,
    EventLog,
    Head,
    History,
    Position,
    unique,
)

try:
    import sqlalchemy as sa
    from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
except ImportError as error:
    raise missing_extra("sql", "an event log in a database") from error

T = TypeVar("T")

metadata = sa.MetaData()
channels = sa.Table(
    "realtime_channels",
    metadata,
    sa.Column("channel", sa.String(255), primary_key=True),
    sa.Column("epoch", sa.String(64), nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("dropped", sa.BigInteger, nullable=False),  # up to here there are no rows any more
    sa.Column("forget_at", sa.BigInteger, nullable=False, index=True),
)
events = sa.Table(
    "realtime_events",
    metadata,
    sa.Column("channel", sa.String(255), primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(255), nullable=False),
    sa.Column("epoch", sa.String(64), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("mutation", sa.String(255)),
    sa.Column("exclude", sa.Text),  # a socket id; Ably's names its user
    sa.UniqueConstraint("channel", "id"),
)

_ENTRY = (
    events.c.offset,
    events.c.time,
    events.c.id,
    events.c.name,
    events.c.data,
    events.c.mutation,
    events.c.exclude,
)
# Made once: to build a statement takes as long as to execute it.
_TAKE_NUMBERS = (
    sa.update(channels)
    .where(channels.c.channel == sa.bindparam("named"))
    .values(last=channels.c.last + sa.bindparam("count"), forget_at=sa.bindparam("forget"))
    .returning(channels.c.epoch, channels.c.last, channels.c.dropped)
)
_INSERT = sa.insert(events)
_HEADS = sa.select(channels.c.channel, channels.c.epoch, channels.c.last, channels.c.dropped).where(
    channels.c.channel.in_(sa.bindparam("names", expanding=True))
)
_READ = (
    sa.select(*_ENTRY)
    .where(
        events.c.channel == sa.bindparam("named"),
        events.c.epoch == sa.bindparam("epoch"),
        events.c.offset > sa.bindparam("after"),
        events.c.offset <= sa.bindparam("until"),
    )
    .order_by(events.c.offset)
)
_MEMORY_MS = MEMORY // timedelta(milliseconds=1)
_TRIES = 5
_SWEEP_EVERY = 1_000  # appends


class SqlLog(EventLog):
    """`database` is a URL or an `Engine`. An append is one transaction: it locks the channel's row,
    numbers, and inserts; two statements where nothing is to be dropped."""

    def __init__(self, database: str | sa.Engine, *, name: str = "history") -> None:
        self._engine = make_engine(database) if isinstance(database, str) else database
        self._name = name
        self._is_made = False
        self._appends = 0
        self._lock = Lock()

    @property
    def engine(self) -> sa.Engine:
        """Its database, the tables being there."""
        if not self._is_made:
            with self._lock:
                if not self._is_made:
                    self._make_tables()
                    self._is_made = True
        return self._engine

    def _make_tables(self) -> None:
        # Another process may be making them.
        with suppress(DBAPIError):
            metadata.create_all(self._engine)
            return
        self._guarded(lambda: metadata.create_all(self._engine))

    def append(
        self, channel: str, drafts: Sequence[Draft], history: History, now_ms: int
    ) -> list[Position]:
        wanted = unique(drafts)
        offsets, epoch = self._guarded(lambda: self._append(channel, wanted, history, now_ms))
        self._sweep(now_ms)
        return [Position(epoch, offsets[draft.id]) for draft in drafts]

    def _append(
        self, channel: str, wanted: Mapping[str, Draft], history: History, now_ms: int
    ) -> tuple[dict[str, int], str]:
        try:
            return self._append_new(channel, wanted, history, now_ms)
        except IntegrityError:
            # An id that is retained already, or another writer made the channel.
            return self._append_new(channel, wanted, history, now_ms, careful=True)

    def _append_new(
        self,
        channel: str,
        wanted: Mapping[str, Draft],
        history: History,
        now_ms: int,
        *,
        careful: bool = False,
    ) -> tuple[dict[str, int], str]:
        with self.engine.begin() as connection:
            epoch, last, dropped = _locked(connection, channel, history, now_ms, len(wanted))
            last -= len(wanted)
            known: dict[str, int] = {}
            if careful:
                known = _known(connection, channel, wanted, history, last, now_ms)
                _correct(connection, channel, -len(known))
            fresh = [draft for draft in wanted.values() if draft.id not in known]
            numbered = {draft.id: last + place for place, draft in enumerate(fresh, 1)}
            if fresh:
                connection.execute(
                    _INSERT,
                    [
                        {
                            "channel": channel,
                            "epoch": epoch,
                            "offset": numbered[draft.id],
                            "time": now_ms,
                            **draft._asdict(),
                        }
                        for draft in fresh
                    ],
                )
            last += len(fresh)
            # Dropped in portions, so that most appends delete nothing.
            if last - history.last - dropped > max(10, history.last // 4):
                _drop(connection, channel, last - history.last)
            return {**known, **numbered}, epoch

    def heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        return self._guarded(lambda: self._heads(wanted)) if wanted else {}

    def _heads(self, wanted: Mapping[str, History]) -> dict[str, Head]:
        with self.engine.connect() as connection:
            rows = connection.execute(_HEADS, {"names": list(wanted)}).all()
        return {
            name: Head(epoch, last, max(dropped, last - wanted[name].last) + 1)
            for name, epoch, last, dropped in rows
        }

    def entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        wanted = {"named": channel, "epoch": epoch, "after": after, "until": until}

        def read() -> list[Entry]:
            with self.engine.connect() as connection:
                return [Entry(*row) for row in connection.execute(_READ, wanted)]

        return self._guarded(read)

    def _sweep(self, now_ms: int) -> None:
        """Now and then: forget channels that nobody has written to for a day."""
        with self._lock:
            self._appends += 1
            if self._appends % _SWEEP_EVERY:
                return
        self._guarded(lambda: self.forget(now_ms))

    def forget(self, now_ms: int) -> int:
        """Delete the channels whose last event is a day old and no longer retained; how many."""
        old = sa.select(channels.c.channel).where(channels.c.forget_at <= now_ms)
        with self.engine.begin() as connection:
            names = list(connection.execute(old.with_for_update()).scalars())
            connection.execute(sa.delete(events).where(events.c.channel.in_(names)))
            connection.execute(sa.delete(channels).where(channels.c.channel.in_(names)))
        return len(names)

    def _guarded(self, work: Callable[[], T]) -> T:
        return guarded(work, "the event log's database", self._name)

    def close(self) -> None:
        self._engine.dispose()


def guarded(work: Callable[[], T], what: str, name: str) -> T:
    """Do it, again if the database asks for that (a lock, a deadlock, a connection that had gone):
    a transaction that failed has done nothing, or is found by its ids.

    Raises `ProviderUnavailable` of the provider `name`, saying that `what` failed.
    """
    for attempt in range(_TRIES):
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            if attempt == _TRIES - 1:
                raise _unavailable(error, what, name) from error
            time.sleep(0.02 * 2**attempt * (0.5 + os.urandom(1)[0] / 255))
        except DBAPIError as error:
            raise _unavailable(error, what, name) from error
    raise AssertionError  # not reached


def _unavailable(error: DBAPIError, what: str, name: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"{what} failed: {type(error.orig).__name__}",
        provider=name,
        retryable=not isinstance(error, DataError),
    )


def _locked(
    connection: sa.Connection, channel: str, history: History, now_ms: int, count: int
) -> tuple[str, int, int]:
    """Take `count` numbers of the channel, whose row is locked from here on: its epoch, its last
    number, and up to where it has been dropped."""
    forget_at = now_ms + max(_MEMORY_MS, history.keep // timedelta(milliseconds=1))
    taken = {"named": channel, "count": count, "forget": forget_at}
    found = connection.execute(_TAKE_NUMBERS, taken).one_or_none()
    if found is not None:
        return found.epoch, found.last, found.dropped
    epoch = os.urandom(9).hex()
    row = {"channel": channel, "epoch": epoch, "last": count, "dropped": 0, "forget_at": forget_at}
    connection.execute(sa.insert(channels).values(row))
    return epoch, count, 0


def _known(
    connection: sa.Connection,
    channel: str,
    ids: Mapping[str, Draft],
    history: History,
    last: int,
    now_ms: int,
) -> dict[str, int]:
    """Where those of these events are that are retained. Rows of others go: their ids are free."""
    mine = (events.c.channel == channel, events.c.id.in_(list(ids)))
    is_over = sa.or_(
        events.c.offset <= last - history.last, events.c.time <= history.cutoff(now_ms)
    )
    connection.execute(sa.delete(events).where(*mine, is_over))
    query = sa.select(events.c.id, events.c.offset).where(*mine)
    return {row.id: row.offset for row in connection.execute(query)}


def _correct(connection: sa.Connection, channel: str, count: int) -> None:
    if count:
        connection.execute(
            sa.update(channels)
            .where(channels.c.channel == channel)
            .values(last=channels.c.last + count)
        )


def _drop(connection: sa.Connection, channel: str, until: int) -> None:
    connection.execute(
        sa.delete(events).where(events.c.channel == channel, events.c.offset <= until)
    )
    connection.execute(
        sa.update(channels).where(channels.c.channel == channel).values(dropped=until)
    )


def make_engine(url: str) -> sa.Engine:
    """An engine for `url`; SQLite is set up so that readers and a writer go side by side."""
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.execute("PRAGMA busy_timeout=5000")
            cursor.close()

    return engine
