"""`realtime-kit dev` and `demo`: two servers, one command, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import websocket

APP = """\
import os
from flask import Flask
from realtime_kit.flask import FlaskRealtime

app = Flask(__name__)
rt = FlaskRealtime(app)
seen = []

@app.get("/")
def index():
    return "ANSWER"

@app.get("/state")
def state():
    names = ("REALTIME_PROVIDER", "REALTIME_PORT", "FLASK_DEBUG", "FROM_DOTENV")
    return {
        "pid": os.getpid(),
        "debug": app.debug,
        "seen": seen,
        "environ": {name: os.environ.get(name) for name in names},
    }

@app.get("/send")
def send():
    rt.trigger("orders", "shipped", {"id": 42})
    return "sent"

@rt.on("*")
def saw(event):
    seen.append([event.kind, event.channel])
"""


@pytest.fixture
def app_file(tmp_path) -> Path:
    """The user's app.py; `write` it again to change the answer of `/`."""
    path = tmp_path / "app.py"
    write(path, "one")
    return path


def write(path: Path, answer: str, text: str = APP) -> None:
    path.write_text(text.replace("ANSWER", answer), encoding="utf-8")


@pytest.fixture
def dev(start):
    """Start `dev` on free ports; returns the process and the app's URL."""

    def start_dev(*arguments: str, command: str = "dev", **options):
        ports = ("--port", "0", "--realtime-port", "0")
        process = start(command, *arguments, *ports, **options)
        url = process.wait_for(r"App +(http://127\.0\.0\.1:\d+)")[1]
        process.wait_for("Ctrl-C to stop")
        return process, url

    return start_dev


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def body(url: str) -> str:
    """Like `get`; nothing for a request that a restart of the app cut off."""
    try:
        return get(url)
    except (http.client.HTTPException, OSError):
        return ""


def state(url: str) -> dict:
    return json.loads(get(f"{url}/state"))


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for has."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"


def is_free(url: str) -> bool:
    host, port = re.findall(r"//(.*):(\d+)", url)[0]
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) != 0


@pytest.mark.usefixtures("app_file")
class TestRuns:
    def test_the_app_and_the_server_together(self, dev, until):
        process, url = dev("app:app")
        assert get(url) == "one"
        socket_url = process.wait_for(r"ws://\S+/app/app-key")[0]
        client = websocket.create_connection(f"{socket_url}?protocol=7", timeout=20)
        client.recv()
        client.send('{"event":"pusher:subscribe","data":{"channel":"orders"}}')
        client.recv()
        assert get(f"{url}/send") == "sent"
        event = json.loads(client.recv())
        assert (event["event"], json.loads(event["data"])) == ("shipped", {"id": 42})
        until(lambda: ["channel_occupied", "orders"] in state(url)["seen"])
        client.close()

    def test_what_the_app_finds_in_its_environment(self, dev, tmp_path):
        (tmp_path / ".env").write_text("FROM_DOTENV=yes\n", encoding="utf-8")
        process, url = dev("app:app")
        port = process.wait_for(r"ws://127\.0\.0\.1:(\d+)")[1]
        found = state(url)
        assert found["debug"] is True
        assert found["environ"] == {
            "REALTIME_PROVIDER": "local",
            "REALTIME_PORT": port,
            "FLASK_DEBUG": "1",
            "FROM_DOTENV": "yes",
        }

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("app", APP),
            ("shop:create_app()", "def create_app():\n"),
            ("shop:create_app('x', debug=True)", "def create_app(name, debug):\n"),
        ],
    )
    def test_modules_names_and_factories(self, dev, tmp_path, name, text):
        module = tmp_path / f"{name.partition(':')[0]}.py"
        if text is not APP:
            body = "".join(f"    {line}\n" for line in APP.splitlines())
            text = f"{text}{body}    return app\n"
        write(module, "one", text)
        _, url = dev(name, "--no-reload")
        assert get(url) == "one"

    def test_another_provider_needs_no_embedded_server(self, dev):
        process, url = dev("app:app", env={"REALTIME_PROVIDER": "null"})
        process.wait_for("Provider +null")
        assert "ws://" not in process.text
        assert state(url)["environ"]["REALTIME_PROVIDER"] == "null"
        assert get(f"{url}/send") == "sent"

    def test_the_official_sdk_pointed_here_gets_a_server(self, dev):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        env = {
            "REALTIME_PROVIDER": "pusher",
            "PUSHER_URL": f"http://k:s@127.0.0.1:{port}/apps/9",
            "PUSHER_CLUSTER": "mt1",
        }
        process, url = dev("app:app", env=env)
        process.wait_for(f"ws://127.0.0.1:{port}/app/k")
        assert get(f"{url}/send") == "sent"
        assert "not sent" not in process.text

    def test_or_uses_the_one_that_is_there(self, dev, served):
        pair = served.app.key
        env = {
            "REALTIME_PROVIDER": "pusher",
            "PUSHER_URL": f"http://{pair.key}:{pair.secret}@127.0.0.1:{served.port}/apps/1",
            "PUSHER_CLUSTER": "mt1",
        }
        process, url = dev("app:app", env=env)
        process.wait_for("Provider +pusher")
        assert get(f"{url}/send") == "sent"
        assert "not sent" not in process.text


