"""`realtime-kit dev --provider aws`: the functions that are deployed, in the emulator."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
import websocket

APP = """\
from flask import Flask
from realtime_kit.flask import FlaskRealtime

app = Flask(__name__)
rt = FlaskRealtime(app)
seen = []

@app.get("/send")
def send():
    rt.trigger("orders", "shipped", {"id": 42})
    return "sent"

@app.get("/seen")
def heard():
    return seen

@rt.on("*")
def saw(event):
    seen.append([event.kind, event.channel])
"""


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("arguments", "env"), [(["--provider", "aws"], {}), ([], {"REALTIME_PROVIDER": "aws"})]
)
def test_an_app_and_its_deployment(start, tmp_path, until, arguments, env):
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    ports = ("--port", "0", "--realtime-port", "0")
    process = start("dev", "app:app", *arguments, *ports, env=env)
    url = process.wait_for(r"App +(http://127\.0\.0\.1:\d+)")[1]
    process.wait_for("Ctrl-C to stop")
    config = json.loads(get(f"{url}/realtime/config"))["client"]["socket"]
    address = f"ws://{config['host']}:{config['port']}{config['path']}/app/{config['key']}"
    browser = websocket.create_connection(f"{address}?protocol=7", timeout=20)
    assert json.loads(browser.recv())["event"] == "pusher:connection_established"
    browser.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": "orders"}}))
    assert json.loads(browser.recv())["event"] == "pusher_internal:subscription_succeeded"
    assert get(f"{url}/send") == "sent"
    event = json.loads(browser.recv())
    assert (event["event"], json.loads(event["data"])) == ("shipped", {"id": 42})
    until(lambda: ["channel_occupied", "orders"] in json.loads(get(f"{url}/seen")))
    browser.close()
    assert process.end() == 0
    assert re.search(r"wsPath +/dev\?p=", process.text)


def test_published_keys_are_for_this_machine_alone(invoke):
    everywhere = "0.0.0.0"  # noqa: S104 - that is what is refused
    result = invoke("dev", "--provider", "aws", "--host", everywhere, "--port", "0")
    assert result.exit_code == 1
    assert "REALTIME_AWS__KEYS" in result.output
