"""The relay: sends what is in the outbox, at least once, each channel's events in order."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from realtime_kit.channels import kind_of
from realtime_kit.errors import (
    ConfigurationError,
    PartiallySent,
    ProviderError,
    RateLimited,
    RealtimeError,
)
from realtime_kit.events import CheckedEvent, Event, decode
from realtime_kit.outbox.queue import Queue, Row
from realtime_kit.outbox.writing import running

if TYPE_CHECKING:
    from realtime_kit.sending import Sending

LEASE = 60.0
LONGEST_PAUSE = 5.0  # seconds, while nothing can be sent
ENOUGH_FAILURES = 20  # in a row
# What the account may not do is not the event's fault, and may be put right.
OF_THE_ACCOUNT = frozenset({401, 402, 403})

logger = logging.getLogger("realtime_kit")


class Tally(NamedTuple):
    """How many events were sent, put off until later, and given up."""

    sent: int = 0
    put_off: int = 0
    dead: int = 0

    @property
    def failed(self) -> bool:
        """Whether something was tried, and nothing came of it."""
        return self.put_off > 0 and not self.sent and not self.dead

    def __add__(self, other: object) -> Tally:
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(self.sent + other.sent, self.put_off + other.put_off, self.dead + other.dead)


class Relay:
    """Sends the outbox in `database`, an `Engine` or a URL, through `realtime`.

    Any number may run; each sends up to `batch` events at a time, and has `lease` seconds for that:
    whoever is killed keeps its channels back that long. Without a wake-up it looks every `interval`
    seconds. An event that fails is tried again after `back_off`: from the first to the second
    number of seconds, each time twice as long, less a random part of up to a half; after `attempts`
    it is dead.

    Raises `ConfigurationError` if the tables are missing.
    """

    def __init__(
        self,
        realtime: Sending,
        database: str | sa.Engine | Queue,
        *,
        batch: int = 100,
        lease: float = LEASE,
        interval: float = 1.0,
        back_off: tuple[float, float] = (1.0, 60.0),
        attempts: int = 100,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.queue = database if isinstance(database, Queue) else Queue(database)
        self.queue.check()
        self._realtime = realtime
        self._batch = batch
        self._lease = lease
        self._interval = interval
        self._back_off = back_off
        self._attempts = attempts
        self._chance = chance
        self._owner = os.urandom(12).hex()
        self._news = threading.Event()
        self._stopping = threading.Event()
        running.add(self)

    # --- running ----------------------------------------------------------------------------

    def run(self, *, on_round: Callable[[Tally], object] | None = None) -> None:
        """Send until `stop`, which another thread calls. `on_round` is told what each round did. A
        database that fails is waited for."""
        failures = 0
        while not self._stopping.is_set():
            self._news.clear()
            try:
                done = self.send()
            except ProviderError as error:
                logger.error("the relay waits: %s", error)
                self._pause(failures := failures + 1)
                continue
            if on_round is not None and done != Tally():
                on_round(done)
            failures = failures + 1 if done.failed else 0
            if done.failed:
                self._pause(failures)
            elif done == Tally():
                self._news.wait(self._interval)

    def drain(self, seconds: float | None = None) -> Tally:
        """Send what is due, until nothing is, `stop` is called, so much time is over, or again and
        again nothing could be sent."""
        end = None if seconds is None else time.monotonic() + seconds
        total, failures = Tally(), 0
        while not self._stopping.is_set() and (end is None or time.monotonic() < end):
            done = self.send()
            total += done
            failures = failures + 1 if done.failed else 0
            if done == Tally() or failures == ENOUGH_FAILURES:
                break
            if failures:
                self._pause(failures)
        return total

    def stop(self) -> None:
        """End `run` after the call that is being made. For another thread than that which runs: a
        signal handler that interrupts it may wait for ever."""
        self._stopping.set()
        self._news.set()

    def wake(self) -> None:
        """There may be something new."""
        self._news.set()

    def _pause(self, failures: int) -> None:
        self._stopping.wait(min(LONGEST_PAUSE, 0.05 * 2 ** min(failures, 10)))

    # --- one batch --------------------------------------------------------------------------

    def send(self) -> Tally:
        """Take a batch of what is due, and send it. Once something had to be put off, the rest of
        the batch is left for the next: there may be no sense in trying."""
        rows = self.queue.take(self._owner, self._batch, self._lease)
        end = time.monotonic() + self._lease / 2
        done = Tally()
        try:
            for call in _calls(rows):
                done += self._send(call)
                if done.put_off or self._stopping.is_set() or time.monotonic() > end:
                    break
        finally:
            if done.sent + done.dead < len(rows):
                self.queue.release(self._owner)
        return done

    def _send(self, call: Sequence[Row]) -> Tally:
        """Send rows in one call; what became of them."""
        try:
            self._realtime.trigger_batch(_events(call), on_error="raise")
        except ConfigurationError:
            raise  # of no event: nothing can be sent
        except RealtimeError as error:
            accepted = error.accepted if isinstance(error, PartiallySent) else ()
            keys = {(receipt.channel, receipt.id) for receipt in accepted}
            sent = [row for row in call if (row.channel, row.id) in keys]
            self.queue.remove(sent)
            failed = [row for row in call if (row.channel, row.id) not in keys]
            return self._fail(failed, error) + Tally(sent=len(sent))
        self.queue.remove(call)
        return Tally(sent=len(call))

    def _fail(self, rows: Sequence[Row], error: RealtimeError) -> Tally:
        why = f"{type(error).__name__}: {error}"[:500]
        if _may_pass(error):
            last = [row for row in rows if row.attempts + 1 >= self._attempts]
            again = [(row, self._delay(row, error)) for row in rows if row not in last]
        elif len(rows) == 1:
            last, again = list(rows), []
        else:  # which of them is refused for good, each by itself will tell
            last, again = [], [(row, 0.0) for row in rows]
        self.queue.put_off(again, self._owner, why)
        self.queue.give_up(last, self._owner, why)
        for row in last:
            logger.error("given up: %s to %s, number %d: %s", row.name, row.channel, row.seq, why)
        return Tally(put_off=len(again), dead=len(last))

    def _delay(self, row: Row, error: RealtimeError) -> float:
        first, longest = self._back_off
        seconds = min(longest, first * 2.0 ** min(row.attempts, 30)) * (1 - self._chance() / 2)
        cause = error.__cause__ if isinstance(error, PartiallySent) else error
        asked = cause.retry_after if isinstance(cause, RateLimited) else None
        return max(seconds, asked or 0.0)


def _may_pass(error: RealtimeError) -> bool:
    """Whether the same event may be taken later."""
    return isinstance(error, ProviderError) and (
        error.retryable or error.maybe_sent or error.status in OF_THE_ACCOUNT
    )


def _calls(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """All that is new in one call. On a channel where something has failed before, that by itself,
    so that one event which fails again and again takes no others with it."""
    tried = dict.fromkeys(row.channel for row in rows if row.attempts)
    fresh = [row for row in rows if row.channel not in tried]
    if fresh:
        yield fresh
    for channel in tried:
        mine = (row for row in rows if row.channel == channel)
        for failed_before, alike in groupby(mine, key=lambda row: row.attempts > 0):
            if failed_before:
                yield from ([row] for row in alike)
            else:
                yield list(alike)


def _events(rows: Iterable[Row]) -> list[Event]:
    """As they were triggered: the rows of one event to several channels are one event again."""
    events: list[Event] = []
    for _, alike in groupby(rows, key=lambda row: (row.id, row.name, row.data, row[5:7])):
        mine = list(alike)
        row = mine[0]
        event = CheckedEvent(  # or else it would not be here
            (), row.name, decode(row.data), row.id, mutation=row.mutation, exclude=row.exclude
        )
        names = tuple(dict.fromkeys(row.channel for row in mine))
        alone = any(kind_of(name).is_encrypted for name in names)
        groups = [(name,) for name in names] if alone else [names]
        events += [replace(event, channels=group) for group in groups]
    return events
