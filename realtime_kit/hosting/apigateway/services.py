"""What is to happen later or elsewhere: SQS takes it, or Lambda is invoked, by a signed request.

Sources: Amazon SQS API Reference, "SendMessage", "SendMessageBatch" (AWS JSON protocol 1.0); Lambda
API Reference, "Invoke".
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from realtime_kit.errors import ProviderError, ProviderUnavailable, RateLimited, Rejected
from realtime_kit.hosting.apigateway.dynamodb import Http, HttpAnswer
from realtime_kit.hosting.apigateway.sigv4 import CredentialSource, Signer

MAX_DELAY = 900  # seconds: SQS, "DelaySeconds"
MAX_BATCH = 10  # messages
MAX_BATCH_BYTES = 200_000  # of the 256 KiB that a batch had for long, with room for what is around
TRIES = 3

JSON = "application/x-amz-json-1.0"


class _Service:
    """Requests to one service, with its errors as ours. `http` connects to `host`."""

    def __init__(
        self,
        name: str,
        http: Http,
        host: str,
        *,
        region: str,
        credentials: CredentialSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._http = http
        self._host = host
        self._signer = Signer(name, region)
        self._credentials = credentials
        self._clock = clock

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Tried again at once while the service is not there, for none of this does harm twice."""
        for left in reversed(range(TRIES)):
            signed = self._signer.headers(
                self._credentials(), self._clock(), "POST", self._host, path, headers, body
            )
            try:
                answer = self._http.request("POST", path, headers=signed, body=body)
                if 200 <= answer.status < 300:
                    return answer
                failure: ProviderError = self._failure(answer)
            except ProviderUnavailable as error:
                failure = error
            if not left or not failure.retryable:
                break
        raise failure

    def _failure(self, answer: HttpAnswer) -> ProviderError:
        why = answer.body[:300].decode(errors="replace")
        what = f"{self._name} answered {answer.status}: {why}"
        if answer.status == 429 or b"Throttl" in answer.body:
            return RateLimited(what, provider="aws", status=answer.status)
        if answer.status >= 500:
            return ProviderUnavailable(what, provider="aws", status=answer.status, retryable=True)
        return Rejected(what, provider="aws", status=answer.status)


class Sqs:
    """The queue at `url`. Messages are objects of JSON values."""

    def __init__(
        self,
        url: str,
        http: Http,
        host: str,
        *,
        region: str,
        credentials: CredentialSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._service = _Service(
            "sqs", http, host, region=region, credentials=credentials, clock=clock
        )

    def send(self, message: Mapping[str, Any], delay: float = 0.0) -> None:
        """Have a message delivered in `delay` seconds (rounded up), at least once."""
        entry = {"MessageBody": _encode(message), "DelaySeconds": _seconds(delay)}
        self._call("SendMessage", {"QueueUrl": self._url, **entry})

    def send_many(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Have each delivered now. Raises if one could not be sent, when others may be."""
        for chunk in _chunks([_encode(message) for message in messages]):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(chunk)]
            answer = self._call("SendMessageBatch", {"QueueUrl": self._url, "Entries": entries})
            if failed := answer.get("Failed"):
                raise ProviderUnavailable(
                    f"sqs did not take {len(failed)} of {len(chunk)} messages",
                    provider="aws",
                    code=str(failed[0].get("Code")),
                    retryable=True,
                    maybe_sent=True,
                )

    def _call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": JSON, "X-Amz-Target": f"AmazonSQS.{operation}"}
        answer = self._service.post("/", headers, _encode(request).encode())
        found: dict[str, Any] = json.loads(answer.body)
        return found


class Function:
    """A Lambda function, invoked asynchronously: Lambda takes the event, and runs it soon."""

    def __init__(
        self,
        name: str,
        http: Http,
        host: str,
        *,
        region: str,
        credentials: CredentialSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = f"/2015-03-31/functions/{quote(name, safe='')}/invocations"
        self._service = _Service(
            "lambda", http, host, region=region, credentials=credentials, clock=clock
        )

    def invoke(self, event: Mapping[str, Any]) -> None:
        headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": "Event"}
        self._service.post(self._path, headers, _encode(event).encode())


def _seconds(delay: float) -> int:
    return min(MAX_DELAY, max(0, math.ceil(delay)))


def _chunks(bodies: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for body in bodies:
        if chunk and (len(chunk) == MAX_BATCH or size + len(body) > MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(body)
        size += len(body)
    if chunk:
        yield chunk


_encode = json.JSONEncoder(separators=(",", ":")).encode  # ASCII: characters are bytes
