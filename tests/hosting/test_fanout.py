"""Frames reach exactly the subscribers, and are written together where they come fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.hosting.local.fanout import MANY, MAX_BYTES, MAX_WAIT, Fanout


class Sink:
    """Takes time to be written to, on the test's clock."""

    def __init__(self, clock=None, cost=0.0):
        self.written = []
        self._clock, self._cost = clock, cost

    def write(self, data):
        self.written.append(data)
        if self._clock is not None:
            self._clock.now += self._cost

    @property
    def received(self):
        return b"".join(self.written)


@pytest.fixture
def fanout(clock):
    return Fanout(clock, clock.call_later)


def fill(fanout, clock, count=MANY, cost=0.0001):
    sinks = [Sink(clock, cost) for _ in range(count)]
    for number, sink in enumerate(sinks):
        fanout.add(f"1.{number}", sink.write)
    return sinks


def test_at_rest_a_frame_is_written_at_once(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a")
    assert all(sink.written == [b"a"] for sink in sinks)


def test_a_small_channel_never_waits(fanout, clock):
    sinks = fill(fanout, clock, MANY - 1)
    for frame in (b"a", b"b", b"c"):
        fanout.send(frame)
    assert all(sink.written == [b"a", b"b", b"c"] for sink in sinks)


def test_frames_that_come_while_one_is_being_written_are_written_together(fanout, clock):
    sinks = fill(fanout, clock)
    for frame in (b"a", b"b", b"c"):
        fanout.send(frame)
    assert all(sink.written == [b"a"] for sink in sinks)
    clock.advance(MAX_WAIT)
    assert all(sink.written == [b"a", b"bc"] for sink in sinks)


def test_frames_that_come_soon_after_wait_no_longer_than_the_fan_out_took(fanout, clock):
    sinks = fill(fanout, clock, cost=0.0001)  # 64 of them: 6.4 ms
    fanout.send(b"a")
    clock.advance(0)  # the tick is over
    clock.advance(0.004)
    fanout.send(b"b")
    clock.advance(0.002)
    assert sinks[0].written == [b"a"]
    fanout.send(b"c")
    clock.advance(0.001)
    assert sinks[0].written == [b"a", b"bc"]


def test_after_a_rest_nothing_waits(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a")
    clock.advance(MAX_WAIT)
    fanout.send(b"b")
    assert sinks[0].written == [b"a", b"b"]


def test_no_wait_is_longer_than_the_bound(fanout, clock):
    sinks = fill(fanout, clock, cost=1.0)
    fanout.send(b"a")
    fanout.send(b"b")
    clock.advance(0)
    clock.advance(MAX_WAIT)
    assert sinks[0].received == b"ab"


def test_no_more_waits_than_the_bound_of_bytes(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a")
    fanout.send(b"b" * MAX_BYTES)
    assert sinks[0].written == [b"a"]
    fanout.send(b"c")
    assert sinks[0].received == b"a" + b"b" * MAX_BYTES + b"c"


def test_where_waiting_gathers_nothing_it_gets_shorter_and_recovers(fanout, clock):
    sinks = fill(fanout, clock, cost=0.0001)

    def waited_by_a_second_frame():
        fanout.send(b"a")
        clock.advance(0)
        began = clock.now
        fanout.send(b"b")
        written = len(sinks[-1].written)
        while len(sinks[-1].written) == written:
            clock.advance(0.00001)
        wait = clock.now - began
        clock.advance(1)
        return wait

    alone = [waited_by_a_second_frame() for _ in range(8)]
    assert alone == sorted(alone, reverse=True)
    assert alone[-1] < alone[0] / 1.5  # what is left is the fan-out's own time
    for _ in range(8):
        for frame in (b"a", b"b", b"c"):
            fanout.send(frame)
        clock.advance(1)
    assert waited_by_a_second_frame() == pytest.approx(alone[0], rel=0.01)


def test_the_excluded_socket_gets_all_but_its_own(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a", "1.0")
    fanout.send(b"b", "1.0")
    fanout.send(b"c", "1.1")
    fanout.send(b"d", "9.9")
    clock.advance(1)
    assert sinks[0].received == b"cd"
    assert sinks[1].received == b"abd"
    assert {sink.received for sink in sinks[2:]} == {b"abcd"}


def test_who_subscribes_meanwhile_gets_only_what_comes_after(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a")
    fanout.send(b"b")
    late = Sink()
    fanout.add("2.0", late.write)
    assert sinks[0].received == b"ab"
    fanout.send(b"c")
    clock.advance(1)
    assert late.received == b"c"
    assert sinks[0].received == b"abc"


def test_who_left_meanwhile_gets_nothing_more(fanout, clock):
    sinks = fill(fanout, clock)
    fanout.send(b"a")
    fanout.send(b"b")
    fanout.remove("1.0")
    clock.advance(1)
    assert sinks[0].received == b"a"
    assert sinks[1].received == b"ab"


def test_a_dead_socket_does_not_keep_a_frame_from_the_others(fanout, clock):
    def dead(_):
        raise RuntimeError("the handler is closed")

    before, after = Sink(), Sink()
    for number, write in enumerate([dead, before.write, dead, dead, after.write, dead]):
        fanout.add(f"1.{number}", write)
    fanout.send(b"a")
    fanout.send(b"b", "1.1")
    assert before.received == b"a"
    assert after.received == b"ab"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.none() | st.integers(0, MANY + 3)),
            st.tuples(st.just("add"), st.none()),
            st.tuples(st.just("remove"), st.integers(0, MANY + 3)),
            st.tuples(st.just("pass"), st.sampled_from([0.0, 0.0001, 0.005, 0.03])),
        ),
        max_size=60,
    )
)
def test_whatever_happens_everybody_gets_exactly_their_own_in_order(clock_class, steps):
    clock = clock_class()
    fanout = Fanout(clock, clock.call_later)
    sinks = fill(fanout, clock, MANY + 2, cost=0.00005)
    expected = [b""] * len(sinks)
    here = set(range(len(sinks)))
    for number, (what, detail) in enumerate(steps):
        if what == "send":
            frame = b"%d;" % number
            fanout.send(frame, None if detail is None else f"1.{detail}")
            for each in here - {detail}:
                expected[each] += frame
        elif what == "add":
            sinks.append(Sink())
            expected.append(b"")
            here.add(len(sinks) - 1)
            fanout.add(f"1.{len(sinks) - 1}", sinks[-1].write)
        elif what == "remove" and detail in here:
            here.remove(detail)
            fanout.remove(f"1.{detail}")
        elif what == "pass":
            clock.advance(detail)
    clock.advance(1)
    for each, sink in enumerate(sinks):
        if each in here:
            assert sink.received == expected[each]
        else:  # who left is not waited for
            assert expected[each].startswith(sink.received)
