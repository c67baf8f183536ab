"""Emulated time."""

from __future__ import annotations

import asyncio

import pytest

from realtime_kit.emulators.apigateway.timeline import Timeline


def make(speed: float) -> tuple[Timeline, list[float]]:
    real = [100.0]
    return Timeline(speed=speed, clock=lambda: 1_000.0, monotonic=lambda: real[0]), real


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 1_010.0), (60.0, 1_600.0), (0.0, 1_000.0)])
def test_how_fast_it_runs(speed: float, expected: float) -> None:
    timeline, real = make(speed)
    real[0] += 10
    assert timeline.time() == expected


def test_it_never_goes_back() -> None:
    timeline, _ = make(0)
    timeline.jump(2_000)
    timeline.jump(1_500)
    assert timeline.time() == 2_000
    with pytest.raises(ValueError, match="backwards"):
        Timeline(speed=-1)


def test_what_is_due_is_called_in_order_and_once() -> None:
    timeline, _ = make(0)
    called: list[str] = []
    timeline.call_later(2, lambda: called.append("second"))
    timeline.call_later(1, lambda: called.append("first"))
    timeline.call_later(1, lambda: called.append("cancelled")).cancel()
    timeline.call_later(3, lambda: called.append("third"))
    assert timeline.next_due == 1_001
    timeline.jump(1_002)
    timeline.run_due()
    timeline.run_due()
    assert called == ["first", "second"]
    assert timeline.next_due == 1_003


def test_a_call_that_makes_another() -> None:
    timeline, _ = make(0)
    called: list[float] = []

    def again() -> None:
        called.append(timeline.time())
        if len(called) < 3:
            timeline.call_later(0, again)

    timeline.call_later(0, again)
    timeline.run_due()
    assert called == [1_000.0] * 3


async def _real_time() -> list[str]:
    timeline = Timeline(speed=1000)
    timeline.start(asyncio.get_running_loop())
    called: list[str] = []
    over = asyncio.Event()
    timeline.call_later(20, lambda: (called.append("late"), over.set()))
    timeline.call_later(10, lambda: called.append("early"))
    timeline.call_later(0, lambda: called.append("now"))
    timeline.call_later(5, lambda: called.append("never")).cancel()
    async with asyncio.timeout(5):
        await over.wait()
    timeline.stop()
    return called


def test_a_loop_makes_the_calls() -> None:
    assert asyncio.run(_real_time()) == ["now", "early", "late"]