class TestReload:
    def test_a_change_restarts_the_app_and_nothing_else(self, dev, app_file, until):
        process, url = dev("app:app")
        first = state(url)["pid"]
        client = websocket.create_connection(
            process.wait_for(r"ws://\S+")[0] + "?protocol=7", timeout=20
        )
        client.recv()
        assert get(url) == "one"
        write(app_file, "twoo")
        until(lambda: body(url) == "twoo")
        until(lambda: is_gone(first))
        assert state(url)["pid"] != first
        client.send('{"event":"pusher:ping","data":{}}')
        assert json.loads(client.recv())["event"] == "pusher:pong"
        client.close()
        assert process.text.count("Ctrl-C to stop") == 1

    def test_a_mistake_is_shown_until_it_is_mended(self, dev, app_file, until):
        _, url = dev("app:app")
        assert get(url) == "one"
        write(app_file, "two", APP + "\nraise RuntimeError('half an edit')\n")
        until(lambda: "half an edit" in body(url))
        write(app_file, "three", APP.replace("app = Flask", "application = Flask"))
        until(lambda: "The app does not load" in body(url) and "half an edit" not in body(url))
        write(app_file, "fixed")
        until(lambda: body(url) == "fixed")

    def test_a_mistake_at_the_start_too(self, dev, app_file, until):
        write(app_file, "one", "import nothing_of_that_name\n" + "x = (\n")
        process, url = dev("app:app")
        process.wait_for("waiting for a change")
        assert "SyntaxError" in get(url)
        write(app_file, "fixed")
        until(lambda: body(url) == "fixed")

    def test_not_where_it_is_not_wanted(self, dev, app_file):
        process, url = dev("app:app", "--no-reload")
        assert get(url) == "one"
        assert "Debugger" not in process.text
        assert process.end() == 0


