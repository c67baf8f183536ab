"""Where a client of `GET /events` is on its channels, and what it has not seen yet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from realtime_kit.following import Waiter
from realtime_kit.history.base import Entry, Page, Position
from realtime_kit.realtime import Realtime
from realtime_kit.sources import MARK, Cursor, Rows

PAGE = 500  # events of a channel at a time
ENOUGH = 1 << 20  # characters of data after which an answer, or a look of a stream, has enough

Place = Position | Cursor

encode = json.JSONEncoder(separators=(",", ":")).encode


class News(NamedTuple):
    """What is new on a channel: an event, in JSON, or that there is a gap, or neither: only that
    the reader has moved on. `cursor` is where the reader is afterwards."""

    channel: str
    cursor: str
    event: str | None = None
    gap: str | None = None


class Reader:
    """Reads several channels from their positions on. `sockets` are the client's own connections,
    whose events are left out. With a `waiter` it reads out of memory what others have read."""

    def __init__(
        self, realtime: Realtime, positions: Mapping[str, Place | None], sockets: frozenset[str]
    ) -> None:
        self.positions: dict[str, Place | None] = dict(positions)
        self.recovered = dict.fromkeys(positions, True)
        self.more = dict.fromkeys(positions, False)
        self.waiter: Waiter | None = None
        self._realtime = realtime
        self._sockets = sockets

    @property
    def cursor(self) -> str:
        """The positions as `position` and `Last-Event-ID` take them."""
        return ",".join(map(str, self.positions.values()))

    def join(self) -> Waiter | None:
        """Wait for news from now on; None if too many do."""
        self.waiter = self._realtime.following.join(self.positions)
        return self.waiter

    def start(self) -> list[News]:
        """Find out where "from now on" is; and what there is, as `read` does."""
        pages = self._pages(self.positions)
        for name, at in self.positions.items():
            if at is None:
                self.positions[name] = pages[name].position
        return list(self._news(pages))

    def read(self) -> list[News]:
        """What is new, as much as an answer holds; `more` says which channels have further ones."""
        return list(self._news(self._pages(self.positions)))

    def _pages(self, places: Mapping[str, Place | None]) -> dict[str, Page | Rows]:
        fresh = self.waiter is None  # nobody would tell it what the memory does not know yet
        return self._realtime.following.read(places, limit=PAGE, fresh=fresh)

    def _news(self, pages: Mapping[str, Page | Rows]) -> Iterator[News]:
        left = ENOUGH
        for name, page in pages.items():
            self.more[name] = page.more
            if not page.recovered:
                self.recovered[name] = False
                self.positions[name] = page.position
                yield News(name, self.cursor, gap=str(page.position))
                continue
            moved = False  # past events that are left out
            for entry in page.entries:
                if left <= 0:
                    self.more[name] = True
                    break
                left -= len(entry.data)
                self.positions[name] = _place(page, entry)
                moved = not self._wants(entry)
                if not moved:
                    yield News(name, self.cursor, event=event(name, _epoch(page), entry))
            else:
                moved = moved or page.position != self.positions[name]
                self.positions[name] = page.position
            if moved:
                yield News(name, self.cursor)

    def _wants(self, entry: Entry) -> bool:
        """Not what its own connection has triggered `to_others`."""
        return entry.exclude is None or entry.exclude not in self._sockets


def _place(page: Page | Rows, entry: Entry) -> Place:
    if isinstance(page, Rows):
        return Cursor.parse(entry.position or MARK)
    return Position(page.position.epoch, entry.offset)


def _epoch(page: Page | Rows) -> str:
    return "" if isinstance(page, Rows) else page.position.epoch


@lru_cache(maxsize=256)
def event(channel: str, epoch: str, entry: Entry) -> str:
    """An event as JSON in one line, made once for all who read it."""
    told = {"channel": channel, "name": entry.name, "id": entry.id, "time": entry.time}
    if entry.mutation:
        told["mutation"] = entry.mutation
    if entry.position:
        told["position"] = entry.position
    else:
        told |= {"epoch": epoch, "offset": entry.offset}
    return f'{encode(told)[:-1]},"data":{_value(entry.data)}}}'


def _value(text: str) -> str:
    """Data as the JSON that it is, or as a string. As it was written: to read numbers and write
    them again would change them."""
    try:
        json.loads(text, parse_int=len, parse_float=len, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return encode(text)
    return text.replace("\r", " ").replace("\n", " ")  # between tokens: inside they are escaped


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
