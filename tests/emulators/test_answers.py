"""What becomes of a function's answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime_kit.emulators.apigateway import answers
from realtime_kit.emulators.apigateway.answers import Outcome


def returned(value: Any) -> Outcome:
    return Outcome("returned", value)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (returned({"statusCode": 200}), 200),
        (returned({"statusCode": 201, "headers": None}), 201),
        (returned({"statusCode": "204"}), 204),
        (returned({"statusCode": 301}), 301),
        (returned({"statusCode": 401, "body": "no"}), 401),
        (returned({"statusCode": 501}), 501),
        (returned(None), 502),
        (returned({}), 502),
        (returned({"statusCode": True}), 502),
        (returned({"statusCode": 99}), 502),
        (returned("200"), 502),
        (Outcome("failed"), 502),
        (Outcome("throttled"), 500),
        (Outcome("timed out"), 504),
    ],
)
def test_status_of_the_handshake(outcome: Outcome, status: int) -> None:
    assert answers.handshake(outcome) == (status, None)


def test_subprotocol_that_connect_chose() -> None:
    answer = {"statusCode": 200, "headers": {"sec-websocket-PROTOCOL": "chat.v2"}}
    assert answers.handshake(returned(answer)) == (200, "chat.v2")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (returned({"statusCode": 200, "body": "hi"}), ("hi", None)),
        (returned({"statusCode": 200}), (None, None)),
        (returned({"statusCode": 500, "body": "hi"}), ("hi", None)),  # the status is of no matter
        (returned({"statusCode": 200, "body": {"a": 1}}), (None, "Internal server error")),
        (returned(None), (None, "Internal server error")),
        (returned({"body": "hi"}), (None, "Internal server error")),
        (Outcome("failed"), (None, "Internal server error")),
        (Outcome("throttled"), (None, "Internal server error")),
        (Outcome("timed out"), (None, "Endpoint request timed out")),
    ],
)
def test_answer_to_a_message(outcome: Outcome, expected: tuple[str | None, str | None]) -> None:
    assert answers.route_response(outcome) == expected


def test_frames_of_aws_are_as_they_were_seen() -> None:
    assert answers.frame_error("Internal server error", "Zq0lpfIyliACGbQ=", "Zq1LaGLQliAFsbA=") == (
        '{"message": "Internal server error", "connectionId":"Zq0lpfIyliACGbQ=", '
        '"requestId":"Zq1LaGLQliAFsbA="}'
    )


@pytest.mark.parametrize(
    ("outcome", "status", "headers", "body"),
    [
        (
            returned(
                {
                    "statusCode": 201,
                    "headers": {"Content-Type": "text/plain", "X-N": 1},
                    "cookies": ["a=1; Secure", "b=2"],
                    "body": "hi",
                }
            ),
            201,
            [
                ("Content-Type", "text/plain"),
                ("X-N", "1"),
                ("set-cookie", "a=1; Secure"),
                ("set-cookie", "b=2"),
            ],
            b"hi",
        ),
        (
            returned({"statusCode": 200, "body": "aGk=", "isBase64Encoded": True}),
            200,
            [("content-type", "application/json")],
            b"hi",
        ),
        (returned({"ok": 1}), 200, [("content-type", "application/json")], b'{"ok": 1}'),
        (returned("hi"), 200, [("content-type", "application/json")], b'"hi"'),
        (returned({"statusCode": "x"}), 500, [("content-type", "application/json")], None),
        (Outcome("failed"), 500, [("content-type", "application/json")], None),
        (Outcome("timed out"), 503, [("content-type", "application/json")], None),
        (Outcome("throttled"), 503, [("content-type", "application/json")], None),
    ],
)
def test_answer_to_a_request(
    outcome: Outcome, status: int, headers: list[tuple[str, str]], body: bytes | None
) -> None:
    answer = answers.http_answer(outcome)
    assert (answer.status, answer.headers) == (status, headers)
    if body is None:
        assert set(json.loads(answer.body)) == {"message"}
    else:
        assert answer.body == body


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (returned(None), []),
        (returned({}), []),
        (returned({"statusCode": 200}), []),
        (returned({"batchItemFailures": []}), []),
        (returned({"batchItemFailures": [{"itemIdentifier": "b"}]}), ["b"]),
        (returned({"batchItemFailures": [{"itemIdentifier": "?"}]}), ["a", "b"]),
        (returned({"batchItemFailures": [{"wrong": "b"}]}), ["a", "b"]),
        (returned({"batchItemFailures": "b"}), ["a", "b"]),
        (returned("text"), ["a", "b"]),
        (Outcome("failed"), ["a", "b"]),
        (Outcome("throttled"), ["a", "b"]),
    ],
)
def test_what_of_a_batch_comes_again(outcome: Outcome, failed: list[str]) -> None:
    assert answers.failed_messages(outcome, ["a", "b"]) == failed
