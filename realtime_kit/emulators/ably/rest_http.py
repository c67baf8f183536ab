"""Requests and answers of the REST API: formats, errors, pages.

Source: Ably, "REST API": common API behaviour, pagination, envelopes, versioning; features spec
RSC7, RSC8 (formats), TG (pages), HP (headers of errors).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.auth import authenticate_rest
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.wire import from_json, pack, to_json, unpack

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App
    from realtime_kit.emulators.ably.world import World

JSON = "application/json"
MSGPACK = "application/x-msgpack"
FORM = "application/x-www-form-urlencoded"
_LATEST = 6.0
_MAX_LIMIT = 1000
_UNLINKED = frozenset({"cursor", "key", "access_token", "accessToken"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """`path` and `query` as they came, percent-encoded; names of `headers` in lower case. `secure`:
    did it come over TLS."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` may have a name more than once (`Link`)."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers, before it is encoded. `links`: URLs by rel, of a page."""

    body: object
    status: int = 200
    links: Mapping[str, str] = field(default_factory=dict)


class Call:
    """A request, read as far as it is asked for."""

    def __init__(self, world: World, request: Request) -> None:
        self.world = world
        self.request = request
        self.params = dict(parse_qsl(request.query, keep_blank_values=True))
        self.segments = [unquote(part) for part in request.path.strip("/").split("/")]
        self.now_ms = world.now()

    @cached_property
    def access(self) -> Access:
        """Raises `AblyError`."""
        return authenticate_rest(self.world, self.request.headers, self.params, self.now_ms)

    @property
    def app(self) -> App:
        return self.world.apps[self.access.app_id]

    @property
    def version(self) -> float:
        """Of the API that the client speaks: a header, or the parameter `v`; else the latest."""
        given = self.request.headers.get("x-ably-version", self.params.get("v", ""))
        try:
            return float(given) if given else _LATEST
        except ValueError as error:
            raise AblyError(40004, 400, "Invalid X-Ably-Version") from error

    @property
    def binary(self) -> bool:
        """Is the answer to be msgpack? `Accept` is asked first, then the parameter `format`."""
        for kind in self.request.headers.get("accept", "").split(","):
            media = kind.partition(";")[0].strip().lower()
            if media in (JSON, MSGPACK):
                return media == MSGPACK
        return self.params.get("format") == "msgpack"

    @property
    def content_type(self) -> str:
        return self.request.headers.get("content-type", JSON).partition(";")[0].strip().lower()

    def body(self) -> object:
        """Decoded. Raises `AblyError` 40001."""
        try:
            if self.content_type == MSGPACK:
                return unpack(self.request.body)
            if self.content_type == FORM:
                return dict(parse_qsl(self.request.body.decode(), keep_blank_values=True))
            return from_json(self.request.body)
        except (ValueError, RecursionError) as error:
            raise AblyError(40001, 400, "Invalid request body: it cannot be decoded") from error

    def fields(self) -> Mapping[str, object]:
        """The body, which must be an object. Raises `AblyError` 40001."""
        body = self.body()
        if not isinstance(body, dict):
            raise AblyError(40001, 400, "Invalid request body: it must be an object")
        return body

    def flag(self, name: str) -> bool:
        return self.params.get(name) == "true"

    def integer(self, name: str) -> int | None:
        """A parameter. Raises `AblyError` 40003."""
        given = self.params.get(name)
        if given is None:
            return None
        try:
            return int(given)
        except ValueError as error:
            raise AblyError(40003, 400, f"Invalid {name} param: it must be an integer") from error

    def limit(self) -> int:
        limit = self.integer("limit")
        if limit is None:
            return 100
        if not 0 <= limit <= _MAX_LIMIT:
            raise AblyError(40003, 400, f"Invalid limit param: it must be from 0 to {_MAX_LIMIT}")
        return limit

    def forwards(self) -> bool:
        direction = self.params.get("direction", "backwards")
        if direction not in ("forwards", "backwards"):
            raise AblyError(40003, 400, "Invalid direction param: forwards or backwards")
        return direction == "forwards"

    def page(
        self, items: Sequence[T], key: Callable[[T], str], *, in_order: bool = False, **kept: object
    ) -> tuple[Sequence[T], Mapping[str, str]]:
        """One page of items, and its links (TG). A page begins behind the item that its `cursor` is
        the key of. in_order: keys ascend, so that this item may be gone. kept: parameters that the
        links spell out. Raises `AblyError` 40003, 40011 for a page that is no more."""
        limit, cursor = self.limit(), self.params.get("cursor")
        start = 0 if cursor is None else _behind(items, key, cursor, in_order)
        found = items[start : start + limit]
        more = bool(found) and start + limit < len(items)
        query = {name: value for name, value in self.params.items() if name not in _UNLINKED}
        query.update((name, str(value)) for name, value in kept.items() if value is not None)
        query["limit"] = str(limit)
        links = {"first": self._link(query), "current": self._link(query, cursor)}
        if more:
            links["next"] = self._link(query, key(found[-1]))
        return found, links

    def _link(self, query: Mapping[str, str], cursor: str | None = None) -> str:
        # ably-js knows links of this form only.
        last = self.request.path.rstrip("/").rpartition("/")[2]
        given = query if cursor is None else {**query, "cursor": cursor}
        return f"./{last}?{urlencode(given)}"

    # --- answers ----------------------------------------------------------------------------

    def respond(self, answer: Answer) -> Response:
        links = tuple(("Link", f'<{url}>; rel="{rel}"') for rel, url in answer.links.items())
        if self.params.get("envelope") == "json":
            body = {"statusCode": answer.status, "response": answer.body}
            if answer.links:
                body["rel"] = dict(answer.links)
            return Response(200, (("Content-Type", JSON), *links), to_json(body).encode())
        if answer.body is None:
            return Response(answer.status, links)
        if self.binary:
            return Response(answer.status, (("Content-Type", MSGPACK), *links), pack(answer.body))
        return Response(
            answer.status, (("Content-Type", JSON), *links), to_json(answer.body).encode()
        )

    def refuse(self, error: AblyError, **more: object) -> Response:
        """more: what stands beside the error."""
        response = self.respond(Answer({"error": error.info(), **more}, error.status))
        message = error.message.encode("ascii", "replace").decode()
        printable = "".join(letter if letter.isprintable() else "?" for letter in message)
        headers = (
            ("X-Ably-Errorcode", str(error.code)),
            ("X-Ably-Errormessage", printable),
        )
        return Response(response.status, (*response.headers, *headers), response.body)


def _behind(items: Sequence[T], key: Callable[[T], str], cursor: str, in_order: bool) -> int:
    if in_order:
        return bisect_right(items, cursor, key=key)
    for index, item in enumerate(items):
        if key(item) == cursor:
            return index + 1
    raise AblyError(
        40011,
        400,
        "Unable to continue enumeration query; pagination sequence is no longer valid. "
        "Please restart your query.",
    )
