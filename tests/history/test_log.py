"""What every event log promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from realtime_kit.errors import ConfigurationError, InvalidEvent
from realtime_kit.history import Draft, EventLog, History, Page, Position, policy
from realtime_kit.history.memory import MemoryLog

NOW = 1_764_000_000_000
DAY = 86_400_000
SHORT = History(last=3, keep=timedelta(seconds=10))
LONG = History(last=10_000, keep=timedelta(days=2))


def draft(id: str, data: str = "{}") -> Draft:
    return Draft(id, "moved", data)


def ids(page: Page) -> list[str]:
    return [entry.id for entry in page.entries]


class TestAppend:
    def test_numbers_grow_by_one_in_one_epoch(self, log: EventLog):
        first = log.append("news", [draft("a"), draft("b")], LONG, NOW)
        second = log.append("news", [draft("c")], LONG, NOW + 1)
        assert [at.offset for at in first + second] == [1, 2, 3]
        assert len({at.epoch for at in first + second}) == 1

    def test_channels_are_numbered_apart(self, log: EventLog):
        (one,) = log.append("one", [draft("a")], LONG, NOW)
        (two,) = log.append("two", [draft("a")], LONG, NOW)
        assert (one.offset, two.offset) == (1, 1)
        assert one.epoch != two.epoch

    def test_a_repeated_id_is_the_same_event(self, log: EventLog):
        first = log.append("news", [draft("a"), draft("b")], LONG, NOW)
        again = log.append("news", [draft("b", "[1]"), draft("c")], LONG, NOW)
        assert again[0] == first[1]
        assert again[1].offset == 3
        assert log.append("news", [draft("c")], LONG, NOW) == [again[1]]
        page = log.read("news", Position(first[0].epoch, 0), LONG, NOW)
        assert [(entry.id, entry.data) for entry in page.entries] == [
            ("a", "{}"), ("b", "{}"), ("c", "{}"),
        ]  # fmt: skip

    def test_an_id_that_is_too_old_is_a_new_event(self, log: EventLog):
        """Whoever has read on would never hear of it, if it kept its number."""
        (first,) = log.append("news", [draft("a")], SHORT, NOW)
        (again,) = log.append("news", [draft("a")], SHORT, NOW + 10_000)
        assert again == Position(first.epoch, 2)
        assert ids(log.read("news", first, SHORT, NOW + 10_000)) == ["a"]
        assert log.append("news", [draft("a")], SHORT, NOW + 19_999) == [again]

    def test_an_id_that_is_too_far_behind_is_a_new_event(self, log: EventLog):
        first = log.append("news", [draft("a"), draft("b")], SHORT, NOW)
        log.append("news", [draft("c"), draft("d")], SHORT, NOW)
        again = log.append("news", [draft("a"), draft("b")], SHORT, NOW)
        assert [at.offset for at in again] == [5, 2]
        assert ids(log.read("news", first[1], SHORT, NOW)) == ["c", "d", "a"]

    def test_an_id_twice_in_one_call(self, log: EventLog):
        found = log.append("news", [draft("a"), draft("b"), draft("a")], LONG, NOW)
        assert [at.offset for at in found] == [1, 2, 1]

    def test_concurrent_writers_leave_nothing_out(self, log: EventLog):
        with ThreadPoolExecutor(8) as pool:
            calls = [
                pool.submit(log.append, f"c{n % 2}", [draft(f"{n}a"), draft(f"{n}b")], LONG, NOW)
                for n in range(60)
            ]
            found = [call.result() for call in calls]
        for channel in (0, 1):
            offsets = [[at.offset for at in pair] for pair in found[channel::2]]
            assert sorted(at for pair in offsets for at in pair) == list(range(1, 61))
            assert all(second == first + 1 for first, second in offsets)
            page = log.read(f"c{channel}", Position(found[channel][0].epoch, 0), LONG, NOW)
            by_offset = {entry.offset: entry.id for entry in page.entries}
            for n, pair in list(enumerate(found))[channel::2]:
                assert [by_offset[at.offset] for at in pair] == [f"{n}a", f"{n}b"]

    def test_the_same_event_by_many_at_once(self, log: EventLog):
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(log.append, "news", [draft("a")], LONG, NOW) for _ in range(16)]
        assert len({call.result()[0] for call in calls}) == 1
        assert calls[0].result()[0].offset == 1


class TestRead:
    def test_all_fields_come_back(self, log: EventLog):
        whole = Draft("a", "moved", '{"x": "é"}', mutation="m1", exclude="1.2")
        (at,) = log.append("news", [whole], LONG, NOW)
        (entry,) = log.read("news", Position(at.epoch, 0), LONG, NOW).entries
        assert (entry.offset, entry.time) == (1, NOW)
        assert entry[2:7] == whole

    def test_what_came_after(self, log: EventLog):
        places = log.append("news", [draft(name) for name in "abcd"], LONG, NOW)
        page = log.read("news", places[1], LONG, NOW)
        assert ids(page) == ["c", "d"]
        assert (page.position, page.recovered, page.more) == (places[3], True, False)

    def test_nothing_came_after(self, log: EventLog):
        (at,) = log.append("news", [draft("a")], LONG, NOW)
        assert log.read("news", at, LONG, NOW) == Page(at)

    def test_without_a_position_only_the_newest_is_told(self, log: EventLog):
        (at,) = log.append("news", [draft("a")], LONG, NOW)
        assert log.read("news", None, LONG, NOW) == Page(at)

    def test_in_pages(self, log: EventLog):
        places = log.append("news", [draft(name) for name in "abcde"], LONG, NOW)
        page = log.read("news", places[0], LONG, NOW, limit=2)
        assert (ids(page), page.more, page.position) == (["b", "c"], True, places[2])
        page = log.read("news", page.position, LONG, NOW, limit=2)
        assert (ids(page), page.more) == (["d", "e"], False)

    def test_dropped_by_count(self, log: EventLog):
        places = log.append("news", [draft(str(n)) for n in range(40)], SHORT, NOW)
        assert ids(log.read("news", places[36], SHORT, NOW)) == ["37", "38", "39"]
        page = log.read("news", places[35], SHORT, NOW)
        assert page == Page(places[39], recovered=False)

    def test_dropped_by_age(self, log: EventLog):
        first = log.append("news", [draft("a"), draft("b")], SHORT, NOW)
        (second,) = log.append("news", [draft("c")], SHORT, NOW + 9_000)
        assert ids(log.read("news", first[0], SHORT, NOW + 9_999)) == ["b", "c"]
        assert log.read("news", first[0], SHORT, NOW + 10_000) == Page(second, recovered=False)
        assert ids(log.read("news", first[1], SHORT, NOW + 10_000)) == ["c"]
        assert log.read("news", second, SHORT, NOW + 60_000) == Page(second)

    def test_another_epoch(self, log: EventLog):
        (at,) = log.append("news", [draft("a")], LONG, NOW)
        assert log.read("news", Position("other", 1), LONG, NOW) == Page(at, recovered=False)

    def test_a_position_that_was_never_reached(self, log: EventLog):
        (at,) = log.append("news", [draft("a")], LONG, NOW)
        assert not log.read("news", Position(at.epoch, 2), LONG, NOW).recovered

    def test_many_channels_at_once(self, log: EventLog):
        (one,) = log.append("one", [draft("a")], LONG, NOW)
        (two,) = log.append("two", [draft("a")], SHORT, NOW)
        log.append("two", [draft(f"b{n}") for n in range(40)], SHORT, NOW)
        heads = log.heads({"one": LONG, "two": SHORT, "none": SHORT}, NOW)
        last = Position(two.epoch, 41)
        assert {name: head.position for name, head in heads.items()} == {"one": one, "two": last}
        assert (heads["one"].oldest, heads["two"].oldest) == (1, 39)
        assert log.heads({}, NOW) == {}


class TestEmpty:
    """A channel without events has a position as well."""

    def test_everything_since(self, log: EventLog):
        at = log.position("news", LONG, NOW)
        assert log.read("news", at, LONG, NOW + 5_000) == Page(at)
        places = log.append("news", [draft("a"), draft("b")], LONG, NOW + 6_000)
        page = log.read("news", at, LONG, NOW + 7_000)
        assert (ids(page), page.position, page.recovered) == (["a", "b"], places[1], True)

    def test_some_are_lost_since(self, log: EventLog):
        at = log.position("news", SHORT, NOW)
        log.append("news", [draft(str(n)) for n in range(4)], SHORT, NOW)
        assert not log.read("news", at, SHORT, NOW).recovered

    def test_too_long_ago_to_know(self, log: EventLog):
        at = log.position("news", LONG, NOW)
        log.append("news", [draft("a")], LONG, NOW + DAY)
        assert not log.read("news", at, LONG, NOW + DAY).recovered
        assert not log.read("empty", at, LONG, NOW + DAY).recovered

    def test_a_real_position_in_a_forgotten_channel(self, log: EventLog):
        page = log.read("news", Position("gone", 7), LONG, NOW)
        assert page == Page(Position.before_the_first(NOW), recovered=False)

    def test_it_grows_old(self, log: EventLog):
        """Long before it is too old to be believed, another is handed out."""
        at = log.position("news", LONG, NOW)
        page = log.read("news", at, LONG, NOW + DAY * 3 // 4)
        assert page == Page(Position.before_the_first(NOW + DAY * 3 // 4))
        log.append("news", [draft("a")], LONG, NOW + DAY * 5 // 4)
        assert ids(log.read("news", page.position, LONG, NOW + DAY * 5 // 4)) == ["a"]


def test_memory_knows_nothing_of_the_process_before():
    """It may have had events after it said "empty"."""
    before, after = MemoryLog(), MemoryLog()
    at = before.position("news", LONG, NOW)
    before.append("news", [draft("lost")], LONG, NOW + 1)
    assert not after.read("news", at, LONG, NOW + 2_000).recovered
    after.append("news", [draft("a")], LONG, NOW + 3_000)
    assert not after.read("news", at, LONG, NOW + 4_000).recovered


class TestTexts:
    @pytest.mark.parametrize(
        ("text", "last", "seconds"),
        [
            ("100/120s", 100, 120),
            ("500/2h", 500, 7200),
            ("1/30", 1, 30),
            (" 5 / 1.5 m ", 5, 90),
            (7, 7, 120),
        ],
    )
    def test_histories(self, text, last, seconds):
        assert policy(text, "history") == History(last, timedelta(seconds=seconds))

    @pytest.mark.parametrize(
        "bad", ["", "100", "0/5s", "5/0s", "5/-1s", "x/5s", 0, True, None, "9/999d"]
    )
    def test_no_histories(self, bad):
        with pytest.raises(ConfigurationError, match="REALTIME_HISTORY__DEFAULT: "):
            policy(bad, "REALTIME_HISTORY__DEFAULT")

    @pytest.mark.parametrize("at", [Position("a1_-", 0), Position.before_the_first(NOW)])
    def test_positions_and_back(self, at):
        assert Position.parse(str(at)) == at

    @pytest.mark.parametrize("bad", ["", "a", ":1", "a:", "a:-1", "a b:1", "a:1:2", "a:١", "@:1"])
    def test_no_positions(self, bad):
        with pytest.raises(InvalidEvent, match="EPOCH:OFFSET"):
            Position.parse(bad)
