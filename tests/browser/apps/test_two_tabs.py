"""Two tabs of one browser share what is not sent: one of them sends it, even if it is closed then.

In processes of their own, as people have them: what one has written reaches the other late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, render_template_string, request
from playwright.sync_api import Browser, BrowserContext, Page

from realtime_kit.flask import FlaskRealtime

pytestmark = pytest.mark.browser

PATIENCE_S = 20
PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { optimistic } from "/realtime/client/optimistic.js";
  window.settled = [];
  addEventListener("pageshow", ({ persisted }) => (window.isCached = persisted));
  window.todos = optimistic({
    initial: [],
    storage: localStorage,
    key: "todos of 7",
    mutations: {
      add: {
        apply: (list, text) => [...list, text],
        send: (text, { fetch }) => fetch("/todos", { method: "POST", body: text }),
      },
    },
  });
  window.add = (text) => void todos.mutate("add", text).then(
    ({ answer }) => window.settled.push(answer.text),
    () => {}, // the tab was closed
  );
</script>"""


class Todos:
    """An application that remembers each request, and answers when it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []  # id of the mutation, text
        self.changed = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def add(self) -> dict[str, str]:
        text = request.get_data(as_text=True)
        with self.changed:
            self.requests.append((request.headers["X-Mutation-Id"], text))
            self.changed.notify_all()
        assert self.gate.wait(PATIENCE_S)
        return {"text": text}

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, PATIENCE_S)

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.requests]


@pytest.fixture(scope="module")
def served(serving: Any) -> Iterator[Todos]:
    app, todos = Flask(__name__), Todos()
    app.config["REALTIME_PROVIDER"] = "null"
    FlaskRealtime(app)
    app.add_url_rule("/", view_func=lambda: render_template_string(PAGE), endpoint="page")
    app.add_url_rule("/todos", view_func=todos.add, methods=["POST"], endpoint="add")
    with serving(app) as todos.url:
        yield todos
        todos.gate.set()


@pytest.fixture(scope="module")
def apart(browser: Browser, chromium: str) -> Iterator[Browser]:
    """A browser whose tabs share no process, with the back/forward cache."""
    apart = browser.browser_type.launch(
        executable_path=chromium,
        args=["--no-sandbox", "--disable-gpu"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield apart
    apart.close()


@pytest.fixture
def profile_of(apart: Browser, served: Todos) -> Iterator[BrowserContext]:
    served.requests.clear()
    served.gate.set()
    profile = apart.new_context()
    yield profile
    profile.close()


@pytest.fixture
def tab(profile_of: BrowserContext, served: Todos) -> Callable[[], Page]:
    def tab() -> Page:
        page = profile_of.new_page()
        page.goto(served.url)
        page.wait_for_function("Boolean(window.add)")
        return page

    return tab


def shows(page: Page, *texts: str) -> None:
    page.wait_for_function("(texts) => todos.state.join() === texts", arg=",".join(texts))


def is_sent(page: Page) -> None:
    page.wait_for_function("todos.pending.length === 0 && localStorage.length === 0")


def test_what_both_kept_offline_is_sent_once_and_in_order(
    profile_of: BrowserContext, tab: Callable[[], Page], served: Todos
) -> None:
    one, other = tab(), tab()
    profile_of.set_offline(True)
    for page in (one, other):
        page.wait_for_function("!navigator.onLine")
    texts = [f"{number}" for number in range(10)]
    for number, text in enumerate(texts):
        made, told = (one, other) if number % 2 else (other, one)
        made.evaluate("add", text)
        shows(told, *texts[: number + 1])
    profile_of.set_offline(False)
    served.wait(len(texts))
    for page, own in ((one, texts[1::2]), (other, texts[::2])):
        is_sent(page)
        shows(page, *texts)
        assert page.evaluate("settled") == own
    one.evaluate("add", "later")
    shows(other, *texts, "later")
    is_sent(one)
    is_sent(other)
    assert served.texts == [*texts, "later"]
    assert len({mutation for mutation, _ in served.requests}) == len(texts) + 1


def test_a_tab_that_is_closed_while_its_request_is_under_way_is_succeeded(
    tab: Callable[[], Page], served: Todos
) -> None:
    one, other = tab(), tab()
    served.gate.clear()
    for text in ("a", "b"):
        one.evaluate("add", text)
        shows(other, *"ab"[: "ab".index(text) + 1])
    served.wait(1)
    one.close()
    served.wait(2)
    served.gate.set()
    is_sent(other)
    shows(other, "a", "b")
    assert served.texts == ["a", "a", "b"]
    assert served.requests[0] == served.requests[1], "the server can tell the repetition"


def test_with_the_last_tab_closed_the_next_page_goes_on(
    tab: Callable[[], Page], served: Todos
) -> None:
    one = tab()
    served.gate.clear()
    for text in ("a", "b"):
        one.evaluate("add", text)
    served.wait(1)
    one.close()
    served.gate.set()
    is_sent(tab())
    assert served.texts == ["a", "a", "b"]


def test_a_page_in_the_back_forward_cache_holds_no_lock(
    tab: Callable[[], Page], served: Todos
) -> None:
    one, other = tab(), tab()
    served.gate.clear()
    one.evaluate("add", "a")
    served.wait(1)
    one.goto(f"{served.url}/client")  # of the same site, so that the page is kept
    served.wait(2)  # by the other
    served.gate.set()
    is_sent(other)
    one.go_back(wait_until="commit")  # out of the cache: nothing is loaded
    one.wait_for_function("window.isCached")
    is_sent(one)
    shows(one, "a")
    assert served.texts == ["a", "a"]
