"""docs/coming-from-laravel.md: its application, and its snippets in a page with laravel-echo."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, send_from_directory
from playwright.sync_api import ConsoleMessage, Page

from realtime_kit.protocol.app import App, Key
from realtime_kit.testing.servers import serve

pytestmark = [pytest.mark.browser, pytest.mark.node]

SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MASTER_KEY = base64.b64encode(b"k" * 32).decode()

PAGE = """<!doctype html>
<script src="/modules/pusher-js/dist/web/pusher-with-encryption.js"></script>
<script type="importmap">
{"imports": {"laravel-echo": "/modules/laravel-echo/dist/echo.js", "pusher-js": "/pusher.js"}}
</script>"""
USERS = {"Ada": "1", "Grace": "2"}


@pytest.fixture(scope="module")
def snippets(checkout: Path) -> dict[str, dict[str, list[str]]]:
    """By section and language."""
    text = (checkout / "docs" / "coming-from-laravel.md").read_text()
    found: dict[str, dict[str, list[str]]] = {}
    for title, body in SECTION.findall(text):
        for language, code in BLOCK.findall(body):
            found.setdefault(title, {}).setdefault(language, []).append(code)
    return found


class Application:
    """The page's, over an embedded server with the credentials that the snippets have."""

    def __init__(self, code: str, port: int) -> None:
        names: dict[str, Any] = {"__name__": "app"}
        exec(code, names)  # noqa: S102
        self.app: Flask = names["app"]
        self.app.testing = True
        self.names = names
        self.port = port
        self.url = ""

    def rt(self, verb: str, *arguments: Any, **options: Any) -> Any:
        with self.app.app_context():
            return getattr(self.names["rt"], verb)(*arguments, **options)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        with self.app.app_context():
            function(self.names["rt"], *arguments)

    def cookie(self, name: str) -> dict[str, str]:
        """As a login would set it."""
        signer: Any = self.app.session_interface.get_signing_serializer(self.app)  # type: ignore[attr-defined]
        value = signer.dumps({"user": {"sub": USERS[name], "name": name}})
        return {"name": "session", "value": value, "url": self.url}


@pytest.fixture
def application(
    checkout: Path, snippets: Any, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Application]:
    with serve(App("1", (Key("app-key", "app-secret"),))) as served:
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REALTIME_LOCAL__ENCRYPTION_MASTER_KEY", MASTER_KEY)
        [code] = snippets["The server"]["python"]
        made = Application(code, served.port)
        app = made.app
        app.add_url_rule("/", view_func=lambda: PAGE, endpoint="page")
        module = ("export default window.Pusher;", {"Content-Type": "text/javascript"})
        app.add_url_rule("/pusher.js", view_func=lambda: module, endpoint="pusher")
        app.add_url_rule(
            "/modules/<path:path>",
            view_func=lambda path: send_from_directory(checkout / "node_modules", path),
            endpoint="modules",
        )
        with serving(app) as made.url:
            yield made


class Visitor:
    """Somebody's page: runs snippets, and reads what they print."""

    def __init__(self, page: Page, application: Application, name: str) -> None:
        self.page = page
        self.port = application.port
        self.lines: list[str] = []
        page.on("console", self._note)
        page.context.add_cookies([application.cookie(name)])  # type: ignore[list-item]
        page.goto(application.url)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "log":
            self.lines.append(message.text)

    def run(self, code: str) -> None:
        code = code.replace("wsPort: 6001", f"wsPort: {self.port}")
        self.page.add_script_tag(content=code, type="module")

    def start(self, code: str) -> None:
        self.run(code)
        self.page.wait_for_function("window.Echo?.connectionStatus() === 'connected'")

    def hears(self, *lines: str) -> None:
        """Exactly these, in whatever order, since it was asked last."""
        self.until(lambda: len(self.lines) >= len(lines))
        assert sorted(self.lines) == sorted(lines)
        self.lines.clear()

    def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(400):
            if condition():
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"it never came; there is {self.lines}")


@pytest.fixture
def visit(window: Any, application: Application) -> Callable[[str], Visitor]:
    return lambda name: Visitor(window().page, application, name)


def subscribers(application: Application, channel: str) -> int:
    return application.rt("channel", channel, info=["subscription_count"]).subscription_count or 0


