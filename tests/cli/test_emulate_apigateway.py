"""`realtime-kit emulate apigateway`: a project's own functions, all of them, without AWS."""

from __future__ import annotations

import json
import time
import urllib.request
from urllib.parse import urlencode

import jwt
import pusher
import pytest
import websocket

SECRET = "a secret of at least thirty-two bytes"
TOKEN = "a-token-of-services"
CHANNEL = "private-of-the-project"
RULE = f"""

@realtime.channel_rule("{CHANNEL}")
def own(user: Claims) -> bool:
    return True
"""


@pytest.fixture
def site(start, invoke, tmp_path):
    """A project as `init` makes it, with a rule of its own; its address."""
    assert invoke("init", str(tmp_path)).exit_code == 0
    app = tmp_path / "lambdas" / "app.py"
    app.write_text(app.read_text(encoding="utf-8") + RULE, encoding="utf-8")
    env = {"JWT_SECRET": SECRET, "REALTIME_WEB__TRIGGER_TOKENS": TOKEN}
    process = start("emulate", "apigateway", "--port", "0", env=env)
    yield process.wait_for(r"Config +(http://127\.0\.0\.1:\d+)/realtime/config")[1]
    assert process.end() == 0


def ask(url, token=None, body=None, kind="application/json"):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind} if token else {}
    request = urllib.request.Request(url, body and body.encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def test_a_project_of_ones_own(site):
    given = json.loads(ask(f"{site}/realtime/config"))["client"]["socket"]
    assert b"export" in ask(f"{site}/realtime/client/realtime.js")
    address = f"ws://{given['host']}:{given['port']}{given['path']}/app/{given['key']}?protocol=7"
    page = websocket.create_connection(address, timeout=20)
    socket_id = json.loads(json.loads(page.recv())["data"])["socket_id"]
    user = jwt.encode({"sub": "7", "exp": time.time() + 600}, SECRET, algorithm="HS256")
    asked = urlencode({"socket_id": socket_id, "channel_name": CHANNEL})
    form = "application/x-www-form-urlencoded"
    proof = json.loads(ask(f"{site}/realtime/auth", user, asked, form))
    data = {"channel": CHANNEL, "auth": proof["auth"]}
    page.send(json.dumps({"event": "pusher:subscribe", "data": data}))
    assert json.loads(page.recv())["event"] == "pusher_internal:subscription_succeeded"

    host, _, port = site.removeprefix("http://").partition(":")
    sdk = pusher.Pusher(
        "1", given["key"], "app-secret", host=host, port=int(port), ssl=False, timeout=20
    )
    sdk.trigger(CHANNEL, "shipped", {"id": 42})
    assert json.loads(json.loads(page.recv())["data"]) == {"id": 42}
    event = {"channels": [CHANNEL], "name": "ready", "data": {"id": 43}}
    ask(f"{site}/realtime/trigger", TOKEN, json.dumps(event))
    assert json.loads(json.loads(page.recv())["data"]) == {"id": 43}
    page.close()
