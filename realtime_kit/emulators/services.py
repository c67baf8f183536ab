"""DynamoDB, SQS and Lambda at one address, as far as a deployment's functions call them.

The functions run unchanged: `REALTIME_AWS__SERVICES` (or `AWS_ENDPOINT_URL`) leads them here, and
their requests are signed as for AWS. What the requests do is passed in.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self

from realtime_kit.errors import InvalidEvent
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB, DynamoDBError

_INVOCATIONS = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_JSON = "application/x-amz-json-1.0"

Answer = tuple[int, Mapping[str, Any]]


class Send(Protocol):
    """Puts a message into a queue; its id."""

    def __call__(self, body: str, *, delay: float) -> str: ...


class Services:
    """Runs while it is entered. `url` is its address.

    `queues` and `functions` are found by name; `functions` take an event and return at once.
    `throttled(operation)` says whether DynamoDB refuses a request this time.
    """

    def __init__(
        self,
        db: DynamoDB,
        *,
        queues: Mapping[str, Send],
        functions: Mapping[str, Callable[[Any], object]],
        throttled: Callable[[str], bool] = lambda operation: False,
    ) -> None:
        self._db = db
        self._queues = queues
        self._functions = functions
        self.throttled = throttled
        self._server = _Server(("127.0.0.1", 0), _Request)
        self._server.answer = self._answer
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def queue_url(self, name: str) -> str:
        return f"{self.url}/123456789012/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str, target: str, body: bytes) -> Answer:
        request = json.loads(body)
        if found := _INVOCATIONS.fullmatch(path):
            function = self._functions.get(found[1])
            if function is None:
                return 404, {"__type": "ResourceNotFoundException", "Message": found[1]}
            function(request)
            return 202, {}
        service, _, operation = target.partition(".")
        if service == "AmazonSQS":
            return self._sqs(operation, request)
        return self._dynamodb(operation, request)

    def _dynamodb(self, operation: str, request: Mapping[str, Any]) -> Answer:
        if self.throttled(operation):
            code = "ProvisionedThroughputExceededException"
            return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "slower"}
        try:
            return 200, self._db.call(operation, request)
        except DynamoDBError as error:
            code = f"com.amazonaws.dynamodb.v20120810#{error.code}"
            return error.status, {**error.answer, "__type": code}

    def _sqs(self, operation: str, request: Mapping[str, Any]) -> Answer:
        send = self._queues.get(request["QueueUrl"].rpartition("/")[2])
        if send is None:
            return 400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist"}
        try:
            if operation == "SendMessage":
                return 200, {"MessageId": _sent(send, request)}
            sent = [
                {"Id": entry["Id"], "MessageId": _sent(send, entry)} for entry in request["Entries"]
            ]
        except InvalidEvent as error:
            return 400, {"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": str(error)}
        return 200, {"Successful": sent, "Failed": []}


def _sent(send: Send, entry: Mapping[str, Any]) -> str:
    return send(entry["MessageBody"], delay=float(entry.get("DelaySeconds", 0)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # kept connections end with the process
    answer: Callable[[str, str, bytes], Answer]


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        assert isinstance(self.server, _Server)  # noqa: S101 - for the type checker
        target = self.headers.get("X-Amz-Target", "")
        status, answer = self.server.answer(self.path, target, body)
        text = json.dumps(answer).encode()
        with suppress(ConnectionError):  # who asked is gone
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        return
