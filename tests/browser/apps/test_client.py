"""The client in a page of its own: what only a browser has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, render_template_string, request
from playwright.sync_api import Browser, Page

from realtime_kit import SignIn
from realtime_kit.flask import FlaskRealtime
from realtime_kit.testing.servers import serve

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><meta name="csrf-token" content="the token">
{{ realtime_script() }}
<script type="module">
  window.heard = [];
  window.shown = [];
  const orders = window.realtime.subscribe("orders");
  orders.on("shipped", (data) => window.heard.push(data));
  addEventListener("pageshow", ({ persisted }) => window.shown.push(persisted));
</script>"""


@pytest.fixture
def application(serving: Any) -> Iterator[tuple[str, Flask]]:
    """URL of an application over an embedded server, and the application."""
    with serve() as served:
        app = Flask(__name__)
        app.testing = True
        app.config.update(served.environ)
        rt = FlaskRealtime(app)
        rt.user_loader(lambda: "ada")
        rt.sign_in(lambda user: SignIn(user))
        app.add_url_rule("/", view_func=lambda: render_template_string(PAGE), endpoint="page")
        app.add_url_rule("/other", view_func=lambda: "<p>another page", endpoint="other")
        app.add_url_rule("/headers", view_func=lambda: dict(request.headers), endpoint="headers")
        with serving(app) as url:
            yield url, app


@pytest.fixture
def page(browser: Browser, chromium: str) -> Iterator[Page]:
    """A page that failed nowhere, in a browser with the back/forward cache, as people have it."""
    args = ["--no-sandbox", "--disable-gpu"]
    cached = browser.browser_type.launch(
        executable_path=chromium,
        args=args,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    errors: list[str] = []
    page = cached.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    cached.close()
    assert not errors


def subscribed(page: Page) -> None:
    page.wait_for_function(
        "realtime.state === 'connected' && realtime.channels.get('orders').state === 'subscribed'"
    )


def trigger(app: Flask, data: str) -> None:
    with app.app_context():
        app.extensions["realtime"].trigger("orders", "shipped", data)


def vacated(app: Flask, page: Page) -> None:
    deadline = time.monotonic() + 10
    with app.app_context():
        while app.extensions["realtime"].channel("orders").occupied:
            assert time.monotonic() < deadline, "the page still has its subscription"
            page.wait_for_timeout(10)


def test_a_page_needs_one_line(application, page) -> None:
    url, app = application
    page.goto(url)
    subscribed(page)
    trigger(app, "first")
    page.wait_for_function("heard.length === 1")
    page.wait_for_function("realtime.user.id === 'ada'")
    sent = page.evaluate("realtime.fetch('/headers').then((response) => response.json())")
    assert sent["X-Socket-Id"] == page.evaluate("realtime.socketId")
    assert sent["X-Csrf-Token"] == "the token"
    assert page.evaluate("heard") == ["first"]


def test_a_page_in_the_back_forward_cache_lets_go_and_comes_back(application, page) -> None:
    url, app = application
    page.goto(url)
    subscribed(page)
    first = page.evaluate("realtime.socketId")
    page.goto(f"{url}/other")
    vacated(app, page)
    page.evaluate("history.back()")
    page.wait_for_url(f"{url}/", wait_until="commit")
    subscribed(page)
    assert page.evaluate("shown")[-1] is True, "it was the very same page"
    assert page.evaluate("realtime.socketId") != first
    trigger(app, "second")
    page.wait_for_function("heard.length === 1")
    assert page.evaluate("heard") == ["second"]


def test_a_page_without_network_says_so_and_recovers(application, page) -> None:
    url, app = application
    page.goto(url)
    subscribed(page)
    page.context.set_offline(True)
    page.wait_for_function("!navigator.onLine")
    page.context.set_offline(False)
    page.wait_for_function("navigator.onLine")
    subscribed(page)
    trigger(app, "third")
    page.wait_for_function("heard.length === 1")


def test_close_ends_the_connection_of_the_page(application, page) -> None:
    url, app = application
    page.goto(url)
    subscribed(page)
    page.evaluate("realtime.close()")
    assert page.evaluate("realtime.state") == "closed"
    vacated(app, page)
    page.evaluate("dispatchEvent(new Event('online'))")
    assert page.evaluate("realtime.state") == "closed"
