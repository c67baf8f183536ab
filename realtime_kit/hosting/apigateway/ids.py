"""connectionId <-> socket id: a bijection, so that no table maps one to the other. Pure.

A connectionId of API Gateway is the base64url of 11 bytes. Halved into two numbers of 44 bits it
is a socket id, which Pusher's clients and SDKs want as `\\d+\\.\\d+`. Any other id (a stand-in's
UUID, say) is written byte by byte behind a number that no half of 44 bits can be.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_HALF = (1 << 44) - 1
_REAL = re.compile(r"[A-Za-z0-9_-]{15}=")
_HALVES = re.compile(r"(0|[1-9][0-9]{0,13})\.(0|[1-9][0-9]{0,13})")
_OTHER = str(_HALF + 1)
# Three digits a byte behind a 1, which keeps leading zeros; no arithmetic, so no limit on digits.
_BYTES = re.compile(_OTHER + r"\.1((?:[01][0-9]{2}|2[0-4][0-9]|25[0-5])*)")


def to_socket_id(connection_id: str) -> str:
    """The socket id of a connection, for any id."""
    if _REAL.fullmatch(connection_id):
        number = int.from_bytes(urlsafe_b64decode(connection_id), "big")
        if _real_id(number) == connection_id:  # else its last character has bits to spare
            return f"{number >> 44}.{number & _HALF}"
    octets = connection_id.encode("utf-8", "surrogatepass")
    return f"{_OTHER}.1{''.join(f'{octet:03d}' for octet in octets)}"


def to_connection_id(socket_id: str) -> str | None:
    """The one connectionId that has this socket id; None if there can be none."""
    if halves := _HALVES.fullmatch(socket_id):
        high, low = int(halves[1]), int(halves[2])
        if high <= _HALF and low <= _HALF:
            return _real_id(high << 44 | low)
    other = _BYTES.fullmatch(socket_id)
    if other is None:
        return None
    digits = other[1]
    octets = bytes(int(digits[at : at + 3]) for at in range(0, len(digits), 3))
    try:
        connection_id = octets.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    # A real id in the other form would be a second socket id of one connection.
    return connection_id if to_socket_id(connection_id) == socket_id else None


def _real_id(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(11, "big")).decode()
