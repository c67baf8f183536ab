"""A request to the HTTP API: read, and verified in production's order with production's words.

Source: Pusher Channels, "HTTP API Reference: Authentication".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from realtime_kit.protocol import frames, signing
from realtime_kit.protocol.app import App, Apps

WINDOW = 600  # seconds by which a request's timestamp may be off


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` and `query` are raw, as they came: signatures are made over them."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `headers` are those beside Content-Type."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, answer: Mapping[str, Any]) -> Response:
        return cls(200, frames.encode(answer).encode())


class ApiError(Exception):
    """A request that is refused: an HTTP status, and what the caller is told."""

    def __init__(self, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        """Plain text with a line feed, like production."""
        body = f"{self}\n".encode(errors="replace")
        return Response(self.status, body, "text/plain; charset=utf-8", self.headers)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read. `segments` is the path below `/apps/ID/`, unescaped; `auth` are the query's
    parameters that begin with `auth_`, `params` the others; `key[]=` makes a list."""

    request: Request
    app_id: str
    segments: tuple[str, ...]
    auth: Mapping[str, str]
    params: Mapping[str, str | list[str]]

    def parameters(self) -> dict[str, Any]:
        """Those of the JSON body over those of the query, where they may stand as well."""
        if not self.request.body:
            return dict(self.params)
        try:
            given = frames.decode(self.request.body.decode())
        except ValueError as error:
            raise ApiError(400, "Invalid JSON in the body") from error
        if not isinstance(given, dict):
            raise ApiError(400, "Invalid JSON in the body: it must be an object")
        return {**self.params, **given}


def read(request: Request) -> Call:
    """Raises `ApiError` (404) unless the path is of an app."""
    root, *segments = request.path.split("/")
    if root or len(segments) < 3 or segments[0] != "apps":
        raise not_found()
    # Unescaped after the split: an escaped slash is part of a name.
    app_id, *rest = map(unquote, segments[1:])
    auth: dict[str, str] = {}
    params: dict[str, str | list[str]] = {}
    for name, value in _pairs(request.query):
        key = name.lower()
        if key.startswith("auth_"):
            auth[key] = value
        elif key.endswith("[]"):
            listed = params.get(key[:-2])
            params[key[:-2]] = [*listed, value] if isinstance(listed, list) else [value]
        else:
            params[key] = value
    return Call(request, app_id, tuple(rest), auth, params)


def _pairs(query: str) -> list[tuple[str, str]]:
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True)
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, value) for name, _, value in pairs]


def not_found() -> ApiError:
    return ApiError(404, "404 NOT FOUND")


def verify(apps: Apps, call: Call, now: float) -> App:
    """The app on whose behalf the call is. Key, version, timestamp, signature, then the body."""
    app = apps.by_id(call.app_id)
    if app is None:
        raise ApiError(404, f"Unknown app: {call.app_id}")
    if "auth_key" not in call.auth:
        raise ApiError(401, "Missing parameter: auth_key")
    secret = app.secret_of(call.auth["auth_key"])
    if secret is None:
        raise ApiError(401, "Unknown auth_key")
    if "auth_version" not in call.auth:
        raise ApiError(401, "Version required")
    if call.auth["auth_version"] != "1.0":
        raise ApiError(401, "Version not supported")
    _check_time(call.auth.get("auth_timestamp"), int(now))
    _check_signature(call, secret)
    _check_body(call.request.body, call.params.get("body_md5"))
    if not app.enabled:
        raise ApiError(403, "Application disabled")
    return app


def _check_time(given: str | None, now: int) -> None:
    if given is None:
        raise ApiError(401, "Timestamp required")
    time = int(given) if given.isascii() and given.isdigit() and len(given) < 12 else 0
    if abs(time - now) >= WINDOW:
        raise ApiError(
            401,
            f"Timestamp expired: Given timestamp ({_iso(time)}) "
            f"not within {WINDOW}s of server time ({_iso(now)})",
        )


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_signature(call: Call, secret: str) -> None:
    given = call.auth.get("auth_signature")
    method, path = call.request.method, call.request.path
    signed = {**call.params, **call.auth}
    text = signing.http_text(method, path, signed)
    for spelling in _spellings(path):
        if given is None:
            break
        if signing.verify(secret, signing.http_text(method, spelling, signed), given):
            return
    sent = "nil" if given is None else frames.encode(given)
    raise ApiError(
        401,
        f"Invalid signature: you should have sent HmacSHA256Hex({frames.encode(text)}, "
        f"your_secret_key), but you sent {sent}",
    )


def _spellings(path: str) -> dict[str, None]:
    """The path as it came, and as it may have been signed. Some SDKs sign it as they were given it,
    and their HTTP library escapes it afterwards; some gateways (API Gateway's HTTP APIs) hand on
    what was escaped unescaped, and clients escape more or less of it."""
    plain = unquote(path)
    escaped = (quote(path, safe="/!$&'()*+,;=:@~"), quote(path, safe="/"))
    return dict.fromkeys((path, plain, *escaped))


def _check_body(body: bytes, given: object) -> None:
    if given is None and not body:
        return
    if given is None:
        raise ApiError(401, "Missing parameter: body_md5")
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if given != md5:
        raise ApiError(401, "Invalid body_md5: it is not the MD5 of the body")
