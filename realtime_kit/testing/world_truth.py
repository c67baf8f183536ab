"""What a log has had, and whether that is what a client was given. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from realtime_kit.history import Draft


@dataclass(slots=True)
class Epoch:
    """Of one channel: when it had its first event, in milliseconds, and its events by offset."""

    begun: int
    events: dict[int, Draft] = field(default_factory=dict)


Truth = Mapping[str, Epoch]  # of one channel, in the order of their time


class Had(NamedTuple):
    """What a client was given: an event; or where it began, or goes on after a gap."""

    kind: str  # "start", "event", "gap"
    epoch: str
    offset: int
    id: str = ""


class Wrong(Exception):
    """A client was not given what it should have been."""


def compare(had: Sequence[Had], truth: Truth, sockets: frozenset[str]) -> None:
    """Walk along what a client was given. Raises `Wrong`. `sockets` are its own: it may go without
    their events."""
    if not had:
        raise Wrong("it has never come that far")
    seen: set[str] = set()
    at = had[0]
    for one in had:
        if one.kind == "event":
            skipped = list(_between(truth, at, one.epoch, one.offset))
            _check_skipped(skipped, sockets, f"before {one.id}, {one.epoch}:{one.offset},")
            _check(one, truth, seen)
            seen.add(one.id)
        elif one.epoch != at.epoch:
            seen.clear()  # a log that was lost may number a repeated event anew
        at = one
    last = list(truth)[-1] if truth else at.epoch
    end = len(truth[last].events) + 1 if last in truth else at.offset + 1
    _check_skipped(list(_between(truth, at, last, end)), sockets, "at the end")


def _check(one: Had, truth: Truth, seen: set[str]) -> None:
    epoch = truth.get(one.epoch)
    draft = epoch.events.get(one.offset) if epoch else None
    if epoch is None or draft is None or draft.id != one.id:
        raise Wrong(f"{one.id} as {one.epoch}:{one.offset}, where the log has {draft}")
    if one.id in seen and sum(it.id == one.id for it in epoch.events.values()) == 1:
        raise Wrong(f"{one.id} twice")  # once more than the log has it


def _between(truth: Truth, at: Had, epoch: str, offset: int) -> Iterator[Draft]:
    """The events after one place and before another."""
    start = at.offset
    if at.epoch.startswith("@") and epoch in truth:
        start = 0
        lost = [
            name
            for name, one in truth.items()
            if int(at.epoch[1:]) < one.begun < truth[epoch].begun
        ]
        if lost:
            raise Wrong(f"from {at.epoch} to {epoch} without a word of {lost[0]}")
    elif at.epoch != epoch:
        raise Wrong(f"from {at.epoch}:{at.offset} to {epoch}:{offset} without a word")
    if offset <= start:
        raise Wrong(f"{epoch}:{offset} after {at.epoch}:{at.offset}")
    for number in range(start + 1, offset):
        yield truth[epoch].events[number]


def _check_skipped(skipped: Sequence[Draft], sockets: frozenset[str], where: str) -> None:
    missed = [one.id for one in skipped if one.exclude not in sockets]
    if missed:
        raise Wrong(f"{where} it missed {', '.join(missed[:5])}")
