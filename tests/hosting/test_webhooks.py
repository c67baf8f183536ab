"""Webhooks on their way out: signed, in order, one try each, within bounds."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pusher
import pytest
import websocket

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.local import LocalServer, running
from realtime_kit.hosting.local import webhooks as webhooks_module
from realtime_kit.hosting.local.webhooks import WebhookSender
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App, Key
from realtime_kit.testing.faults import Answer, FaultServer, Hang


@contextmanager
def receiver(status=200):
    """A receiver; yields its URL and what it received."""
    received = deque()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.client_address, self.path, self.headers, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def events(received):
    return [event for *_, body in received for event in json.loads(body)["events"]]


def connect(server, app):
    url = f"ws://127.0.0.1:{server.port}/app/{app.key.key}?protocol=7"
    return websocket.create_connection(url, timeout=5)


def test_a_webhook_verifies_with_the_python_sdk(serve, app, until):
    with receiver() as (url, received):
        site = serve(webhook_url=f"{url}/hook")
        site.subscriber("news")
        until(lambda: received)
        _, path, headers, body = received[0]
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    client = pusher.Pusher(app.id, app.key.key, app.key.secret)
    webhook = client.validate_webhook(headers["X-Pusher-Key"], headers["X-Pusher-Signature"], body)
    assert webhook["events"] == [{"name": "channel_occupied", "channel": "news"}]
    assert isinstance(webhook["time_ms"], int)


def test_the_oldest_key_signs():
    app = App("42", (Key("new", "new-secret"), Key("old", "old-secret")))
    headers, body = notices.signed(app, {"name": "x"}, 7)
    assert headers["X-Pusher-Key"] == "old"
    assert json.loads(body) == {"time_ms": 7, "events": [{"name": "x"}]}


def test_they_come_in_order_over_one_connection(serve, until):
    with receiver() as (url, received):
        site = serve(webhook_url=url)
        client = site.client()
        client.connected()
        channels = [f"channel-{number}" for number in range(50)]
        for channel in channels:
            client.subscribe(channel)
        until(lambda: len(received) == 50)
    assert [event["channel"] for event in events(received)] == channels
    assert len({address for address, *_ in received}) == 1


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_refusal_is_one_line_and_one_try(serve, until, caplog, status):
    with receiver(status) as (url, received):
        site = serve(webhook_url=f"{url}/hook?token=hidden")
        site.subscriber("news")
        until(lambda: caplog.messages)
        site.subscriber("more")
        until(lambda: len(received) == 2)
    assert [event["channel"] for event in events(received)] == ["news", "more"]
    assert caplog.messages[0] == f"webhook to {url}/hook: answered {status}"


def test_a_receiver_that_is_not_there_is_one_line(serve, until, caplog):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://user:hidden@127.0.0.1:{closed.getsockname()[1]}/hook"
    site = serve(webhook_url=url)
    client = site.subscriber("news")
    until(lambda: caplog.messages)
    assert "hidden" not in caplog.text
    assert caplog.records[0].exc_info is None
    site.publish("news", "still")
    assert client.receive()["event"] == "still"


def test_a_slow_receiver_is_given_up_and_the_next_is_sent(serve, until, caplog, monkeypatch):
    monkeypatch.setattr(webhooks_module, "TIMEOUT", 0.2)
    with FaultServer() as server:
        server.script(Hang(), Answer(200))
        site = serve(webhook_url=f"http://{server.host}:{server.port}/hook")
        site.subscriber("news")
        site.subscriber("more")
        server.wait_received(2, deadline=5)
        until(lambda: caplog.messages)
    assert "TimeoutError" in caplog.messages[0]


def test_a_full_queue_drops_with_one_line_and_nobody_waits(app, caplog):
    sender = WebhookSender("http://127.0.0.1:9/hook")
    with caplog.at_level(logging.WARNING):
        for number in range(webhooks_module.MAX_WAITING + 5):
            sender.send(app, {"name": str(number)})
    assert len(caplog.records) == 1


def test_what_waits_is_sent_before_the_server_ends(app):
    channels = [f"channel-{number}" for number in range(50)]
    with receiver() as (url, received):
        with running(LocalServer([app], port=0, webhook_url=url)) as server:
            client = connect(server, app)
            for channel in channels:
                client.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}}))
            while "channel-49" not in client.recv():
                pass
            client.shutdown()
        assert [event["channel"] for event in events(received)] == channels


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/x", "http://", "/hook"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigurationError, match="webhook URL"):
        WebhookSender(url)


def test_a_server_that_starts_again_posts_again(app, until):
    with receiver() as (url, received):
        server = LocalServer([app], port=0, webhook_url=url)
        for count in (1, 2):
            with running(server):
                client = connect(server, app)
                client.send('{"event":"pusher:subscribe","data":{"channel":"news"}}')
                until(lambda count=count: len(received) == count)
                client.shutdown()
    assert [event["name"] for event in events(received)] == ["channel_occupied"] * 2
