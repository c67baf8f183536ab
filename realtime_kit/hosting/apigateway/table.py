"""One DynamoDB table: reads that see every write before them, conditional writes, transactions.

What DynamoDB could not do now (throttled, in conflict with another transaction, no answer) is tried
again with jittered pauses, within `patience` seconds. A write may so happen twice: callers make
sure by its condition that the second time changes nothing, and tell by a mark of their own whether
the first was theirs. Client request tokens are not used: they are forgotten after ten minutes, and
refused for a request that differs.
"""

from __future__ import annotations

import random as random_numbers
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from realtime_kit.errors import ProviderError, ProviderUnavailable, RateLimited, Rejected
from realtime_kit.hosting.apigateway.dynamodb import (
    DynamoDB,
    DynamoDBError,
    Key,
    Row,
    Value,
    key_of,
    packed,
    unpacked,
)

T = TypeVar("T")
Action = Literal["Put", "Update", "Delete", "ConditionCheck"]

# "Service, account, and table quotas".
MAX_GET = 100
MAX_WRITE = 25
MAX_TRANSACTION = 100

MAX_TURNS = 40

_CONDITION_FAILED = "ConditionalCheckFailed"
_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
}
_CONFLICTS = {
    "TransactionConflictException",
    "TransactionInProgressException",
    "TransactionConflict",
}
# Seconds before a further try: doubled each time up to the second number, and jittered.
_PAUSE = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Change:
    """One write. Its expressions name attributes as they are, and what is `given` by `:name`.

    `values` is the row of a Put, without its key; `update` is the expression of an Update.
    """

    action: Action
    key: Key
    condition: str = ""
    update: str = ""
    values: Row = field(default_factory=dict)
    given: Mapping[str, Value] = field(default_factory=dict)

    def request(self, table: str) -> dict[str, Any]:
        key = {"pk": self.key.pk, "sk": self.key.sk}
        request: dict[str, Any] = {
            "TableName": table,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if self.action == "Put":
            request["Item"] = packed({**key, **self.values})
        else:
            request["Key"] = packed(key)
        if self.update:
            request["UpdateExpression"] = self.update
        if self.condition:
            request["ConditionExpression"] = self.condition
        if self.given:
            request["ExpressionAttributeValues"] = packed(
                {f":{name}": value for name, value in self.given.items()}
            )
        return request


class ConditionFailed(Exception):
    """Nothing was written. `rows`: by the place of each change whose condition failed, the row
    as it is, or None."""

    def __init__(self, rows: Mapping[int, Row | None]) -> None:
        super().__init__(f"the conditions of changes {sorted(rows)} failed")
        self.rows = rows


class Table:
    """Thread-safe if `db` is. `clock` is monotonic seconds."""

    def __init__(
        self,
        db: DynamoDB,
        name: str,
        *,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._db = db
        self.name = name
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._random = random

    # --- reads ------------------------------------------------------------------------------

    def get(self, key: Key) -> Row | None:
        request = {"TableName": self.name, "Key": packed(key._asdict()), "ConsistentRead": True}
        item = self._call("GetItem", request).get("Item")
        return None if item is None else unpacked(item)

    def get_many(self, keys: Iterable[Key]) -> dict[Key, Row]:
        """The rows that are there; each is read at a moment of its own."""
        wanted = list(dict.fromkeys(keys))
        found: dict[Key, Row] = {}
        for start in range(0, len(wanted), MAX_GET):
            part = wanted[start : start + MAX_GET]
            asked: Any = {
                "Keys": [packed(key._asdict()) for key in part],
                "ConsistentRead": True,
            }
            for answer in self._whole_batch("BatchGetItem", asked, "UnprocessedKeys"):
                items = answer["Responses"].get(self.name, [])
                found.update((key_of(item), unpacked(item)) for item in items)
        return found

    def pages(
        self, pk: str, *, begins: str = "", start: str = "", stop: str = ""
    ) -> Iterator[list[dict[str, Any]]]:
        """The items of a partition as they come, a megabyte at a time, in order of `sk`: those
        that begin with `begins`, or are from `start` up to `stop` (or to the end)."""
        expression, given = "pk = :pk", {":pk": pk}
        if begins:
            expression, given[":begins"] = expression + " AND begins_with(sk, :begins)", begins
        elif stop:
            expression += " AND sk BETWEEN :start AND :stop"
            given |= {":start": start, ":stop": stop}
        elif start:
            expression, given[":start"] = expression + " AND sk >= :start", start
        request: dict[str, Any] = {
            "TableName": self.name,
            "ConsistentRead": True,
            "KeyConditionExpression": expression,
            "ExpressionAttributeValues": packed(given),
        }
        while True:
            answer = self._call("Query", request)
            yield answer["Items"]
            if not answer.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def query(self, pk: str, *, begins: str = "", start: str = "", stop: str = "") -> Iterator[Row]:
        """The rows of `pages`."""
        for items in self.pages(pk, begins=begins, start=start, stop=stop):
            yield from map(unpacked, items)

    # --- writes -----------------------------------------------------------------------------

    def write(self, change: Change) -> Row | None:
        """Make one change; the row as it was before. Raises `ConditionFailed`."""
        request = {**change.request(self.name), "ReturnValues": "ALL_OLD"}
        try:
            answer = self._call(f"{change.action}Item", request)
        except DynamoDBError as error:
            raise ConditionFailed({0: _row(error.answer.get("Item"))}) from error
        return _row(answer.get("Attributes"))

    def transact(self, changes: Sequence[Change]) -> int:
        """Make all changes or none. Raises `ConditionFailed`.

        Answers how often another transaction was in the way.
        """
        if len(changes) > MAX_TRANSACTION:
            raise ValueError(f"{len(changes)} changes; a transaction has {MAX_TRANSACTION} at most")
        items = [{change.action: change.request(self.name)} for change in changes]
        conflicts: list[str] = []
        try:
            self._call("TransactWriteItems", {"TransactItems": items}, conflicts)
        except DynamoDBError as error:
            reasons = error.answer["CancellationReasons"]
            raise ConditionFailed(
                {
                    place: _row(reason.get("Item"))
                    for place, reason in enumerate(reasons)
                    if reason.get("Code") == _CONDITION_FAILED
                }
            ) from error
        return len(conflicts)

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Delete rows without conditions; all are deleted, or an error is raised."""
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), MAX_WRITE):
            part = wanted[start : start + MAX_WRITE]
            asked = [{"DeleteRequest": {"Key": packed(key._asdict())}} for key in part]
            for _ in self._whole_batch("BatchWriteItem", asked, "UnprocessedItems"):
                pass

    def _whole_batch(self, operation: str, asked: Any, rest: str) -> Iterator[dict[str, Any]]:
        """The answers of a batch, asked again for what DynamoDB left unprocessed."""
        deadline = self._clock() + self._patience
        request: Any = {self.name: asked}
        tries = 0
        while request:
            answer = self._call(operation, {"RequestItems": request})
            yield answer
            request = answer.get(rest)
            if request:
                tries += 1
                if not self._pause(tries, deadline):
                    raise RateLimited(f"DynamoDB left {rest} over", provider="aws", code=rest)

    # --- trying again -----------------------------------------------------------------------

    def settle(self, attempt: Callable[[], T], *, turns: int = MAX_TURNS) -> T:
        """Call `attempt`, which reads and then writes what it read for, until none of its
        conditions fails. Raises `ProviderUnavailable` if others are always faster."""
        for turn in range(1, turns + 1):
            try:
                return attempt()
            except ConditionFailed as error:
                failed = error
            if turn > 1:  # one change in between is no crowd
                self.pause(turn)
        raise ProviderUnavailable(
            "DynamoDB: too many write the same rows", provider="aws", retryable=True
        ) from failed

    def pause(self, turn: int) -> None:
        """Let others go first, for the longer the more turns there were."""
        self._sleep(self._jittered(turn))

    def _call(
        self, operation: str, request: Mapping[str, Any], conflicts: list[str] | None = None
    ) -> dict[str, Any]:
        """Raises `DynamoDBError` if a condition failed, and `ProviderError` for any other."""
        deadline = self._clock() + self._patience
        tries = 0
        while True:
            try:
                return self._db.call(operation, request)
            except DynamoDBError as error:
                codes = _codes(error)
                if any(code.startswith(_CONDITION_FAILED) for code in codes):
                    raise
                if conflicts is not None and codes & _CONFLICTS:
                    conflicts.append(error.code)
                failure = _provider_error(error, codes)
                failure.__cause__ = error
            except ProviderUnavailable as error:
                failure = error
            tries += 1
            if not failure.retryable or not self._pause(tries, deadline):
                raise failure

    def _pause(self, tries: int, deadline: float) -> bool:
        """Wait before the next try, if there is time for it."""
        pause = self._jittered(tries)
        if self._clock() + pause >= deadline:
            return False
        self._sleep(pause)
        return True

    def _jittered(self, tries: int) -> float:
        # Who conflicts must come at different times, so the whole pause is by chance.
        return min(_PAUSE[1], _PAUSE[0] * 2.0 ** min(tries - 1, 16)) * self._random()


def _row(item: Mapping[str, Any] | None) -> Row | None:
    return unpacked(item) if item else None


def _codes(error: DynamoDBError) -> set[str]:
    reasons = error.answer.get("CancellationReasons") or ()
    found = {reason.get("Code") for reason in reasons} - {None, "None"}
    return found or {error.code}


def _provider_error(error: DynamoDBError, codes: set[str]) -> ProviderError:
    if codes <= _THROTTLED:
        return RateLimited(str(error), provider="aws", status=error.status, code=error.code)
    if codes <= _THROTTLED | _CONFLICTS or error.status >= 500:
        return ProviderUnavailable(
            str(error), provider="aws", status=error.status, code=error.code, retryable=True
        )
    return Rejected(str(error), provider="aws", status=error.status, code=error.code)
