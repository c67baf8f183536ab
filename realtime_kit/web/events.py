"""`GET /events`: what happened on channels since a position, as a stream or as JSON.

    GET /events?channel=news&channel=private-orders-7&position=EPOCH:OFFSET,EPOCH:OFFSET

`position` has one item per channel, in their order, empty for "from now on"; `Last-Event-ID` goes
before it. `X-Socket-ID` lists the connections that the client has or had, whose own events are left
out. Without `Accept: application/json` the answer is an event stream:

    retry: 1000                          how soon to come back when the stream ends

    id: EPOCH:OFFSET                     where the reader is: at the beginning, and when an event
                                         that is left out has moved it
    id: EPOCH:OFFSET                     an event of a channel
    data: {"channel":…,"name":…,"data":…,"id":…,"epoch":…,"offset":…,"time":…,"mutation"?:…}

    event: realtime:gap                  events after the given position are lost
    data: {"channel":…,"position":…}

    : ping                               every 15 s, so that proxies keep it open

Where a request cannot wait (Lambda, a single-threaded worker, too many streams), the answer is what
there is, and EventSource comes back for more by itself. As JSON:

    {"position": …, "events": […], "channels": {name: {"position", "recovered", "more"}}, "retry"}

with `wait=SECONDS`, at most 25, to be answered when there is something.
Source of the format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from realtime_kit.channels import kind_of
from realtime_kit.errors import InvalidChannel, InvalidEvent
from realtime_kit.events import decode
from realtime_kit.following import Following, Waiter
from realtime_kit.history.base import Entry, Page, Position
from realtime_kit.realtime import Realtime
from realtime_kit.sources import MARK, Cursor, Rows
from realtime_kit.web.http import HttpRequest, HttpResponse

MAX_CHANNELS = 100
MAX_WAIT = 25.0  # seconds
HEARTBEAT = 15.0
LIFE = 600.0  # seconds of a stream, give or take a tenth
RETRY_MS = 1_000  # after a stream's end
POLL_MS = 3_000  # where EventSource is the poller

SSE = "text/event-stream"
JSON = "application/json"

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Refused(Exception):
    """The request is answered with a status and this body."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class Asked(NamedTuple):
    """What was asked for, and may be had: by channel the position to go on from (None: now)."""

    positions: dict[str, Position | Cursor | None]
    sockets: frozenset[str]
    wait: float


def answer(
    realtime: Realtime, request: HttpRequest, load_user: Callable[[], Any], *, debug: bool = False
) -> HttpResponse:
    """Answer one request; a response with a `stream` must have it closed."""
    try:
        asked = _asked(realtime, request, load_user, debug)
    except Refused as refused:
        return HttpResponse.json(refused.body, refused.status)
    reader = Reader(realtime, asked)
    if request.method == "HEAD":
        return HttpResponse(200, headers=_sse_headers())
    if JSON in request.headers.get("accept", ""):
        return _as_json(reader, request, asked.wait)
    return _as_stream(reader, waits=request.waits)


# --- what is asked --------------------------------------------------------------------------


def _asked(
    realtime: Realtime, request: HttpRequest, load_user: Callable[[], Any], debug: bool
) -> Asked:
    names, text, wait = _parameters(request)
    user = load_user() if any(_is_guarded(name) for name in names) else None
    denied = [name for name in names if realtime.rules.grant(user, name) is None]
    if denied:
        told = {name: {"status": 403, "error": "denied"} for name in denied}
        if debug:
            told = {
                name: {**one, "explain": realtime.explain(user, name)} for name, one in told.items()
            }
        raise Refused(403, {"error": "denied", "channels": told})
    sources = {name for name in names if realtime.sources.find(name)}
    without = [
        name for name in names if name not in sources and realtime.recorder.history(name) is None
    ]
    if without:
        body = {"error": "this channel has no history", "channels": without}
        raise Refused(409, body)
    given = text.split(",") if text else [""] * len(names)
    if len(given) != len(names):
        raise Refused(400, {"error": "position has one item per channel, in their order"})
    try:
        found = [_place(item, name in sources) for name, item in zip(names, given, strict=True)]
    except InvalidEvent as error:
        raise Refused(400, {"error": str(error)}) from None
    sockets = request.headers.get("x-socket-id", "").split(",")
    return Asked(dict(zip(names, found, strict=True)), frozenset(sockets) - {""}, wait)


