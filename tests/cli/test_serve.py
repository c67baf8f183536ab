"""`realtime-kit serve`: what it says, whom it lets in, how it ends."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import urllib.request

import pytest
import websocket

from realtime_kit.protocol import signing


def connect(url: str):
    """A WebSocket client, and the first frame that it got."""
    client = websocket.create_connection(f"{url}?protocol=7", timeout=10)
    return client, json.loads(client.recv())


def ask(client, event: str, data: object = None, **members: object) -> dict:
    """Send a frame; return the next one that comes."""
    client.send(json.dumps({"event": event, "data": {} if data is None else data, **members}))
    return json.loads(client.recv())


def test_says_where_it_is_and_is_there(start):
    process = start("serve", "--port", "0")
    address = process.wait_for(r"ws://(127\.0\.0\.1:\d+/app/app-key)")
    process.wait_for(r"id 1, key app-key, secret app-secret \(published")
    process.wait_for("Ctrl-C to stop")
    client, first = connect(f"ws://{address[1]}")
    assert first["event"] == "pusher:connection_established"
    client.close()
    with urllib.request.urlopen(f"http://{address[1].split('/')[0]}/up", timeout=10) as answer:
        assert json.load(answer)["status"] == "ok"
    assert process.end() == 0
    assert process.err == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_in_good_order(start, number):
    process = start("serve", "--port", "0")
    client, _ = connect(process.wait_for(r"ws://\S+")[0])
    assert process.end(number) == 0
    assert json.loads(client.recv())["data"]["code"] == 4200  # come back to whoever listens then
    client.close()


def test_the_port_comes_from_the_environment(start, run, taken_port):
    done = run("serve", env={"REALTIME_PORT": str(taken_port)})
    assert done.returncode == 1
    assert done.stderr == (
        f"realtime-kit: port {taken_port} on 127.0.0.1 is in use: end the server that has it, "
        "or choose another with --port or REALTIME_PORT\n"
    )
    free = start("serve", "--port", "0", env={"REALTIME_PORT": str(taken_port)})
    assert free.wait_for(r"ws://127\.0\.0\.1:(\d+)")[1] != str(taken_port)


class TestApps:
    def test_several_of_ones_own(self, start):
        process = start(
            "serve", "--port", "0", "--app", "7:seven:s3cr3t", "--app", "8:eight:wh1sper"
        )
        process.wait_for("id 8, key eight, secret not shown")
        base = process.wait_for(r"ws://127\.0\.0\.1:\d+")[0]
        for key in ("seven", "eight"):
            client, first = connect(f"{base}/app/{key}")
            assert first["event"] == "pusher:connection_established"
            client.close()
        client, first = connect(f"{base}/app/app-key")
        assert first["data"]["code"] == 4001
        client.close()
        assert process.end() == 0
        assert "s3cr3t" not in process.text
        assert "wh1sper" not in process.text

    def test_the_same_id_again_is_an_older_key(self, start):
        process = start("serve", "--port", "0", "--app", "7:new:s1", "--app", "7:old:s2")
        base = process.wait_for(r"(ws://127\.0\.0\.1:\d+)/app/new")[1]
        for key, secret in (("new", "s1"), ("old", "s2")):
            client, first = connect(f"{base}/app/{key}")
            socket_id = json.loads(first["data"])["socket_id"]
            proof = f"{key}:{signing.sign(secret, f'{socket_id}:private-a')}"
            answer = ask(client, "pusher:subscribe", {"channel": "private-a", "auth": proof})
            assert answer["event"] == "pusher_internal:subscription_succeeded"
            client.close()

    @pytest.mark.parametrize(
        "env",
        [
            {"REALTIME_SERVER__APPS": "7:mine:s1,8:other:s2"},
            {"REALTIME_LOCAL__APP_ID": "7", "REALTIME_LOCAL__KEYS": "mine:s1"},
        ],
        ids=["server", "local"],
    )
    def test_by_environment(self, start, env):
        process = start("serve", "--port", "0", env=env)
        client, first = connect(process.wait_for(r"ws://\S+/app/mine")[0])
        assert first["event"] == "pusher:connection_established"
        client.close()


class TestSwitches:
    def joined(self, process, key="app-key"):
        client, first = connect(process.wait_for(r"ws://\S+")[0])
        socket_id = json.loads(first["data"])["socket_id"]
        proof = f"{key}:{signing.sign('app-secret', f'{socket_id}:private-a')}"
        ask(client, "pusher:subscribe", {"channel": "private-a", "auth": proof})
        return client

    def test_client_events_are_on(self, start):
        process = start("serve", "--port", "0")
        sender, receiver = self.joined(process), self.joined(process)
        sender.send('{"event":"client-typing","channel":"private-a","data":{}}')
        assert json.loads(receiver.recv())["event"] == "client-typing"
        sender.close()
        receiver.close()

    def test_client_events_off(self, start):
        process = start("serve", "--port", "0", "--no-client-events")
        client = self.joined(process)
        answer = ask(client, "client-typing", channel="private-a")
        assert answer["event"] == "pusher:error"
        assert "To send client events, you must enable this feature" in answer["data"]["message"]
        client.close()

    def test_subscription_count(self, start):
        process = start("serve", "--port", "0", "--subscription-count")
        client, _ = connect(process.wait_for(r"ws://\S+")[0])
        ask(client, "pusher:subscribe", {"channel": "orders"})
        counted = json.loads(client.recv())
        assert counted["event"] == "pusher_internal:subscription_count"
        assert json.loads(counted["data"]) == {"subscription_count": 1}
        client.close()

    def test_what_goes_wrong_is_one_line(self, start):
        process = start("serve", "--port", "0")
        client, _ = connect(process.wait_for(r"ws://\S+")[0])
        client.send("{")
        process.wait_for(r"\d\d:\d\d:\d\d WARNING .*Received invalid JSON")
        client.close()
        process.end()
        assert len(process.err) == 1


@pytest.fixture
def receiver():
    """An HTTP server that keeps what is posted to it; `(url, posts)`."""
    posts: list[tuple[dict[str, str], bytes]] = []
    arrived = threading.Semaphore(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((dict(self.headers), body))
            self.send_response(200)
            self.end_headers()
            arrived.release()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posts, arrived
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("by", ["option", "environment"])
def test_webhooks_are_posted_signed(start, receiver, by):
    url, posts, arrived = receiver
    if by == "option":
        process = start("serve", "--port", "0", "--webhook", url)
    else:
        process = start("serve", "--port", "0", env={"REALTIME_SERVER__WEBHOOK": url})
    client, _ = connect(process.wait_for(r"ws://\S+")[0])
    ask(client, "pusher:subscribe", {"channel": "orders"})
    assert arrived.acquire(timeout=10)
    headers, body = posts[0]
    assert json.loads(body)["events"] == [{"name": "channel_occupied", "channel": "orders"}]
    assert headers["X-Pusher-Key"] == "app-key"
    assert headers["X-Pusher-Signature"] == signing.webhook_signature("app-secret", body)
    client.close()
