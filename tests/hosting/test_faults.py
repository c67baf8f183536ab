"""Hostile clients, each with a witness: another client that must notice nothing."""

from __future__ import annotations

import json
import os
import random
import socket
import struct

import pytest
import websocket

from realtime_kit.hosting.local import Bounds
from realtime_kit.protocol.signing import channel_auth

HANDSHAKE = (
    b"GET /app/test-key?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def site(serve, app):
    """Small bounds, so that they are reached soon."""
    return serve(bounds=Bounds(unread=65_536, close=0.2))


@pytest.fixture
def randomness():
    """Its seed is printed when the test fails."""
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    return random.Random(seed)  # noqa: S311 - not for secrets


@pytest.fixture
def witnessed(site, until):
    """Checks that a subscriber still gets what is published, that a new client is served, and that
    nobody but these two is left."""
    witness = site.subscriber("news")
    numbers = iter(range(1_000))

    def check():
        number = str(next(numbers))
        site.publish("news", "witness", number)
        assert witness.receive_event("witness")["data"] == number
        late = site.subscriber("news")
        late.close()
        until(lambda: site.server.connections == 1, "the end of the hostile clients")

    yield check
    check()


@pytest.fixture
def raw(site):
    """A bare socket behind the handshake; `raw()` opens one."""
    opened = []

    def open_socket(receive_buffer=None):
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", site.port))
        opened.append(raw)
        raw.sendall(HANDSHAKE)
        received = b""
        while b"activity_timeout" not in received:
            received += raw.recv(4096)
        return raw

    yield open_socket
    for raw in opened:
        raw.close()


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, mask: bool = True) -> bytes:
    head = bytes(((0x80 if fin else 0) | opcode,))
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes((masked | len(payload),))
    elif len(payload) < 65_536:
        head += bytes((masked | 126,)) + struct.pack(">H", len(payload))
    else:
        head += bytes((masked | 127,)) + struct.pack(">Q", len(payload))
    return head + (b"\0\0\0\0" if mask else b"") + payload


def close_code(raw: socket.socket) -> int | None:
    """The code of the close frame that ends the connection, if one does."""
    received = b""
    try:
        while data := raw.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    at = received.rfind(b"\x88")
    return int.from_bytes(received[at + 2 : at + 4], "big") if at >= 0 else None


MALFORMED = [
    "",
    "null",
    "[]",
    "7",
    '"text"',
    "{",
    "{}",
    '{"event":7}',
    '{"event":"pusher:subscribe"}',
    '{"event":"pusher:subscribe","data":"…"}',
    '{"event":"pusher:subscribe","data":[]}',
    '{"event":"pusher:subscribe","data":{"channel":{}}}',
    '{"event":"pusher:subscribe","data":{"channel":"' + "x" * 300 + '"}}',
    '{"event":"pusher:subscribe","data":{"channel":"no spaces"}}',
    '{"event":"pusher:subscribe","data":{"channel":"private-a","auth":7}}',
    '{"event":"pusher:signin","data":{"auth":"a:b","user_data":"{"}}',
    '{"event":"pusher:nonsense","data":{}}',
    '{"event":"client-x","channel":"news","data":NaN}',
    "[" * 5_000,
    '{"event":"client-x","channel":"private-a","data":"\\ud800"}',
    '{"event":"client-x","channel":"private-a","data":"' + "y" * 90_000 + '"}',
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:40] or "empty")
def test_a_malformed_frame_is_answered_and_logged_once(site, witnessed, text, caplog):
    client = site.client()
    client.connected()
    client.socket.send(text)
    assert client.receive()["event"] == "pusher:error"
    client.send("pusher:ping", {})
    assert client.receive()["event"] == "pusher:pong"
    assert len(caplog.records) == 1
    assert len(caplog.messages[0]) < 500
    client.close()


def test_a_flood_of_malformed_frames_fills_no_log(site, witnessed, caplog):
    client = site.client()
    client.connected()
    for _ in range(200):
        client.socket.send("{")
        client.receive()
    assert len(caplog.records) == 10
    client.close()


def test_a_binary_frame_is_answered_with_an_error(site, witnessed):
    client = site.client()
    client.connected()
    client.socket.send_binary(b"\x00\xff")
    assert client.receive()["event"] == "pusher:error"
    client.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (frame(b"\xc3", fin=False) + frame(b"(", opcode=0), 1007),
        (frame(b"x" * 400_000), 1009),
        (frame(b"x" * 200_000, fin=False) + frame(b"x" * 200_000, opcode=0), 1009),
        (frame(b"x", opcode=3), 1002),
        (frame(b"x", opcode=0), 1002),
        (frame(b"x" * 126, opcode=9), 1002),
        (frame(b"x", opcode=9, fin=False), 1002),
        (frame(b"x", opcode=1, fin=False) + frame(b"y", opcode=1), 1002),
        (b"\xc1\x81\0\0\0\0x", 1002),
        (b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0", None),
    ],
    ids=[
        "not UTF-8",
        "not UTF-8 over two fragments",
        "too long",
        "too long in fragments",
        "unknown opcode",
        "continues nothing",
        "long ping",
        "fragmented ping",
        "fragments interleaved",
        "reserved bit",
        "absurd length",
    ],
)
def test_what_is_not_websocket_ends_that_connection_alone(site, raw, witnessed, data, code, caplog):
    hostile = raw()
    hostile.sendall(data)
    closed = close_code(hostile)
    assert closed is not None
    assert code is None or closed == code
    assert len(caplog.records) == 1


