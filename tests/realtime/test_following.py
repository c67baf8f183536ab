"""Who waits for news of a channel is told of them, however many there are and whatever they do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from realtime_kit import Position, Realtime, RealtimeSettings
from realtime_kit.errors import ProviderUnavailable
from realtime_kit.following import RECENT, Following, Waiter
from realtime_kit.testing.fakes import FakeProvider

PATIENCE = 20.0


@pytest.fixture
def realtime() -> Iterator[Realtime]:
    made = Realtime(FakeProvider(), settings=RealtimeSettings(environ={}))
    made.channel_rule("news", history="300/1h")(lambda user: True)
    made.channel_rule("other", history="300/1h")(lambda user: True)
    yield made
    made.close()


@pytest.fixture
def following(realtime) -> Following:
    return Following(realtime.recorder, realtime.sources, nullcontext, capacity=1_000)


def offsets(following: Following, after: Position) -> list[int]:
    return [entry.offset for entry in following.read({"news": after})["news"].entries]


def settled(realtime: Realtime, following: Following, waiters: list[Waiter]) -> Position:
    """An event that all have heard of: the position after it."""
    start = realtime.recorder.position("news")
    realtime.trigger("news", "moved", {})
    for waiter in waiters:
        while waiter.wait(PATIENCE) and not offsets(following, start):
            pass
    return realtime.recorder.position("news")


def test_all_are_told(realtime, following):
    """Also past some who are busy and do not listen just now."""
    start = realtime.recorder.position("news")
    waiters = [following.join(["news", "other"]) for _ in range(200)]
    busy = [following.join(["news"]) for _ in range(20)]

    def follow(waiter: Waiter) -> list[int]:
        after, seen = start, []
        while len(seen) < 50:
            assert waiter.wait(PATIENCE), seen
            page = following.read({"news": after})["news"]
            seen += [entry.offset for entry in page.entries]
            after = page.position
        return seen

    with ThreadPoolExecutor(200) as pool:
        found = [pool.submit(follow, waiter) for waiter in waiters]
        for x in range(50):
            realtime.trigger(["news", "other"], "moved", {"x": x})
        assert all(one.result() == list(range(1, 51)) for one in found)
    assert all(waiter.wait(0) for waiter in busy)
    for waiter in (*waiters, *busy):
        waiter.leave()
        waiter.leave()
    assert following.waiting == 0


def test_what_comes_when_the_time_is_up_is_not_lost(realtime, following):
    waiter = following.join(["news"])
    told = 0
    for _ in range(300):
        teller = threading.Thread(target=waiter.tell)
        teller.start()
        told += waiter.wait(0.0001)
        teller.join()
        told += waiter.wait(0)
    assert told >= 300
    waiter.leave()


def test_a_reader_that_is_behind_reads_the_log(realtime, following):
    start = realtime.recorder.position("news")
    waiter = following.join(["news"])
    for x in range(RECENT * 2):
        realtime.trigger("news", "moved", {"x": x})
        waiter.wait(PATIENCE)
    assert offsets(following, start) == list(range(1, RECENT * 2 + 1))
    waiter.leave()


def test_one_look_at_the_log_for_all(realtime, following, monkeypatch):
    log, asked = realtime.recorder.log, []
    waiters = [following.join(["news"]) for _ in range(50)]
    start = settled(realtime, following, waiters)
    while sum(waiter.wait(0.01) for waiter in waiters):
        pass
    for name in ("heads", "entries"):
        real = getattr(log, name)
        monkeypatch.setattr(
            log, name, lambda *args, name=name, real=real: asked.append(name) or real(*args)
        )
    realtime.trigger("news", "moved", {})
    for waiter in waiters:
        assert waiter.wait(PATIENCE)
        assert offsets(following, start) == [2]
    assert sorted(asked) == ["entries", "heads"]
    for waiter in waiters:
        waiter.leave()


def test_a_log_that_fails_is_told(realtime, following, monkeypatch):
    waiter = following.join(["news"])
    settled(realtime, following, [waiter])

    def fail(*_: object) -> None:
        raise ProviderUnavailable("gone", provider="history", retryable=True)

    monkeypatch.setattr(realtime.recorder.log, "heads", fail)
    realtime.trigger("news", "moved", {})
    while not waiter.failed:
        assert waiter.wait(PATIENCE)
    waiter.leave()


def test_the_thread_ends_with_the_last_and_starts_again(realtime, following):
    def is_running(thread: threading.Thread | None) -> bool:
        return thread is not None and thread.is_alive()

    threads = []
    for _ in range(2):
        waiter = following.join(["news"])
        settled(realtime, following, [waiter])
        threads.append(following._thread)
        assert is_running(threads[-1])
        waiter.leave()
        threads[-1].join(PATIENCE)
        assert not is_running(threads[-1])
    assert threads[0] is not threads[1]


def test_so_many_and_no_more(realtime):
    small = Following(realtime.recorder, realtime.sources, nullcontext, capacity=1)
    waiter = small.join(["news"])
    assert small.join(["news"]) is None
    waiter.leave()
    again = small.join(["news"])
    assert again is not None
    again.leave()
