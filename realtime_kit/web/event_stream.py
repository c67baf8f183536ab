"""`GET /events` as an event stream; what its frames are is told in `events`.

Source of the format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator

from realtime_kit.errors import Denied, ProviderError
from realtime_kit.following import Waiter
from realtime_kit.web.http import HttpResponse
from realtime_kit.web.reader import News, Reader, encode

HEARTBEAT = 15.0  # seconds of silence after which a stream says that it is there
CHECK = 60.0  # seconds until the application is asked again whether the user may still read
LIFE = 600.0  # seconds of a stream, give or take a tenth
RETRY_MS = 1_000  # after a stream's end
POLL_MS = 3_000  # where EventSource is the poller

SSE = "text/event-stream"
HEADERS = {
    "Content-Type": f"{SSE}; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",  # a proxy that compresses would hold it back
    "X-Accel-Buffering": "no",
}
END = b"event: realtime:end\ndata: {}\n\n"

logger = logging.getLogger("realtime_kit")

Allowed = Callable[[], bool]


def respond(reader: Reader, *, waits: bool, allowed: Allowed | None) -> HttpResponse:
    """A stream, or where nobody can wait, what there is. `allowed` is asked every `CHECK` seconds
    whether it may go on; None: it ends by then."""
    waiter = reader.join() if waits else None
    try:
        opening = _opening(reader, POLL_MS if waiter is None else RETRY_MS)
        if waiter is None:
            return HttpResponse(200, opening, HEADERS)
        return HttpResponse(200, headers=HEADERS, stream=Stream(reader, waiter, opening, allowed))
    except ProviderError as error:
        if waiter is not None:
            waiter.leave()
        # To any status but 200 an EventSource gives up for good.
        logger.error("an event stream ends at once, because the log cannot be read: %s", error)
        return HttpResponse(200, _retry(POLL_MS), HEADERS)
    except BaseException:
        if waiter is not None:
            waiter.leave()
        raise


class Stream(Iterator[bytes]):
    """The frames of one open stream; it ends by itself after its life, when the log fails, and when
    its user may not read it any more."""

    def __init__(
        self, reader: Reader, waiter: Waiter, opening: bytes, allowed: Allowed | None
    ) -> None:
        self._waiter = waiter
        self._frames = _follow(reader, waiter, opening, allowed)

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


def _follow(
    reader: Reader, waiter: Waiter, opening: bytes, allowed: Allowed | None
) -> Iterator[bytes]:
    now = time.monotonic()
    life = CHECK if allowed is None else LIFE
    end = now + life * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
    check = now + CHECK
    yield opening
    while not waiter.failed and (now := time.monotonic()) < end:
        if now >= check:
            if allowed is not None and not _is_allowed(allowed):
                break
            check = now + CHECK
        has_news = any(reader.more.values())
        if not has_news and not waiter.wait(min(HEARTBEAT, end - now, check - now)):
            yield b": ping\n\n"
        elif not waiter.failed:
            try:
                frames = _frames(reader.read())
            except ProviderError as error:
                logger.error("an event stream ends, because the log cannot be read: %s", error)
                break
            if frames:
                yield frames
    yield END


def _is_allowed(allowed: Allowed) -> bool:
    try:
        return allowed()
    except Denied:
        return False
    except Exception:  # the application's own; the client comes back and hears what it is
        logger.exception("an event stream ends, because asking for its user failed")
        return False


def _opening(reader: Reader, retry_ms: int) -> bytes:
    """How soon to come back, where the reader is, and what there is."""
    resumed = dict(reader.positions)
    news = reader.start()
    began = ",".join(
        str(at if (given := resumed[name]) is None else given)
        for name, at in reader.positions.items()
    )
    return _retry(retry_ms) + f"id: {began}\n\n".encode() + _frames(news)


def _retry(milliseconds: int) -> bytes:
    spread = int(milliseconds * random.uniform(1.0, 1.25))  # noqa: S311 - spreads load
    return f"retry: {spread}\n\n".encode()


def _frames(news: Iterable[News]) -> bytes:
    return "".join(map(_frame, news)).encode()


def _frame(news: News) -> str:
    if news.gap is not None:
        told = encode({"channel": news.channel, "position": news.gap})
        return f"event: realtime:gap\ndata: {told}\n\nid: {news.cursor}\n\n"
    if news.event is None:
        return f"id: {news.cursor}\n\n"
    return f"id: {news.cursor}\ndata: {news.event}\n\n"
