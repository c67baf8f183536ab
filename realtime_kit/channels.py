"""Channel names, their kinds, and the pattern language of channel rules. Pure.

Source of the naming rules: Pusher Channels, "Channel naming conventions" and "Channel types".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from realtime_kit.errors import InvalidChannel

MAX_NAME = 164
SERVER_TO_USER = "#server-to-user-"

_NAME = re.compile(r"[-a-zA-Z0-9_=@,.;]+")


class Kind(Enum):
    """What a channel's prefix makes of it. The value is the prefix."""

    PRIVATE_ENCRYPTED_CACHE = "private-encrypted-cache-"
    PRIVATE_ENCRYPTED = "private-encrypted-"
    PRIVATE_CACHE = "private-cache-"
    PRIVATE = "private-"
    PRESENCE_CACHE = "presence-cache-"
    PRESENCE = "presence-"
    CACHE = "cache-"
    SERVER_TO_USER = SERVER_TO_USER
    PUBLIC = ""

    requires_auth: bool
    is_presence: bool
    is_encrypted: bool
    is_cache: bool

    def __init__(self, prefix: str) -> None:
        self.requires_auth = prefix.startswith(("private-", "presence-"))
        self.is_presence = prefix.startswith("presence-")
        self.is_encrypted = prefix.startswith("private-encrypted-")
        self.is_cache = prefix.endswith("cache-")


# Longest first, so that `private-encrypted-` is never taken for `private-`.
_BY_LENGTH = sorted(Kind, key=lambda kind: -len(kind.value))


@lru_cache(maxsize=4096)
def kind_of(name: str) -> Kind:
    """The kind of channel that `name` denotes."""
    return next(kind for kind in _BY_LENGTH if name.startswith(kind.value))


def validate(name: str, *, limit: int = MAX_NAME) -> str:
    """Return `name`, or raise `InvalidChannel` with the reason.

    `#` is reserved: only `#server-to-user-<id>` passes.
    """
    if not isinstance(name, str):
        raise InvalidChannel(f"a channel name is a string, not {type(name).__name__}")
    if not name:
        raise InvalidChannel("a channel name cannot be empty")
    if len(name) > limit:
        raise InvalidChannel(f"channel name of {len(name)} characters; the limit is {limit}")
    if name.startswith(SERVER_TO_USER) and len(name) > len(SERVER_TO_USER):
        return name
    if not _NAME.fullmatch(name):
        raise InvalidChannel(
            f"channel name {name!r} may hold only letters, digits and - _ = @ , . ;"
        )
    return name


def user_channel(user_id: str) -> str:
    """The channel of events sent to one signed-in user (Pusher: "Sending events to users")."""
    return SERVER_TO_USER + user_id


class Converter(NamedTuple):
    """How one pattern variable matches text and what the rule receives for it.

    `parse` may raise `ValueError` or `LookupError`, or return None: the pattern does not match.
    """

    regex: str
    parse: Callable[[str], Any] = str

    @classmethod
    def of(cls, given: Converter | Callable[[str], Any]) -> Converter:
        """A bare function parses what a variable without a converter matches."""
        return given if isinstance(given, Converter) else cls(CONVERTERS[""].regex, given)


CONVERTERS: Mapping[str, Converter] = {
    "": Converter(r"[a-zA-Z0-9_=@,;]+"),
    "slug": Converter(r"[a-zA-Z0-9_]+(?:-[a-zA-Z0-9_]+)*"),
    "int": Converter(r"0|[1-9][0-9]{0,18}", int),
    "uuid": Converter(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", UUID),
    "any": Converter(r"[-a-zA-Z0-9_=@,.;]+"),
}

_VARIABLE = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")


class Pattern:
    """A channel pattern such as `private-orders-{order_id:int}`.

    It matches only names of its own exact kind: `private-{room}` never matches
    `private-encrypted-…` or `private-cache-…`. A bare `{x}` stops at `-` and `.`;
    `{x:int}`, `{x:uuid}`, `{x:slug}` (allows inner `-`) and `{x:any}` match what they say.
    `converters` adds names to these, or replaces them.
    """

    __slots__ = ("_converters", "_regex", "kind", "text")

    def __init__(self, text: str, converters: Mapping[str, Converter] = CONVERTERS) -> None:
        self.text = text
        self.kind = kind_of(text)
        self._converters: dict[str, Converter] = {}
        try:
            self._regex = re.compile(self._translate(text, converters))
        except re.error as error:
            raise InvalidChannel(f"pattern {text!r}: a converter's regex: {error}") from error

    def _translate(self, text: str, converters: Mapping[str, Converter]) -> str:
        parts: list[str] = []
        position = 0
        for variable in _VARIABLE.finditer(text):
            parts.append(self._literal(text[position : variable.start()]))
            name, converter = variable[1], variable[2] or ""
            if converter not in converters:
                known = ", ".join(sorted(filter(None, converters)))
                raise InvalidChannel(
                    f"pattern {text!r}: unknown converter {converter!r} (known: {known})"
                )
            if name in self._converters:
                raise InvalidChannel(f"pattern {text!r} names {{{name}}} twice")
            self._converters[name] = converters[converter]
            parts.append(f"(?P<{name}>{converters[converter].regex})")
            position = variable.end()
        parts.append(self._literal(text[position:]))
        if not text:
            raise InvalidChannel("a channel pattern cannot be empty")
        return "".join(parts)

    def _literal(self, part: str) -> str:
        if part and not _NAME.fullmatch(part):
            raise InvalidChannel(
                f"pattern {self.text!r}: {part!r} is neither a {{variable}} nor made of "
                "letters, digits and - _ = @ , . ;"
            )
        return re.escape(part)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, in the order in which they stand."""
        return tuple(self._converters)

    def match(self, name: str) -> dict[str, Any] | None:
        """The variables' values if `name` matches, else None."""
        if kind_of(name) is not self.kind:
            return None
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        values: dict[str, Any] = {}
        for variable, converter in self._converters.items():
            try:
                value = converter.parse(found[variable])
            except (ValueError, LookupError):
                return None
            if value is None:
                return None
            values[variable] = value
        return values

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with these values for its variables. Raises `InvalidChannel` where it would not
        match again: a value can neither end its variable early nor change the kind."""

        def text(variable: re.Match[str]) -> str:
            value = values[variable[1]]
            if not re.fullmatch(self._converters[variable[1]].regex, value):
                raise InvalidChannel(f"{variable[1]} does not fit into {self.text!r}")
            return value

        name = _VARIABLE.sub(text, self.text)
        if kind_of(name) is not self.kind:
            raise InvalidChannel(f"{self.text!r} would be filled in to another kind of channel")
        return name

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"