@pytest.mark.parametrize("number", [0, 1], ids=["reverb", "pusher"])
def test_names_with_a_dot_without_and_without_namespace(snippets, application, visit, number):
    listen, without = snippets["The dot"]["js"]
    [fetch] = snippets["Only to others"]["js"]
    ada, grace = visit("Ada"), visit("Grace")
    for visitor in (ada, grace):
        visitor.start(snippets["Echo"]["js"][number])
        visitor.run(listen)
    ada.hears("listening")
    grace.hears("denied 403")

    ada.run(without)
    ada.until(lambda: subscribers(application, "private-orders.42") == 2)
    event = application.names["OrderShipped"](order_id=42)
    application.rt("trigger", event)
    ada.hears("shipped 42", "plain 42", "all .shipped")
    ada.run('await fetch("/orders/42/pack", { method: "POST" });')
    ada.hears("packed 42", "all .App\\Events\\OrderPacked")

    ada.run(fetch)  # to all but the connection whose id it sends
    ada.hears("plain 42", "all .shipped")
    ada.run('await fetch("/orders/42/pack", { method: "POST" });')
    ada.hears("packed 42", "all .App\\Events\\OrderPacked")
    assert grace.lines == []


def test_what_is_said_of_echos_formatter(snippets, application, visit):
    ada = visit("Ada")
    ada.start(snippets["Echo"]["js"][0])
    ada.run("""
        import { EventFormatter } from "laravel-echo";
        const names = ["OrderPacked", ".shipped", "order.shipped", ".order.shipped"];
        for (const namespace of ["App.Events", false, ""]) {
          const formatter = new EventFormatter(namespace);
          console.log(JSON.stringify(names.map((name) => formatter.format(name))));
        }
    """)
    laravels = ["App\\Events\\OrderPacked", "shipped", "App\\Events\\order\\shipped"]
    plain = json.dumps(["OrderPacked", "shipped", "order\\shipped", "order.shipped"])
    expected = json.dumps([*laravels, "order.shipped"])
    ada.hears(*[line.replace(", ", ",") for line in (expected, plain, plain)])
    ada.run("""
        import Echo from "laravel-echo";
        new Echo({ ...window.Echo.options, namespace: "" }).private("orders.42")
          .subscribed(() => console.log("listening"))
          .listenToAll((name) => console.log(name));
    """)
    ada.hears("listening")
    application.rt("trigger", application.names["OrderShipped"](order_id=42))
    ada.hears("hipped")


def test_presence_whispers_and_leaving(snippets, application, visit):
    join, say_and_leave = snippets["Presence and whispers"]["js"]
    ada, grace = visit("Ada"), visit("Grace")
    for visitor in (ada, grace):
        visitor.start(snippets["Echo"]["js"][0])
    ada.run(join)
    ada.hears("here Ada")
    grace.run(join)
    grace.hears("here Ada,Grace")
    ada.hears("joining Grace")
    ada.run(say_and_leave)
    grace.hears("typing Ada", "leaving Ada")
    assert ada.lines == []


def test_encrypted_channels_notifications_and_events_to_a_user(snippets, application, visit):
    [encrypted] = snippets["Encrypted channels"]["js"]
    notification, sign_in = snippets["Notifications"]["js"]
    names: dict[str, Any] = {"__name__": "notices"}
    exec(snippets["Notifications"]["python"][0], names)  # noqa: S102
    ada = visit("Ada")
    ada.start(snippets["Echo"]["js"][0])
    for code in (encrypted, notification, sign_in):
        ada.run(code)
    for channel in ("private-encrypted-orders.42", "private-App.Models.User.1"):
        ada.until(lambda channel=channel: subscribers(application, channel) == 1)
    ada.page.wait_for_function("Echo.connector.pusher.user.user_data?.id === '1'")
    application.rt("trigger", "private-encrypted-orders.42", "opened", {"by": "Grace"})
    ada.hears("opened Grace")
    application.call(names["notify"], "1", "on its way")
    ada.hears("notified on its way")
    application.rt("send_to_user", "1", "notice", {"text": "hello"})
    ada.hears("notice hello")


def test_every_snippet_of_a_page_is_run_here(snippets):
    sections = {title: len(of["js"]) for title, of in snippets.items() if "js" in of}
    assert sections == {
        "Echo": 2,
        "The dot": 2,
        "Only to others": 1,
        "Presence and whispers": 2,
        "Encrypted channels": 1,
        "Notifications": 2,
    }
