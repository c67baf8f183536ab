"""Node, and an application in this process for a client in that one."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Flask


@pytest.fixture(scope="session")
def run_node() -> Callable[..., None]:
    """`run_node(*arguments, cwd, **environ)`; what it printed is why the test fails."""

    def run_node(*command: str, cwd: Path, **environ: str) -> None:
        ended = subprocess.run(
            ["node", "--no-warnings", *command],
            cwd=cwd,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=100,
        )
        if ended.returncode:
            pytest.fail(f"{ended.stdout}\n{ended.stderr}", pytrace=False)

    return run_node


@pytest.fixture
def serve_app() -> Callable[[Flask], AbstractContextManager[str]]:
    """`serve_app(app)`: its URL while the block runs."""
    from werkzeug.serving import make_server

    @contextmanager
    def serve_app(app: Flask) -> Iterator[str]:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, name="application")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return serve_app
