"""`GET /events`: what happened on channels since a position, as a stream or as JSON.

    GET /events?channel=news&channel=private-orders-7&position=EPOCH:OFFSET,EPOCH:OFFSET

`position` has one item per channel, in their order, empty for "from now on"; `Last-Event-ID` goes
before it. `X-Socket-ID`, or `socket_id`, lists the connections that the client has or had, whose
own events are left out. Without `Accept: application/json` the answer is an event stream:

    retry: 1000                          how soon to come back when the stream ends

    id: EPOCH:OFFSET                     where the reader is: at the beginning, and when an event
                                         that is left out has moved it
    id: EPOCH:OFFSET                     an event of a channel
    data: {"channel":…,"name":…,"data":…,"id":…,"epoch":…,"offset":…,"time":…,"mutation"?:…}

    event: realtime:gap                  events after the given position are lost; where the reader
    data: {"channel":…,"position":…}     is then follows, as `id:`

    event: realtime:end                  the last frame of a stream: come back
    data: {}

    : ping                               after 15 s of silence, so that proxies keep it open

An event of a source has `position` in the place of `epoch` and `offset`. Where a request cannot
wait (Lambda, a single-threaded worker, too many streams), the answer is what there is, and
EventSource comes back for more by itself. As JSON:

    {"position": …, "events": […], "channels": {name: {"position", "recovered", "more"}}, "retry"}

with `wait=SECONDS`, at most 25, to be answered when there is something. A poll that repeats the
last `ETag` as `If-None-Match` is answered 304 if there is nothing. `retry` is milliseconds. With
`unkept=tell` a channel without history is no reason to refuse the others: it is among `channels`,
as `{"status": 409, "error": …}`, and a browser's console, which shows every 4xx, has nothing to say
of a page that only asked.

    POST /events    {"channels": ["news", "private-orders-7"]}
    -> 200          {"ticket": …, "expires_in": 60}
    GET /events?channel=news&channel=private-orders-7&ticket=…

A ticket is for exactly these channels, for whoever shows it within 60 s: for an EventSource that
can send neither cookies nor headers. Nobody can be asked again about its reader, so that its stream
ends within a minute; then the client fetches another and goes on from its position. 401: it is
over, or for something else.

403 and 409 name, in `channels`, those that are denied, or keep no history. 503: the log cannot be
read, or is none that this host's workers share, as the application's log says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from realtime_kit.channels import kind_of
from realtime_kit.errors import ConfigurationError, InvalidChannel, InvalidEvent
from realtime_kit.history.base import Position
from realtime_kit.realtime import Realtime
from realtime_kit.sources import MARK, Cursor
from realtime_kit.web import event_stream, tickets
from realtime_kit.web.endpoints import JSON, MAX_CHANNELS, Call, Refusal, fields_of, names_of
from realtime_kit.web.event_stream import POLL_MS, SSE
from realtime_kit.web.http import HttpRequest, HttpResponse
from realtime_kit.web.reader import News, Place, Reader, encode

MAX_WAIT = 25.0  # seconds
NO_HISTORY = "this channel has no history"

logger = logging.getLogger("realtime_kit")


def answer(call: Call) -> HttpResponse:
    """Answer one GET; a response with a `stream` must have it closed."""
    request = call.request
    pairs = parse_qsl(request.query_string, keep_blank_values=True) or list(request.query.items())
    names = list(dict.fromkeys(value for name, value in pairs if name == "channel" and value))
    last = dict(pairs)
    if "ticket" in last:
        tickets.verify(_secrets(call.realtime), last["ticket"], names, time.time())
    else:
        _check(call, names)
    accepted = request.headers.get("accept", "")
    as_json = JSON in accepted and SSE not in accepted
    without = _without(call.realtime, names)
    if without and not (as_json and last.get("unkept") == "tell"):
        raise Refusal(409, NO_HISTORY, channels=without)
    text = request.headers.get("last-event-id") or last.get("position", "")
    sockets = request.headers.get("x-socket-id") or last.get("socket_id", "")
    positions = _positions(call.realtime, names, text)
    for name in without:
        del positions[name]
    reader = Reader(call.realtime, positions, frozenset(sockets.split(",")) - {""})
    wait = _seconds(last.get("wait", "0"))
    if as_json:
        waits = request.waits and request.method != "HEAD" and not without
        return _as_json(reader, request, wait if waits else 0.0, without)
    if request.method == "HEAD":
        return HttpResponse(200, headers=event_stream.HEADERS, stream=(part for part in (b"",)))
    allowed = None if "ticket" in last else lambda: _may_still(call, names)
    return event_stream.respond(reader, waits=request.waits, allowed=allowed)


def ticket(call: Call) -> HttpResponse:
    """Answer a POST: a ticket for these channels."""
    names = list(dict.fromkeys(names_of(fields_of(call.request), "channels") or ()))
    _check(call, names)
    if without := _without(call.realtime, names):
        raise Refusal(409, NO_HISTORY, channels=without)
    text = tickets.issue(_secrets(call.realtime), names, time.time())
    return HttpResponse.json({"ticket": text, "expires_in": tickets.LIFE})


def _secrets(realtime: Realtime) -> list[str]:
    own = realtime.settings.web.secret
    found = [own.get_secret_value()] if own else []
    found += [key.secret for key in realtime.provider.keys]
    if not found:
        raise ConfigurationError(
            f"provider {realtime.provider.name!r} has no secret that could seal tickets: set "
            "REALTIME_WEB__SECRET"
        )
    return found


# --- who may read what ----------------------------------------------------------------------


def _check(call: Call, names: list[str]) -> None:
    """Raise `Refusal` for channels that the user may not read."""
    if not names:
        raise Refusal(400, "channel is missing")
    if len(names) > MAX_CHANNELS:
        raise Refusal(400, f"at most {MAX_CHANNELS} channels at a time")
    user = _user(call, names)
    grant, explain = call.realtime.rules.grant, call.realtime.explain
    told = {
        name: {
            "status": 403,
            "error": "denied",
            **({"explain": explain(user, name)} if call.debug else {}),
        }
        for name in names
        if grant(user, name) is None
    }
    if told:
        raise Refusal(403, "denied", channels=told)


def _may_still(call: Call, names: Iterable[str]) -> bool:
    """Whether a new request by the same client would be granted these channels."""
    with call.request.anew():
        user = _user(call, names)
        return all(call.realtime.rules.grant(user, name) is not None for name in names)


def _user(call: Call, names: Iterable[str]) -> Any:
    return call.load_user() if any(map(_is_guarded, names)) else None


def _is_guarded(name: str) -> bool:
    try:
        return kind_of(name).requires_auth
    except InvalidChannel:
        return False  # and no rule will grant it


def _without(realtime: Realtime, names: Iterable[str]) -> list[str]:
    """Those that have neither a log nor a source."""
    logged = [name for name in names if not realtime.sources.find(name)]
    try:
        return [name for name in logged if not realtime.recorder.history(name)]
    except ConfigurationError as error:  # each client asks again and again: one line is enough
        logger.error("GET /events is refused: %s", error)
        raise Refusal(503, "the event log is not set up") from None


# --- what is asked --------------------------------------------------------------------------


def _positions(realtime: Realtime, names: list[str], text: str) -> dict[str, Place | None]:
    given = text.split(",") if text else [""] * len(names)
    if len(given) != len(names):
        raise Refusal(400, "position has one item per channel, in their order")
    try:
        return {
            name: _place(item, of_source=realtime.sources.find(name) is not None)
            for name, item in zip(names, given, strict=True)
        }
    except InvalidEvent as error:
        raise Refusal(400, str(error)) from None


def _place(text: str, *, of_source: bool) -> Place | None:
    if of_source:
        return Cursor.parse(text or MARK)
    return Position.parse(text) if text else None


def _seconds(text: str) -> float:
    if not text.isascii() or not text.isdecimal():
        raise Refusal(400, "wait is a whole number of seconds")
    return min(float(text), MAX_WAIT)


# --- as JSON --------------------------------------------------------------------------------


def _as_json(
    reader: Reader, request: HttpRequest, wait: float, without: Iterable[str]
) -> HttpResponse:
    events = _collect(reader, wait)
    tag = f'"{reader.cursor}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag, "Vary": "Accept"}
    if not events and not without and all(reader.recovered.values()):
        known = request.headers.get("if-none-match", "")
        if tag in (one.strip().removeprefix("W/") for one in known.split(", ")):
            return HttpResponse(304, headers=headers)
    channels: dict[str, dict[str, Any]] = {
        name: {
            "position": str(at),
            "recovered": reader.recovered[name],
            "more": reader.more[name],
        }
        for name, at in reader.positions.items()
    }
    channels |= {name: {"status": 409, "error": NO_HISTORY} for name in without}
    head = encode({"position": reader.cursor, "retry": POLL_MS, "channels": channels})
    body = f'{head[:-1]},"events":[{",".join(events)}]}}'
    return HttpResponse(200, body.encode(), {"Content-Type": JSON, **headers})


def _collect(reader: Reader, wait: float) -> list[str]:
    """The events that there are, or come within `wait` seconds."""
    waiter = reader.join() if wait else None
    try:
        events = _events(reader.start())
        end = time.monotonic() + wait
        while waiter and not events and all(reader.recovered.values()):
            left = end - time.monotonic()
            if left <= 0 or waiter.failed:
                break
            waiter.wait(left)
            events = _events(reader.read())
        return events
    finally:
        if waiter:
            waiter.leave()


def _events(news: Iterable[News]) -> list[str]:
    return [one.event for one in news if one.event is not None]
