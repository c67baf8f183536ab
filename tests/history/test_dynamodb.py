"""The log in DynamoDB: what it asks for, who else is there, and what fails on the way."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_kit import RealtimeSettings
from realtime_kit.errors import ConfigurationError, ProviderUnavailable
from realtime_kit.history import Draft, History, Position, open_log
from realtime_kit.history.dynamodb import DynamoLog
from realtime_kit.history.memory import MemoryLog
from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.testing.dynamodb import MemoryDynamoDB

SOAK = int(os.environ.get("SOAK", "1"))
NOW = 1_764_000_000_000
HOUR = History(last=10_000, keep=timedelta(hours=1))


def drafts(*ids: object) -> list[Draft]:
    return [Draft(str(id), "moved", "{}") for id in ids]


class Watched:
    """A DynamoDB that notes what it is asked, and fails as it is told."""

    def __init__(self):
        self.db, self.asked, self.failures, self.pauses = MemoryDynamoDB(), Counter(), [], []
        self.before, self.now = [], 0.0
        self.db.call("CreateTable", {"TableName": "t", **TABLE})

    def call(self, operation, request):
        self.asked[operation] += 1
        if self.before:
            self.before.pop(0)()
        failure = self.failures.pop(0) if self.failures else None
        if failure == "conflict" and operation == "TransactWriteItems":
            reasons = [{"Code": "TransactionConflict"}] * len(request["TransactItems"])
            answer = {"message": "cancelled", "CancellationReasons": reasons}
            raise DynamoDBError(400, "TransactionCanceledException", answer)
        if failure == "before":
            raise ProviderUnavailable("injected", provider="aws", retryable=True)
        answer = self.db.call(operation, request)
        if failure == "after":
            raise ProviderUnavailable("injected", provider="aws", retryable=True, maybe_sent=True)
        return failure(answer) if callable(failure) else answer

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def log(self):
        """The log, as another process has it."""
        table = Table(
            self, "t", clock=lambda: self.now, sleep=self.sleep, random=lambda: 0.5, patience=2.0
        )
        return DynamoLog(table, sleep=self.sleep)


@pytest.fixture
def db():
    return Watched()


class TestRequests:
    def test_an_append_is_one(self, db):
        log = db.log()
        log.append("news", drafts(1), HOUR, NOW)
        db.asked.clear()
        log.append("news", drafts(2, 3, 4), HOUR, NOW)
        assert db.asked == {"TransactWriteItems": 1}

    def test_two_where_another_writer_was_there(self, db):
        log, other = db.log(), db.log()
        log.append("news", drafts(1), HOUR, NOW)
        other.append("news", drafts(2), HOUR, NOW)
        db.asked.clear()
        (at,) = log.append("news", drafts(3), HOUR, NOW)
        assert at.offset == 3
        assert db.asked == {"TransactWriteItems": 2}
        assert db.pauses == []

    def test_a_process_begins_with_a_look(self, db):
        (first,) = db.log().append("news", drafts(1), HOUR, NOW)
        db.asked.clear()
        assert db.log().append("news", drafts(2), HOUR, NOW) == [Position(first.epoch, 2)]
        assert db.asked == {"GetItem": 1, "TransactWriteItems": 1}

    def test_more_than_a_transaction_takes(self, db):
        found = db.log().append("news", drafts(*range(120)), HOUR, NOW)
        assert [at.offset for at in found] == list(range(1, 121))
        assert db.asked == {"GetItem": 1, "TransactWriteItems": 3}

    def test_more_bytes_than_a_transaction_takes(self, db):
        large = [Draft(str(n), "moved", "x" * 250_000) for n in range(9)]
        found = db.log().append("news", large, HOUR, NOW)
        assert [at.offset for at in found] == list(range(1, 10))
        assert db.asked["TransactWriteItems"] == 3
        page = db.log().read("news", Position(found[0].epoch, 0), HOUR, NOW)
        assert [entry.id for entry in page.entries] == [str(n) for n in range(9)]

    def test_the_heads_of_many_channels(self, db):
        log = db.log()
        for n in range(250):
            log.append(f"c{n}", drafts(1), HOUR, NOW)
        db.asked.clear()
        assert len(db.log().heads({f"c{n}": HOUR for n in range(300)}, NOW)) == 250
        assert db.asked == {"BatchGetItem": 3}

    def test_what_dynamodb_left_over_is_asked_for_again(self, db):
        log = db.log()
        for name in "ab":
            log.append(name, drafts(1), HOUR, NOW)

        def leave_one(answer):
            left = answer["Responses"]["t"].pop()
            key = {"pk": left["pk"], "sk": left["sk"]}
            return {**answer, "UnprocessedKeys": {"t": {"Keys": [key], "ConsistentRead": True}}}

        db.failures = [leave_one]
        assert log.heads({"a": HOUR, "b": HOUR}, NOW).keys() == {"a", "b"}

    def test_a_query_that_runs_while_a_transaction_is_applied(self, db):
        """It may miss what the head tells already: that is no hole."""
        log = db.log()
        at = log.append("news", drafts(1, 2, 3), HOUR, NOW)

        def without(*places):
            def less(answer):
                rest = [one for n, one in enumerate(answer["Items"]) if n not in places]
                return {**answer, "Items": rest}

            return less

        db.failures = [None, without(1), without(0, 1)]
        page = log.read("news", at[0], HOUR, NOW)
        assert page.recovered
        assert [entry.id for entry in page.entries] == ["2", "3"]
        assert db.pauses == [0.01, 0.04]


class TestFailures:
    @pytest.mark.parametrize("failure", ["before", "after", "conflict"])
    def test_tried_again_it_is_the_same_event(self, db, failure):
        log = db.log()
        log.append("news", drafts(1), HOUR, NOW)
        db.failures = [failure]
        (at,) = log.append("news", drafts(2), HOUR, NOW)
        assert at.offset == 2
        page = log.read("news", Position(at.epoch, 0), HOUR, NOW)
        assert [entry.id for entry in page.entries] == ["1", "2"]

    def test_the_answer_to_the_first_append_is_lost(self, db):
        db.failures = [None, "after"]
        (at,) = db.log().append("news", drafts(1), HOUR, NOW)
        assert at.offset == 1
        assert db.log().append("news", drafts(1), HOUR, NOW) == [at]

    def test_an_answer_that_is_lost_in_a_crowd(self, db):
        log, other = db.log(), db.log()
        log.append("news", drafts(1), HOUR, NOW)
        db.failures = ["after"]
        db.before = [lambda: None, lambda: other.append("news", drafts(3), HOUR, NOW)]
        (at,) = log.append("news", drafts(2), HOUR, NOW)
        assert at.offset == 2
        assert log.append("news", drafts(4), HOUR, NOW) == [Position(at.epoch, 4)]

    def test_an_unfinished_call_goes_on_where_it_stopped(self, db):
        log = db.log()
        db.failures = [None, None, *["before"] * 20]
        with pytest.raises(ProviderUnavailable):
            log.append("news", drafts(*range(60)), HOUR, NOW)
        db.failures = []
        found = log.append("news", drafts(*range(60)), HOUR, NOW)
        assert [at.offset for at in found] == list(range(1, 61))

    def test_others_are_always_faster(self, db):
        log, other = db.log(), db.log()
        log.append("news", drafts("first"), HOUR, NOW)
        numbers = iter(range(1_000))

        def be_faster():
            db.before = []
            other.append("news", drafts(f"other{next(numbers)}"), HOUR, NOW)
            db.before = [be_faster]

        db.before = [be_faster]
        with pytest.raises(ProviderUnavailable, match="too many write") as caught:
            log.append("news", drafts("mine"), HOUR, NOW)
        assert (caught.value.provider, caught.value.retryable) == ("history", True)
        assert 1.0 < sum(db.pauses) < 5.0

    def test_a_table_that_is_away(self, db):
        db.failures = ["before"] * 100
        with pytest.raises(ProviderUnavailable, match="injected") as caught:
            db.log().heads({"news": HOUR}, NOW)
        assert (caught.value.provider, caught.value.retryable) == ("history", True)

    def test_a_head_that_ttl_took(self, db):
        log = db.log()
        (first,) = log.append("news", drafts(1), HOUR, NOW)
        db.db.expire("t", NOW / 1000 + 23 * 3600)
        assert log.position("news", HOUR, NOW) == first, "it is remembered for a day"
        db.db.expire("t", NOW / 1000 + 26 * 3600)
        later = NOW + 26 * 3_600_000
        (second,) = log.append("news", drafts(1), HOUR, later)
        assert second.offset == 1
        assert second.epoch != first.epoch
        assert not log.read("news", first, HOUR, later).recovered

    def test_a_head_that_is_lost_before_its_events(self, db):
        log = db.log()
        (first,) = log.append("news", drafts(1), HOUR, NOW)
        head = {"pk": {"S": "L#news"}, "sk": {"S": "#"}}
        db.db.call("DeleteItem", {"TableName": "t", "Key": head})
        found = log.append("news", drafts(1, 2), HOUR, NOW)
        assert [at.offset for at in found] == [1, 2]
        assert first.epoch not in {at.epoch for at in found}
        assert found[0].epoch == found[1].epoch

    def test_items_that_ttl_has_not_taken_yet(self, db):
        log = db.log()
        (first,) = log.append("news", drafts(1), HOUR, NOW)
        later = NOW + 3_600_000
        assert not log.read("news", Position(first.epoch, 0), HOUR, later).recovered
        (again,) = log.append("news", drafts(1), HOUR, later)
        assert again == Position(first.epoch, 2), "its id is no longer retained"


class TestAge:
    def test_a_look_reads_heads_alone(self, db):
        log, history = db.log(), History(1_000, timedelta(seconds=20))
        for n in range(100):
            log.append("news", drafts(n), history, NOW + n * 1_000)
        db.asked.clear()
        (head,) = log.heads({"news": history}, NOW + 118_999).values()
        assert (head.oldest, head.last) == (1, 100)
        (head,) = log.heads({"news": history}, NOW + 119_000).values()
        assert (head.oldest, head.last) == (101, 100)
        assert db.asked == {"BatchGetItem": 2}

    def test_a_clock_that_goes_back(self, db):
        log = db.log()
        log.append("news", drafts(1), HOUR, NOW)
        (at,) = db.log().append("news", drafts(2), HOUR, NOW - 60_000)
        page = log.read("news", Position(at.epoch, 0), HOUR, NOW)
        assert [entry.time for entry in page.entries] == [NOW, NOW]


# --- the log in memory is the oracle --------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 9_000), st.booleans(), st.integers(0, 12)),
    max_size=40,
)


@given(STEPS, st.integers(1, 12))
@settings(max_examples=100 * SOAK, deadline=None)
def test_as_the_log_in_memory(steps, last):
    history = History(last, timedelta(seconds=30))
    ours, oracle, now = Watched().log(), MemoryLog(), NOW
    number, seen, before = 0, [], None

    def plain(page):
        return page.position.offset, page.recovered, page.more, [e[1:] for e in page.entries]

    for count, gap, repeats, back in steps:
        now += gap
        repeated = [before] if repeats and before and gap < 9_000 and last > 3 else []
        batch = drafts(*range(number, number + count)) + repeated
        number, before = number + count, batch[count - 1]
        one, other = (log.append("news", batch, history, now) for log in (ours, oracle))
        assert [at.offset for at in one] == [at.offset for at in other]
        seen.append((one[-1], other[-1]))
        start = seen[max(0, len(seen) - 1 - back)]
        pages = [
            log.read("news", at, history, now, limit=5)
            for log, at in zip((ours, oracle), start, strict=True)
        ]
        assert plain(pages[0]) == plain(pages[1])


# --- any interleaving -----------------------------------------------------------------------


class Scheduled(Watched):
    """Before whose every request another writer may come."""

    def __init__(self):
        super().__init__()
        self.main = getcurrent()

    def call(self, operation, request):
        if getcurrent() is not self.main:
            self.main.switch()
        return super().call(operation, request)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.integers(0, 2),
            st.lists(st.integers(0, 30), min_size=1, max_size=4),
        ),
        st.tuples(st.just("go on"), st.integers(0, 5), st.integers(1, 3)),
        st.tuples(st.just("fail"), st.sampled_from(["before", "after", "conflict", None])),
        st.tuples(st.just("die"), st.integers(0, 5)),
        st.tuples(st.just("read")),
    ),
    min_size=15,
    max_size=60,
)


class Play:
    """Three processes that append to one channel, ids again and again, and a reader."""

    def __init__(self):
        self.db = Scheduled()
        self.logs = [self.db.log() for _ in range(3)]
        self.busy, self.found, self.at, self.read_ids = {}, {}, None, []

    def append(self, which, ids):
        if which not in self.busy:
            self.busy[which] = greenlet(lambda: self._append(which, drafts(*ids)))

    def _append(self, which, batch):
        places = self.logs[which].append("news", batch, HOUR, NOW)
        for draft, at in zip(batch, places, strict=True):
            assert self.found.setdefault(draft.id, at) == at, "a repeated id is the same event"

    def go_on(self, number, requests):
        for _ in range(requests):
            running = list(self.busy)
            if not running:
                return
            which = running[number % len(running)]
            self.busy[which].switch()
            if self.busy[which].dead:
                del self.busy[which]

    def fail(self, failure):
        if len(self.db.failures) < 5:  # more in a row are longer than its patience
            self.db.failures.append(failure)

    def die(self, number):
        """A process dies before its next request; another takes its place."""
        if self.busy:
            which = list(self.busy)[number % len(self.busy)]
            self.busy.pop(which).throw()
            self.logs[which] = self.db.log()

    def read(self):
        failures, self.db.failures = self.db.failures, []
        log = self.db.log()
        page = log.read("news", self.at or Position.before_the_first(NOW - 1), HOUR, NOW)
        self.db.failures = failures
        assert page.recovered
        assert not page.more
        self.at = page.position
        self.read_ids += [entry.id for entry in page.entries]


@given(ACTIONS)
@settings(max_examples=200 * SOAK, deadline=None)
def test_any_interleaving(actions):
    play = Play()
    for name, *arguments in actions:
        getattr(play, name.replace(" ", "_"))(*arguments)
    play.db.failures = []
    while play.busy:
        play.go_on(0, 1)
    play.read()
    assert len(set(play.read_ids)) == len(play.read_ids), "nothing twice"
    placed = {play.read_ids[at.offset - 1]: at for at in play.found.values()}
    assert placed == play.found, "what was answered is where it was said to be"


# --- settings -------------------------------------------------------------------------------

AWS = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "REALTIME_AWS__TABLE": "deployment",
}


class TestSettings:
    @pytest.mark.parametrize(
        ("url", "table"),
        [
            ("dynamodb:", "deployment"),
            ("dynamodb://", "deployment"),
            ("dynamodb://My_Table.log", "My_Table.log"),
        ],
    )
    def test_where(self, url, table):
        log = open_log(RealtimeSettings(environ={**AWS, "REALTIME_HISTORY__URL": url}))
        assert isinstance(log, DynamoLog)
        assert log._table.name == table
        log.close()

    @pytest.mark.parametrize(
        ("url", "missing"),
        [
            ("dynamodb:", "REALTIME_AWS__TABLE"),
            ("dynamodb://t", "AWS_REGION"),
            ("dynamodb://t", "AWS_ACCESS_KEY_ID"),
            ("dynamodb:t", "dynamodb://TABLE"),
        ],
    )
    def test_what_is_missing(self, url, missing):
        environ = {name: value for name, value in AWS.items() if name != missing}
        with pytest.raises(ConfigurationError, match=missing):
            open_log(RealtimeSettings(environ={**environ, "REALTIME_HISTORY__URL": url}))
