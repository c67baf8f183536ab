"""`GET /events` of the demo: a browser's EventSource, `curl -N` and a plain poller see the same."""

from __future__ import annotations

import http.client
import json
import queue
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.emulators.apigateway import ApiGateway, Function, running
from realtime_kit.web.aws_lambda import http_handler

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

DEMO = "realtime_kit.demo:create_app()"
PATIENCE = 25.0
Say = Callable[[str], object]
PAGE = """url => {
  window.seen = [];
  const source = new EventSource(url);
  source.onopen = () => { window.isOpen = true; };
  source.onmessage = ({ data }) => window.seen.push(JSON.parse(data));
}"""


class Curl:
    """`curl -N`; where the server answers at once, called again and again as EventSource would."""

    def __init__(self, url: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self.began = threading.Event()
        self._url = url
        self._last = ""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            command = ["curl", "-sN", self._url, "-H", f"Last-Event-ID: {self._last}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as self._process:
                for line in self._process.stdout or ():
                    name, _, value = line.rstrip("\n").partition(": ")
                    if name == "id":
                        self._last = value
                        self.began.set()
                    elif name == "data":
                        self.seen.append(json.loads(value))

    def end(self) -> None:
        self._ended = True
        self._process.terminate()
        self._thread.join(PATIENCE)


class Poller:
    """A loop over the JSON; it says what it holds, and is told 304 if that is all."""

    def __init__(self, url: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self.idle = 0
        self.began = threading.Event()
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        position = tag = ""
        while not self._ended.wait(0.1):
            headers = {"Accept": "application/json", "If-None-Match": tag}
            request = urllib.request.Request(f"{self._url}&position={position}", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    found, tag = json.load(answer), answer.headers["ETag"]
            except urllib.error.HTTPError as error:
                if error.code != 304:
                    raise
                self.idle += 1
                continue
            position = found["position"]
            self.seen += found["events"]
            self.began.set()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)


def come_in(url: str) -> Say:
    """People come into the demo, which is news."""

    def come_in(name: str) -> None:
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        browser = urllib.request.build_opener(cookies)
        page = browser.open(f"{url}/join", timeout=PATIENCE).read().decode()
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        form = urlencode({"name": name, "csrf_token": found[1]}).encode()
        browser.open(f"{url}/join", form, timeout=PATIENCE)

    return come_in


def demo(wsgi: Any, folder: Path, server: str, *arguments: str, **environ: str) -> tuple[str, Say]:
    database = str(folder / "demo.sqlite3")
    own = {"REALTIME_PROVIDER": "null", "DEMO_DB": database, **environ}
    url = wsgi(server, DEMO, *arguments, **own).url
    return url, come_in(url)


@pytest.fixture
def flask(wsgi, tmp_path) -> tuple[str, Say]:
    """Flask's development server."""
    return demo(wsgi, tmp_path, "flask")


@pytest.fixture
def gthread(wsgi, tmp_path) -> tuple[str, Say]:
    return demo(wsgi, tmp_path, "gunicorn", "--worker-class", "gthread", "--threads", "16")


@pytest.fixture
def sync(wsgi, tmp_path) -> tuple[str, Say]:
    """Two workers that do one thing at a time, and share a log."""
    log = f"sqlite:///{tmp_path}/log.db"
    return demo(wsgi, tmp_path, "gunicorn", "--workers", "2", REALTIME_HISTORY__URL=log)


@pytest.fixture
def aws_lambda(tmp_path) -> Iterator[tuple[str, Say]]:
    """A function behind the emulator's HTTP API; what is triggered comes from elsewhere."""
    environ = {
        "REALTIME_PROVIDER": "null",
        "REALTIME_HISTORY__URL": f"sqlite:///{tmp_path}/log.db",
    }
    function, elsewhere = (
        Realtime(settings=RealtimeSettings(environ={**environ, **more}))
        for more in ({"AWS_LAMBDA_FUNCTION_NAME": "events"}, {})
    )
    for one in (function, elsewhere):
        one.channel_rule("news", history="100/1h")(lambda user: True)
    route = {"GET /realtime/events": Function("events", http_handler(function), timeout=20.0)}
    with running(ApiGateway({}, http=route)) as gateway:
        yield gateway.url, lambda name: elsewhere.trigger("news", "joined", {"text": name})
    for one in (function, elsewhere):
        one.recorder.log.close()


@pytest.fixture(params=["flask", "gthread", "sync", "aws_lambda"])
def site(request: pytest.FixtureRequest) -> tuple[str, Say]:
    """Where it is served, and what makes news there."""
    return request.getfixturevalue(request.param)


def wait_for(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def test_all_see_the_same(site, window) -> None:
    url, say = site
    events = f"{url}/realtime/events?channel=news"
    page = window().page
    page.route(f"{url}/blank", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    page.goto(f"{url}/blank")
    page.evaluate(PAGE, events)
    page.wait_for_function("window.isOpen")
    curl, poller = Curl(events), Poller(events)
    try:
        assert curl.began.wait(PATIENCE)
        assert poller.began.wait(PATIENCE)
        for name in ("Ada", "Grace", "Edith"):
            say(name)
        page.wait_for_function("window.seen.length === 3", timeout=PATIENCE * 1000)
        for client in (curl, poller):
            wait_for(lambda client=client: len(client.seen) == 3, lambda client=client: client.seen)
        idle = poller.idle
        wait_for(lambda: poller.idle > idle, lambda: "never told 304")
        seen = page.evaluate("window.seen")
    finally:
        curl.end()
        poller.end()
    assert [event["offset"] for event in seen] == [1, 2, 3]
    assert [event["data"]["text"].split()[0] for event in seen] == ["Ada", "Grace", "Edith"]
    assert curl.seen == seen
    assert poller.seen == seen


def test_fifty_streams_and_an_ordinary_view(sync) -> None:
    """Each is answered at once, and told when to come again: no worker is held."""
    url, _ = sync
    ended, answers = threading.Event(), queue.Queue[str]()

    def stream() -> None:
        while True:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
            connection.request("GET", "/realtime/events?channel=news")
            text = connection.getresponse().read().decode()
            answers.put(text)
            found = re.match(r"retry: (\d+)\n\nid: ", text)
            if found is None or ended.wait(int(found[1]) / 1000):
                return

    with ThreadPoolExecutor(50) as pool:
        streams = [pool.submit(stream) for _ in range(50)]
        try:
            first = [answers.get(timeout=PATIENCE) for _ in range(50)]
            for _ in range(20):
                with urllib.request.urlopen(f"{url}/join", timeout=5) as answer:
                    assert answer.status == 200
        finally:
            ended.set()
    assert all(int(re.match(r"retry: (\d+)", text)[1]) >= 3_000 for text in first)
    for one in streams:
        one.result()
