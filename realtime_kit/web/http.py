"""The plain request and response that the endpoints speak; Flask and Lambda convert to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

MAX_BODY = 1_048_576
"""Bytes of a request's body. An adapter need not read more than one beyond it."""


# Made once: `json.dumps` makes an encoder for each call that is not all defaults. ASCII, because a
# client's text may hold what UTF-8 cannot carry.
_encode = json.JSONEncoder(separators=(",", ":")).encode


# Made at each cold start, where a frozen class costs twice as much as one that is not.
@dataclass(slots=True, eq=False)
class HttpRequest:
    """One request. `path` is relative to the prefix (`/auth`); header names are lower-case;
    `query` holds the last value of each name; `body` is the raw bytes.

    `query_string` is the query as it was sent. `waits`: the answer may take its time, and come in
    pieces, while the host serves others.

    `origin` is the scheme and host that the client used, for the same-origin check. `prefix` is
    the path in front of `path` as the client sees it; None: the one in the settings.

    `anew()` is around what is asked of the application once the request has been answered, while
    its stream is open: as if the client had sent it again. It raises `Denied` where the application
    would not let it come to that.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    origin: str = ""
    prefix: str | None = None
    query_string: str = field(default="", repr=False)
    waits: bool = False
    anew: Callable[[], AbstractContextManager[object]] = field(default=nullcontext, repr=False)


@dataclass(slots=True)
class HttpResponse:
    """One response. `stream` is what comes instead of `body`, in pieces; it has a `close()`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None

    @classmethod
    def json(cls, data: Any, status: int = 200, **headers: str) -> HttpResponse:
        """`data` as JSON; not to be kept by caches, because answers depend on the user.

        A header's name is written with `_` for `-`: `Retry_After="3"`.
        """
        all_headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        for name, value in headers.items():
            all_headers[name.replace("_", "-")] = value
        return cls(status, _encode(data).encode(), all_headers)
