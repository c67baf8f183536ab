"""As much of DynamoDB as the API Gateway registry uses, in memory: for tests and development.

Its answers are those of the service for the requests that the registry makes: conditions,
transactions with their reasons, pages of a megabyte, the sizes of batches. Expressions that the
registry does not use are refused. moto is slower by a factor of a hundred, and the oracle in the
kit's own tests.
"""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any

from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError, read_answer
from realtime_kit.testing.dynamodb_expressions import (
    Item,
    check_placeholders,
    condition,
    edits,
    key_range,
    refuse_if,
)

__all__ = ["Item", "MemoryDynamoDB", "MotoDynamoDB"]

PAGE = 1024 * 1024


class _Partition:
    """The items with one partition key, by sort key. They are put in order when one asks."""

    __slots__ = ("_order", "items")

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._order: list[str] | None = None

    @property
    def order(self) -> list[str]:
        if self._order is None:
            self._order = sorted(self.items)
        return self._order

    def put(self, sk: str, item: Item) -> None:
        if self._order is not None and sk not in self.items:
            insort(self._order, sk)
        self.items[sk] = item

    def delete(self, sk: str) -> None:
        if self.items.pop(sk, None) is not None and self._order is not None:
            del self._order[bisect_left(self._order, sk)]


class MemoryDynamoDB:
    """Tables with the keys `pk` and `sk`. Thread-safe."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, _Partition]] = {}
        self._lock = Lock()

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            check_placeholders(request)
            return _OPERATIONS[operation](self, request)

    def _create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._tables.setdefault(request["TableName"], {})
        return {}

    def _drop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._tables.pop(request["TableName"], None)
        return {}

    def _scan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return _page([dict(item) for item in self.items(request["TableName"])])

    def items(self, table: str) -> Iterator[Item]:
        """All items of a table, as they are on the wire."""
        for partition in self._tables.get(table, {}).values():
            yield from partition.items.values()

    def expire(self, table: str, now: float) -> None:
        """Delete what the TTL attribute `expires` says is over. The service does so within days."""
        with self._lock:
            for item in list(self.items(table)):
                if "expires" in item and int(item["expires"]["N"]) < now:
                    self._delete(table, item)

    def load(self, table: str, item: Item) -> None:
        """Put an item, without a request."""
        partitions = self._tables.setdefault(table, {})
        pk, sk = _key(item)
        partition = partitions.get(pk)
        if partition is None:
            partition = partitions[pk] = _Partition()
        partition.put(sk, item)

    # --- operations -------------------------------------------------------------------------

    def _get_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        item = self._find(request["TableName"], request["Key"])
        return {} if item is None else {"Item": dict(item)}

    def _batch_get(self, request: Mapping[str, Any]) -> dict[str, Any]:
        responses: dict[str, list[Item]] = {}
        for table, asked in request["RequestItems"].items():
            keys = [_key(key) for key in asked["Keys"]]
            refuse_if(len(keys) > 100, "Too many items requested for the BatchGetItem call")
            refuse_if(len(set(keys)) < len(keys), "Provided list of item keys contains duplicates")
            found = (self._find(table, key) for key in asked["Keys"])
            responses[table] = [dict(item) for item in found if item is not None]
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        values = request["ExpressionAttributeValues"]
        pk, start, stop = key_range(request["KeyConditionExpression"], values)
        partition = self._tables.get(request["TableName"], {}).get(pk)
        order = partition.order if partition is not None else []
        first = bisect_left(order, start)
        if "ExclusiveStartKey" in request:
            first = bisect_left(order, request["ExclusiveStartKey"]["sk"]["S"] + "\0")
        items: list[Item] = []
        size = 0
        for sk in order[first:]:
            if stop is not None and sk > stop:
                break
            assert partition is not None
            item = partition.items[sk]
            size += _size(item)
            if size > PAGE and items:
                last = {"pk": items[-1]["pk"], "sk": items[-1]["sk"]}
                return _page(items, LastEvaluatedKey=last)
            items.append(dict(item))
        return _page(items)

    def _write(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        before = self._check(request)
        self._change(action, request)
        old = request.get("ReturnValues") == "ALL_OLD" and before is not None
        return {"Attributes": before} if old else {}

    def _transact(self, request: Mapping[str, Any]) -> dict[str, Any]:
        changes = [next(iter(change.items())) for change in request["TransactItems"]]
        refuse_if(len(changes) > 100, "Member must have length less than or equal to 100")
        keys = [_key(change.get("Key") or change["Item"]) for _, change in changes]
        refuse_if(
            len(set(keys)) < len(keys),
            "Transaction request cannot include multiple operations on one item",
        )
        reasons: list[dict[str, Any]] = []
        for _, change in changes:
            try:
                self._check(change)
            except DynamoDBError as error:
                item = {"Item": error.answer["Item"]} if "Item" in error.answer else {}
                reasons.append({"Code": "ConditionalCheckFailed", **item})
            else:
                reasons.append({"Code": "None"})
        if any(reason["Code"] != "None" for reason in reasons):
            answer = {"Message": "Transaction cancelled", "CancellationReasons": reasons}
            raise DynamoDBError(400, "TransactionCanceledException", answer)
        for action, change in changes:
            self._change(action, change)
        return {}

    def _batch_write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for table, asked in request["RequestItems"].items():
            refuse_if(len(asked) > 25, "Too many items requested for the BatchWriteItem call")
            keys = [_key(entry["DeleteRequest"]["Key"]) for entry in asked]
            refuse_if(len(set(keys)) < len(keys), "Provided list of item keys contains duplicates")
            for entry in asked:
                self._delete(table, entry["DeleteRequest"]["Key"])
        return {"UnprocessedItems": {}}

    # --- items ------------------------------------------------------------------------------

    def _find(self, table: str, key: Mapping[str, Any]) -> Item | None:
        pk, sk = _key(key)
        partition = self._tables.get(table, {}).get(pk)
        return None if partition is None else partition.items.get(sk)

    def _delete(self, table: str, key: Mapping[str, Any]) -> None:
        pk, sk = _key(key)
        partition = self._tables.get(table, {}).get(pk)
        if partition is not None:
            partition.delete(sk)
            if not partition.items:
                del self._tables[table][pk]

    def _check(self, request: Mapping[str, Any]) -> Item | None:
        """The item as it is, if the condition holds."""
        item = self._find(request["TableName"], request.get("Key") or request["Item"])
        expression = request.get("ConditionExpression")
        given = request.get("ExpressionAttributeValues", {})
        if expression and not condition(expression)(item or {}, given):
            answer: dict[str, Any] = {"message": "The conditional request failed"}
            wanted = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            if item is not None and wanted:
                answer["Item"] = dict(item)
            raise DynamoDBError(400, "ConditionalCheckFailedException", answer)
        return item

    def _change(self, action: str, request: Mapping[str, Any]) -> None:
        table = request["TableName"]
        if action == "Put":
            self.load(table, dict(request["Item"]))
        elif action == "Delete":
            self._delete(table, request["Key"])
        elif action == "Update":
            item = dict(self._find(table, request["Key"]) or request["Key"])
            given = request.get("ExpressionAttributeValues", {})
            for edit in edits(request["UpdateExpression"]):
                edit(item, given)
            self.load(table, item)


_OPERATIONS: dict[str, Callable[[MemoryDynamoDB, Mapping[str, Any]], dict[str, Any]]] = {
    "CreateTable": MemoryDynamoDB._create,
    "DeleteTable": MemoryDynamoDB._drop,
    "Scan": MemoryDynamoDB._scan,
    "GetItem": MemoryDynamoDB._get_item,
    "BatchGetItem": MemoryDynamoDB._batch_get,
    "Query": MemoryDynamoDB._query,
    "PutItem": lambda db, request: db._write("Put", request),
    "UpdateItem": lambda db, request: db._write("Update", request),
    "DeleteItem": lambda db, request: db._write("Delete", request),
    "TransactWriteItems": MemoryDynamoDB._transact,
    "BatchWriteItem": MemoryDynamoDB._batch_write,
}


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _size(item: Item) -> int:
    return sum(len(name) + len(next(iter(typed.values())).encode()) for name, typed in item.items())


def _page(items: list[Item], **more: Any) -> dict[str, Any]:
    return {"Items": items, "Count": len(items), "ScannedCount": len(items), **more}


class MotoDynamoDB:
    """moto's DynamoDB in this process, without a port. Thread-safe: one request at a time.

    moto's transactions copy their whole table and are not safe from each other.
    """

    def __init__(self) -> None:
        from moto.core.request import normalize_request
        from moto.dynamodb.responses import DynamoHandler

        self._normalize = normalize_request
        self._dispatch = DynamoHandler.dispatch
        self._lock = Lock()

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.awsrequest import AWSPreparedRequest, HeadersDict

        url = "https://dynamodb.us-east-1.amazonaws.com/"
        headers = HeadersDict(
            {
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
                "Authorization": "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/dynamodb/x",
            }
        )
        prepared = AWSPreparedRequest("POST", url, headers, json.dumps(request), False)
        with self._lock:
            status, _, body = self._dispatch(self._normalize(prepared), url, headers)
        return read_answer(status, body.encode() if isinstance(body, str) else body)
