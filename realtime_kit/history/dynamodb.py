"""The event log in DynamoDB, over the kit's own signed client.

    pk         sk                what it says
    L#channel  #                 the head: `epoch`, `latest` offset, its `moment`
               E#epoch#offset    an event
               I#epoch#digest    `place`: where the event with this id is

An append is one transaction: the head moves if it is where this process last saw it, and the events
and their ids come with it. So it is one request, and two where another writer was faster: what the
head is then, the failure itself tells. A transaction has room for 49 events; more are appended in
parts, in order. In an epoch times never decrease.

All items carry `expires`, the table's TTL attribute. DynamoDB deletes within days what is over;
readers do not wait for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from realtime_kit.errors import ConfigurationError, ProviderError, ProviderUnavailable
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
from realtime_kit.hosting.apigateway.dynamodb import Key, Row, Value
from realtime_kit.hosting.apigateway.table import MAX_TRANSACTION, Change, ConditionFailed, Table

if TYPE_CHECKING:
    from realtime_kit.settings import RealtimeSettings

T = TypeVar("T")

SCHEME = "dynamodb:"

_MEMORY_MS = MEMORY // timedelta(milliseconds=1)
_GRACE = 3600  # seconds that an item stays when it is over: clocks differ
_EVENTS = (MAX_TRANSACTION - 1) // 2  # in one transaction
_BYTES = 3_000_000  # of the 4 MB of one transaction
_TURNS = 12  # with their pauses about four seconds
_CHANNELS = 10_000  # whose heads are remembered
# Before an event is read again that the head tells of: a query may run while a transaction's items
# appear one after the other (DynamoDB Developer Guide, "Isolation levels": read-committed).
_AGAIN = 0.01, 0.04, 0.16


class _State(NamedTuple):
    """A head as it was seen."""

    epoch: str
    latest: int
    moment: int  # of the latest event, in milliseconds

    @classmethod
    def of(cls, row: Row | None) -> _State | None:
        if row is None:
            return None
        return cls(str(row["epoch"]), int(row["latest"]), int(row["moment"]))


@dataclass(slots=True)
class _Channel:
    """What this process knows of a channel; nothing of it has to be so any more."""

    lock: Lock = field(default_factory=Lock)  # threads of one process need not conflict
    state: _State | None = None


class DynamoLog(EventLog):
    """`table` has the keys `pk` and `sk`, and `expires` for TTL; it may be the deployment's."""

    def __init__(
        self,
        table: Table,
        *,
        name: str = "history",
        sleep: Callable[[float], None] = time.sleep,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._table = table
        self._name = name
        self._sleep = sleep
        self._on_close = on_close
        self._channels: dict[str, _Channel] = {}
        self._lock = Lock()

    @classmethod
    def from_settings(cls, settings: RealtimeSettings, url: str) -> DynamoLog:
        """`dynamodb://TABLE`, or `dynamodb:` for the table of the deployment. Raises
        `ConfigurationError`."""
        from realtime_kit.providers._aws_services import open_service, open_table

        name = urlsplit(url).netloc
        if not name:
            if url.removeprefix(SCHEME).strip("/"):
                raise ConfigurationError(
                    "history.url (REALTIME_HISTORY__URL) is not like dynamodb://TABLE"
                )
            name = settings.aws.require("table").table
        service = open_service("dynamodb", settings.aws)
        return cls(open_table(settings.aws, service, name), on_close=service.http.close)

    # --- appending --------------------------------------------------------------------------

    def append(
        self, channel: str, drafts: Sequence[Draft], history: History, now_ms: int
    ) -> list[Position]:
        known = self._channel(channel)
        found: dict[str, Position] = {}
        with known.lock:
            for part in _parts(unique(drafts).values()):
                writer = _Writer(self._table, channel, known, part, history, now_ms)
                found |= self._guarded(lambda: self._table.settle(writer.attempt, turns=_TURNS))  # noqa: B023
        return [found[draft.id] for draft in drafts]

    # --- reading ----------------------------------------------------------------------------

    def heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        return self._guarded(lambda: self._heads(wanted, now_ms))

    def _heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        rows = self._table.get_many(_head_key(name) for name in wanted)
        found: dict[str, Head] = {}
        for name, history in wanted.items():
            state = _State.of(rows.get(_head_key(name)))
            if state is None:
                continue
            oldest = max(1, state.latest - history.last + 1)
            if state.moment <= history.cutoff(now_ms):
                oldest = state.latest + 1
            found[name] = Head(state.epoch, state.latest, oldest)
        return found

    def entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        return self._guarded(lambda: self._entries(channel, epoch, after, until))

    def _entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        start, stop = (_entry_key(channel, epoch, offset) for offset in (after + 1, until))
        for pause in (*_AGAIN, None):
            found = [
                _entry(row) for row in self._table.query(start.pk, start=start.sk, stop=stop.sk)
            ]
            if pause is None or _is_whole(found, until):
                break
            self._sleep(pause)
        return found

    # --- what is known ----------------------------------------------------------------------

    def _channel(self, name: str) -> _Channel:
        with self._lock:
            found = self._channels.pop(name, None) or _Channel()
            self._channels[name] = found
            if len(self._channels) > _CHANNELS:
                del self._channels[next(iter(self._channels))]
            return found

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except ProviderError as error:
            raise ProviderUnavailable(
                f"the event log's table failed: {error}",
                provider=self._name,
                code=error.code,
                retryable=error.retryable,
            ) from error

    def close(self) -> None:
        self._on_close()


class _Writer:
    """One transaction's events, until they are there."""

    def __init__(
        self,
        table: Table,
        channel: str,
        known: _Channel,
        drafts: Sequence[Draft],
        history: History,
        now_ms: int,
    ) -> None:
        self._table = table
        self._channel = channel
        self._known = known
        self._drafts = drafts
        self._history = history
        self._now_ms = now_ms
        self._found: dict[str, Position] = {}

    def attempt(self) -> dict[str, Position]:
        """Where the events are, which are appended if they were not there. Raises
        `ConditionFailed` for what it has learnt from."""
        state = self._known.state
        if state is None:
            state = self._known.state = _State.of(self._table.get(_head_key(self._channel)))
        fresh = [draft for draft in self._drafts if draft.id not in self._found]
        after = _State(
            state.epoch if state else os.urandom(9).hex(),
            (state.latest if state else 0) + len(fresh),
            max(self._now_ms, state.moment if state else 0),
        )
        try:
            self._table.transact([self._head(state, after), *self._events(state, after, fresh)])
        except ConditionFailed as error:
            self._learn(error, after.epoch, fresh)
            if len(self._found) == len(self._drafts):
                return self._found
            raise
        self._known.state = after
        first = after.latest - len(fresh) + 1
        for offset, draft in enumerate(fresh, first):
            self._found[draft.id] = Position(after.epoch, offset)
        return self._found

    def _learn(self, error: ConditionFailed, epoch: str, fresh: Sequence[Draft]) -> None:
        for number, draft in enumerate(fresh):
            row = error.rows.get(2 + 2 * number)
            if row is not None:
                self._found[draft.id] = Position(epoch, int(row["place"]))
        if 0 in error.rows:
            self._known.state = _State.of(error.rows[0])
            if self._known.state is None or self._known.state.epoch != epoch:
                self._found.clear()

    def _head(self, state: _State | None, after: _State) -> Change:
        key = _head_key(self._channel)
        keep_ms = max(_MEMORY_MS, self._history.keep // timedelta(milliseconds=1))
        moved: dict[str, Value] = {
            "latest": after.latest,
            "moment": after.moment,
            "expires": _expiry(self._now_ms + keep_ms),
        }
        if state is None:
            values = {"epoch": after.epoch, **moved}
            return Change("Put", key, "attribute_not_exists(pk)", values=values)
        return Change(
            "Update",
            key,
            "epoch = :epoch AND latest = :seen",
            "SET latest = :latest, moment = :moment, expires = :expires",
            given={"epoch": state.epoch, "seen": state.latest, **moved},
        )

    def _events(
        self, state: _State | None, after: _State, fresh: Sequence[Draft]
    ) -> Iterator[Change]:
        """An event and its id, each; not one whose id is retained."""
        last = state.latest if state else 0
        expires = _expiry(after.moment + self._history.keep // timedelta(milliseconds=1))
        retained = {
            "oldest": last - self._history.last + 1,
            "cutoff": self._history.cutoff(self._now_ms),
        }
        for offset, draft in enumerate(fresh, last + 1):
            yield Change(
                "Put",
                _entry_key(self._channel, after.epoch, offset),
                values={"time": after.moment, "expires": expires, **_fields(draft)},
            )
            yield Change(
                "Put",
                _id_key(self._channel, after.epoch, draft.id),
                "attribute_not_exists(pk) OR place < :oldest OR moment <= :cutoff",
                values={"place": offset, "moment": after.moment, "expires": expires},
                given=retained,
            )


def _parts(drafts: Iterable[Draft]) -> Iterator[list[Draft]]:
    """As many at a time as a transaction takes."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        # An estimate from above: a character of UTF-8 has three bytes, or two have four.
        more = 3 * len(draft.data) + 1_000
        if part and (len(part) == _EVENTS or size + more > _BYTES):
            yield part
            part, size = [], 0
        part.append(draft)
        size += more
    if part:
        yield part


def _head_key(channel: str) -> Key:
    return Key(f"L#{channel}", "#")


def _entry_key(channel: str, epoch: str, offset: int) -> Key:
    return Key(f"L#{channel}", f"E#{epoch}#{offset:018d}")


def _id_key(channel: str, epoch: str, id: str) -> Key:
    digest = blake2b(id.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return Key(f"L#{channel}", f"I#{epoch}#{digest}")


def _expiry(over_ms: int) -> int:
    return over_ms // 1000 + _GRACE


def _fields(draft: Draft) -> dict[str, Value]:
    return {name: value for name, value in draft._asdict().items() if value is not None}


def _entry(row: Row) -> Entry:
    mutation, exclude = row.get("mutation"), row.get("exclude")
    return Entry(
        int(str(row["sk"]).rpartition("#")[2]),
        int(row["time"]),
        str(row["id"]),
        str(row["name"]),
        str(row["data"]),
        None if mutation is None else str(mutation),
        None if exclude is None else str(exclude),
    )


def _is_whole(found: Sequence[Entry], until: int) -> bool:
    """Whether there is no hole but before the first."""
    return bool(found) and found[-1].offset == until and until - found[0].offset < len(found)
