"""Which operations are allowed on which channels.

Source: Ably, "Capabilities" (resources and wildcards, operations, the intersection of a token's
with its key's) and "Token Request Spec" (canonical form).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.wire import from_json

_T = TypeVar("_T")

OPERATIONS = frozenset(
    {
        "subscribe",
        "publish",
        "presence",
        "history",
        "stats",
        "channel-metadata",
        "push-subscribe",
        "push-admin",
        "annotation-publish",
        "annotation-subscribe",
        "object-publish",
        "object-subscribe",
        "message-update-own",
        "message-update-any",
        "message-delete-own",
        "message-delete-any",
        "privileged-headers",
    }
)
_EVERY = frozenset({"*"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A resource: `[qualifier]` and segments. A `*` segment is any one; the last, one or more."""

    qualifier: str
    segments: tuple[str, ...]

    @classmethod
    def of(cls, resource: str) -> _Pattern:
        qualifier, rest = _qualified(resource)
        return cls(qualifier, tuple(rest.split(":")))

    def __str__(self) -> str:
        qualifier = f"[{self.qualifier}]" if self.qualifier else ""
        return qualifier + ":".join(self.segments)

    @property
    def open(self) -> bool:
        return self.segments[-1] == "*"

    def matches(self, qualifier: str, segments: tuple[str, ...]) -> bool:
        if self.qualifier not in ("*", qualifier):
            return False
        own = self.segments
        if len(segments) > len(own) and self.open:
            segments = segments[: len(own)]
        return len(segments) == len(own) and all(
            mine in ("*", theirs) for mine, theirs in zip(own, segments, strict=True)
        )

    def meet(self, other: _Pattern) -> _Pattern | None:
        """The resource that matches what both match. None: nothing."""
        long, short = (self, other) if len(self.segments) >= len(other.segments) else (other, self)
        if not short.open and len(long.segments) != len(short.segments):
            return None
        if self.qualifier != other.qualifier and "*" not in (self.qualifier, other.qualifier):
            return None
        heads = len(short.segments) - 1 if short.open else len(short.segments)
        met = []
        for mine, theirs in zip(long.segments[:heads], short.segments[:heads], strict=True):
            if mine != theirs and "*" not in (mine, theirs):
                return None
            met.append(theirs if mine == "*" else mine)
        qualifier = other.qualifier if self.qualifier == "*" else self.qualifier
        return _Pattern(qualifier, (*met, *long.segments[heads:]))


def _qualified(resource: str) -> tuple[str, str]:
    """`[meta]log` is (`meta`, `log`). Parameters and filters of a channel are not of its name."""
    if not resource.startswith("["):
        return "", resource
    qualifier, closed, rest = resource[1:].partition("]")
    if not closed:
        return "", resource
    qualifier = qualifier.partition("?")[0]
    return ("" if qualifier.startswith("filter=") else qualifier), rest


def closest(values: Mapping[str, _T], channel: str) -> _T | None:
    """The value of the resource that says most exactly which channels it means, if any matches."""
    if channel in values:
        return values[channel]
    qualifier, name = _qualified(channel)
    segments = tuple(name.split(":"))
    found = [
        (len(pattern.segments), resource)
        for resource, pattern in ((resource, _Pattern.of(resource)) for resource in values)
        if pattern.matches(qualifier, segments)
    ]
    return values[max(found)[1]] if found else None


@dataclass(frozen=True)
class Capability:
    """`{resource: operations}`. `source` is the text that it was parsed from, or canonical."""

    grants: Mapping[str, frozenset[str]]
    source: str = field(compare=False)
    _patterns: tuple[tuple[_Pattern, frozenset[str]], ...] = field(
        init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        patterns = tuple((_Pattern.of(resource), ops) for resource, ops in self.grants.items())
        object.__setattr__(self, "_patterns", patterns)

    @classmethod
    def parse(cls, text: str) -> Capability:
        """Of JSON text `{"resource": ["operation", …], …}`. Raises `AblyError` 40000."""
        try:
            given = from_json(text)
        except (ValueError, RecursionError) as error:
            raise _invalid("not JSON") from error
        if not isinstance(given, dict):
            raise _invalid("not an object")
        return cls({resource: _operations(resource, ops) for resource, ops in given.items()}, text)

    @classmethod
    def of(cls, grants: Mapping[str, frozenset[str]]) -> Capability:
        """Of grants, in canonical form."""
        ordered = {resource: grants[resource] for resource in sorted(grants)}
        canonical = {resource: sorted(ops) for resource, ops in ordered.items()}
        return cls(ordered, json.dumps(canonical, separators=(",", ":"), ensure_ascii=False))

    def canonical(self) -> str:
        """JSON without spaces; resources and operations sorted."""
        return Capability.of(self.grants).source

    def intersect(self, other: Capability) -> Capability:
        """What both allow. Raises `AblyError` 40160 when that is nothing."""
        met: dict[str, frozenset[str]] = {}
        for mine, my_ops in self._patterns:
            for theirs, their_ops in other._patterns:
                ops = _common(my_ops, their_ops)
                pattern = mine.meet(theirs) if ops else None
                if pattern is not None:
                    met[str(pattern)] = _together(met.get(str(pattern), _NONE), ops)
        if not met:
            raise AblyError(
                40160, 401, "Requested capability has no intersection with the key's capability"
            )
        return Capability.of(met)

    def ops(self, channel: str) -> frozenset[str]:
        """The operations that are allowed on a channel, `*` spelt out."""
        qualifier, name = _qualified(channel)
        segments = tuple(name.split(":"))
        allowed = _NONE
        for pattern, ops in self._patterns:
            if pattern.matches(qualifier, segments):
                allowed = _together(allowed, ops)
        return OPERATIONS if allowed == _EVERY else allowed

    def allows(self, op: str, channel: str) -> bool:
        return op in self.ops(channel)

    def allows_everywhere(self, op: str) -> bool:
        """Of app-wide operations (`stats`, enumeration of channels): only `*` and `[*]*` count."""
        ops = _together(self.grants.get("*", _NONE), self.grants.get("[*]*", _NONE))
        return op in ops or ops == _EVERY


def _operations(resource: str, ops: object) -> frozenset[str]:
    if not resource:
        raise _invalid("a resource is empty")
    if not isinstance(ops, list) or not ops or not all(isinstance(op, str) for op in ops):
        raise _invalid(f"the operations of {resource} must be a list of one or more strings")
    given = frozenset(ops)
    if unknown := given - OPERATIONS - _EVERY:
        raise _invalid(f"unknown operation {min(unknown)}")
    if "*" in given and len(ops) > 1:
        raise _invalid("* must be the only operation")
    return given


def _common(mine: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    if mine == _EVERY:
        return theirs
    return mine if theirs == _EVERY else mine & theirs


def _together(mine: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    return _EVERY if _EVERY in (mine, theirs) else mine | theirs


def _invalid(reason: str) -> AblyError:
    return AblyError(40000, 400, f"Invalid capability: {reason}")
