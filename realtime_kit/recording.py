"""Channels that keep history: events are numbered and retained in the log, then published.

In that order, because a client that was away reads the log: what was published and is not in there
would be lost to it. If publishing fails, the caller hears of it, and the event reaches whoever
looks into the log; the same call again, with the same id, publishes the same event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from realtime_kit.authorization import Rules
from realtime_kit.channels import kind_of
from realtime_kit.errors import ConfigurationError, InvalidEvent
from realtime_kit.events import Event, Receipt
from realtime_kit.history.base import (
    PAGE,
    Draft,
    EventLog,
    Head,
    History,
    Page,
    Position,
    policy,
)
from realtime_kit.providers.base import Provider

if TYPE_CHECKING:
    from realtime_kit.settings import RealtimeSettings

# As long as a number gets: an event is checked with these before it has its own.
_WIDEST = Position("0" * 18, 10**12)


class _Part(NamedTuple):
    """An event as it is published: to one channel with history, or to all that have none."""

    place: int  # of the event in the call
    event: Event
    history: History | None


class Recorder:
    """Appends to the log what goes to channels with a history, and reads it again.

    Which channels those are, their rules' options say (`history=`), or `default` for all others.
    Thread-safe.
    """

    def __init__(
        self,
        rules: Rules,
        settings: RealtimeSettings,
        *,
        log: EventLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._settings = settings
        self._log = log
        self._clock = clock
        self._lock = Lock()
        self._listeners: list[Callable[[], object]] = []
        text = settings.history.default
        self._default = None if text is None else policy(text, "REALTIME_HISTORY__DEFAULT")

    @property
    def log(self) -> EventLog:
        """The log; opened now, if this is its first use."""
        if self._log is None:
            with self._lock:
                if self._log is None:
                    from realtime_kit.history import open_log

                    self._log = open_log(self._settings)
        return self._log

    def close(self) -> None:
        """Let go of the log's connections. Usable again afterwards."""
        if self._log is not None:
            self._log.close()

    def history(self, channel: str) -> History | None:
        """How much is retained of a channel; None: nothing."""
        if (options := self._rules.options(channel)) and "history" in options:
            found: History | None = options["history"]
            return found
        return self._default

    # --- reading ----------------------------------------------------------------------------

    def position(self, channel: str) -> Position:
        """The newest position of a channel. Raises `ConfigurationError` if it keeps no history."""
        return self.log.position(channel, self._require(channel), self.now_ms())

    def read(self, channel: str, after: Position | None, *, limit: int = PAGE) -> Page:
        """What came after a position; see `EventLog.read`."""
        return self.log.read(channel, after, self._require(channel), self.now_ms(), limit=limit)

    def pages(self, places: Mapping[str, Position | None], *, limit: int = PAGE) -> dict[str, Page]:
        """`read` for many channels: one question for where they are, and one for each that has
        something new."""
        now, log = self.now_ms(), self.log
        histories = {name: self._require(name) for name in places}
        heads = log.heads(histories, now)
        return {
            name: log.page(name, after, heads.get(name), histories[name], now, limit=limit)
            for name, after in places.items()
        }

    def heads(self, channels: Iterable[str]) -> dict[str, Head]:
        """Where these channels are; those without events are left out."""
        return self.log.heads({name: self._require(name) for name in channels}, self.now_ms())

    @property
    def begun(self) -> int:
        """Since when the log, if it was opened, knows what was; see `EventLog.begun`."""
        return self._log.begun if self._log else 0

    def on_append(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each append of this process."""
        self._listeners.append(listener)

    def _require(self, channel: str) -> History:
        found = self.history(channel)
        if found is None:
            raise ConfigurationError(
                f"{channel} keeps no history: give its rule history=History(), "
                "or set REALTIME_HISTORY__DEFAULT"
            )
        return found

    def now_ms(self) -> int:
        """The time that entries bear."""
        return int(self._clock() * 1000)

    # --- publishing -------------------------------------------------------------------------

    def publish(
        self, provider: Provider, events: Sequence[Event], info: Iterable[str]
    ) -> list[Receipt]:
        """Like `Provider.publish`. Everything is checked before the first event is recorded."""
        parts = [part for place, event in enumerate(events) for part in self._split(place, event)]
        if not any(history for _, _, history in parts):
            return provider.publish(events, info=info)
        self._validate(provider, parts)
        numbered = self._number(provider, parts)
        receipts = iter(provider.publish(numbered, info=info))
        found = {
            (place, channel): next(receipts)
            for place, event, _ in parts
            for channel in event.channels
        }
        return [found[place, name] for place, event in enumerate(events) for name in event.channels]

    def validate(self, provider: Provider, event: Event) -> None:
        """Raise what `publish` would raise of the event itself, without recording it."""
        self._validate(provider, self._split(0, event))

    def _validate(self, provider: Provider, parts: Iterable[_Part]) -> None:
        for _, event, history in parts:
            provider.validate(_widest(event) if history else event)

    def _split(self, place: int, event: Event) -> list[_Part]:
        """One part for each channel with history, and one for all others. An event that has its
        number already was recorded by an earlier call."""
        if event.offset is not None:
            return [_Part(place, event, None)]
        names = dict.fromkeys(event.channels)
        histories = {name: history for name in names if (history := self.history(name))}
        rest = tuple(name for name in names if name not in histories)
        parts = [
            _Part(place, replace(event, channels=(name,)), history)
            for name, history in histories.items()
        ]
        if rest or not parts:
            parts.append(_Part(place, replace(event, channels=rest), None))
        return parts

    def _number(self, provider: Provider, parts: Sequence[_Part]) -> list[Event]:
        """Append what is recorded, each channel's events at once, and fill in the numbers."""
        drafts: dict[str, list[tuple[int, Draft]]] = {}
        histories: dict[str, History] = {}
        for index, (_, event, history) in enumerate(parts):
            if history:
                (channel,) = event.channels
                histories[channel] = history
                drafts.setdefault(channel, []).append((index, _draft(provider, event)))
        events = [event for _, event, _ in parts]
        for channel, numbered in drafts.items():
            found = self.log.append(
                channel, [draft for _, draft in numbered], histories[channel], self.now_ms()
            )
            for (index, _), at in zip(numbered, found, strict=True):
                events[index] = replace(events[index], epoch=at.epoch, offset=at.offset)
        for tell in self._listeners:
            tell()
        return events


def _widest(event: Event) -> Event:
    """With ids that are as long as they get: on some providers they count against the limit."""
    return replace(event, epoch=_WIDEST.epoch, offset=_WIDEST.offset)


def _draft(provider: Provider, event: Event) -> Draft:
    """On encrypted channels the log holds ciphertext, too; and never the ids that ride in data."""
    (channel,) = event.channels
    is_encrypted = kind_of(channel).is_encrypted
    text = provider.sealed(replace(event, mutation=None)) if is_encrypted else event.payload()
    if event.id is None:
        raise InvalidEvent("what is recorded needs an id")
    return Draft(event.id, event.name, text, event.mutation, event.exclude)
