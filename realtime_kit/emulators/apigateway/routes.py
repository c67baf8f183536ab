"""Which route a message or a request takes. Pure.

Sources: "Working with routes for WebSocket APIs", "WebSocket selection expressions"; "Create routes
for HTTP APIs" ("Routing API requests": a full match, then a greedy one, then `$default`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from realtime_kit.errors import ConfigurationError

CONNECT = "$connect"
DISCONNECT = "$disconnect"
DEFAULT = "$default"

_EXPRESSION = re.compile(r"\$request\.body((?:\.[A-Za-z_][A-Za-z0-9_-]*)+)")
_HTTP_ROUTE = re.compile(r"([A-Z]+) (/.*)")
_VARIABLE = re.compile(r"\{([A-Za-z0-9_.-]+)(\+?)\}")


class Selection:
    """A route selection expression, as `$request.body.event`."""

    def __init__(self, expression: str) -> None:
        found = _EXPRESSION.fullmatch(expression)
        if not found:
            raise ConfigurationError(
                f"not a route selection expression: {expression!r}. It looks like "
                "$request.body.event"
            )
        self._path = found[1][1:].split(".")

    def route(self, body: str, routes: Iterable[str]) -> str | None:
        """The key among `routes` for a message; None where not even `$default` is there."""
        keys = set(routes)
        key = self._key(body)
        if key in keys - {CONNECT, DISCONNECT}:
            return key
        return DEFAULT if DEFAULT in keys else None

    def _key(self, body: str) -> str | None:
        try:
            value = json.loads(body)
            for name in self._path:
                value = value[name]
        except (ValueError, RecursionError, KeyError, TypeError, IndexError):
            return None
        if isinstance(value, str):
            return value
        return json.dumps(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class HttpMatch:
    """`key` is the route's; `parameters` are its path variables, decoded."""

    key: str
    parameters: Mapping[str, str]


class HttpRoutes:
    """Keys of an HTTP API: `POST /realtime/auth`, `ANY /apps/{path+}`, `$default`."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._routes = sorted((_HttpRoute(key) for key in keys), key=lambda route: route.rank)

    def match(self, method: str, path: str) -> HttpMatch | None:
        """The route of a request. `path` is as it was sent."""
        for route in self._routes:
            parameters = route.match(method, path)
            if parameters is not None:
                return HttpMatch(route.key, parameters)
        return None


class _HttpRoute:
    def __init__(self, key: str) -> None:
        self.key = key
        # The most specific is tried first: plain segments before variables before greedy ones.
        self.rank: tuple[Any, ...] = ([3], False)
        self._pattern: re.Pattern[str] | None = None
        if key == DEFAULT:
            return
        found = _HTTP_ROUTE.fullmatch(key)
        if not found:
            raise ConfigurationError(
                f"not the key of a route: {key!r}. It looks like 'POST /realtime/auth', "
                "'ANY /apps/{path+}' or '$default'"
            )
        self._method, path = found[1], found[2]
        segments = path.split("/")[1:]
        kinds = [_VARIABLE.fullmatch(segment) for segment in segments]
        self.rank = (
            [0 if kind is None else 2 if kind[2] else 1 for kind in kinds],
            self._method == "ANY",
        )
        parts = [
            re.escape(segment) if kind is None else f"(.{kind[2]})" if kind[2] else "([^/]+)"
            for segment, kind in zip(segments, kinds, strict=True)
        ]
        self._pattern = re.compile("/" + "/".join(parts), re.DOTALL)
        self._names = [kind[1] for kind in kinds if kind]

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if self._pattern is None:
            return {}
        if self._method not in ("ANY", method):
            return None
        found = self._pattern.fullmatch(path)
        if not found:
            return None
        return dict(zip(self._names, map(unquote, found.groups()), strict=True))
