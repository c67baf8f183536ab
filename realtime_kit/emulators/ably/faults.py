"""What goes wrong, on demand: rules that match what passes, and a seed for those of chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from realtime_kit.emulators.ably.errors import AblyError

Way = Literal["connect", "in", "out", "request"]
Fault = Literal["refuse", "drop", "delay", "suppress", "inject", "expire"]

_OF_ALL = frozenset({"drop", "delay"})
_OF_FRAMES = frozenset({"suppress", "inject", "expire"})
_FAULTS: Mapping[Way, frozenset[str]] = {
    "connect": _OF_ALL | {"refuse"},
    "in": _OF_ALL | _OF_FRAMES | {"refuse"},
    "out": _OF_ALL | _OF_FRAMES,
    "request": _OF_ALL | {"refuse"},
}


@dataclass(slots=True)
class Rule:
    """A fault, and what it befalls. What is None matches anything.

    way: `connect` (a client opens a socket), `in` (a frame from a client), `out` (a frame to it),
    `request` (REST, matched by `path`: its beginning).
    Faults:
    - `refuse`: a connection or a request is answered with `error`, a frame from a client with NACK
      or, where there is none, with ERROR;
    - `drop`: the socket ends without a word;
    - `delay`: by `seconds`; what comes after it waits too;
    - `suppress`: a frame goes no further;
    - `inject`: `frame` is sent to the client after the frame that matched;
    - `expire`: the client's token expires after the frame that matched.
    It lets `skip` matches pass, and befalls the next `times` (None: all), each with chance `share`.
    Raises `ValueError` for a fault that cannot befall what goes this way, and for `inject` without
    a frame.
    """

    fault: Fault
    way: Way
    action: int | None = None
    channel: str | None = None
    connection_id: str | None = None
    path: str | None = None
    skip: int = 0
    times: int | None = 1
    share: float = 1.0
    seconds: float = 0.0
    error: AblyError = field(
        default_factory=lambda: AblyError(50000, 500, "Internal error, made by a fault rule")
    )
    frame: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.fault not in _FAULTS[self.way]:
            known = ", ".join(sorted(_FAULTS[self.way]))
            raise ValueError(f"{self.fault} cannot befall way {self.way!r}: {known}")
        if self.fault == "inject" and "action" not in self.frame:
            raise ValueError("inject needs a frame with an action")

    def matches(self, **what: object) -> bool:
        path = str(what.get("path", ""))
        return (
            self.way == what.get("way")
            and self.action in (None, what.get("action"))
            and self.channel in (None, what.get("channel"))
            and self.connection_id in (None, what.get("connection_id"))
            and (self.path is None or path.startswith(self.path))
        )


class Faults:
    """The rules, to be changed at any time. The same seed draws the same chances."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)  # noqa: S311 - no secret
        self._rules: tuple[Rule, ...] = ()

    def add(self, rule: Rule) -> Rule:
        self._rules = (*self._rules, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        self._rules = tuple(other for other in self._rules if other is not rule)

    def clear(self) -> None:
        self._rules = ()

    def of(self, way: Way, **what: object) -> list[Rule]:
        """The rules that befall this, each counted: `action`, `channel`, `connection_id`, `path`
        are what it is."""
        return [
            rule for rule in self._rules if rule.matches(way=way, **what) and self._happens(rule)
        ]

    def _happens(self, rule: Rule) -> bool:
        if rule.skip > 0:
            rule.skip -= 1
            return False
        if rule.times == 0 or (rule.share < 1 and self._random.random() >= rule.share):
            return False
        if rule.times is not None:
            rule.times -= 1
        return True