def _place(text: str, of_source: bool) -> Position | Cursor | None:
    if of_source:
        return Cursor.parse(text or MARK)
    return Position.parse(text) if text else None


def _parameters(request: HttpRequest) -> tuple[list[str], str, float]:
    pairs = parse_qsl(request.query_string, keep_blank_values=True) or list(request.query.items())
    names = list(dict.fromkeys(value for name, value in pairs if name == "channel" and value))
    if not names:
        raise Refused(400, {"error": "channel is missing"})
    if len(names) > MAX_CHANNELS:
        raise Refused(400, {"error": f"at most {MAX_CHANNELS} channels at a time"})
    last = dict(pairs)
    position = request.headers.get("last-event-id") or last.get("position", "")
    return names, position, _seconds(last.get("wait", "0")) if request.waits else 0.0


def _seconds(text: str) -> float:
    if not text.isascii() or not text.isdecimal():
        raise Refused(400, {"error": "wait is a whole number of seconds"})
    return min(float(text), MAX_WAIT)


def _is_guarded(name: str) -> bool:
    try:
        return kind_of(name).requires_auth
    except InvalidChannel:
        return False  # and no rule will grant it


# --- reading --------------------------------------------------------------------------------


class Reader:
    """Where a client is on its channels, and what it has not seen yet."""

    def __init__(self, realtime: Realtime, asked: Asked) -> None:
        self.following: Following = realtime.following
        self.positions: dict[str, Position | Cursor | None] = dict(asked.positions)
        self.recovered: dict[str, bool] = dict.fromkeys(asked.positions, True)
        self.more: dict[str, bool] = dict.fromkeys(asked.positions, False)
        self._recorder = realtime.recorder
        self._sockets = asked.sockets

    @property
    def cursor(self) -> str:
        """The positions as `position` and `Last-Event-ID` take them."""
        return ",".join(map(str, self.positions.values()))

    def start(self) -> None:
        """Find out where "from now on" is."""
        for name, at in self.positions.items():
            if at is None:
                self.positions[name] = self._recorder.position(name)

    def read(self) -> Iterator[tuple[str, Page | Rows]]:
        """The next page of each channel that has one."""
        for name, at in self.positions.items():
            if at is None:
                continue
            page = self.following.read(name, at)
            self.more[name] = page.more
            if page.recovered and page.position == at:
                continue
            if not page.recovered:
                self.recovered[name] = False
            yield name, page

    def move(self, name: str, page: Page | Rows, entry: Entry) -> None:
        """The client is sent everything up to `entry` of a page."""
        if isinstance(page, Rows):
            self.positions[name] = Cursor.parse(entry.position or MARK)
        else:
            self.positions[name] = Position(page.position.epoch, entry.offset)

    def wants(self, entry: Entry) -> bool:
        """Not what its own connection has triggered `to_others`."""
        return entry.exclude is None or entry.exclude not in self._sockets


@lru_cache(maxsize=1024)
def _event(channel: str, epoch: str, entry: Entry) -> str:
    """An event as JSON, made once for all who read it."""
    event = {"channel": channel, "name": entry.name, "data": decode(entry.data), "id": entry.id}
    place = {"position": entry.position} if entry.position else {
        "epoch": epoch, "offset": entry.offset
    }  # fmt: skip
    mutation = {"mutation": entry.mutation} if entry.mutation else {}
    return _encode({**event, **place, **mutation, "time": entry.time})


def _epoch(page: Page | Rows) -> str:
    return "" if isinstance(page, Rows) else page.position.epoch


# --- as JSON --------------------------------------------------------------------------------


