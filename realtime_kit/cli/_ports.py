"""Whether something runs already."""

from __future__ import annotations

import socket


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
