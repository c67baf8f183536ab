"""The transport `ably`: the real ably-js against Ably's emulator, and an application's tokens."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

LIVE = Path(__file__).parent / "ably.live.js"
KEY = "local1.key:not-published-secret"
AUTH = 17


@pytest.fixture
def application(serve_app, with_users) -> Iterator[str]:
    """URL of a Flask application on provider `ably`; header `X-User` says who asks, in base64.
    `POST /fault` is what goes wrong."""
    pytest.importorskip("ably")
    pytest.importorskip("aiohttp")
    pytest.importorskip("cryptography")
    from flask import Flask, request

    from realtime_kit import Grant, Member, SignIn
    from realtime_kit.emulators.ably.faults import Rule
    from realtime_kit.emulators.ably.server import AblyEmulator
    from realtime_kit.flask import FlaskRealtime
    from realtime_kit.hosting.local import running

    with running(AblyEmulator([KEY])) as emulator:

        def make_revocable(world):
            (app,) = world.apps.values()
            app.keys = {name: replace(key, revocable_tokens=True) for name, key in app.keys.items()}

        emulator.call(make_revocable)
        app = Flask(__name__)
        app.testing = True
        app.config.update(
            REALTIME_PROVIDER="ably",
            REALTIME_ABLY__KEY=KEY,
            REALTIME_ABLY__ENDPOINT="127.0.0.1",
            REALTIME_ABLY__PORT=str(emulator.port),
            REALTIME_ABLY__TLS="false",
            REALTIME_ABLY__ENCRYPTION_MASTER_KEY=base64.b64encode(b"k" * 32).decode(),
        )
        rt = FlaskRealtime(app)
        users = with_users(app, rt, "ada", "bob", "zoë * 7:x")
        asked = []

        def load_user():
            if request.path.endswith("/auth"):
                asked.append(request.get_json(silent=True))
            return users.get(base64.b64decode(request.headers.get("X-User", "")).decode())

        rt.user_loader(load_user)
        rt.channel_rule("private-talk-{room}")(lambda user, room: Grant(publish=True))
        rt.channel_rule("private-cache-{room}")(lambda user, room: True)
        rt.channel_rule("presence-room-{room}")(
            lambda user, room: Grant(Member(user.id, {"name": user.id.title()}), publish=True)
        )
        rt.channel_rule("presence-quiet-{room}")(
            lambda user, room: Member(user.id, {"name": user.id.title()})
        )
        rt.sign_in(lambda user: SignIn(user.id, {"name": user.id.title()}))

        @app.get("/asked")
        def what_was_asked():
            return asked

        def ids():
            return emulator.call(lambda world: [*next(iter(world.apps.values())).connections])

        @app.post("/fault/<name>")
        def fault(name):
            if name == "cut":
                for id in ids():
                    emulator.drop(id)
            if name == "renew":
                emulator.faults.add(Rule("inject", "out", times=1, frame={"action": AUTH}))
            if name == "expire":
                emulator.faults.add(Rule("expire", "out", times=1))
            if name == "gone":  # until "back", which is longer than Ably keeps a connection
                emulator.faults.add(Rule("drop", "connect", times=None))
                for id in ids():
                    emulator.drop(id)
            if name == "back":
                emulator.advance(300)
                emulator.faults.clear()
            return {}

        with serve_app(app) as url:
            yield url


@pytest.mark.node
def test_live(run_node, application, checkout):
    node = ("--test", "--test-reporter=spec", "--test-timeout=90000", "--test-force-exit")
    run_node(*node, str(LIVE), cwd=checkout, APPLICATION=application)
