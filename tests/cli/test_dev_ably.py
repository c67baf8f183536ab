"""`realtime-kit emulate ably`, `dev` on it, and the commands that talk to it."""

from __future__ import annotations

import json
import re
import ssl
import urllib.request

import pytest
import websocket

from realtime_kit.settings import RealtimeSettings

APP = """\
from flask import Flask
from realtime_kit import Grant
from realtime_kit.flask import FlaskRealtime

app = Flask(__name__)
rt = FlaskRealtime(app)
rt.user_loader(lambda: {"sub": "ada"})
rt.channel_rule("private-orders-{id:int}")(lambda user, id: id == 1)

@app.get("/send")
def send():
    rt.trigger("private-orders-1", "shipped", {"id": 42})
    return "sent"
"""
KEY = "local0.dev:secret"
PORTS = ("--port", "0", "--realtime-port", "0")


def get(url, **options):
    with urllib.request.urlopen(url, timeout=20, **options) as answer:
        return answer.read().decode()


def post(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return json.loads(get(request))


@pytest.fixture
def emulator(start, environment):
    """A running emulator; the commands of the test find it through their environment."""
    process = start("emulate", "ably", "--port", "0", "--log")
    url = process.wait_for(r"REST +(http://127\.0\.0\.1:(\d+))")
    process.wait_for("Ctrl-C to stop")
    environment |= {
        "REALTIME_PROVIDER": "ably",
        "REALTIME_ABLY__KEY": KEY,
        "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
        "REALTIME_ABLY__PORT": url[2],
        "REALTIME_ABLY__TLS": "false",
    }
    process.url = url[1]
    return process


class TestEmulate:
    def test_it_says_what_to_pass_to_the_sdks(self, start):
        process = start("emulate", "ably", "--port", "0")
        process.wait_for("Ctrl-C to stop")
        port = int(process.wait_for(r"Realtime +ws://127\.0\.0\.1:(\d+)")[1])
        options = json.loads(process.wait_for(r"ably-js +(\{.*\})")[1])
        assert options == {"endpoint": "127.0.0.1", "port": port, "tls": False, "key": KEY}
        assert f"endpoint='127.0.0.1:{port}/'" in process.text
        assert process.end() == 0

    def test_a_secret_of_one_s_own_is_not_shown(self, start):
        process = start("emulate", "ably", "--port", "0", "--key", "mine00.one:keep-it-quiet")
        process.wait_for("Ctrl-C to stop")
        assert "mine00.one:…" in process.text
        assert "keep-it-quiet" not in process.text

    def test_tls_with_a_certificate_to_trust(self, start):
        process = start("emulate", "ably", "--port", "0", "--tls")
        url = process.wait_for(r"REST +(https://127\.0\.0\.1:\d+)")[1]
        path = process.wait_for(r"SSL_CERT_FILE=(\S+)")[1]
        assert json.loads(get(f"{url}/time", context=ssl.create_default_context(cafile=path)))
        assert process.end() == 0

    def test_its_log_is_json_without_secrets(self, emulator):
        get(f"{emulator.url}/time?key={KEY}")
        line = emulator.wait_for(r'(\{.*"kind": "request".*\})')[1]
        assert json.loads(line)["path"] == "/time"
        assert KEY.partition(":")[2] not in line

    def test_ably_js_for_pages(self, start, tmp_path):
        script = tmp_path / "node_modules" / "ably" / "build" / "ably.min.js"
        script.parent.mkdir(parents=True)
        script.write_text("globalThis.Ably = {};", encoding="utf-8")
        process = start("emulate", "ably", "--port", "0")
        url = process.wait_for(r"For pages +(http://\S+)")[1]
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert answer.read().decode() == script.read_text()

    @pytest.mark.parametrize("key", ["none", "a.b", ":x"])
    def test_a_key_that_is_none(self, invoke, key):
        result = invoke("emulate", "ably", "--port", "0", "--key", key)
        assert result.exit_code == 2
        assert "APPID.KEYID:SECRET" in result.output

    def test_a_port_that_is_taken(self, invoke, taken_port):
        result = invoke("emulate", "ably", "--port", str(taken_port))
        assert result.exit_code == 1
        assert f"port {taken_port}" in result.output


class TestDev:
    @pytest.mark.parametrize(
        ("arguments", "env"), [(["--provider", "ably"], {}), ([], {"REALTIME_PROVIDER": "ably"})]
    )
    def test_an_app_and_the_emulator(self, start, tmp_path, arguments, env):
        (tmp_path / "app.py").write_text(APP, encoding="utf-8")
        process = start("dev", "app:app", *arguments, *PORTS, env=env)
        url = process.wait_for(r"App +(http://127\.0\.0\.1:\d+)")[1]
        process.wait_for("Ctrl-C to stop")
        config = json.loads(get(f"{url}/realtime/config"))
        assert config["transports"] == ["ably"]
        ably = config["client"]["ably"]
        assert ably["script"].startswith("https://cdn.ably.com/")
        token = post(f"{url}/realtime/auth", {"channels": ["private-orders-1"]})["token"]
        address = f"ws://{ably['endpoint']}:{ably['port']}/?access_token={token}&v=6"
        browser = websocket.create_connection(address, timeout=20)
        assert json.loads(browser.recv())["action"] == 4
        browser.send(json.dumps({"action": 10, "channel": "private:orders-1"}))
        assert json.loads(browser.recv())["action"] == 11
        assert get(f"{url}/send") == "sent"
        (message,) = json.loads(browser.recv())["messages"]
        assert (message["name"], json.loads(message["data"])) == ("shipped", {"id": 42})
        browser.close()
        assert process.end() == 0

    def test_one_that_runs_already_is_used(self, start, emulator, tmp_path):
        (tmp_path / "app.py").write_text(APP, encoding="utf-8")
        process = start("dev", "app:app", *PORTS)
        url = process.wait_for(r"App +(http://127\.0\.0\.1:\d+)")[1]
        process.wait_for("Ctrl-C to stop")
        assert get(f"{url}/send") == "sent"
        emulator.wait_for(r'"path": "/channels/private:orders-1/messages"')

    def test_the_published_key_is_for_this_machine_alone(self, invoke):
        everywhere = "0.0.0.0"  # noqa: S104 - that is what is refused
        result = invoke("dev", "--provider", "ably", "--host", everywhere, "--port", "0")
        assert result.exit_code == 1
        assert "a key of your own" in result.output


@pytest.mark.usefixtures("emulator")
class TestCommands:
    def test_what_is_triggered_is_what_is_printed(self, start, run):
        names = ["orders", "private-orders", "presence-room", "#server-to-user-7"]
        listener = start("listen", *names, "--json", "--user", "op", "--count", "5")
        for name in names:
            listener.wait_for(f"(?m)^listening to {re.escape(name)}$")
        values = [{"id": 42, "name": "Zoë 😀"}, "a text", 42, None]
        for name, value in zip(names, values, strict=True):
            assert run("trigger", name, "shipped", json.dumps(value)).returncode == 0
        found = run("channels", "--json").stdout
        assert [json.loads(line)["channel"] for line in found.splitlines()] == sorted(names)
        assert run("trigger", "orders", "last").returncode == 0
        assert listener.wait() == 0
        printed = [json.loads(line) for line in listener.out]
        assert [(one["channel"], one["data"]) for one in printed] == [
            *zip(names, values, strict=True),
            ("orders", {}),
        ]

    def test_the_last_event_of_a_cache_channel(self, start, run):
        assert run("trigger", "cache-price", "price", "7").returncode == 0
        listener = start("listen", "cache-price", "--json", "--count", "1")
        assert listener.wait() == 0
        assert json.loads(listener.out[0])["data"] == 7

    def test_what_cannot_be_opened_is_said(self, invoke):
        result = invoke("listen", "private-encrypted-x")
        assert result.exit_code == 1
        assert "private-encrypted-x" in result.output

    def test_a_wrong_key(self, invoke, environment):
        environment["REALTIME_ABLY__KEY"] = "local0.dev:wrong"
        result = invoke("listen", "orders", "--timeout", "20")
        assert result.exit_code == 1
        assert "wrong" not in result.output.replace("wrong secret", "")


def test_nobody_there(invoke, environment, taken_port):
    environment |= {
        "REALTIME_PROVIDER": "ably",
        "REALTIME_ABLY__KEY": KEY,
        "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
        "REALTIME_ABLY__PORT": "1",
        "REALTIME_ABLY__TLS": "false",
    }
    result = invoke("listen", "orders")
    assert result.exit_code == 1
    assert "no connection to 127.0.0.1" in result.output


@pytest.mark.parametrize("settings", [{"endpoint": "10.0.0.1"}, {"public_endpoint": "10.0.0.1"}])
def test_the_published_key_is_refused_where_others_are(settings):
    from realtime_kit.errors import ConfigurationError

    environ = {f"REALTIME_ABLY__{name.upper()}": value for name, value in settings.items()}
    found = RealtimeSettings(
        environ={"REALTIME_PROVIDER": "ably", "REALTIME_ABLY__KEY": KEY, **environ}
    )
    with pytest.raises(ConfigurationError, match="REALTIME_ABLY__KEY"):
        found.check_credentials()
    with pytest.raises(ConfigurationError, match=re.escape(KEY)):
        found.check_credentials(development=False)
    other = RealtimeSettings(
        environ={"REALTIME_PROVIDER": "ably", "REALTIME_ABLY__KEY": "a.b:c", **environ}
    )
    other.check_credentials(development=False)