class TestEnds:
    @pytest.mark.parametrize(
        ("number", "reload"), [(signal.SIGINT, "--reload"), (signal.SIGTERM, "--no-reload")]
    )
    def test_both_are_gone(self, dev, app_file, number, reload):
        process, url = dev("app:app", reload)
        server = process.wait_for(r"HTTP API +(http://\S+)/apps")[1]
        pid = state(url)["pid"]
        assert process.end(number) == 0
        assert is_gone(pid)
        assert is_free(url)
        assert is_free(server)
        assert "Traceback" not in process.text

    def test_ctrl_c_in_a_terminal_reaches_both(self, dev, app_file):
        """A terminal signals the whole group."""
        process, url = dev("app:app")
        pid = state(url)["pid"]
        os.kill(pid, signal.SIGINT)
        assert process.end() == 0
        assert is_gone(pid)
        assert "Traceback" not in process.text

    @pytest.mark.parametrize("reload", [True, False])
    def test_a_second_signal_while_it_ends_is_no_traceback(self, dev, app_file, reload):
        again = """
import atexit, os, signal, sys
atexit.register(lambda: print("ended", file=sys.stderr))
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)  # one that comes while it loads
"""
        write(app_file, "one", APP + again)
        process, _ = dev("app:app", *([] if reload else ["--no-reload"]))

        assert process.end(signal.SIGTERM) == 0
        assert "ended" in process.text
        assert "Traceback" not in process.text

    def test_even_if_it_is_killed_nothing_stays(self, dev, app_file, until):
        process, url = dev("app:app")
        pid = state(url)["pid"]
        process.popen.kill()
        until(lambda: is_gone(pid) and is_free(url))

    def test_what_waits_is_sent_before_the_app_ends(self, dev, app_file, tmp_path):
        marker = tmp_path / "ended"
        text = f"import atexit\natexit.register(lambda: open({str(marker)!r}, 'w').close())\n"
        write(app_file, "one", text + APP)
        process, url = dev("app:app")
        assert get(url) == "one"
        assert process.end(signal.SIGTERM) == 0
        assert marker.exists()

    def test_an_app_that_ends_itself_ends_all(self, dev, app_file):
        write(app_file, "one", APP + "\n@app.get('/exit')\ndef end():\n    os._exit(7)\n")
        process, url = dev("app:app")
        assert get(url) == "one"
        with pytest.raises(OSError, match=r"closed|reset"):
            get(f"{url}/exit")
        assert process.wait() == 7


class TestRefuses:
    def test_the_apps_port_in_use(self, run, app_file, taken_port):
        done = run("dev", "app:app", env={"PORT": str(taken_port), "REALTIME_PORT": "0"})
        assert done.returncode == 1
        assert done.stderr == (
            f"realtime-kit: port {taken_port} on 127.0.0.1 is in use: end what has it, or choose "
            "another for the app with --port or PORT\n"
        )

    def test_the_servers_port_in_use(self, run, app_file, taken_port):
        done = run("dev", "app:app", "--port", "0", env={"REALTIME_PORT": str(taken_port)})
        assert done.returncode == 1
        assert done.stderr.startswith(f"realtime-kit: port {taken_port} on 127.0.0.1 is in use")
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("nosuch:app", "Could not import 'nosuch'"),
            ("app:nosuch", "Failed to find attribute 'nosuch' in 'app'"),
            ("app:seen", "A valid Flask application was not obtained from 'app:seen'"),
        ],
    )
    def test_what_is_no_app(self, run, app_file, name, says):
        done = run("dev", name, "--port", "0", "--realtime-port", "0")
        assert done.returncode == 2
        assert done.stderr.startswith("realtime-kit: ")
        assert says in done.stderr
        assert done.stdout == ""

    def test_published_credentials_on_an_open_address(self, run, app_file):
        done = run("dev", "app:app", "--host", "::", "--port", "0", "--realtime-port", "0")
        assert done.returncode == 1
        assert "the published development credentials on ::" in done.stderr


class TestDemo:
    def test_is_the_demo(self, dev):
        process, url = dev(command="demo")
        process.wait_for("the demo")
        assert "<!doctype html>" in get(url)
        config = json.loads(get(f"{url}/realtime/config"))
        port = process.wait_for(r"ws://127\.0\.0\.1:(\d+)")[1]
        assert config["client"]["socket"]["port"] == int(port)
        assert process.end() == 0

    def test_the_two_ports_by_environment(self, start):
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_server(("127.0.0.1", 0)) as two,
        ):
            ports = one.getsockname()[1], two.getsockname()[1]
        env = {"PORT": str(ports[0]), "REALTIME_PORT": str(ports[1])}
        process = start("demo", env=env)
        process.wait_for(f"http://127.0.0.1:{ports[0]}\n")
        process.wait_for(f"ws://127.0.0.1:{ports[1]}/")
        assert "<!doctype html>" in get(f"http://127.0.0.1:{ports[0]}/")

    def test_dev_alone_is_the_demo_too(self, dev):
        _, url = dev()
        assert "<!doctype html>" in get(url)
