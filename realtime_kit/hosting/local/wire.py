"""WebSocket frames from a server, as bytes (RFC 6455, 5.2 and 5.5): whole, unmasked, uncompressed.

A frame of a broadcast is built once and written to every transport as it is.
"""

from __future__ import annotations

MAX_REASON = 123  # bytes; a control frame carries 125, two of them the code


def text_frame(text: str) -> bytes:
    payload = text.encode()
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """`reason` is cut at what a close frame can carry."""
    payload = code.to_bytes(2, "big") + _cut(reason.encode())
    return bytes((0x88, len(payload))) + payload


def pong_frame(data: bytes) -> bytes:
    return bytes((0x8A, len(data))) + data


def _cut(text: bytes) -> bytes:
    return text[:MAX_REASON].decode(errors="ignore").encode()
