"""A call of several requests that failed half-way, told as what is to be done about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from realtime_kit.errors import PartiallySent, ProviderError
from realtime_kit.events import Event, Receipt


class Part(Protocol):
    """An event for some of its channels. `place` is the event's in the call: the same event may be
    there twice."""

    @property
    def place(self) -> int: ...
    @property
    def event(self) -> Event: ...
    @property
    def channels(self) -> tuple[str, ...]: ...


def partially_sent(
    error: ProviderError,
    provider: str,
    *,
    accepted: Sequence[Receipt],
    failed: Sequence[Part],
    later: Sequence[Part],
) -> PartiallySent:
    """`failed` are the parts that `error` is about, `later` those that were not tried."""
    return PartiallySent(
        f"{len(accepted)} deliveries accepted, then: {error}",
        provider=provider,
        accepted=accepted,
        unsent=_events(later if error.maybe_sent else [*failed, *later]),
        unknown=_events(failed if error.maybe_sent else ()),
        status=error.status,
        retryable=error.retryable,
    )


def _events(parts: Iterable[Part]) -> list[Event]:
    """The parts as events again, each with the channels that it is about."""
    grouped = (list(group) for _, group in groupby(parts, key=lambda part: part.place))
    return [
        replace(group[0].event, channels=tuple(name for part in group for name in part.channels))
        for group in grouped
    ]
