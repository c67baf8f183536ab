"""What becomes of a function's answer, and what API Gateway says itself. Pure.

Sources: "Routes that require a backend integration: $connect" (2xx accepts, any other status is the
handshake's); "Set up a WebSocket API integration responses" (two-way communication); "Create AWS
Lambda proxy integrations for HTTP APIs: Lambda function response format".
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# `returned` has a value; the others are what API Gateway sees of a function that did not answer.
How = Literal["returned", "failed", "timed out", "throttled"]

INTERNAL = "Internal server error"
TIMED_OUT = "Endpoint request timed out"
FORBIDDEN = "Forbidden"
TOO_MANY = "Too Many Requests"
GOING_AWAY = 1001, "Going away"
DELETED = 1000, "Connection Closed Normally"
NO_STATUS = 1005, "Client-side close frame status not set"
CUT_OFF = 1006, ""

_REFUSALS: Mapping[How, int] = {"failed": 502, "throttled": 500, "timed out": 504}
_HTTP_FAILURES: Mapping[How, tuple[int, str]] = {
    "failed": (500, "Internal Server Error"),
    "throttled": (503, "Service Unavailable"),
    "timed out": (503, "Service Unavailable"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended. `value` is what the function returned, as JSON values."""

    how: How
    value: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`headers` may repeat a name."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def frame_error(message: str, connection_id: str, request_id: str) -> str:
    """The frame that API Gateway sends of its own accord, space for space."""
    return (
        f'{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'
    )


def handshake(outcome: Outcome) -> tuple[int, str | None]:
    """The status that `$connect` gives the handshake (2xx accepts) and the subprotocol it chose."""
    if outcome.how != "returned":
        return _REFUSALS[outcome.how], None
    status = _status(outcome.value)
    if status is None:
        return _REFUSALS["failed"], None
    headers = outcome.value.get("headers")
    if not isinstance(headers, dict):
        return status, None
    for name, value in headers.items():
        if name.lower() == "sec-websocket-protocol":
            return status, str(value)
    return status, None


def route_response(outcome: Outcome) -> tuple[str | None, str | None]:
    """Of a message: the body, which goes back where the route is two-way, and the message of the
    error frame, which is sent in any case. The status code counts for nothing."""
    if outcome.how == "timed out":
        return None, TIMED_OUT
    if outcome.how != "returned" or _status(outcome.value) is None:
        return None, INTERNAL
    body = outcome.value.get("body")
    if body is None or isinstance(body, str):
        return body, None
    return None, INTERNAL


def http_answer(outcome: Outcome) -> HttpAnswer:
    """The answer to an HTTP request, payload format 2.0."""
    if outcome.how != "returned":
        return http_error(*_HTTP_FAILURES[outcome.how])
    value = outcome.value
    if not isinstance(value, dict) or "statusCode" not in value:
        # "API Gateway makes the following assumptions": any JSON is the body of a 200.
        return HttpAnswer(200, [("content-type", "application/json")], json.dumps(value).encode())
    status = _status(value)
    if status is None:
        return http_error(*_HTTP_FAILURES["failed"])
    body = value.get("body") or ""
    if not isinstance(body, str):
        body = json.dumps(body)
    given = value.get("headers") or {}
    headers = [(str(name), str(each)) for name, each in given.items()]
    headers += [("set-cookie", cookie) for cookie in value.get("cookies") or []]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", "application/json"))
    octets = b64decode(body) if value.get("isBase64Encoded") else body.encode()
    return HttpAnswer(status, headers, octets)


def http_error(status: int, message: str) -> HttpAnswer:
    """API Gateway's own answer."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return HttpAnswer(status, [("content-type", "application/json")], body)


def failed_messages(outcome: Outcome, message_ids: list[str]) -> list[str]:
    """Which of a batch are to be delivered again, where `ReportBatchItemFailures` is on.

    An answer that is not understood counts as a failure of all: "Using Lambda with Amazon SQS:
    Success and failure conditions".
    """
    if outcome.how != "returned":
        return message_ids
    value = outcome.value
    if not value:
        return []
    failures = value.get("batchItemFailures") if isinstance(value, dict) else None
    if failures is None:
        return [] if isinstance(value, dict) else message_ids
    try:
        failed = [failure["itemIdentifier"] for failure in failures]
    except (TypeError, KeyError):
        return message_ids
    return failed if set(failed) <= set(message_ids) else message_ids


def _status(value: object) -> int | None:
    status = value.get("statusCode") if isinstance(value, dict) else None
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool):
        return None
    return status if 100 <= status < 600 else None
