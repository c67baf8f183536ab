"""Resuming, and the transports sse and poll: in Node, against an application with history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

LIVE = Path(__file__).parent / "resume.live.js"


@pytest.fixture
def application(serve_app) -> Iterator[str]:
    """URL of a Flask application over an embedded server. `kept-…` and `private-kept-…` keep
    history, `short-…` five events of it, `private-plain-…` none; `notes-…` are rows.
    `POST /restart` restarts the embedded server where it was."""
    pytest.importorskip("flask")
    pytest.importorskip("aiohttp")
    from flask import Flask, request

    from realtime_kit import Row
    from realtime_kit.flask import FlaskRealtime
    from realtime_kit.hosting.local import LocalServer, running
    from realtime_kit.protocol.app import App, Key

    own = App("1", (Key("test-key", "test-secret"),))
    notes: list[tuple[str, str]] = []
    lock = threading.Lock()
    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        port = server.enter_context(running(LocalServer([own], port=0))).port
        app = Flask(__name__)
        app.testing = True
        app.config.update(
            REALTIME_PROVIDER="local",
            REALTIME_PORT=str(port),
            REALTIME_LOCAL__KEYS="test-key:test-secret",
            REALTIME_ON_ERROR="log",
        )
        rt = FlaskRealtime(app, user_id=str)
        rt.user_loader(lambda: request.headers.get("X-User"))
        rt.channel_rule("kept-{id}", history="500/1h")(lambda user, id: True)
        rt.channel_rule("private-kept-{id}", history="500/1h")(lambda user, id: user == "ada")
        rt.channel_rule("short-{id}", history="5/1h")(lambda user, id: True)
        rt.channel_rule("private-plain-{id}")(lambda user, id: user == "ada")
        rt.channel_rule("notes-{id}")(lambda user, id: True)

        @rt.source("notes-{id}", every=0.1)
        def rows(after, limit, id):
            mine = [text for box, text in notes if box == f"notes-{id}"]
            first = after or 0
            for number, text in enumerate(mine[first : first + limit], start=first + 1):
                yield Row(number, "x", text)

        @app.post("/do/trigger")
        def trigger():
            return {"done": repr(rt.trigger(**request.get_json()))}

        @app.post("/position")
        def position():
            return {"position": rt.position(request.get_json()["channel"])}

        @app.post("/note")
        def note():
            given = request.get_json()
            notes.append((given["box"], given["text"]))
            return {}

        @app.post("/restart")
        def restart():
            with lock:
                server.close()
                server.enter_context(running(LocalServer([own], port=port)))
            return {}

        with serve_app(app) as url:
            yield url


@pytest.mark.node
def test_live(run_node, application, checkout):
    node = ("--test", "--test-reporter=spec", "--test-timeout=95000")
    run_node(*node, str(LIVE), cwd=checkout, APPLICATION=application)
