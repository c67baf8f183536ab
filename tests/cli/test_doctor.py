"""`realtime-kit doctor` against a real server: everything well, and each thing wrong by itself."""

from __future__ import annotations

import json
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Deployment(ThreadingHTTPServer):
    """Answers /realtime/config, with whatever a test gives it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.date = 200, b"", formatdate(usegmt=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Deployment

    def do_GET(self) -> None:
        found = self.path == "/realtime/config"
        self.send_response_only(self.server.status if found else 404)
        self.send_header("Date", self.server.date)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def config(served):
    return served.realtime().client_config()


@pytest.fixture
def deployment(config):
    with Deployment() as server:
        server.body = json.dumps(config).encode()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def examine(invoke):
    """Run it; the exit code, and the checks by name."""

    def run(*arguments: str, **options):
        done = invoke("doctor", "--json", *arguments, **options)
        checks = [json.loads(line) for line in done.stdout.splitlines()]
        return done.exit_code, {one["name"]: (one["state"], one["detail"]) for one in checks}

    return run


def test_all_is_well(examine, deployment, served):
    code, checks = examine("--url", deployment.url)
    assert {name: state for name, (state, _) in checks.items()} == dict.fromkeys(
        ("settings", "config", "clock", "no secrets", "suits", "http api", "websocket"), "ok"
    )
    assert code == 0
    assert f"ws://127.0.0.1:{served.port} greets in" in checks["websocket"][1]


def test_without_a_url_it_is_what_this_application_gives(invoke, served):
    done = invoke("doctor")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("ok ") for line in lines)


@pytest.mark.parametrize(
    ("provider", "history", "word"),
    [
        ("local", None, "who is away misses"),
        ("local", "5/1h", "chat, collaboration"),
        ("null", "5/1h", "by sse or poll"),
        ("null", None, "nothing in a browser"),
    ],
)
def test_what_the_settings_are_good_for(examine, environment, provider, history, word):
    environment["REALTIME_PROVIDER"] = provider
    if history:
        environment["REALTIME_HISTORY__DEFAULT"] = history
    assert word in examine()[1]["suits"][1]


def test_a_url_with_the_prefix_is_taken_as_well(examine, deployment):
    assert examine("--url", f"{deployment.url}/realtime/")[0] == 0


def test_nobody_is_there(examine, taken_port, environment):
    environment |= {"REALTIME_LOCAL__TIMEOUT": "0.2", "REALTIME_PORT": "1"}
    code, checks = examine("--url", "http://127.0.0.1:1")
    assert code == 1
    assert checks["config"][0] == checks["http api"][0] == "failed"
    assert checks["websocket"][0] == "skipped"


def test_a_secret_in_the_config(examine, deployment, config, served):
    deployment.body = json.dumps({**config, "extra": served.app.key.secret}).encode()
    assert examine("--url", deployment.url)[1]["no secrets"][0] == "failed"
    deployment.body = json.dumps({**config, "appSecret": "x"}).encode()
    state, detail = examine("--url", deployment.url)[1]["no secrets"]
    assert (state, "appSecret" in detail) == ("failed", True)


def test_a_clock_that_is_wrong(examine, deployment):
    deployment.date = formatdate(0, usegmt=True)
    code, checks = examine("--url", deployment.url)
    assert (code, checks["clock"][0]) == (1, "failed")
    deployment.date = "yesterday"
    assert examine("--url", deployment.url)[1]["clock"][0] == "skipped"


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (200, b"<html>"), (200, b"[]")])
def test_an_answer_that_is_no_config(examine, deployment, status, body):
    deployment.status, deployment.body = status, body
    code, checks = examine("--url", deployment.url)
    assert (code, checks["config"][0]) == (1, "failed")


def test_a_wrong_secret(examine, served):
    code, checks = examine(env={"REALTIME_LOCAL__KEYS": f"{served.app.key.key}:another-secret"})
    assert (code, checks["http api"][0], checks["websocket"][0]) == (1, "failed", "ok")


def test_a_wrong_key_at_the_socket(examine, deployment, config):
    config["client"]["socket"]["key"] = "nobody"
    deployment.body = json.dumps(config).encode()
    code, checks = examine("--url", deployment.url)
    assert (code, checks["websocket"][0]) == (1, "failed")
    assert "4001" in checks["websocket"][1]


def test_settings_that_are_wrong(examine):
    code, checks = examine(env={"REALTIME_PROVIDER": "pusher"})
    assert (code, checks["settings"][0]) == (1, "failed")
    assert "REALTIME_PUSHER__APP_ID" in checks["settings"][1]


def test_a_provider_without_a_socket_has_it_skipped(examine):
    _, checks = examine(env={"REALTIME_PROVIDER": "null"})
    assert checks["websocket"][0] == "skipped"


@pytest.mark.parametrize("url", ["example.com", "ftp://example.com", "https://", "http://x:99999"])
def test_what_is_no_url(invoke, url):
    assert invoke("doctor", "--url", url).exit_code == 2
