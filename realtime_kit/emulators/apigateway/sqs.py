"""The sending side of SQS over the wire, for the gateway's queues: `SendMessage`,
`SendMessageBatch` and `GetQueueUrl` of the AWS JSON protocol.

Source: Amazon SQS API Reference. What arrives goes to the queue's function, so there is nothing to
receive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from realtime_kit.emulators.apigateway.documents import ACCOUNT, md5_of
from realtime_kit.emulators.apigateway.management import AwsError, Verifier
from realtime_kit.emulators.apigateway.queues import Queue
from realtime_kit.emulators.apigateway.runtime import Runtime

_TARGET = "AmazonSQS."
_JSON = "application/x-amz-json-1.0"
_MAX_ENTRIES = 10


class SqsApi:
    """The queues by name. A queue's URL is `http://HOST:PORT/ACCOUNT/NAME`."""

    def __init__(self, runtime: Runtime, queues: Mapping[str, Queue], verifier: Verifier) -> None:
        self._runtime = runtime
        self._queues = queues
        self._verifier = verifier

    @staticmethod
    def serves(request: web.BaseRequest) -> bool:
        return request.headers.get("X-Amz-Target", "").startswith(_TARGET)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self._runtime.usage.queue_requests += 1
        try:
            self._verifier.verify(request, body)
            operation = request.headers["X-Amz-Target"].removeprefix(_TARGET)
            answer = self._answer(operation, self._parse(body))
        except AwsError as error:
            given = {"__type": f"com.amazonaws.sqs#{error.type}", "message": str(error)}
            return web.json_response(given, status=error.status, content_type=_JSON)
        return web.json_response(answer, content_type=_JSON)

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            given = json.loads(body)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise AwsError(400, "SerializationException", "not a JSON object")
        return given

    def _answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": self.url(self._queue(str(given.get("QueueName"))))}
        queue = self._queue(str(given.get("QueueUrl")).rpartition("/")[2])
        if operation == "SendMessage":
            return self._send(queue, given)
        if operation == "SendMessageBatch":
            return self._send_batch(queue, given)
        raise AwsError(400, "UnsupportedOperation", f"{operation} is not emulated")

    def url(self, queue: Queue) -> str:
        return f"http://{self._runtime.api.domain}/{ACCOUNT}/{queue.name}"

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            message = "The specified queue does not exist."
            raise AwsError(400, "QueueDoesNotExist", message)
        return self._queues[name]

    def _send(self, queue: Queue, given: Mapping[str, Any]) -> dict[str, Any]:
        try:
            body = given["MessageBody"]
            message_id = queue.send(
                body,
                delay=given.get("DelaySeconds") or 0,
                group=given.get("MessageGroupId"),
                deduplication_id=given.get("MessageDeduplicationId"),
            )
        except KeyError:
            raise AwsError(400, "MissingParameter", "MessageBody is missing") from None
        except ValueError as error:
            raise AwsError(400, "InvalidParameterValue", str(error)) from error
        return {"MessageId": message_id, "MD5OfMessageBody": md5_of(body)}

    def _send_batch(self, queue: Queue, given: Mapping[str, Any]) -> dict[str, Any]:
        entries = given.get("Entries") or []
        if not entries:
            raise AwsError(400, "EmptyBatchRequest", "There are no entries.")
        if len(entries) > _MAX_ENTRIES:
            message = f"Maximum number of entries per request are {_MAX_ENTRIES}."
            raise AwsError(400, "TooManyEntriesInBatchRequest", message)
        sent, failed = [], []
        for entry in entries:
            try:
                sent.append({"Id": entry["Id"], **self._send(queue, entry)})
            except AwsError as error:
                given_error = {"Code": error.type, "Message": str(error), "SenderFault": True}
                failed.append({"Id": entry["Id"], **given_error})
        return {"Successful": sent, "Failed": failed}
