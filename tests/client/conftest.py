"""Node, and an application in this process for a client in that one."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from realtime_kit.flask import FlaskRealtime

WATCH = Path(__file__).parent / "watch.js"


@dataclass
class User:
    """Who asks, and the orders that they may see."""

    id: str
    orders: set[int] = field(default_factory=lambda: {1, 2})


@pytest.fixture(scope="session")
def run_node() -> Callable[..., None]:
    """`run_node(*arguments, cwd, **environ)`; what it printed is why the test fails."""

    def run_node(*command: str, cwd: Path, **environ: str) -> None:
        watch = ["--import", str(WATCH)] if "--test" in command else []
        ended = subprocess.run(
            ["node", "--no-warnings", *watch, *command],
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


@pytest.fixture
def with_users() -> Callable[..., dict[str, User]]:
    """`with_users(app, rt, *ids)`: them by id, for rules to ask. `POST /do/VERB` calls that method
    of `rt`; `POST /forbid` takes an order away from a user."""
    request = pytest.importorskip("flask").request

    def with_users(app: Flask, rt: FlaskRealtime, *ids: str) -> dict[str, User]:
        users = {id: User(id) for id in ids}
        rt.channel_rule("private-orders-{id:int}")(lambda user, id: id in user.orders)
        rt.channel_rule("private-encrypted-{room}")(lambda user, room: True)

        @app.post("/do/<verb>")
        def do(verb: str) -> dict[str, str]:
            return {"done": repr(getattr(rt, verb)(**request.get_json()))}

        @app.post("/forbid")
        def forbid() -> dict[str, str]:
            asked = request.get_json()
            users[asked["user"]].orders.discard(asked["order"])
            return {}

        return users

    return with_users
