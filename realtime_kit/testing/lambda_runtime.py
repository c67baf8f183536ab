"""A function as Lambda runs it: a fresh process under `awslambdaric`, Lambda's own runtime client,
with the content of its zip, its environment, and nothing else of this machine.

    with running(root, "lambdas/auth.handler", {"REALTIME_PROVIDER": "pusher", ...}) as function:
        answer = function.invoke(event)

Needs Linux and the package `awslambdaric`. Source: Lambda Developer Guide, "Using the Lambda
runtime API for custom runtimes".
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from realtime_kit.errors import ConfigurationError

DEADLINE = 30.0  # seconds for an answer
RUNTIME = ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client*.so")


class RuntimeApi(ThreadingHTTPServer):
    """What the process asks for invocations, and tells the answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.invocations: Queue[Any] = Queue()
        self.answers: Queue[tuple[str, Any]] = Queue()
        self.polled = threading.Event()
        self.polled_at = 0.0
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body at once: two writes would wait for each other's ACK

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # the process was killed
            super().handle()

    def do_GET(self) -> None:
        if not self.server.polled.is_set():
            self.server.polled_at = time.monotonic()
            self.server.polled.set()
        while not self.server.closing.is_set():
            try:
                event = self.server.invocations.get(timeout=0.05)
            except Empty:
                continue
            self._answer(200, json.dumps(event).encode())
            return

    def do_POST(self) -> None:
        kind = "/".join(self.path.split("/")[3:])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.answers.put((kind.rpartition("/")[2] if "invocation" in kind else kind, body))
        self._answer(202, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")  # without it the client crashes
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::function:x")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Running:
    """A function in its own process."""

    def __init__(self, api: RuntimeApi, process: subprocess.Popen[str], started_at: float) -> None:
        self.api = api
        self.process = process
        self._started_at = started_at

    def invoke(self, event: Any) -> Any:
        """The answer. Raises `AssertionError` with what the function reported instead."""
        self.api.invocations.put(event)
        return self.answer("response")

    def answer(self, expected: str) -> Any:
        """The body of the next report, which is `response`, `error` or `init/error`."""
        ends = time.monotonic() + DEADLINE
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                kind, body = self.api.answers.get(timeout=0.1)
            except Empty:
                continue
            assert kind == expected, body
            return body
        raise self._failure()

    def init_seconds(self) -> float:
        """From the start of the process until it asked for its first invocation."""
        ends = time.monotonic() + DEADLINE
        while not self.api.polled.wait(0.01):
            if self.process.poll() is not None or time.monotonic() > ends:
                raise self._failure()
        return self.api.polled_at - self._started_at

    def cpu_seconds(self) -> float:
        """Computed so far, by the process and the kernel for it; to the kernel's tick, 10 ms."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> int:
        """Resident, in bytes, so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kilobytes) * 1024

    def _failure(self) -> AssertionError:
        self.process.kill()
        assert self.process.stdout is not None
        return AssertionError(f"no answer: {self.process.stdout.read()}")


@contextmanager
def running(
    root: Path, handler: str, environ: Mapping[str, str], *, beside: Iterable[str] = ()
) -> Iterator[Running]:
    """Run the handler of what is in `root` until the block ends.

    `beside` are packages of this Python's that the runtime has, as Lambda's has boto3: names, or
    patterns of names, in site-packages.
    """
    with ExitStack() as stack:
        client = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _link((*RUNTIME, *beside), client)
        api = stack.enter_context(RuntimeApi())
        thread = threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(api.shutdown)
        stack.callback(api.closing.set)
        started_at = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 (this interpreter)
            # -S: without the site-packages of this machine.
            [sys.executable, "-S", "-m", "awslambdaric", handler],
            cwd=root,
            env={
                "AWS_LAMBDA_RUNTIME_API": api.address,
                "AWS_LAMBDA_FUNCTION_NAME": handler,
                "LAMBDA_TASK_ROOT": str(root),
                "PYTHONPATH": str(client),
                "PYTHONDONTWRITEBYTECODE": "1",
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stack.enter_context(process)  # waits for its end, and closes its output
        stack.callback(process.kill)
        yield Running(api, process, started_at)


def _link(names: Iterable[str], folder: Path) -> None:
    found = importlib.util.find_spec("awslambdaric")
    if found is None or found.origin is None:
        raise ConfigurationError("awslambdaric is missing: pip install awslambdaric")
    site = Path(found.origin).parent.parent
    for path in (path for name in names for path in site.glob(name)):
        (folder / path.name).symlink_to(path)
