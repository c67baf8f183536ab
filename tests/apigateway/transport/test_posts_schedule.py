"""Which call comes next, how often, and what became of it: pure, in a time of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_kit.errors import PayloadTooLarge
from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import (
    HELD_BACK,
    MAX_FAILURES,
    MAX_FRAME,
    Call,
    Command,
    Delivery,
    Description,
    Disconnect,
    Message,
    Schedule,
)


def plan(*commands: Command, timeout: float = 10.0, patience: float = 5.0) -> Schedule:
    return Schedule(commands, now=100.0, timeout=timeout, patience=patience, random=lambda: 1.0)


def ids(calls: list[Call]) -> list[str]:
    return [call.connection_id for call in calls]


def lists(delivery: Delivery) -> list[list[Call]]:
    return [delivery.delivered, delivery.gone, delivery.throttled, delivery.failed]


def test_one_call_for_each_connection_once() -> None:
    schedule = plan(Message(b"x", ["a", "b", "a"]))
    assert ids(list(schedule.ready)) == ["a", "b"]
    for _ in range(2):
        schedule.answered(schedule.take(), 200, 101.0)
    assert ids(schedule.delivery.delivered) == ["a", "b"]
    assert (schedule.unfinished, schedule.delivery.requests) == (0, 2)
    assert schedule.delivery.latency() == 1.0


def test_the_next_to_a_connection_waits_for_the_one_before() -> None:
    schedule = plan(Message(b"1", ["a", "b"]), Message(b"2", ["a"]))
    first, second = schedule.take(), schedule.take()
    assert not schedule.ready
    schedule.answered(first, 200, 100.1)
    assert ids(list(schedule.ready)) == ["a"]
    schedule.answered(second, 200, 100.2)
    assert ids(list(schedule.ready)) == ["a"]


def test_the_same_message_again_is_sent_again() -> None:
    message = Message(b"x", ["a"])
    schedule = plan(message, message)
    schedule.answered(schedule.take(), 200, 100.0)
    schedule.answered(schedule.take(), 200, 100.0)
    assert len(schedule.delivery.delivered) == 2


def test_one_that_is_gone_takes_all_that_was_for_it() -> None:
    schedule = plan(Message(b"1", ["a"]), Message(b"2", ["a"]), Disconnect(["a"]))
    schedule.answered(schedule.take(), 410, 100.1, reason="goneexception")
    assert [call.reason for call in schedule.delivery.gone] == ["410 goneexception"] * 3
    assert schedule.delivery.gone_ids == {"a"}
    assert schedule.unfinished == 0


def test_after_a_failure_nothing_overtakes_and_a_disconnection_follows() -> None:
    schedule = plan(
        Message(b"1", ["a"]), Message(b"2", ["a"]), Disconnect(["a"]), Message(b"3", ["a"])
    )
    schedule.answered(schedule.take(), 413, 100.1)
    failed = schedule.delivery.failed
    assert [call.reason for call in failed] == ["413", HELD_BACK]
    assert not any(call.maybe_sent for call in failed)
    disconnection = schedule.take()
    assert isinstance(disconnection.command, Disconnect)
    schedule.answered(disconnection, 204, 100.2)
    schedule.answered(schedule.take(), 410, 100.3)
    assert schedule.unfinished == 0


def test_a_long_chain_ends_at_once() -> None:
    schedule = plan(*(Message(b"x", ["a"]) for _ in range(5_000)))
    schedule.answered(schedule.take(), 403, 100.0)
    assert len(schedule.delivery.failed) == 5_000


def test_throttled_calls_pause_longer_each_time_until_patience_ends() -> None:
    schedule = plan(Message(b"x", ["a"]), patience=1.0)
    now, pauses = 100.0, []
    while schedule.unfinished:
        schedule.answered(schedule.take(), 429, now)
        if schedule.unfinished:
            pauses.append(schedule.next_due - now)
            schedule.wake(schedule.next_due - 0.001)
            assert not schedule.ready
            now = schedule.next_due
            schedule.wake(now)
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])
    assert ids(schedule.delivery.throttled) == ["a"]
    assert not schedule.delivery.throttled[0].maybe_sent
    assert schedule.delivery.throttles == schedule.delivery.requests == 6


def test_the_pause_is_jittered_over_half_of_it() -> None:
    for given_number, pause in ((0.0, 0.025), (0.5, 0.0375)):
        schedule = Schedule(
            [Message(b"x", ["a"])], now=0, timeout=9, patience=9, random=lambda n=given_number: n
        )
        schedule.answered(schedule.take(), 429, 0.0)
        assert schedule.next_due == pytest.approx(pause)


def test_no_pause_that_would_outlast_the_deadline() -> None:
    schedule = plan(Message(b"x", ["a"]), timeout=0.05)
    schedule.answered(schedule.take(), 429, 100.01)
    assert ids(schedule.delivery.throttled) == ["a"]


def test_410_within_its_grace_means_not_yet() -> None:
    schedule = plan(Message(b"hello", ["a"], grace=0.3))
    schedule.answered(schedule.take(), 410, 100.0)
    assert schedule.next_due == pytest.approx(100.025)
    schedule.wake(101.0)
    schedule.answered(schedule.take(), 200, 100.2)
    assert ids(schedule.delivery.delivered) == ["a"]


def test_410_after_its_grace_means_gone() -> None:
    schedule = plan(Message(b"hello", ["a"], grace=0.3))
    schedule.answered(schedule.take(), 410, 100.29)
    schedule.wake(101.0)
    schedule.answered(schedule.take(), 410, 100.32)
    assert ids(schedule.delivery.gone) == ["a"]


def test_410_within_its_grace_with_no_time_left_does_not_mean_gone() -> None:
    schedule = plan(Message(b"hello", ["a"], grace=5), timeout=0.01)
    schedule.answered(schedule.take(), 410, 100.0)
    assert ids(schedule.delivery.failed) == ["a"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_5xx_is_tried_again_only_where_a_repeat_does_no_harm(status: int) -> None:
    schedule = plan(Message(b"x", ["once"]), Message(b"x", ["often"], repeatable=True))
    schedule.answered(schedule.take(), status, 100.0)
    (call,) = schedule.delivery.failed
    assert (call.connection_id, call.status, call.maybe_sent) == ("once", status, True)
    for _ in range(MAX_FAILURES):
        schedule.wake(schedule.next_due)
        schedule.answered(schedule.take(), status, 100.0)
    assert ids(schedule.delivery.failed) == ["once", "often"]


def test_what_was_not_heard_is_sent_again_at_once_then_after_a_pause_then_not() -> None:
    schedule = plan(Message(b"x", ["a"]))
    schedule.lost(schedule.take(), "reset", 100.0, whole=False)
    assert ids(list(schedule.ready)) == ["a"]
    for _ in range(MAX_FAILURES - 2):
        schedule.lost(schedule.take(), "reset", 100.0, whole=False)
        assert not schedule.ready
        schedule.wake(schedule.next_due)
    schedule.lost(schedule.take(), "reset", 100.0, whole=False)
    (call,) = schedule.delivery.failed
    assert (call.reason, call.status, call.maybe_sent) == ("reset", None, False)


def test_what_may_have_been_heard_is_not_sent_again_unless_repeatable() -> None:
    schedule = plan(Message(b"x", ["once"]), Message(b"x", ["often"], repeatable=True))
    for _ in range(2):
        schedule.lost(schedule.take(), "reset", 100.0, whole=True)
    assert ids(schedule.delivery.failed) == ["once"]
    assert schedule.delivery.failed[0].maybe_sent
    schedule.wake(schedule.next_due)
    schedule.answered(schedule.take(), 200, 100.1)
    assert ids(schedule.delivery.delivered) == ["often"]


def test_many_throttles_do_not_use_up_the_failures() -> None:
    schedule = plan(Message(b"x", ["a"], repeatable=True), timeout=100, patience=100)
    for status in (*[429] * 10, 503, 200):
        schedule.wake(200.0)
        schedule.answered(schedule.take(), status, 100.0)
    assert ids(schedule.delivery.delivered) == ["a"]


def test_giving_up_tells_the_throttled_from_the_rest() -> None:
    schedule = plan(Message(b"x", ["a", "b", "c"]), Disconnect(["a"]), Message(b"y", ["c"]))
    schedule.answered(schedule.take(), 429, 100.0)
    schedule.lost(schedule.take(), "reset", 100.0, whole=False)
    schedule.give_up("no time is left", 101.0)
    delivery = schedule.delivery
    assert ids(delivery.throttled) == ["a"]
    assert [(call.connection_id, call.reason) for call in delivery.failed] == [
        ("c", "no time is left"),
        ("c", HELD_BACK),
        ("b", "reset"),
        ("a", "no time is left"),
    ]
    assert set(delivery.undelivered) == {*delivery.throttled, *delivery.failed}
    assert schedule.unfinished == 0


COMMANDS = st.lists(
    st.one_of(
        st.builds(
            Message,
            frame=st.just(b"x"),
            to=st.lists(st.sampled_from("abcdef"), max_size=6),
            repeatable=st.booleans(),
            grace=st.sampled_from([0.0, 0.5]),
        ),
        st.builds(Disconnect, to=st.lists(st.sampled_from("abcdef"), max_size=3)),
    ),
    max_size=6,
)


@given(COMMANDS, st.integers())
@settings(max_examples=400, deadline=None)
def test_every_call_ends_once_and_none_overtakes(commands: list[Command], seed: int) -> None:
    random = Random(seed)  # noqa: S311
    schedule = Schedule(commands, now=0.0, timeout=5.0, patience=2.0, random=random.random)
    expected = Counter(
        (id(command), connection_id)
        for command in commands
        for connection_id in dict.fromkeys(command.to)
    )
    # By their places: equal commands are not the same.
    place = {id(command): number for number, command in enumerate(commands)}
    now, flying, heard = 0.0, [], defaultdict[str, list[int]](list)
    while schedule.unfinished and now < schedule.deadline:
        now += random.random() * 0.2
        schedule.wake(now)
        while schedule.ready and random.random() < 0.7:
            call = schedule.take()
            flying.append(call)
            assert len({each.connection_id for each in flying}) == len(flying), "two at once"
        if not flying:
            continue
        call = flying.pop(random.randrange(len(flying)))
        fate = random.choice([200, 200, 200, 403, 410, 429, 429, 503, "unheard", "heard"])
        if fate in (200, 503, "heard") and not (fate == 503 and random.random() < 0.5):
            heard[call.connection_id].append(place[id(call.command)])
        if isinstance(fate, int):
            schedule.answered(call, fate, now)
        else:
            schedule.lost(call, "lost", now, whole=fate == "heard")
    for call in flying:
        schedule.lost(call, "no time is left", now, whole=True)
    schedule.give_up("no time is left", now)

    ended = [call for calls in lists(schedule.delivery) for call in calls]
    assert Counter((id(call.command), call.connection_id) for call in ended) == expected
    assert schedule.unfinished == 0
    for places in heard.values():
        assert places == sorted(places), "one overtook another"
        assert all(commands[at].repeatable or places.count(at) == 1 for at in places)
    for call in schedule.delivery.delivered:
        assert place[id(call.command)] in heard[call.connection_id]
    for call in [*schedule.delivery.gone, *schedule.delivery.throttled, *schedule.delivery.failed]:
        assert call.reason
        assert call.maybe_sent or place[id(call.command)] not in heard[call.connection_id]


def test_a_frame_over_128_kb_is_refused() -> None:
    assert len(Message(b"x" * MAX_FRAME, ["a"]).frame) == 131_072
    with pytest.raises(PayloadTooLarge) as caught:
        Message(b"x" * (MAX_FRAME + 1), ["a"])
    assert (caught.value.size, caught.value.limit) == (131_073, 131_072)


def test_latency_is_of_what_was_delivered() -> None:
    delivery = Delivery()
    assert delivery.latency() == 0.0
    delivery.delivered = [Call(Message(b"x", ["a"]), "a", b"a", seconds=n) for n in range(1, 101)]
    assert (delivery.latency(0.5), delivery.latency(0.99), delivery.latency(1.0)) == (50, 99, 100)


def test_a_description() -> None:
    body = (
        b'{"connectedAt":"2020-04-30T20:10:33.236Z","lastActiveAt":"2020-04-30T20:10:42.997Z",'
        b'"identity":{"sourceIp":"192.0.2.1","userAgent":"agent"}}'
    )
    assert Description.parse(body) == Description(
        1588277433.236, 1588277442.997, "192.0.2.1", "agent"
    )
    for other in (b"", b"{", b"[]", b"{}", body.replace(b"2020-04-30T20:10:33.236Z", b"today")):
        assert Description.parse(other) is None


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.0) == pytest.approx(0.1)
    assert not bucket.take(0.05)
    assert bucket.wait(0.05) == pytest.approx(0.05)
    assert bucket.take(0.11)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(99.0)  # a clock that goes back gives nothing
    assert bucket.wait(200.0) == 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (1, 0.5)])
def test_a_bucket_that_lets_nothing_through_is_a_mistake(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="bucket"):
        TokenBucket(rate, burst)
