"""What a client sends, frame by frame."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.emulators.apigateway.frames import (
    Closing,
    FrameReader,
    Ping,
    Pong,
    Received,
    Text,
    Violation,
    text_message,
)

KB = 1024


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    head = bytes([opcode | (0x80 if fin else 0)])
    flag = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([flag | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([flag | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + len(payload).to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def text(payload: bytes, **options: bool) -> bytes:
    return frame(1, payload, **options)


def read(data: bytes, step: int | None = None) -> list[Received]:
    reader = FrameReader(frame=32 * KB, message=128 * KB)
    step = step or len(data)
    return [got for at in range(0, len(data), step) for got in reader.feed(data[at : at + step])]


@pytest.mark.parametrize("step", [1, 3, 1_000_000])
def test_messages_come_whole_however_they_arrive(step: int) -> None:
    data = (
        text(b"one")
        + frame(9, b"are you there")
        + text(b"tw", fin=False)
        + frame(10, b"")  # control frames come between the parts of a message
        + frame(0, b"o", fin=False)
        + frame(0, "…".encode())
        + text(b"")
        + frame(8, (1001).to_bytes(2, "big") + b"bye")
    )
    assert read(data, step) == [
        Text("one"),
        Ping(b"are you there"),
        Pong(),
        Text("two…"),
        Text(""),
        Closing(1001, "bye"),
    ]


@given(st.lists(st.text(max_size=200), max_size=5), st.integers(1, 40), st.data())
def test_what_is_sent_is_read(texts: list[str], step: int, data: st.DataObject) -> None:
    sent = b""
    for each in texts:
        payload = each.encode()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        edges = [0, *cuts, len(payload)]
        parts = [payload[a:b] for a, b in pairwise(edges)]
        for at, part in enumerate(parts):
            sent += frame(0 if at else 1, part, fin=at == len(parts) - 1)
    assert read(sent or b"", step) == [Text(each) for each in texts]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(text(b"x" * 32 * KB), None, id="a frame of 32 KB"),
        pytest.param(text(b"x" * (32 * KB + 1)), 1009, id="a frame of more"),
        pytest.param(
            b"".join(frame(0 if at else 1, b"x" * 32 * KB, fin=at == 3) for at in range(4)),
            None,
            id="128 KB in four frames",
        ),
        pytest.param(
            b"".join(frame(0 if at else 1, b"x" * 32 * KB, fin=at == 4) for at in range(5)),
            1009,
            id="a message of more",
        ),
        pytest.param(frame(2, b"binary"), 1003, id="binary"),
        pytest.param(text(b"\xff"), 1007, id="not UTF-8"),
        pytest.param(text(b"plain", masked=False), 1002, id="not masked"),
        pytest.param(b"\xc1" + text(b"compressed")[1:], 1002, id="compressed"),
        pytest.param(frame(0, b"of nothing"), 1002, id="a continuation of nothing"),
        pytest.param(text(b"a", fin=False) + text(b"b"), 1002, id="a message in a message"),
        pytest.param(frame(9, b"x" * 126), 1002, id="a long ping"),
        pytest.param(frame(9, b"x", fin=False), 1002, id="half a ping"),
        pytest.param(frame(3, b"x"), 1002, id="no opcode"),
    ],
)
def test_limits(data: bytes, expected: int | None) -> None:
    violations = [got.code for got in read(data) if isinstance(got, Violation)]
    assert violations == ([] if expected is None else [expected])


def test_a_limit_holds_before_the_payload_is_there() -> None:
    reader = FrameReader(frame=32 * KB, message=128 * KB)
    head = text(b"x" * 40 * KB)[:8]
    assert list(reader.feed(text(b"before") + head)) == [Text("before"), Violation(1009)]


def test_after_a_violation_only_the_close_is_read() -> None:
    data = frame(2, b"binary") + text(b"more") + frame(2, b"again") + frame(8, b"")
    for step in (1, len(data)):
        assert read(data, step) == [Violation(1003), Closing(None, "")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 32 * KB, 32 * KB + 1, 100 * KB, 128 * KB])
def test_messages_to_clients_are_cut_at_32_kb(size: int) -> None:
    data = text_message(b"x" * size, frame=32 * KB)
    frames, at = [], 0
    while at < len(data):
        length, start = data[at + 1], at + 2
        if length >= 126:
            wide = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + wide], "big"), start + wide
        frames.append((data[at] & 0x0F, bool(data[at] & 0x80), length))
        at = start + length
    assert sum(length for *_, length in frames) == size
    assert max(length for *_, length in frames) <= 32 * KB
    assert [opcode for opcode, *_ in frames] == [1] + [0] * (len(frames) - 1)
    assert [fin for _, fin, _ in frames] == [False] * (len(frames) - 1) + [True]


def test_what_is_no_utf_8_is_replaced() -> None:
    assert text_message(b"a\xffb", frame=100)[2:].decode() == "a�b"
