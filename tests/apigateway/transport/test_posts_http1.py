"""The reader of answers: however the bytes come, it reads what the standard library reads."""

from __future__ import annotations

import io
from http.client import HTTPResponse
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_kit.hosting.apigateway.http1 import (
    MAX_BODY,
    MAX_HEAD,
    Answer,
    AnswerReader,
    BadAnswer,
)

BODIES = st.binary(max_size=200)
HEADERS = st.lists(
    st.sampled_from(
        [
            "Date: Thu, 01 Jan 2026 12:00:00 GMT",
            "x-amzn-RequestId: 5f1a0b5e",
            "X-Content-Length: 7",
            "Connection: keep-alive",
            "Content-Type:application/json",
            "x-empty:",
        ]
    ),
    unique=True,
)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    parts, at = [], 0
    while at < len(body):
        size = draw(st.integers(1, len(body) - at))
        extension = draw(st.sampled_from([b"", b";a=b", b" ; c"]))
        parts.append(b"%X%s\r\n%s\r\n" % (size, extension, body[at : at + size]))
        at += size
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"]))
    return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bool]:
    """The bytes of an answer, and whether it lasts until the end of the connection."""
    status = draw(st.sampled_from([200, 204, 304, 400, 410, 429, 500, 599]))
    version = draw(st.sampled_from(["1.0", "1.1"]))
    lines = [f"HTTP/{version} {status}{draw(st.sampled_from(['', ' ', ' Some Words']))}"]
    lines += draw(HEADERS)
    body = b"" if status in (204, 304) else draw(BODIES)
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if framing == "length" or status in (204, 304):
        lines.append(f"{draw(st.sampled_from(['Content-Length', 'content-length']))}: {len(body)}")
        sent = body
    elif framing == "chunked":
        lines.append("Transfer-Encoding: Chunked")
        sent = draw(chunked(body))
    else:
        sent = body
    if draw(st.booleans()):
        lines.append("Connection: Close")
    until_end = framing == "end" and status not in (204, 304)
    return "\r\n".join([*lines, "", ""]).encode() + sent, until_end


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} - {0, len(data)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def by_the_standard_library(data: bytes) -> tuple[int, bytes, bool]:
    class Source:
        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(data)

    source: Any = Source()
    with HTTPResponse(source) as response:
        response.begin()
        return response.status, response.read(), not response.will_close


def read(reader: AnswerReader, parts: list[bytes]) -> Answer | None:
    for place, part in enumerate(parts):
        answer = reader.feed(part)
        if answer is not None:
            assert place == len(parts) - 1, "an answer before its last byte"
            return answer
    return None


@given(st.lists(answers(), min_size=1, max_size=3), st.lists(st.integers(0, 2000), max_size=8))
@settings(deadline=None, max_examples=300)
def test_as_the_standard_library_reads(sent: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    reader = AnswerReader()
    for data, until_end in sent:
        answer = read(reader, pieces(data, cuts))
        if until_end:
            assert answer is None
            answer = reader.end()
        assert answer is not None
        status, body, reusable = by_the_standard_library(data)
        # HTTP/1.0 is not worth keeping; and of two Connection headers the library reads the first.
        wanted = reusable and b"Connection: Close" not in data and b"HTTP/1.0" not in data
        assert answer.reusable == wanted
        assert (answer.status, answer.body) == (status, body)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_an_answer_or_are_refused(data: bytes) -> None:
    for garbage in (data, b"HTTP/1.1 200 OK\r\n" + data, b"HTTP/1.1 200 OK\r\n\r\n" + data):
        reader = AnswerReader()
        try:
            found = reader.feed(garbage) or reader.end()
        except BadAnswer:
            continue
        assert found is None or 200 <= found.status < 600


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    answer = AnswerReader().feed(interim + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
    assert answer
    assert (answer.status, answer.reusable) == (410, True)


def test_what_was_not_asked_for_ends_the_connection() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    answer = AnswerReader().feed(whole + b"HTTP")
    assert answer
    assert (answer.body, answer.reusable) == (b"ok", False)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2 * MAX_BODY + b"11",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    ],
    ids=lambda head: repr(head[:60]),
)
def test_what_is_refused(head: bytes) -> None:
    with pytest.raises(BadAnswer):
        AnswerReader().feed(head)


def test_the_same_length_twice_is_one() -> None:
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    answer = AnswerReader().feed(twice)
    assert answer
    assert answer.body == b"ok"


def test_a_connection_that_ends_too_early_gives_no_answer() -> None:
    for begun in (
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ):
        reader = AnswerReader()
        assert reader.feed(begun) is None
        assert reader.end() is None


def test_the_name_that_aws_gives_an_error() -> None:
    head = b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\nx-amzn-ErrorType: %s\r\n\r\n"
    for given_name in (b"LimitExceededException", b"LimitExceededException:http://internal/"):
        answer = AnswerReader().feed(head % given_name)
        assert answer
        assert answer.error_type == "limitexceededexception"
