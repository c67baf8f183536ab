"""`GET /events` out of real servers: who leaves, who must, who reads slowly, who is too many."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

DEADLINE = 20.0


class Stream:
    """A client that shows frames as they come."""

    def __init__(self, url: str, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()

    def frames(self) -> Iterator[dict[str, str]]:
        """Each as a dict of its fields; comments under the empty name."""
        frame: dict[str, str] = {}
        while line := self.answer.readline():
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                frame[name] = value
            else:
                yield frame
                frame = {}

    def until(self, wanted: Callable[[dict[str, str]], Any]) -> dict[str, str]:
        return next(frame for frame in self.frames() if wanted(frame))

    def close(self) -> None:
        self._connection.close()


class Site:
    """The application of `streaming_app`, and a browser's cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookie = ""
        self._streams: list[Stream] = []

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=DEADLINE)
        own = {"Cookie": self.cookie} if self.cookie else {}
        if body is not None:
            own["Content-Type"] = "application/json"
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {**own, **headers})
        answer = connection.getresponse()
        if found := answer.headers.get("Set-Cookie"):
            self.cookie = found.partition(";")[0]
        content = answer.read().decode()
        connection.close()
        return answer.status, content

    def stream(self, path: str, **headers: str) -> Stream:
        own = {"Cookie": self.cookie} if self.cookie else {}
        one = Stream(self.url, f"/realtime/events?{path}", **own, **headers)
        self._streams.append(one)
        return one

    def wait_until(self, path: str, wanted: str) -> None:
        end = time.monotonic() + DEADLINE
        while (found := self.ask("GET", path)) != (200, wanted):
            assert time.monotonic() < end, found

    def close(self) -> None:
        for one in self._streams:
            one.close()


APP = {"PYTHONPATH": str(Path(__file__).parent), "REALTIME_PROVIDER": "null"}
TICKETS = {"REALTIME_WEB__SECRET": "sixteen or more characters"}


@pytest.fixture(scope="module")
def served(wsgi) -> str:
    """gunicorn with threads, one process."""
    threads = ("--worker-class", "gthread", "--threads", "12")
    streams = {"REALTIME_WEB__STREAMS": "6", **TICKETS}
    return wsgi("gunicorn", "streaming_app:app", *threads, **APP, **streams).url


@pytest.fixture
def site(served) -> Iterator[Site]:
    one = Site(served)
    yield one
    one.close()
    one.wait_until("/waiting", "0")


def test_who_leaves_is_noticed(site):
    for _ in range(3):
        site.stream("channel=news").until(lambda frame: "id" in frame)
    site.wait_until("/waiting", "3")
    site.close()
    site.wait_until("/waiting", "0")


def test_what_was_logged_in_and_is_banned_reads_no_further(site):
    site.ask("POST", "/login/ada")
    stream = site.stream("channel=private-user-ada")
    stream.until(lambda frame: "id" in frame)
    site.ask("POST", "/say/private-user-ada/first")
    assert "first" in stream.until(lambda frame: "data" in frame)["data"]
    for _ in range(6):  # beats of the heart: over several checks it stays open
        stream.until(lambda frame: "" in frame)
    site.ask("POST", "/ban/ada")
    assert stream.until(lambda frame: "event" in frame)["event"] == "realtime:end"
    assert stream.answer.read() == b""
    assert site.ask("GET", "/realtime/events?channel=private-user-ada")[0] == 403


def test_a_ticket_opens_a_stream_without_a_cookie_for_a_while(site):
    site.ask("POST", "/login/grace")
    channels = ["private-user-grace", "news"]
    status, body = site.ask("POST", "/realtime/events", {"channels": channels})
    assert status == 200
    ticket = json.loads(body)
    assert ticket["expires_in"] == 60
    site.cookie = ""
    query = f"channel=news&channel=private-user-grace&ticket={quote(ticket['ticket'])}"
    stream = site.stream(query)
    assert stream.answer.status == 200
    site.ask("POST", "/say/private-user-grace/hello")
    assert "hello" in stream.until(lambda frame: "data" in frame)["data"]
    # Nobody can be asked again about who holds it.
    assert stream.until(lambda frame: "event" in frame)["event"] == "realtime:end"


def test_who_reads_slowly_keeps_nobody_waiting(site):
    address = urlsplit(site.url)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect((address.hostname, address.port))
        slow.sendall(b"GET /realtime/events?channel=news HTTP/1.1\r\nHost: x\r\n\r\n")
        site.wait_until("/waiting", "1")
        quick = site.stream("channel=news")
        quick.until(lambda frame: "id" in frame)
        for number in range(600):  # more than the buffers between here and there hold
            _, body = site.ask("POST", f"/say/news/{number}")
            last = f":{json.loads(body)['offset']}"
            found = quick.until(lambda frame, last=last: frame.get("id", "").endswith(last))
            assert json.loads(found["data"])["data"]["text"] == str(number)
        site.wait_until("/waiting", "1")  # whoever does not read at all is let go


def test_too_many_are_answered_at_once(site):
    for _ in range(6):
        site.stream("channel=news").until(lambda frame: "id" in frame)
    seventh = site.stream("channel=news")
    found = seventh.answer.read().decode()
    assert int(re.search(r"retry: (\d+)", found)[1]) >= 3_000
    assert "id: " in found
    assert site.ask("GET", "/waiting") == (200, "6")


def test_only_the_head(site):
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=DEADLINE)
    connection.request("HEAD", "/realtime/events?channel=news")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert "Content-Length" not in answer.headers
    connection.close()


def test_a_log_in_memory_is_refused_with_two_workers(wsgi):
    server = wsgi("gunicorn", "streaming_app:app", "--workers", "2", **APP)
    asked = (("GET", "/realtime/events?channel=news", 503), ("POST", "/say/news/hello", 500))
    for method, path, status in asked:
        assert Site(server.url).ask(method, path)[0] == status
    assert "Set REALTIME_HISTORY__URL to a database" in server.said


def test_a_log_in_a_database_is_good_for_two_workers(wsgi, tmp_path):
    url = {"REALTIME_HISTORY__URL": f"sqlite:///{tmp_path}/log.db"}
    threads = ("--worker-class", "gthread", "--threads", "8", "--workers", "2")
    site = Site(wsgi("gunicorn", "streaming_app:app", *threads, **APP, **url).url)
    streams = [site.stream("channel=news") for _ in range(4)]
    for stream in streams:
        stream.until(lambda frame: "id" in frame)
    for number in range(4):
        site.ask("POST", f"/say/news/{number}")
    for stream in streams:
        found = [stream.until(lambda frame: "data" in frame)["data"] for _ in range(4)]
        assert [json.loads(data)["offset"] for data in found] == [1, 2, 3, 4]
    site.close()