def _as_json(reader: Reader, request: HttpRequest, wait: float) -> HttpResponse:
    waiter = reader.following.join(reader.positions) if wait else None
    try:
        reader.start()
        events = _collect(reader)
        deadline = time.monotonic() + wait
        while waiter and not events and all(reader.recovered.values()):
            left = deadline - time.monotonic()
            if left <= 0 or waiter.failed:
                break
            waiter.wait(left)
            events = _collect(reader)
    finally:
        if waiter:
            waiter.leave()
    tag = f'"{reader.cursor}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag}
    if not events and all(reader.recovered.values()):
        known = request.headers.get("if-none-match", "")
        if tag in (one.strip().removeprefix("W/") for one in known.split(", ")):
            return HttpResponse(304, headers=headers)
    channels = {
        name: {
            "position": str(at),
            "recovered": reader.recovered[name],
            "more": reader.more[name],
        }
        for name, at in reader.positions.items()
    }
    head = _encode({"position": reader.cursor, "retry": POLL_MS, "channels": channels})
    body = f'{head[:-1]},"events":[{",".join(events)}]}}'
    return HttpResponse(200, body.encode(), {"Content-Type": JSON, **headers})


def _collect(reader: Reader) -> list[str]:
    found = []
    for name, page in reader.read():
        reader.positions[name] = page.position
        epoch = _epoch(page)
        found += [_event(name, epoch, entry) for entry in page.entries if reader.wants(entry)]
    return found


# --- as a stream ----------------------------------------------------------------------------


def _sse_headers() -> dict[str, str]:
    return {
        "Content-Type": f"{SSE}; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",  # a proxy that compresses would hold it back
        "X-Accel-Buffering": "no",
    }


def _as_stream(reader: Reader, *, waits: bool) -> HttpResponse:
    waiter = reader.following.join(reader.positions) if waits else None
    if waiter is None:
        return HttpResponse(200, _opening(reader, POLL_MS), _sse_headers())
    try:
        stream = Stream(reader, waiter, _opening(reader, RETRY_MS))
    except BaseException:
        waiter.leave()
        raise
    return HttpResponse(200, headers=_sse_headers(), stream=stream)


class Stream(Iterator[bytes]):
    """The frames of one open stream; it ends by itself after its life, or when the log fails."""

    def __init__(self, reader: Reader, waiter: Waiter, opening: bytes) -> None:
        self._waiter = waiter
        self._frames = _follow(reader, waiter, opening)

    def __next__(self) -> bytes:
        try:
            return next(self._frames)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The host calls it when the client is gone, maybe before the first frame was asked for,
        when nothing in the generator would run."""
        self._waiter.leave()


def _follow(reader: Reader, waiter: Waiter, opening: bytes) -> Iterator[bytes]:
    deadline = time.monotonic() + LIFE * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
    yield opening
    while not waiter.failed and (left := deadline - time.monotonic()) > 0:
        if not any(reader.more.values()) and not waiter.wait(min(HEARTBEAT, left)):
            yield b": ping\n\n"
        elif not waiter.failed and (frames := b"".join(_news(reader))):
            yield frames
    yield b"event: realtime:end\ndata: {}\n\n"


def _opening(reader: Reader, retry_ms: int) -> bytes:
    """How soon to come back, where the reader is, and what there is."""
    spread = int(retry_ms * random.uniform(1.0, 1.25))  # noqa: S311 - spreads load
    reader.start()
    head = f"retry: {spread}\n\nid: {reader.cursor}\n\n".encode()
    return head + b"".join(_news(reader))


def _news(reader: Reader) -> Iterator[bytes]:
    for name, page in reader.read():
        if not page.recovered:
            reader.positions[name] = page.position
            told = _encode({"channel": name, "position": str(page.position)})
            yield f"event: realtime:gap\ndata: {told}\n\n".encode()
            yield f"id: {reader.cursor}\n\n".encode()
            continue
        unseen = 0
        for entry in page.entries:
            reader.move(name, page, entry)
            if not reader.wants(entry):
                unseen += 1
                continue
            unseen = 0
            data = _event(name, _epoch(page), entry)
            yield f"id: {reader.cursor}\ndata: {data}\n\n".encode()
        if unseen:
            yield f"id: {reader.cursor}\n\n".encode()
