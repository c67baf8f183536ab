"""The manual's examples in a page: from a bundle that Vite made of the package, and as they are
served, over the manual's own server and the embedded one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify, request, send_from_directory
from playwright.sync_api import Page, expect

from realtime_kit import Member
from realtime_kit.testing.servers import serve

pytestmark = [pytest.mark.browser, pytest.mark.node]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What the examples export, under one provider, in StrictMode.
MAIN = """
import { createElement as h, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "realtime-kit-client";
import { optimistic } from "realtime-kit-client/optimistic";
import { RealtimeProvider, useConnectionState, useRealtime } from "realtime-kit-client/react";
import { App } from "./example0.jsx";
import { Shipping } from "./example1.tsx";
import { Typing } from "./example2.jsx";
import { Stock, Visitors } from "./example3.jsx";
import { Like } from "./example4.jsx";

window.modules = { connect, optimistic };
window.clients = new Set();

function Whole() {
  const [isShown, setShown] = useState(true);
  window.setShown = setShown;
  window.clients.add(useRealtime());
  const rest = [Shipping, Typing, Stock, Visitors].map((each, key) => h(each, { key, id: 42 }));
  const like = h(Like, { key: "like", post: 7, count: 0 });
  return h("main", { "data-state": useConnectionState() }, isShown && [...rest, like]);
}

const whole = h(RealtimeProvider, null, h(Whole));
createRoot(document.getElementById("root")).render(
  h(StrictMode, null, location.pathname === "/app" ? h(App) : whole),
);
"""
INDEX = '<!doctype html><div id="root"></div><script type="module" src="/main.jsx"></script>'
CONFIG = """export default {
  esbuild: { jsx: "automatic" },
  resolve: { preserveSymlinks: true },
  build: { outDir: "dist" },
};"""

# React ships no ES modules: this makes one of it, as the manual says to do once.
VENDOR = """
import { build } from "esbuild";
import * as react from "react";
const names = Object.keys(react).filter((name) => name !== "default");
const contents = `export { ${names} } from "react"; export { createRoot } from "react-dom/client";`;
await build({
  stdin: { contents, resolveDir: process.cwd() }, outfile: process.argv[2],
  bundle: true, format: "esm", define: { "process.env.NODE_ENV": '"production"' },
});
"""
PLAIN = """<!doctype html><body></body>
<script type="importmap">{"imports": {"react": "/vendor/react.js"}}</script>
<script type="module">%s window.likes = likes;</script>
<script type="module">
  import { createElement as h, createRoot } from "react";
  import { RealtimeProvider, useConnectionState } from "/realtime/client/react/index.js";
  const State = () => h("output", null, useConnectionState());
  const root = document.body.appendChild(document.createElement("div"));
  createRoot(root).render(h(RealtimeProvider, null, h(State)));
</script>"""


def examples(checkout: Path, page: str, *languages: str) -> list[tuple[str, str]]:
    found = BLOCK.findall((checkout / "docs" / page).read_text())
    return [(language, code) for language, code in found if language in languages]


@pytest.fixture(scope="module")
def bundle(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Vite makes of an application with the package as `npm install` puts it there."""
    folder = tmp_path_factory.mktemp("bundle")
    modules = folder / "node_modules"
    shutil.copytree(checkout / "realtime_kit" / "client", modules / "realtime-kit-client")
    for name in ("react", "react-dom", "scheduler", "esbuild"):
        (modules / name).symlink_to(checkout / "node_modules" / name)
    for number, (language, code) in enumerate(examples(checkout, "react.md", "jsx", "tsx")):
        (folder / f"example{number}.{language}").write_text(code)
    for name, text in {
        "main.jsx": MAIN,
        "index.html": INDEX,
        "vite.config.mjs": CONFIG,
        "vendor.mjs": VENDOR,
    }.items():
        (folder / name).write_text(text)
    vite = checkout / "node_modules" / "vite" / "bin" / "vite.js"
    run("node", str(vite), "build", "--logLevel", "warn", cwd=folder)
    run("node", "vendor.mjs", str(folder / "dist" / "vendor" / "react.js"), cwd=folder)
    return folder / "dist"


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class Application:
    """The manual's server. `refuse` is what it answers likes with, if anything."""

    url: str
    app: Flask
    rt: Any
    server: Any
    refuse: str | None = None

    def trigger(self, *event: Any) -> None:
        with self.app.app_context():
            self.rt.trigger(*event)

    def occupied(self) -> set[str]:
        with self.app.app_context():
            return {channel.name for channel in self.rt.channels()}


@pytest.fixture
def application(
    checkout: Path, bundle: Path, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Application]:
    [(_, code)] = examples(checkout, "optimistic.md", "python")
    [(_, script), *_] = examples(checkout, "optimistic.md", "js")
    with serve() as served:
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        names: dict[str, Any] = {"__name__": "example"}
        exec(code, names)  # noqa: S102
        app, rt = names["app"], names["rt"]
        application = Application("", app, rt, served)
        rt.user_loader(lambda: {"sub": request.cookies.get("user", "ada")})
        rt.channel_rule("private-orders-{id:int}")(lambda user, id: True)
        rt.channel_rule("presence-room-{room}")(
            lambda user, room: Member(user["sub"], {"name": user["sub"].title()})
        )
        rt.channel_rule("stock", history="100/1h")(lambda user: True)

        @app.before_request
        def refuse() -> Any:
            if application.refuse and request.path.endswith("/like"):
                return {"error": application.refuse}, 403
            return None

        @app.get("/visitors")
        def visitors() -> Any:
            return jsonify(count=3)

        @app.get("/")
        @app.get("/app")
        def page() -> Any:
            return send_from_directory(bundle, "index.html")

        @app.get("/plain")
        def plain() -> str:
            return PLAIN % script

        for folder in ("assets", "vendor"):
            app.add_url_rule(
                f"/{folder}/<path:path>",
                view_func=lambda path, folder=folder: send_from_directory(bundle / folder, path),
                endpoint=folder,
            )
        with serving(app) as application.url:
            yield application


def open_page(window: Any, application: Application, path: str = "/") -> Page:
    page: Page = window().page
    page.goto(application.url + path)
    return page


def until(page: Page, condition: Any) -> None:
    """For what is to be seen on the server."""
    for _ in range(400):
        if condition():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it never came")


def test_the_first_example_is_an_application(window, application):
    page = open_page(window, application, "/app")
    expect(page.locator("output")).to_have_text("connected")
    expect(page.get_by_role("listitem")).to_have_text(["Ada (you)"])
    application.trigger("private-orders-42", "shipped", {"eta": "noon"})
    expect(page.get_by_text("Order 42: noon")).to_be_visible()
    bob = window().page
    bob.context.add_cookies([{"name": "user", "value": "bob", "url": application.url}])
    bob.goto(f"{application.url}/app")
    expect(page.get_by_role("listitem")).to_have_text(["Ada (you)", "Bob"])
    bob.close()
    expect(page.get_by_role("listitem")).to_have_text(["Ada (you)"])


def test_a_like_is_seen_at_once_by_all_and_taken_back_with_the_reason(window, application):
    ada, bob = open_page(window, application), open_page(window, application)
    button = ada.get_by_role("button", name="♥")
    for page in (ada, bob):
        expect(page.locator("main")).to_have_attribute("data-state", "connected")
    until(ada, lambda: "post-7" in application.occupied())
    button.click()
    expect(button).to_have_text("♥ 1")
    expect(bob.get_by_role("button", name="♥")).to_have_text("♥ 1")
    expect(button).to_have_attribute("aria-busy", "false")
    application.refuse = "You have liked enough for today."
    button.click()
    expect(ada.get_by_text("Not liked: You have liked enough for today.")).to_be_visible()
    expect(button).to_have_text("♥ 1")


def test_offline_it_waits_and_is_sent_once_afterwards(window, application):
    page = open_page(window, application)
    button = page.get_by_role("button", name="♥")
    expect(page.locator("main")).to_have_attribute("data-state", "connected")
    until(page, lambda: "post-7" in application.occupied())
    page.context.set_offline(True)
    button.click()
    button.click()
    expect(button).to_have_text("♥ 2")
    expect(button).to_have_attribute("aria-busy", "true")
    page.context.set_offline(False)
    expect(button).to_have_attribute("aria-busy", "false")
    expect(button).to_have_text("♥ 2")
    assert application.app.test_client().get("/posts/7/likes").get_json() == {"count": 2}


def test_streams_polling_whispers_and_what_is_left_of_them(window, application):
    page, other = open_page(window, application), open_page(window, application)
    expect(page.get_by_role("button", name="3 visitors")).to_be_visible()
    expect(page.locator("[data-state=open]")).to_have_text("? left")
    application.trigger("stock", "changed", {"left": 12})
    expect(page.get_by_text("12 left")).to_be_visible()
    application.trigger("private-orders-42", "shipped", {"eta": "noon"})
    expect(page.locator("[data-state=subscribed]")).to_have_text("noon")
    for each in (page, other):
        expect(each.get_by_role("textbox")).to_be_enabled()
    held = {"post-7", "presence-room-1", "private-orders-42"}
    until(page, lambda: held <= application.occupied())
    other.close()
    page.evaluate("setShown(false)")
    until(page, lambda: not application.occupied())
    assert page.evaluate("[...clients].filter(Boolean).length") == 1, "StrictMode made one client"


def test_without_a_bundler(window, application):
    page = open_page(window, application, "/plain")
    expect(page.locator("output")).to_have_text("connected")
    until(page, lambda: "post-7" in application.occupied())
    page.locator("body").click()
    page.wait_for_function("likes.server === 1 && likes.pending.length === 0")
    assert page.title() == "1 likes"
