"""The table: what is tried again and for how long; batches, pages, failed conditions."""

from __future__ import annotations

import pytest

from realtime_kit.errors import ProviderUnavailable, RateLimited, Rejected
from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError, Key
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.table import MAX_TURNS, Change, ConditionFailed, Table
from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

ONE = Key("p", "1")
PUT = Change("Put", ONE, values={"n": 1})


class Time:
    """Pauses are all the time that passes."""

    def __init__(self):
        self.now, self.pauses = 0.0, []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Answers:
    """A DynamoDB that fails as it is told, and then does what it is asked."""

    def __init__(self, *failures, db=None):
        self.failures, self.requests = list(failures), []
        self._db = db or MemoryDynamoDB()

    def call(self, operation, request):
        self.requests.append((operation, request))
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        return failure or self._db.call(operation, request)


def error(code, status=400, **answer):
    return DynamoDBError(status, code, {"message": "injected", **answer})


def cancelled(*codes):
    reasons = [{"Code": code} for code in codes]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def unavailable():
    return ProviderUnavailable("no answer", provider="aws", retryable=True, maybe_sent=True)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def make_table(time):
    def make(db):
        return Table(
            db, "t", clock=lambda: time.now, sleep=time.sleep, random=lambda: 0.5, patience=2.0
        )

    return make


@pytest.fixture(params=[MemoryDynamoDB, MotoDynamoDB])
def table(request, make_table):
    db = request.param()
    db.call("CreateTable", {"TableName": "t", **TABLE})
    yield make_table(db)
    db.call("DeleteTable", {"TableName": "t"})


# --- trying again ---------------------------------------------------------------------------

PASSING = [
    error("ProvisionedThroughputExceededException"),
    error("ThrottlingException"),
    error("RequestLimitExceeded"),
    error("InternalServerError", 500),
    error("HTTP 503", 503),
    error("TransactionConflictException"),
    unavailable(),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_what_passes_is_tried_again(make_table, time, failure):
    db = Answers(failure, failure, failure)
    assert make_table(db).write(PUT) is None
    assert len(db.requests) == 4
    assert time.pauses == [0.01, 0.02, 0.04]  # doubled; half of it, for `random` says so


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (error("ProvisionedThroughputExceededException"), RateLimited),
        (cancelled("None", "ThrottlingError"), RateLimited),
        (cancelled("TransactionConflict", "ThrottlingError"), ProviderUnavailable),
        (error("InternalServerError", 500), ProviderUnavailable),
        (unavailable(), ProviderUnavailable),
    ],
    ids=str,
)
def test_it_is_tried_for_so_long(make_table, time, failure, kind):
    db = Answers(*[failure] * 100)
    with pytest.raises(kind) as raised:
        make_table(db).transact([PUT])
    assert raised.value.retryable
    assert 1.0 < time.now < 2.0
    assert raised.value is failure or raised.value.__cause__ is failure


@pytest.mark.parametrize(
    "failure",
    [
        error("ValidationException"),
        error("AccessDeniedException"),
        error("ResourceNotFoundException"),
        cancelled("None", "ValidationError"),
    ],
    ids=str,
)
def test_what_is_wrong_stays_wrong(make_table, time, failure):
    db = Answers(failure)
    with pytest.raises(Rejected, match=failure.code) as raised:
        make_table(db).transact([PUT])
    assert (raised.value.retryable, len(db.requests), time.pauses) == (False, 1, [])


def test_conflicts_are_counted(make_table):
    conflict = cancelled("None", "TransactionConflict")
    assert make_table(Answers(conflict, unavailable(), conflict)).transact([PUT]) == 2


def test_a_condition_that_fails_beside_a_conflict_has_failed(make_table):
    db = Answers(cancelled("TransactionConflict", "ConditionalCheckFailed"))
    with pytest.raises(ConditionFailed) as raised:
        make_table(db).transact([PUT, Change("Put", Key("p", "2"), "attribute_exists(pk)")])
    assert raised.value.rows == {1: None}


def test_settling(make_table, time):
    turns = []

    def attempt():
        turns.append(len(turns))
        if len(turns) < 4:
            raise ConditionFailed({})
        return "settled"

    assert make_table(Answers()).settle(attempt) == "settled"
    assert len(time.pauses) == 2  # one change in between is no crowd


def test_settling_for_ever(make_table):
    def attempt():
        raise ConditionFailed({})

    with pytest.raises(ProviderUnavailable, match="too many write the same rows"):
        make_table(Answers()).settle(attempt)
    assert MAX_TURNS < 100


# --- batches --------------------------------------------------------------------------------


def test_many_are_read_a_hundred_at_a_time(table):
    keys = [Key(f"p{number}", "x") for number in range(230)]
    for key in keys[:201]:
        table.write(Change("Put", key, values={"name": key.pk}))
    found = table.get_many([*keys, *keys])
    assert list(found) == keys[:201]
    assert found[keys[7]] == {"pk": "p7", "sk": "x", "name": "p7"}


