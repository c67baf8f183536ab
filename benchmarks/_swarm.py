"""Many subscribers of one channel and a few publishers, as cheap as Python can make them: one
thread, one epoll, frames counted by their length. The same for every server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import resource
import select
import socket
import time

HANDSHAKE = (
    b"GET /app/app-key?protocol=7&client=js&version=8.6.0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DATA = json.dumps({"id": 42, "text": "an ordinary message of a chat, not short and not long"})
BODY = json.dumps({"name": "message", "channels": ["news"], "data": DATA}).encode()
_MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def request() -> bytes:
    """A signed publish."""
    query = f"auth_key=app-key&auth_timestamp={int(time.time())}&auth_version=1.0&body_md5={_MD5}"
    text = f"POST\n/apps/1/events\n{query}".encode()
    signature = hmac.digest(b"app-secret", text, "sha256").hex()
    return (
        f"POST /apps/1/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


def allow_many_sockets() -> None:
    """For this process and those that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Publisher:
    """Publishes one event after the other, each when the last was answered; keeps its connection
    as long as the server does."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._socket: socket.socket | None = None

    def publish(self) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._swarm.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._swarm.publishers[self._socket.fileno()] = self
            self._swarm.poll.register(self._socket, select.EPOLLIN)
        self._socket.sendall(request())

    def answered(self) -> bool:
        """Read what came; whether it was an answer rather than the end."""
        assert self._socket is not None
        answer = self._socket.recv(65_536)
        if answer and not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a publish was refused: {answer[:200]!r}")
        if not answer or b"connection: close" in answer.lower():
            self.close()
        return bool(answer)

    def close(self) -> None:
        if self._socket is not None:
            self._swarm.poll.unregister(self._socket)
            del self._swarm.publishers[self._socket.fileno()]
            self._socket.close()
            self._socket = None


class Swarm:
    """`size` subscribers of a server, connected and subscribed."""

    def __init__(self, port: int, size: int) -> None:
        self.port = port
        self.size = size
        self.poll = select.epoll()
        self.publishers: dict[int, Publisher] = {}
        self._subscribers = {each.fileno(): each for each in (self._connect() for _ in range(size))}
        for descriptor in self._subscribers:
            self.poll.register(descriptor, select.EPOLLIN)
        self._buffer = bytearray(1 << 18)
        self._length = 0
        self._length = self._learn_length()

    def _connect(self) -> socket.socket:
        subscriber = socket.create_connection(("127.0.0.1", self.port))
        payload = json.dumps({"event": "pusher:subscribe", "data": {"channel": "news"}}).encode()
        for sent, awaited in (
            (HANDSHAKE, b"connection_established"),
            (bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload, b"subscription_succeeded"),
        ):
            subscriber.sendall(sent)
            received = b""
            while awaited not in received:
                received += subscriber.recv(4096)
        subscriber.setblocking(False)
        return subscriber

    def _learn_length(self) -> int:
        """Bytes of one delivery, from a first event: each server has its own order of members."""
        publisher = Publisher(self)
        publisher.publish()
        received = 0
        while events := self.poll.poll(1.0):
            received += self._read(events, [])
        publisher.close()
        length, rest = divmod(received, self.size)
        if rest or not length:
            raise SystemExit(f"{received} bytes for {self.size} subscribers of one event")
        return length

    def _read(self, events: list[tuple[int, int]], answered: list[Publisher]) -> int:
        received = 0
        for descriptor, _ in events:
            publisher = self.publishers.get(descriptor)
            if publisher is None:
                received += self._subscribers[descriptor].recv_into(self._buffer)
            elif publisher.answered():
                answered.append(publisher)
        return received

    def publish(self, count: int, publishers: int) -> int:
        """Publish `count` events, by so many publishers at a time, and wait until each of the
        subscribers has all of them; the number of deliveries."""
        return self._run(count, [Publisher(self) for _ in range(publishers)], ahead=count)

    def publish_one_at_a_time(self, count: int) -> int:
        """Publish each event when all have received the last."""
        return self._run(count, [Publisher(self)], ahead=1)

    def _run(self, count: int, idle: list[Publisher], ahead: int) -> int:
        every = list(idle)
        one = self.size * self._length
        published = received = 0
        while received < count * one or len(idle) < len(every):
            while idle and published < count and published - received // one < ahead:
                idle.pop().publish()
                published += 1
            events = self.poll.poll(30.0)
            if not events:
                raise SystemExit("deliveries are missing")
            received += self._read(events, idle)
        for publisher in every:
            publisher.close()
        if received != count * one:
            raise SystemExit(f"{received} bytes instead of {count * one}")
        return count * self.size

    def close(self) -> None:
        for subscriber in self._subscribers.values():
            subscriber.close()
        self.poll.close()
