"""Worlds in which much goes wrong, and nobody misses an event without being told; and worlds in
which the client, or the log, is wrong, which must be found out.

`make soak` (SOAK=50) has larger ones, and more.
"""

from __future__ import annotations

import itertools
import os
from datetime import timedelta

import pytest

from realtime_kit.history import History, Position
from realtime_kit.history.dynamodb import DynamoLog
from realtime_kit.history.memory import MemoryLog
from realtime_kit.history.sql import SqlLog
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.testing.dynamodb import MemoryDynamoDB
from realtime_kit.testing.resuming import Arrived, Track
from realtime_kit.testing.world import Faults, World, WorldFailed

SOAK = int(os.environ.get("SOAK", "1"))
WIDE = History(100_000, timedelta(days=1))
TIGHT = History(5, timedelta(seconds=20))


def in_memory():
    return MemoryLog


def in_sqlite():
    """One database, however often the application comes back."""
    log = SqlLog("sqlite://")
    return lambda: log


def in_dynamodb():
    db = MemoryDynamoDB()
    db.call("CreateTable", {"TableName": "t", **TABLE})
    return lambda: DynamoLog(Table(db, "t", sleep=lambda _: None), sleep=lambda _: None)


LOGS = {"memory": in_memory, "sqlite": in_sqlite, "dynamodb": in_dynamodb}


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_events(seed, log):
    counts = World(seed, make_log=LOGS[log](), history=WIDE).run().counts
    assert counts["events"] == 1_000
    assert counts["delivered"] > 2_000
    for fault in ("sockets cut", "lost", "delayed", "log unsure", "publish late", "answer torn"):
        assert counts[fault], f"a world without {fault}"
    assert counts["server killed"] + counts["application killed"]
    # A log that outlives the application loses nothing, and so nobody is told anything.
    assert (counts["gaps told"] > 0) is (log == "memory" and counts["application killed"] > 0)


@pytest.mark.parametrize("log", LOGS)
def test_a_short_history_is_told(log):
    assert World(1, make_log=LOGS[log](), history=TIGHT).run().counts["gaps told"]


def test_nothing_is_told_where_nothing_goes_wrong():
    counts = World(1, history=WIDE, faults=Faults.none()).run().counts
    assert not {"gaps told", "triggers repeated", "sockets cut"} & {
        k for k, n in counts.items() if n
    }
    assert counts["questions"] < 1_000


def test_the_same_seed_is_the_same_world():
    first, second, other = World(7, events=200), World(7, events=200), World(8, events=200)
    assert str(first.run()) == str(second.run()) != str(other.run())
    assert first.story == second.story != other.story


def test_a_failure_names_its_seed_and_what_happened(realtime_world):
    world = realtime_world(seed=5, track=Careless)
    with pytest.raises(WorldFailed) as caught:
        world.run()
    text = str(caught.value)
    assert text.startswith("seed 5: client ")
    assert "What happened last:" in text
    assert " had event-" in text


# --- worlds that must be found out ----------------------------------------------------------


class Careless(Track):
    """Takes each frame as it comes."""

    def _hold(self, event, place):
        self._deliver(event, place)


class Repeating(Track):
    """Drops no repeats."""

    def frame(self, event: Arrived) -> None:
        self._is_fresh = self.position is not None
        super().frame(event)


class Content(Track):
    """Believes to know everything when it is back, and waits for what it misses."""

    def subscribed(self) -> None:
        self.due = self.position is None

    def frame(self, event: Arrived) -> None:
        super().frame(event)
        self.held.clear()


class Silent(Track):
    """Does not tell that there is a gap."""

    def lose(self, place):
        tell, self._tell = self._tell, lambda _: None
        super().lose(place)
        self._tell = tell


class Hasty(Track):
    """Goes to where the answer is, before it has delivered what is in it."""

    def take(self, events):
        super().take(list(events)[:-1])


def found_out(**options):
    """How many of six small worlds fail."""
    found = 0
    for seed in range(6):
        try:
            World(seed, events=250, seconds=120.0, channels=4, clients=6, **options).run()
        except WorldFailed:
            found += 1
    return found


@pytest.mark.parametrize("track", [Careless, Repeating, Content, Silent, Hasty])
def test_a_client_that_is_wrong(track):
    assert found_out(track=track, history=TIGHT if track is Silent else WIDE) >= 3


class Dropping(MemoryLog):
    """Says that it has every event, and has not each."""

    def __init__(self):
        super().__init__()
        self._count = itertools.count()

    def append(self, channel, drafts, history, now_ms):
        if next(self._count) % 50 == 49:
            head = self.heads({channel: history}, now_ms).get(channel)
            return [Position(head.epoch, head.last + 1) for _ in drafts] if head else []
        return super().append(channel, drafts, history, now_ms)


class Hiding(MemoryLog):
    """Answers without the events that it has no more, and without a word."""

    def heads(self, wanted, now_ms):
        heads = super().heads(wanted, now_ms)
        return {name: head._replace(oldest=1) for name, head in heads.items()}

    def page(self, *arguments, **options):
        page = super().page(*arguments, **options)
        return page._replace(recovered=True)


class Unmarked(MemoryLog):
    """Another log in the same epoch."""

    def append(self, channel, drafts, history, now_ms):
        places = super().append(channel, drafts, history, now_ms)
        self._channels[channel].epoch = "epoch"
        return [Position("epoch", at.offset) for at in places]


@pytest.mark.parametrize("log", [Dropping, Hiding, Unmarked])
def test_a_log_that_is_wrong(log):
    history = TIGHT if log is Hiding else WIDE
    assert found_out(make_log=log, history=history, faults=Faults(application=20.0)) >= 3


def test_publishing_before_recording(monkeypatch):
    """Who was away would never hear of an event that is not in the log."""
    from realtime_kit.recording import Recorder

    def publish(self, provider, events, info):
        numbered = provider.publish(events, info=info)
        self._number(provider, [part for event in events for part in self._split(0, event)])
        return numbered

    monkeypatch.setattr(Recorder, "publish", publish)
    with pytest.raises((WorldFailed, KeyError)):
        World(1, history=WIDE).run()
