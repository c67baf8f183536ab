"""An event that is triggered while the page has no network arrives when it has one again."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string, request
from playwright.sync_api import Browser, Page

from realtime_kit.flask import FlaskRealtime
from realtime_kit.hosting.local import running
from realtime_kit.testing.servers import serve

pytestmark = pytest.mark.browser

ABLY_KEY = "mine00.key:not-published"
PAGE = """<!doctype html><title>{{ transport }}</title>
<script type="application/json" id="positions">{{ realtime_positions(["news"]) | safe }}</script>
<script type="module">
  import { connect } from "/realtime/client/realtime.js";
  const positions = JSON.parse(document.getElementById("positions").textContent);
  const options = {{ options | tojson }};
  window.heard = [];
  window.gaps = [];
  window.realtime = connect(options);
  const news = realtime.subscribe("news", { position: positions.news });
  news.on("x", (data) => window.heard.push(data));
  news.onGap((gap) => window.gaps.push(gap));
</script>"""


@contextmanager
def local() -> Iterator[dict[str, str]]:
    with serve() as served:
        yield served.environ


@contextmanager
def ably() -> Iterator[dict[str, str]]:
    pytest.importorskip("ably")
    from realtime_kit.emulators.ably.server import AblyEmulator

    script = Path(__file__).parents[3] / "node_modules" / "ably" / "build" / "ably.min.js"
    if not script.exists():
        pytest.skip("no ably-js: npm ci")
    with running(AblyEmulator([ABLY_KEY], script=script)) as emulator:
        yield {
            "REALTIME_PROVIDER": "ably",
            "REALTIME_ABLY__KEY": ABLY_KEY,
            "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY__PORT": str(emulator.port),
            "REALTIME_ABLY__TLS": "false",
            "REALTIME_ABLY__SCRIPT": str(emulator.script_url),
        }


@contextmanager
def aws() -> Iterator[dict[str, str]]:
    pytest.importorskip("moto")
    from realtime_kit.cli._deployment import emulated
    from realtime_kit.settings import RealtimeSettings

    # The functions are modules of this process: another test may have set them up for its own.
    for name in [name for name in sys.modules if name.partition(".")[0] == "lambdas"]:
        del sys.modules[name]
    settings = RealtimeSettings(environ={"REALTIME_PROVIDER": "aws", "REALTIME_PORT": "0"})
    with emulated(settings, "127.0.0.1", "") as deployment:
        yield {**deployment.environ}


def nothing() -> AbstractContextManager[dict[str, str]]:
    return nullcontext({"REALTIME_PROVIDER": "null"})


Backend = Callable[[], AbstractContextManager[dict[str, str]]]
Case = tuple[Backend, dict[str, Any]]
CASES: dict[str, Case] = {
    "socket": (local, {"order": ["socket"]}),
    "sse": (local, {"order": ["sse"]}),
    "sse by EventSource": (local, {"order": ["sse"], "eventSource": True}),
    "poll": (local, {"order": ["poll"]}),
    "sse without a provider": (nothing, {}),
    "ably": (ably, {"order": ["ably"]}),
    "aws": (aws, {"order": ["socket"]}),
}


@dataclass
class Application:
    """A served application, and how events come out of it."""

    url: str
    app: Flask
    offline: str  # the client's state without a network
    sockets: list[socket.socket] = field(default_factory=list)

    def cut(self) -> None:
        """Chromium lets a response that has begun go on offline; a network does not."""
        for each in self.sockets:
            with suppress(OSError):  # that are closed by now
                each.shutdown(socket.SHUT_RDWR)

    def trigger(self, data: object) -> None:
        with self.app.app_context():
            self.app.extensions["realtime"].trigger("news", "x", data)


@pytest.fixture
def application(case: Case, serving: Any) -> Iterator[Application]:
    backend, options = case
    with backend() as environ:
        app = Flask(__name__)
        app.testing = True
        app.config.update(environ)
        rt = FlaskRealtime(app)
        rt.channel_rule("news", history="100/1h")(lambda user: True)

        @app.get("/")
        def page() -> str:
            text = render_template_string(PAGE, options=options)
            served.trigger(0)  # after the position was rendered, before anybody subscribes
            return text

        @app.before_request
        def remember() -> None:
            served.sockets.append(request.environ["werkzeug.socket"])

        # An EventSource connects again by itself, and does not say what it waits for.
        offline = "connected" if options.get("eventSource") else "offline"
        with serving(app) as url:
            served = Application(url, app, offline)
            yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """In a profile with the back-off as it is. It may not throw."""
    profile = browser.new_context()
    page = profile.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    profile.close()
    assert errors == []


def heard(page: Page, count: int) -> list[int]:
    page.wait_for_function(f"window.heard?.length >= {count}")
    found: list[int] = page.evaluate("heard")
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_happens_while_a_page_is_offline_reaches_it_once_and_in_order(
    application: Application, page: Page
) -> None:
    page.goto(application.url)
    assert heard(page, 1) == [0]
    page.wait_for_function("realtime.channels.get('news').state === 'subscribed'")
    application.trigger(1)
    assert heard(page, 2) == [0, 1]
    page.clock.install()
    page.context.set_offline(True)
    page.wait_for_function("!navigator.onLine")
    application.cut()
    page.clock.fast_forward("00:11")  # a socket is given ten seconds to answer
    page.wait_for_function("(state) => realtime.state === state", arg=application.offline)
    for n in (2, 3, 4):
        application.trigger(n)
    assert page.evaluate("heard") == [0, 1]
    page.context.set_offline(False)
    assert heard(page, 5) == [0, 1, 2, 3, 4]
    application.trigger(5)
    assert heard(page, 6) == [0, 1, 2, 3, 4, 5]
    assert page.evaluate("gaps") == []
    assert page.evaluate("realtime.state") == "connected"
    page.evaluate("realtime.close()")
