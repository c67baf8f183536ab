"""Lambda functions: a handler that is passed in, run in threads, one for each invocation.

Sources: Lambda Developer Guide, "Using the Lambda context object to retrieve Python function
information", "Configure Lambda function timeout", "Understanding Lambda function scaling".
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from realtime_kit.emulators.apigateway.answers import Outcome
from realtime_kit.emulators.apigateway.documents import ACCOUNT

_log = logging.getLogger("realtime_kit.emulators")

Handler = Callable[[Any, "Context"], Any]


class Killed(BaseException):
    """The process of the function ended, in the middle of whatever it did. A handler may raise it.

    No `except Exception` stops it. `finally` blocks run, which they would not in a process that is
    really killed.
    """


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler gets as its second argument."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: str
    region: str = field(repr=False)
    deadline: float = field(repr=False)  # of time.monotonic()
    function_version: str = "$LATEST"
    client_context: None = None
    identity: None = None

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return f"{self.function_version}/{self.aws_request_id}"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


@dataclass(eq=False)
class Function:
    """A Lambda function.

    `handler` is read at each invocation, so it may be set when the gateway's address is known.
    `timeout` is real seconds, after which it is killed; `memory` is MB, for the bill; of more than
    `concurrency` invocations at a time the rest are throttled, as by reserved concurrency.

    On Lambda an environment runs one invocation at a time. Here all of them share one process: what
    a handler keeps between invocations must be thread-safe.
    """

    name: str
    handler: Handler
    timeout: float = 10.0
    memory: int = 512
    concurrency: int = 1000
    running: int = field(default=0, init=False)


class Invocation:
    """One run of a function. `outcome` is of the loop that began it; `requests` counts the
    `@connections` requests that came meanwhile, `seconds` is how long it took."""

    def __init__(self, function: Function, event: Any, request_id: str, region: str) -> None:
        self.id = request_id
        self.function = function
        self.requests = 0
        self.seconds = 0.0
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._event = json.dumps(event)
        self._context = Context(
            function.name,
            request_id,
            str(function.memory),
            region,
            time.monotonic() + function.timeout,
        )
        self._lock = threading.Lock()
        self._over = False
        self._why = ""
        self._thread = threading.Thread(
            target=self._run, name=f"lambda-{function.name}-{request_id}", daemon=True
        )

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()
        timer = self._loop.call_later(
            self.function.timeout,
            self.kill,
            f"Task timed out after {self.function.timeout:.2f} seconds",
        )
        self.outcome.add_done_callback(lambda _: timer.cancel())

    def kill(self, why: str, hang_up: socket.socket | None = None) -> None:
        """End the thread as soon as it runs Python code again; the invocation ends at once.

        `hang_up` is the socket that the thread waits for: it is shut in the same breath, because
        under a tracer CPython 3.11 runs no other thread until the killed one has noticed.
        """
        with self._lock:
            if self._over or self._why or self._thread.ident is None:
                return
            self._why = why
            thread, death = ctypes.c_ulong(self._thread.ident), ctypes.py_object(Killed)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, death)
            if hang_up is not None:
                with suppress(OSError):  # the other end was quicker
                    hang_up.shutdown(socket.SHUT_RDWR)
        self._loop.call_soon_threadsafe(self._end, Outcome("failed", error=why))

    def _run(self) -> None:
        try:
            outcome = self._call()
            with self._lock:
                self._over = True  # nobody kills it from here on
        except BaseException as death:  # Killed, SystemExit: on Lambda the process is gone
            outcome = Outcome("failed", error=self._why or type(death).__name__)
        with suppress(RuntimeError):  # nobody waits for it: the loop is closed
            self._loop.call_soon_threadsafe(self._end, outcome)

    def _call(self) -> Outcome:
        try:
            value = self.function.handler(json.loads(self._event), self._context)
            # As the runtime does: what is no JSON is the function's error.
            return Outcome("returned", json.loads(json.dumps(value)))
        except Exception as error:  # whatever a handler raises is its invocation's failure
            _log.exception("%s failed", self.function.name)
            return Outcome("failed", error=f"{type(error).__name__}: {error}")

    def _end(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.seconds = time.monotonic() - self._began
            self.outcome.set_result(outcome)
