"""Channels whose events are rows of the application's own database, read when they are asked for.

    @realtime.source("private-notifications-{user_id:int}")
    def unread(after, limit, user_id):
        for note in notes.after(after, limit):         # in one order that never changes
            yield Row((note.created_at.isoformat(), note.id), "noted", {"text": note.text})

No provider has a part in it, and no log: `GET /events` calls the function with the cursor of the
last row that the client has seen, None at first. What orders the rows must tell them apart: of rows
with the same time those behind the end of a page would be lost, so the cursor has the id, too.
"""

from __future__ import annotations

import inspect
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from hashlib import blake2s
from itertools import islice
from typing import Any, NamedTuple, Self

from realtime_kit.channels import Converter, Pattern
from realtime_kit.errors import ConfigurationError, InvalidEvent
from realtime_kit.events import Event, Limits, check
from realtime_kit.history.base import Entry

MARK = "~"
MAX_CURSOR = 1_024  # characters
LIMITS = Limits(data=1 << 20)

Context = Callable[[], AbstractContextManager[Any]]


class Row(NamedTuple):
    """An event out of the database. `cursor` is JSON, such as `[time, id]`, by which the function
    finds the rows after this one. `id` names the event (default: made of channel and cursor)."""

    cursor: Any
    name: str
    data: Any
    id: str | None = None


class Cursor(NamedTuple):
    """How far a source was read; `value` None: not at all. Its text begins with `~`."""

    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidEvent` for what is no cursor."""
        encoded = text.removeprefix(MARK)
        try:
            if not text.startswith(MARK) or len(text) > MAX_CURSOR:
                raise ValueError
            padded = encoded + "=" * (-len(encoded) % 4)
            return cls(json.loads(urlsafe_b64decode(padded)) if encoded else None)
        except (ValueError, RecursionError):
            raise InvalidEvent("a source's position is as an earlier answer gave it") from None

    def __str__(self) -> str:
        if self.value is None:
            return MARK
        encoded = json.dumps(self.value, separators=(",", ":")).encode()
        return MARK + urlsafe_b64encode(encoded).rstrip(b"=").decode()


class Rows(NamedTuple):
    """Events after a cursor, and the cursor after them; `more`: there may be further ones."""

    position: Cursor
    entries: tuple[Entry, ...]
    more: bool
    recovered: bool = True


class Source(NamedTuple):
    """A registered function. It is asked for `page` rows at a time; every `every` seconds, once
    for all who wait, whether there are new ones."""

    pattern: Pattern
    function: Callable[..., Iterable[Row]]
    every: float
    page: int


class Sources:
    """The application's sources, as they were registered: the first match wins."""

    def __init__(self, converters: Mapping[str, Converter]) -> None:
        self._converters = converters
        self._sources: list[Source] = []

    def __bool__(self) -> bool:
        return bool(self._sources)

    def add(
        self,
        pattern: str,
        function: Callable[..., Iterable[Row]],
        *,
        every: float,
        page: int,
    ) -> None:
        """Register a function; see `Realtime.source`."""
        compiled = Pattern(pattern, self._converters)
        wanted = ("after", "limit", *compiled.variables)
        try:
            inspect.signature(function).bind(**dict.fromkeys(wanted))
        except TypeError as error:
            raise ConfigurationError(
                f"the source for {pattern!r} must take ({', '.join(wanted)}): {error}"
            ) from error
        if every <= 0 or page <= 0:
            raise ConfigurationError(f"the source for {pattern!r}: every and page are above 0")
        self._sources.append(Source(compiled, function, every, page))

    def find(self, channel: str) -> Source | None:
        """The source of a channel, if it has one."""
        return next((one for one in self._sources if one.pattern.match(channel) is not None), None)

    def read(self, channel: str, after: Cursor, context: Context) -> Rows:
        """The next rows; the function runs in a `context()`.

        Raises `LookupError` for a channel without a source, `InvalidEvent` and `PayloadTooLarge`
        for a row that is no event, and whatever the function raises.
        """
        source = self.find(channel)
        values = source.pattern.match(channel) if source else None
        if source is None or values is None:
            raise LookupError(channel)
        with context():
            rows = source.function(after=after.value, limit=source.page, **values)
            # One more than a page says whether there is another; a function may ignore the limit.
            found = list(islice(rows, source.page + 1))
        entries = tuple(self._entry(channel, row) for row in found[: source.page])
        position = Cursor(found[len(entries) - 1].cursor) if entries else after
        if str(position) == str(after) and entries:
            raise ConfigurationError(
                f"the source of {channel} answers rows up to its cursor again: rows after it are "
                "meant"
            )
        return Rows(position, entries, len(found) >= source.page)

    def _entry(self, channel: str, row: Row) -> Entry:
        cursor = str(Cursor(row.cursor))
        if len(cursor) > MAX_CURSOR or row.cursor is None:
            raise ConfigurationError(f"a cursor of {channel} is None, or too long")
        text = check(Event((channel,), row.name, row.data), LIMITS)
        id = row.id or blake2s(f"{channel} {cursor}".encode(), digest_size=12).hexdigest()
        return Entry(0, int(time.time() * 1000), id, row.name, text, position=cursor)