def test_random_bytes_end_at_most_their_own_connection(site, raw, witnessed, randomness):
    for _ in range(60):
        hostile = raw()
        hostile.sendall(randomness.randbytes(randomness.randrange(1, 2_000)))
        hostile.close()
    witnessed()


def test_random_json_never_ends_a_connection(site, witnessed, randomness):
    events = ["pusher:subscribe", "pusher:unsubscribe", "pusher:signin", "pusher:pong", "client-a"]
    values = [None, True, -1, 1e99, "", "news", "private-a", "presence-a", "\0", "{}", [], {}, "ä"]

    def value(depth=0):
        if depth > 2 or randomness.random() < 0.5:
            return randomness.choice(values)
        if randomness.random() < 0.3:
            return [value(depth + 1) for _ in range(randomness.randrange(4))]
        names = ["channel", "auth", "channel_data", "user_data", "x"]
        return {name: value(depth + 1) for name in randomness.sample(names, 3)}

    client = site.client()
    client.connected()
    for _ in range(300):
        client.send(randomness.choice(events), value(), channel=value())
    client.send("pusher:ping", {})
    assert client.receive_event("pusher:pong")
    client.close()


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_connections_cut_at_every_byte_are_forgotten(site, witnessed, caplog, reset):
    subscribe = frame(b'{"event":"pusher:subscribe","data":{"channel":"news"}}')
    publish = b"POST /apps/42/events?auth_key=x HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{}"
    for whole in (HANDSHAKE + subscribe, publish):
        for length in range(1, len(whole), 5):
            with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
                if reset:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raw.sendall(whole[:length])
    witnessed()
    assert not caplog.messages


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /%zz?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[bad HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /apps/42/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /apps/42/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
    ids=["query", "host", "negative length", "chunk", "long header"],
)
def test_bad_requests_get_a_400_and_one_line(site, witnessed, caplog, request_):
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(request_)
        assert b" 400 " in raw.recv(100)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is None


def test_a_compressed_body_is_not_unpacked(site):
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(
            b"POST /apps/42/events HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: 5\r\n\r\nabcde"
        )
        assert b" 401 " in raw.recv(100)


def test_a_frame_that_comes_byte_by_byte_is_read(site, raw, witnessed):
    slow = raw()
    slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in frame(b'{"event":"pusher:ping","data":{}}'):
        slow.sendall(bytes((byte,)))
    assert b"pusher:pong" in slow.recv(4096)
    slow.close()


def test_a_client_that_does_not_read_is_cut_off_at_the_bound(site, raw, witnessed, until, caplog):
    witness = site.subscriber("busy")
    slow = raw(receive_buffer=4_096)
    slow.sendall(frame(b'{"event":"pusher:subscribe","data":{"channel":"busy"}}'))
    until(lambda: len(site.server._drivers["42"].registry.fanout("busy")) == 2)
    data = "x" * 10_000
    published = 0
    while site.server.connections == 3:  # the witness of all, this one, and the slow one
        site.publish("busy", "big", data)
        published += 1
        assert published < 2_000, "it was never cut off"
    for _ in range(published):
        assert witness.receive()["data"] == data
    lines = [line for line in caplog.messages if "cut off" in line]
    assert len(lines) == 1
    unread = int(lines[0].split()[-3])
    assert 65_536 < unread < 65_536 + 2 * 10_200
    slow.close()
    witness.close()


def test_a_client_that_never_answers_a_close_is_let_go(site, raw, witnessed, until):
    deaf = raw()
    deaf.sendall(frame(b"\xff", opcode=1))
    until(lambda: site.server.connections == 1)
    deaf.close()


def test_a_broadcast_meets_sockets_that_died_in_the_same_moment(site, raw, witnessed):
    witness = site.subscriber("news")
    for _ in range(30):
        dying = raw()
        dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dying.sendall(frame(b'{"event":"pusher:subscribe","data":{"channel":"news"}}'))
        assert b"subscription_succeeded" in dying.recv(4096)
        dying.close()
        site.publish("news", "alive")
        assert witness.receive_event("alive")
    witness.close()


def test_compression_is_not_agreed_to(site):
    client = site.client(header=["Sec-WebSocket-Extensions: permessage-deflate"])
    assert "sec-websocket-extensions" not in client.socket.getheaders()
    assert client.connected()


def test_client_events_of_a_flood_are_limited_for_their_sender_alone(site, app):
    def member():
        client = site.client()
        auth = channel_auth(app.key, client.connected(), "private-a")
        client.subscribe("private-a", auth=auth)
        return client

    loud, quiet = member(), member()
    for number in range(40):
        loud.send("client-n", number, channel="private-a")
    errors = [loud.receive()["data"]["code"] for _ in range(25)]
    assert set(errors) == {4301}
    quiet.send("client-n", "mine", channel="private-a")
    assert loud.receive_event("client-n")["data"] == "mine"
    assert [quiet.receive()["data"] for _ in range(10)] == list(range(10))


def test_websocket_client_sees_clean_text(site):
    """The frames that we build ourselves, read by somebody else's parser in strict mode."""
    client = site.subscriber("news", skip_utf8_validation=False)
    site.publish("news", "unicode", json.dumps("žluťoučký 🐴" * 50, ensure_ascii=False))
    opcode, data = client.socket.recv_data()
    assert opcode == websocket.ABNF.OPCODE_TEXT
    assert "🐴" in json.loads(data.decode())["data"]
