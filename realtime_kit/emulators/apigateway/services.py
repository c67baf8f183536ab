"""DynamoDB, SQS and Lambda at the gateway's own address, as far as a deployment calls them.

Functions run unchanged: `AWS_ENDPOINT_URL` leads their requests here, signed as for AWS. The table
is passed in; what is sent to a queue goes to its function, so there is nothing to receive.

Sources: Amazon SQS API Reference ("SendMessage", "SendMessageBatch", "GetQueueUrl"; AWS JSON
protocol); Lambda API Reference, "Invoke"; DynamoDB Developer Guide, "Read and write request units".
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from realtime_kit.emulators.apigateway.documents import ACCOUNT, md5_of
from realtime_kit.emulators.apigateway.functions import Function
from realtime_kit.emulators.apigateway.management import AwsError, Verifier
from realtime_kit.emulators.apigateway.protocol import split_path
from realtime_kit.emulators.apigateway.queues import Queue
from realtime_kit.emulators.apigateway.runtime import Runtime
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB, DynamoDBError
from realtime_kit.hosting.apigateway.sigv4 import Credentials

_SQS = "AmazonSQS."
_DYNAMODB = "DynamoDB_20120810."
_INVOCATIONS = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_JSON = "application/x-amz-json-1.0"
_MAX_ENTRIES = 10


class Services:
    """The queues and the functions by name, and the table if there is one. A queue's URL is
    `http://HOST:PORT/ACCOUNT/NAME`."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        queues: Mapping[str, Queue],
        functions: Mapping[str, Function],
        db: DynamoDB | None,
        credentials: Credentials | None,
    ) -> None:
        self._runtime = runtime
        self._queues = queues
        self._functions = functions
        self._db = db
        self._verifiers = {
            name: Verifier(name, runtime.region, credentials)
            for name in ("sqs", "dynamodb", "lambda")
        }

    @staticmethod
    def serves(request: web.BaseRequest) -> bool:
        target = request.headers.get("X-Amz-Target", "")
        path, _ = split_path(request)
        return target.startswith((_SQS, _DYNAMODB)) or bool(_INVOCATIONS.fullmatch(path))

    def queue_url(self, name: str) -> str:
        return f"http://{self._runtime.api.domain}/{ACCOUNT}/{self._queues[name].name}"

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        try:
            status, answer = await self._answer(request, body)
        except AwsError as error:
            status, answer = error.status, {"__type": error.type, "message": str(error)}
        except DynamoDBError as error:
            kind = f"com.amazonaws.dynamodb.v20120810#{error.code}"
            status, answer = error.status, {**error.answer, "__type": kind}
        text = json.dumps(answer)
        return web.Response(status=status, text=text, content_type=_JSON)

    async def _answer(self, request: web.BaseRequest, body: bytes) -> tuple[int, Mapping[str, Any]]:
        target = request.headers.get("X-Amz-Target", "")
        if target.startswith(_DYNAMODB):
            self._verifiers["dynamodb"].verify(request, body)
            answer = await self._dynamodb(target.removeprefix(_DYNAMODB), _parsed(body))
            if self._runtime.faults.happens("lose_answer") and request.transport is not None:
                self._runtime.record("fault", fault="lose_answer")
                request.transport.abort()
            return 200, answer
        if target.startswith(_SQS):
            self._verifiers["sqs"].verify(request, body)
            self._runtime.usage.queue_requests += 1
            return 200, self._sqs(target.removeprefix(_SQS), _parsed(body))
        self._verifiers["lambda"].verify(request, body)
        self._invoke(request, _parsed(body))
        return 202, {}

    # --- DynamoDB ---------------------------------------------------------------------------

    async def _dynamodb(self, operation: str, given: dict[str, Any]) -> Mapping[str, Any]:
        if self._db is None:
            raise AwsError(400, "UnrecognizedClientException", "the gateway has no table")
        runtime = self._runtime
        if runtime.faults.happens("throttle_table"):
            runtime.record("fault", fault="throttle_table")
            raise AwsError(
                400,
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            )
        answer = await asyncio.to_thread(self._db.call, operation, given)
        reads, writes = request_units(operation, given, answer)
        runtime.usage.table_reads += reads
        runtime.usage.table_writes += writes
        return answer

    # --- Lambda -----------------------------------------------------------------------------

    def _invoke(self, request: web.BaseRequest, event: dict[str, Any]) -> None:
        found = _INVOCATIONS.fullmatch(split_path(request)[0])
        name = unquote(found[1]) if found else ""
        function = self._functions.get(name)
        if function is None:
            raise AwsError(404, "ResourceNotFoundException", f"Function not found: {name}")
        if request.headers.get("X-Amz-Invocation-Type") != "Event":
            raise AwsError(400, "InvalidParameterValueException", "only Event is emulated")
        self._runtime.invoke_async(function, event)

    # --- SQS --------------------------------------------------------------------------------

    def _sqs(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": self.queue_url(self._queue(str(given.get("QueueName"))).name)}
        queue = self._queue(str(given.get("QueueUrl")).rpartition("/")[2])
        if operation == "SendMessage":
            return self._send(queue, given)
        if operation == "SendMessageBatch":
            return self._send_batch(queue, given)
        raise AwsError(400, "com.amazonaws.sqs#UnsupportedOperation", "this is not emulated")

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            message = "The specified queue does not exist."
            raise AwsError(400, "com.amazonaws.sqs#QueueDoesNotExist", message)
        return self._queues[name]

    def _send(self, queue: Queue, given: Mapping[str, Any]) -> dict[str, Any]:
        body = given.get("MessageBody", "")
        try:
            message_id = queue.send(
                body,
                delay=given.get("DelaySeconds") or 0,
                group=given.get("MessageGroupId"),
                deduplication_id=given.get("MessageDeduplicationId"),
            )
        except ValueError as error:
            kind = "com.amazonaws.sqs#InvalidParameterValue"
            raise AwsError(400, kind, str(error)) from error
        return {"MessageId": message_id, "MD5OfMessageBody": md5_of(body)}

    def _send_batch(self, queue: Queue, given: Mapping[str, Any]) -> dict[str, Any]:
        entries = given.get("Entries") or []
        if not entries:
            raise AwsError(400, "com.amazonaws.sqs#EmptyBatchRequest", "There are no entries.")
        if len(entries) > _MAX_ENTRIES:
            message = f"Maximum number of entries per request are {_MAX_ENTRIES}."
            raise AwsError(400, "com.amazonaws.sqs#TooManyEntriesInBatchRequest", message)
        sent, failed = [], []
        for entry in entries:
            try:
                sent.append({"Id": entry["Id"], **self._send(queue, entry)})
            except AwsError as error:
                why = {"Code": error.type.rpartition("#")[2], "Message": str(error)}
                failed.append({"Id": entry["Id"], **why, "SenderFault": True})
        return {"Successful": sent, "Failed": failed}


def request_units(
    operation: str, given: Mapping[str, Any], answer: Mapping[str, Any]
) -> tuple[float, float]:
    """Read and write request units. Each item that is written counts as one of 1 KB at most, twice
    in a transaction; what is read counts by 4 KB of the answer, or each item of a batch as one of
    4 KB at most, whether it is there or not; and a half unless it is consistent."""
    if operation in ("PutItem", "UpdateItem", "DeleteItem"):
        return 0.0, 1.0
    if operation == "TransactWriteItems":
        return 0.0, 2.0 * len(given["TransactItems"])
    if operation == "BatchWriteItem":
        return 0.0, float(sum(map(len, given["RequestItems"].values())))
    if operation == "BatchGetItem":
        tables = given["RequestItems"].values()
        asked = (
            len(each["Keys"]) * (1.0 if each.get("ConsistentRead") else 0.5) for each in tables
        )
        return sum(asked), 0.0
    if operation in ("GetItem", "Query", "Scan"):
        size = len(json.dumps(answer))
        return max(1, ceil(size / 4096)) * (1.0 if given.get("ConsistentRead") else 0.5), 0.0
    return 0.0, 0.0


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise AwsError(400, "SerializationException", "not a JSON object")
    return given