def test_many_are_deleted_25_at_a_time(make_table):
    db = Answers()
    table = make_table(db)
    keys = [Key("p", str(number)) for number in range(60)]
    for key in keys:
        table.write(Change("Put", key))
    db.requests.clear()
    table.delete_many([*keys, *keys])
    sizes = [len(request["RequestItems"]["t"]) for _, request in db.requests]
    assert sizes == [25, 25, 10]
    assert list(table.query("p")) == []


def test_a_transaction_has_a_hundred_changes_at_most(table):
    with pytest.raises(ValueError, match="101 changes"):
        table.transact([PUT] * 101)


def test_what_a_batch_left_over_is_asked_again(make_table, time):
    keys = [{"pk": {"S": "p"}, "sk": {"S": "1"}}]
    left_keys = {"Responses": {}, "UnprocessedKeys": {"t": {"Keys": keys, "ConsistentRead": True}}}
    left_items = {"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": keys[0]}}]}}
    db = Answers(None, left_keys, None, left_items, left_items)
    table = make_table(db)
    table.write(PUT)
    assert list(table.get_many([ONE])) == [ONE]
    assert db.requests[2] == db.requests[1]
    table.delete_many([ONE])
    assert len(db.requests) == 6
    assert table.get(ONE) is None
    assert time.pauses == [0.01, 0.01, 0.02]


def test_what_a_batch_leaves_over_for_ever(make_table, time):
    left = {"Responses": {}, "UnprocessedKeys": {"t": {"Keys": [], "ConsistentRead": True}}}
    with pytest.raises(RateLimited, match="UnprocessedKeys"):
        make_table(Answers(*[left] * 100)).get_many([ONE])
    assert 1.0 < time.now < 2.0


# --- reads ----------------------------------------------------------------------------------


def test_every_read_sees_every_write(make_table):
    db = Answers()
    table = make_table(db)
    table.get(ONE)
    table.get_many([ONE])
    list(table.query("p"))
    (_, get), (_, many), (_, query) = db.requests
    assert get["ConsistentRead"]
    assert many["RequestItems"]["t"]["ConsistentRead"]
    assert query["ConsistentRead"]


def test_more_than_a_megabyte_is_read_page_by_page(table):
    text = "x" * 300_000
    for number in range(5):
        table.write(Change("Put", Key("p", str(number)), values={"text": text}))
    pages = list(table.pages("p"))
    assert len(pages) == 2
    assert [item["sk"]["S"] for page in pages for item in page] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["A", "N", "S#1", "S#2", "T"]),
        ({"begins": "S#"}, ["S#1", "S#2"]),
        ({"start": "N"}, ["N", "S#1", "S#2", "T"]),
        ({"start": "B", "stop": "S#1"}, ["N", "S#1"]),
    ],
)
def test_a_part_of_a_partition(table, asked, found):
    for sk in ("S#2", "A", "T", "N", "S#1"):
        table.write(Change("Put", Key("p", sk)))
    table.write(Change("Put", Key("other", "S#3")))
    assert [row["sk"] for row in table.query("p", **asked)] == found


# --- writes ---------------------------------------------------------------------------------


def test_a_write_answers_the_row_before(table):
    assert table.write(PUT) is None
    assert table.write(Change("Update", ONE, update="ADD n :n", given={"n": 2})) == {
        "pk": "p",
        "sk": "1",
        "n": 1,
    }
    assert table.write(Change("Delete", ONE))["n"] == 3
    assert table.write(Change("Delete", ONE)) is None


def test_a_failed_condition_says_what_is_there(table):
    table.write(PUT)
    for change in (
        Change("Put", ONE, "attribute_not_exists(pk)"),
        Change("Update", ONE, "n > :n", "SET n = :n", given={"n": 5}),
        Change("Delete", ONE, "n > :n", given={"n": 5}),
    ):
        with pytest.raises(ConditionFailed) as raised:
            table.write(change)
        assert raised.value.rows == {0: {"pk": "p", "sk": "1", "n": 1}}
    with pytest.raises(ConditionFailed) as raised:
        table.write(Change("Delete", Key("p", "2"), "attribute_exists(pk)"))
    assert raised.value.rows == {0: None}


def test_a_transaction_is_all_or_nothing(table):
    table.write(PUT)
    with pytest.raises(ConditionFailed) as raised:
        table.transact(
            [
                Change("Put", Key("p", "2")),
                Change("Delete", ONE, "n > :n", given={"n": 5}),
                Change("ConditionCheck", Key("p", "3"), "attribute_exists(pk)"),
            ]
        )
    assert raised.value.rows == {1: {"pk": "p", "sk": "1", "n": 1}, 2: None}
    assert [row["sk"] for row in table.query("p")] == ["1"]
    table.transact([Change("Put", Key("p", "2")), Change("Delete", ONE)])
    assert [row["sk"] for row in table.query("p")] == ["2"]


@pytest.mark.parametrize("text", ["é", "\0", "\ud800", "x\udfffy\ufffe", "\ufffe0041", "🙂"])
def test_any_text_comes_back_as_it_was(table, text):
    key = Key(f"U#{text}", f"#{text}")
    table.write(Change("Put", key, values={"text": text}))
    assert table.get(key) == {"pk": key.pk, "sk": key.sk, "text": text}
    assert list(table.get_many([key])) == [key]
    assert [row["text"] for row in table.query(key.pk, begins="#")] == [text]
