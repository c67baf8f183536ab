"""What the endpoints' tests share."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest


@pytest.fixture
def later():
    """`with later(condition, call, *arguments)`: a thread makes the call when it is time."""

    @contextmanager
    def run(condition, call, *arguments):
        def wait():
            deadline = time.monotonic() + 10
            while not condition():
                assert time.monotonic() < deadline
                threading.Event().wait(0.005)
            call(*arguments)

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)

    return run
