"""Answers of HTTP/1.1, read as their bytes come. Pure.

Source: RFC 9112, "Message Body Length". The standard library's parser reads from a blocking file,
and takes ten times as long as all the rest of a post.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
MAX_BODY = 256 * 1024

_STATUS_LINE = re.compile(rb"http/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?(?:\r\n|$)")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class BadAnswer(Exception):
    """What came is no HTTP answer, or not a whole one."""


@dataclass(slots=True)
class Answer:
    """`head` is the status line and the header lines, lower case. `reusable`: the connection may
    carry another request."""

    status: int
    head: bytes
    body: bytes
    reusable: bool

    @property
    def error_type(self) -> str:
        """AWS's name of the error (`x-amzn-ErrorType`), lower case, or nothing."""
        found = _values(self.head, b"x-amzn-errortype")
        return found[0].split(b":")[0].decode("latin-1") if found else ""


class AnswerReader:
    """Reads one answer after the other from the bytes of one connection."""

    __slots__ = ("_body_at", "_buffer", "_chunked", "_head", "_keep", "_length", "_status")

    def __init__(self) -> None:
        self._buffer = b""
        self._status = 0  # 0 while the head is not whole

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once these bytes complete it. Raises `BadAnswer`."""
        buffer = self._buffer + data if self._buffer else data
        self._buffer = buffer
        while not self._status:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._check_beginning()
                return None
            self._read_head(buffer[:end].lower())
            self._body_at = end + 4
            if self._status < 200:  # an interim answer: the real one follows
                buffer = self._buffer = buffer[self._body_at :]
                self._status = 0
        if self._chunked:
            return self._read_chunks()
        if self._length is None:
            if len(buffer) - self._body_at > MAX_BODY:
                raise BadAnswer("a body without end")
            return None
        whole = self._body_at + self._length
        if len(buffer) < whole:
            return None
        return self._answer(buffer[self._body_at : whole], whole)

    def end(self) -> Answer | None:
        """The other side has closed: an answer whose body lasts until then, or none."""
        if not self._status or self._chunked or self._length is not None:
            return None
        return self._answer(self._buffer[self._body_at :], len(self._buffer))

    def _answer(self, body: bytes, whole: int) -> Answer:
        # What follows was not asked for: whose answer is the next one?
        reusable = self._keep and whole == len(self._buffer)
        answer = Answer(self._status, self._head, body, reusable)
        self._buffer = b""
        self._status = 0
        return answer

    def _check_beginning(self) -> None:
        buffer = self._buffer
        if not buffer.startswith(b"HTTP/1."[: len(buffer)]):
            raise BadAnswer("not HTTP/1")
        if len(buffer) > MAX_HEAD:
            raise BadAnswer("headers without end")

    def _read_head(self, head: bytes) -> None:
        if not (line := _STATUS_LINE.match(head)):
            raise BadAnswer("not a status line")
        self._head = head
        self._status = status = int(line[2])
        self._chunked = False
        self._length: int | None = None
        # Of what is rare, only the word is looked for: this is done for every post.
        self._keep = line[1] == b"1" and not (
            b"close" in head and any(b"close" in value for value in _values(head, b"connection"))
        )
        if status < 200 or status in (204, 304):
            self._length = 0
        elif b"transfer-encoding" in head and (codings := _values(head, b"transfer-encoding")):
            if codings != [b"chunked"]:
                raise BadAnswer("a transfer coding that nobody asked for")
            self._chunked = True
        elif lengths := _values(head, b"content-length"):
            self._length = _length(lengths)
        else:
            self._keep = False

    def _read_chunks(self) -> Answer | None:
        buffer, at = self._buffer, self._body_at
        chunks: list[bytes] = []
        if len(buffer) - at > 2 * MAX_BODY:
            raise BadAnswer("a body that is too large")
        while (line_end := buffer.find(b"\r\n", at)) >= 0:
            if not (size := _CHUNK.fullmatch(buffer, at, line_end + 2)):
                raise BadAnswer("not a chunk")
            start = line_end + 2
            length = int(size[1], 16)
            if not length:
                return self._read_trailer(b"".join(chunks), start)
            at = start + length + 2
            if length > MAX_BODY or buffer[start + length : at] not in (b"", b"\r", b"\r\n"):
                raise BadAnswer("not a chunk")
            chunks.append(buffer[start : start + length])
            if len(buffer) < at:
                break
        return None

    def _read_trailer(self, body: bytes, at: int) -> Answer | None:
        if self._buffer.startswith(b"\r\n", at):
            return self._answer(body, at + 2)
        end = self._buffer.find(b"\r\n\r\n", at)
        return None if end < 0 else self._answer(body, end + 4)


def _length(values: list[bytes]) -> int:
    length = values[0]
    if not (length.isdigit() and len(length) < 10) or len(set(values)) > 1:
        raise BadAnswer("not a length")
    if int(length) > MAX_BODY:
        raise BadAnswer("a body that is too large")
    return int(length)


def _values(head: bytes, name: bytes) -> list[bytes]:
    """The values of a header, from a head in lower case."""
    mark = b"\r\n" + name + b":"
    found = []
    at = head.find(mark)
    while at >= 0:
        start = at + len(mark)
        end = head.find(b"\r\n", start)
        found.append((head[start:] if end < 0 else head[start:end]).strip(b" \t"))
        at = head.find(mark, start)
    return found
