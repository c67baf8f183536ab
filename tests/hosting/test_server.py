"""The embedded server over real sockets: what the protocol's own suite cannot see."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest
import websocket

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.local import Bounds, LocalServer, running
from realtime_kit.hosting.local.wire import close_frame, text_frame
from realtime_kit.protocol.app import App, Key
from realtime_kit.protocol.signing import channel_auth

PUBLISHED = App("1", (Key("app-key", "app-secret"),))


# --- connecting -----------------------------------------------------------------------------


def test_the_first_frame_is_the_handshake_of_version_7(site):
    frame = site.client().receive()
    assert frame["event"] == "pusher:connection_established"
    data = json.loads(frame["data"])
    assert re.fullmatch(r"\d+\.\d+", data.pop("socket_id"))
    assert data == {"activity_timeout": 120}


def test_socket_ids_do_not_repeat(site):
    ids = {site.client().connected() for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize("path", ["/prefix/app/test-key?protocol=7", "/app/test-key/?protocol=7"])
def test_a_prefix_and_a_trailing_slash_are_let_be(site, path):
    assert site.client(path).connected()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/app/nobody?protocol=7", 4001),
        ("/app/test-key", 4008),
        ("/app/test-key?protocol=x", 4006),
        ("/app/test-key?protocol=3", 4007),
        ("/elsewhere", 4005),
        ("/app/", 4005),
    ],
)
def test_a_refusal_is_told_by_error_and_by_close_code(site, path, code, caplog):
    client = site.client(path)
    error = client.receive()
    assert error["event"] == "pusher:error"
    assert error["data"]["code"] == code
    assert client.closed() == (code, error["data"]["message"])
    assert [str(code) in line for line in caplog.messages] == [True]


def test_a_connection_over_the_quota_is_refused(serve, app):
    site = serve(App("42", app.keys, max_connections=1))
    first = site.client()
    first.connected()
    assert site.client().closed()[0] == 4004
    first.send("pusher:ping", {})
    assert first.receive()["event"] == "pusher:pong"


def test_apps_do_not_hear_of_each_other(app):
    other = App("7", (Key("other-key", "other-secret"),))
    with running(LocalServer([app, other], port=0)) as server:
        urls = [
            f"ws://127.0.0.1:{server.port}/app/{k}?protocol=7" for k in ("test-key", "other-key")
        ]
        ours, theirs = (websocket.create_connection(url, timeout=5) for url in urls)
        for client in (ours, theirs):
            client.recv()
            client.send('{"event":"pusher:subscribe","data":{"channel":"news"}}')
            assert "subscription_succeeded" in client.recv()
        ours.send('{"event":"pusher:ping"}')
        assert "pong" in ours.recv()
        assert len(server._drivers["42"].registry) == len(server._drivers["7"].registry) == 1
        for client in (ours, theirs):
            client.shutdown()


# --- frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 100, 125, 126, 10_000, 65_535, 65_536, 70_000])
def test_frames_of_every_length_arrive_whole(length):
    near, far = socket.socketpair()
    with near, far:
        client = websocket.WebSocket()
        client.sock, client.handshake_response = near, object()
        far.sendall(text_frame("ä" * (length // 2) + "x" * (length % 2)))
        received = client.recv()
        assert len(received.encode()) == length


def test_a_reason_is_cut_between_characters():
    frame = close_frame(4001, "ä" * 100)
    assert frame[1] == len(frame) - 2 <= 125
    assert frame[4:].decode() == "ä" * 61


def test_an_event_reaches_all_subscribers_and_nobody_else(site):
    subscribers = [site.subscriber("news") for _ in range(3)]
    bystander = site.subscriber("other")
    site.publish("news", "update", '{"n":1}')
    site.publish("other", "end", "{}")
    for client in subscribers:
        frame = client.receive()
        assert frame == {"event": "update", "channel": "news", "data": '{"n":1}'}
    assert bystander.receive()["event"] == "end"


def test_frames_keep_their_order_also_where_they_are_written_together(site):
    clients = [site.subscriber("news") for _ in range(80)]
    for number in range(60):
        site.publish("news", "n", str(number))
    for client in clients:
        assert [int(client.receive()["data"]) for _ in range(60)] == list(range(60))


def test_a_fragmented_frame_is_one_frame(site):
    client = site.client()
    client.connected()
    text = json.dumps({"event": "pusher:subscribe", "data": {"channel": "news"}})
    frame = websocket.ABNF.create_frame(text[:10], websocket.ABNF.OPCODE_TEXT, fin=0)
    client.socket.send_frame(frame)
    client.socket.ping(b"between")
    frame = websocket.ABNF.create_frame(text[10:], websocket.ABNF.OPCODE_CONT, fin=1)
    client.socket.send_frame(frame)
    opcode, data = client.socket.recv_data(control_frame=True)
    assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"between")
    assert client.receive()["event"] == "pusher_internal:subscription_succeeded"


def test_a_client_that_closes_gets_its_code_back(site, until):
    client = site.subscriber("news")
    client.socket.send_close(3001, b"bye")
    assert client.closed()[0] == 3001
    until(lambda: site.server.connections == 0)


def test_a_client_that_just_goes_leaves_its_channels(site, until):
    stays = site.subscriber("news")
    goes = site.subscriber("news")
    goes.close()
    until(lambda: site.server.connections == 1)
    _, _, text = site.request("GET", "/apps/42/channels", info="subscription_count")
    assert json.loads(text) == {"channels": {"news": {"subscription_count": 1}}}
    site.publish("news", "still")
    assert stays.receive()["event"] == "still"


# --- deadlines ------------------------------------------------------------------------------


def test_a_silent_client_is_pinged_and_kept_while_it_answers(serve, app):
    site = serve(App("42", app.keys, activity_timeout=1), bounds=Bounds(pong=0.2))
    client = site.client()
    client.connected()
    for _ in range(2):
        assert json.loads(client.socket.recv()) == {"event": "pusher:ping", "data": {}}
        client.send("pusher:pong", {})
    client.send("pusher:ping", {})
    assert client.receive()["event"] == "pusher:pong"


def test_a_client_that_answers_no_ping_is_closed(serve, app, until):
    site = serve(App("42", app.keys, activity_timeout=1), bounds=Bounds(pong=0.2))
    client = site.client()
    client.connected()
    assert json.loads(client.socket.recv())["event"] == "pusher:ping"
    assert json.loads(client.socket.recv())["data"]["code"] == 4201
    assert client.closed()[0] == 4201
    until(lambda: site.server.connections == 0)


def test_who_proves_nothing_in_time_is_closed(serve, app):
    site = serve(bounds=Bounds(authorization=0.2))
    stranger = site.client()
    known = site.client()
    stranger.connected()
    socket_id = known.connected()
    stranger.subscribe("news")  # public: proves nothing
    known.subscribe("private-a", auth=channel_auth(app.key, socket_id, "private-a"))
    assert stranger.closed()[0] == 4009
    known.send("pusher:ping", {})
    assert known.receive()["event"] == "pusher:pong"


# --- HTTP -----------------------------------------------------------------------------------


def test_a_connection_serves_request_after_request(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    connection.connect()
    kept = connection.sock
    for path in ("/", "/up", "/apps/42/channels", "/nowhere"):
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 200, "ws://127.0.0.1:"),
        ("HEAD", "/", 200, ""),
        ("GET", "/up", 200, '"status": "ok"'),
        ("POST", "/up", 404, "404 NOT FOUND\n"),
        ("GET", "/nowhere", 404, "404 NOT FOUND\n"),
        ("GET", "/app/test-key", 426, "WebSocket"),
        ("GET", "/apps/42/channels", 401, "Missing parameter: auth_key\n"),
        ("GET", "/apps/9/channels", 404, "Unknown app"),
    ],
)
def test_pages_and_errors(site, method, path, status, text):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    assert answer.status == status
    assert text in answer.read().decode()
    connection.close()


def test_the_front_page_tells_no_secret(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    connection.request("GET", "/")
    assert "secret" not in connection.getresponse().read().decode()
    connection.close()


def test_a_signed_request_is_answered_in_json(site):
    assert site.request("GET", "/apps/42/channels") == (200, "application/json", '{"channels":{}}')


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("/apps/42/channels", "", "401 'Missing parameter: auth_key'"),
        (
            "/apps/42/channels",
            "?auth_key=test-key&auth_version=1.0&auth_timestamp=1&auth_signature=aa",
            "401 'Timestamp expired: ",
        ),
        ("/apps/%0a9/channels", "", r"404 'Unknown app: \n9'"),
    ],
)
def test_a_refusal_is_one_line_without_the_query(site, caplog, path, query, says):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    connection.request("GET", path + query)
    assert connection.getresponse().status >= 400
    connection.close()
    (line,) = caplog.messages
    assert line.startswith(f"GET {path}: {says}")
    assert "\n" not in line


def test_a_refusal_is_plain_text(site):
    status, content_type, text = site.request("POST", "/apps/42/events", {"name": "x"})
    assert status == 400
    assert content_type.startswith("text/plain")
    assert text.endswith("\n")


def test_a_body_without_end_is_refused(site, app):
    body = {"name": "big", "channel": "news", "data": "x" * (3 << 20)}
    assert site.request("POST", "/apps/42/events", body)[0] == 413


def test_what_is_not_http_gets_one_line_and_the_others_notice_nothing(site, caplog):
    witness = site.subscriber("news")
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.0 400") or raw.recv(100) == b""
    site.publish("news", "still")
    assert witness.receive()["event"] == "still"
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is None


def test_a_half_handshake_is_refused(site):
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(
            b"GET /app/test-key?protocol=7 HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


# --- where it may listen --------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_published_credentials_do_not_leave_the_machine(host):
    with pytest.raises(ConfigurationError, match="--app ID:KEY:SECRET"):
        LocalServer([PUBLISHED], host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "shop.localhost"])
def test_published_credentials_are_fine_at_home(host):
    assert LocalServer([PUBLISHED], host=host).host == host


def test_own_credentials_may_listen_anywhere(app):
    assert LocalServer([app], host="0.0.0.0", port=7).url == "http://0.0.0.0:7"  # noqa: S104
    assert LocalServer([app], host="::1", port=7).url == "http://[::1]:7"


def test_no_app_is_no_server():
    with pytest.raises(ConfigurationError, match="needs an app"):
        LocalServer([])


def test_a_port_in_use_says_so_in_one_line(site, app):
    with (
        pytest.raises(ConfigurationError, match=f"port {site.port} .* is in use") as caught,
        running(LocalServer([app], port=site.port)),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_host_that_is_not_ours_says_so(app):
    with (
        pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"),
        running(LocalServer([app], host="192.0.2.1", port=0)),
    ):
        pass


def test_tls(serve, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *name, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site = serve(ssl_context=context)
    assert site.server.url == f"https://127.0.0.1:{site.port}"
    client = websocket.create_connection(
        f"wss://127.0.0.1:{site.port}/app/test-key?protocol=7",
        sslopt={"ca_certs": str(certificate)},
        timeout=5,
    )
    assert "connection_established" in client.recv()
    client.close()


# --- the end --------------------------------------------------------------------------------


def test_stop_sends_everybody_away_to_come_back(app, caplog):
    with running(LocalServer([app], port=0)) as server:
        clients = [
            websocket.create_connection(
                f"ws://127.0.0.1:{server.port}/app/test-key?protocol=7", timeout=5
            )
            for _ in range(3)
        ]
        for client in clients:
            client.recv()
        ends = []

        def listen(client):
            frames = [json.loads(client.recv())]
            opcode, data = client.recv_data()
            client.send_close()
            ends.append((frames[0]["data"]["code"], opcode, int.from_bytes(data[:2], "big")))
            client.shutdown()

        threads = [threading.Thread(target=listen, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        began = time.monotonic()
    assert time.monotonic() - began < Bounds().close  # it waits for the answers, and no longer
    for thread in threads:
        thread.join(5)
    assert ends == [(4200, websocket.ABNF.OPCODE_CLOSE, 1001)] * 3
    assert not caplog.messages
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_stop_does_not_wait_for_who_never_answers(app, until):
    with running(LocalServer([app], port=0, bounds=Bounds(close=0.1))) as server:
        deaf = websocket.create_connection(
            f"ws://127.0.0.1:{server.port}/app/test-key?protocol=7", timeout=5
        )
        deaf.recv()
    assert server.connections == 0
    deaf.shutdown()


def test_a_server_can_be_started_again(app):
    server = LocalServer([app], port=0)
    for _ in range(2):
        with (
            running(server),
            socket.create_connection(("127.0.0.1", server.port), timeout=1) as raw,
        ):
            raw.sendall(b"GET /up HTTP/1.0\r\n\r\n")
            assert b"200 OK" in raw.recv(100)


def test_stop_without_start_is_nothing(app):
    asyncio.run(LocalServer([app]).stop())


# --- the application's part -----------------------------------------------------------------


def test_an_on_webhook_that_fails_is_a_log_line_and_no_more(serve, caplog):
    def broken(_app, _event):
        raise ZeroDivisionError

    site = serve(on_webhook=broken)
    with caplog.at_level(logging.ERROR):
        client = site.subscriber("news")
    site.publish("news", "still")
    assert client.receive()["event"] == "still"
    assert "on_webhook failed for channel_occupied" in caplog.messages
