"""The demo as a user starts it, in processes of its own, and windows that people look at."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--process-per-site",  # the windows of one profile share a process
)
PATIENCE_S = 20
PATIENCE_MS = PATIENCE_S * 1000
# Small draws of the back-off: the wait before another attempt is about its floor. Without this:
# apps/test_resume.py, on each transport.
HURRY = "{ const draw = Math.random; Math.random = () => draw() / 10; }"
_numbers = count(1)
_BROWSER = pytest.StashKey[Browser]()


class Command:
    """`realtime-kit …`, until it says that it is ready; `urls` are what it printed then."""

    def __init__(self, arguments: list[str], environ: dict[str, str], folder: Path, log: Path):
        self.arguments = arguments
        self.environ = environ
        self._folder = folder
        self._log = log
        self.urls: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        program = str(Path(sys.executable).with_name("realtime-kit"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *self.arguments],
                cwd=self._folder,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        while "Ctrl-C to stop" not in (line := lines.get(timeout=PATIENCE_S)):
            if not line:
                self.stop()
                raise AssertionError(f"it ended: {self._log.read_text()}")
            if row := re.fullmatch(r"\s+(.+?)\s+((?:http|ws)://\S+)\s*", line):
                self.urls.setdefault(row[1], row[2])

    def _read(self, lines: queue.Queue[str]) -> None:
        stdout = self._process.stdout
        assert stdout
        with stdout:
            for line in stdout:
                lines.put(line)
        lines.put("")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Ask it to stop, without waiting for that."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        self.end()
        self.wait()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """For what must come back on the same port after a restart; else a command takes port 0."""

    def free_port() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return int(listener.getsockname()[1])

    return free_port


@pytest.fixture(scope="session")
def run(
    tmp_path_factory: pytest.TempPathFactory, checkout: Path
) -> Iterator[Callable[..., Command]]:
    """`run("serve", "--port", "0", NAME="value")`: a command with only these settings."""
    started: list[Command] = []
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REALTIME_", "PUSHER_", "ABLY_", "DEMO_", "FLASK_", "PORT"))
    }

    def run(*arguments: str, **environ: str) -> Command:
        log = tmp_path_factory.mktemp("log") / "stderr"
        command = Command(list(arguments), {**clean, **environ}, checkout, log)
        started.append(command)
        return command

    yield run
    for command in started:
        command.end()
    for command in started:
        command.wait()


@pytest.fixture(scope="session")
def house(
    run: Callable[..., Command],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Command]:
    """`house("ably")`: `realtime-kit demo` on that provider, emulated, for all tests that want it.
    It has a database and ports of its own, and is running, whatever the last test did to it."""
    houses: dict[str, Command] = {}

    def house(provider: str) -> Command:
        if provider not in houses:
            database = str(tmp_path_factory.mktemp(provider) / "demo.sqlite3")
            ports = {"PORT": str(free_port()), "REALTIME_PORT": str(free_port())}
            environ = {"DEMO_DB": database, "REALTIME_PROVIDER": provider, **ports}
            houses[provider] = run("demo", **environ)
        if not houses[provider].is_running:
            houses[provider].start()
        return houses[provider]

    return house


@pytest.fixture
def demo(house: Callable[[str], Command]) -> Command:
    """The demo as it is started without any setting."""
    return house("local")


@pytest.fixture(scope="session")
def browser(chromium: str, request: pytest.FixtureRequest) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        request.session.stash[_BROWSER] = browser
        yield browser
        browser.close()


@dataclass
class Window:
    """One window of the demo, and what a person does in it."""

    page: Page
    name: str = ""
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def join(self, base: str, name: str) -> Window:
        self.name = name
        self.page.goto(f"{base}/join")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Come in").click()
        return self.ready()

    def sit(self, base: str, name: str) -> str:
        """Like `join`, without looking at a page; returns the token for further forms."""
        self.name = name
        page = self.page.request.get(f"{base}/join").text()
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        form = {"name": name, "csrf_token": found[1]}
        assert self.page.request.post(f"{base}/join", form=form).ok
        return found[1]

    def ready(self) -> Window:
        """Connected, subscribed, and seen by the others."""
        expect(self.state).to_have_attribute("data-state", "connected")
        expect(self.people.filter(has_text="(you)")).to_have_count(1)
        return self

    def enter(self, room: str) -> Window:
        self.page.get_by_role("navigation").get_by_role("link", name=room).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(room)
        return self.ready()

    def create(self, room: str, *, private: bool = False) -> Window:
        self.page.get_by_role("button", name="New room").click()
        self.page.get_by_label("Name of the new room").fill(room)
        if private:
            self.page.get_by_label("Private").check()
        self.page.get_by_role("button", name="Create room").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(room)
        return self.ready()

    def go_offline(self) -> None:
        """All windows of the profile, without the ten seconds that a socket is given to answer."""
        self.page.context.set_offline(True)
        for page in self.page.context.pages:
            page.wait_for_function("!navigator.onLine")
            page.evaluate("dispatchEvent(new Event('pagehide'))")
            expect(page.locator("#state")).to_have_attribute("data-state", "offline")

    def is_in(self, state: str) -> None:
        expect(self.state).to_have_attribute("data-state", state)

    def say(self, text: str) -> Window:
        self.box.fill(text)
        self.box.press("Enter")
        return self

    def sees(self, text: str) -> None:
        expect(self.words(text)).to_have_count(1)

    def words(self, text: str) -> Locator:
        return self.page.locator("#messages .words").get_by_text(text, exact=True)

    @property
    def handle(self) -> str:
        """What follows the @ of a mention."""
        return self.name.lower().replace(" ", "-")

    @property
    def box(self) -> Locator:
        return self.page.locator("#text")

    @property
    def state(self) -> Locator:
        return self.page.locator("#state")

    @property
    def people(self) -> Locator:
        return self.page.locator("#people li")

    @property
    def bell(self) -> Locator:
        return self.page.locator("#bell")

    @property
    def typing(self) -> Locator:
        return self.page.locator("#typing")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#notice")


@pytest.fixture(scope="session")
def profile(browser: Browser) -> Callable[..., BrowserContext]:
    """`profile()`: a browser profile; whoever asks for it closes it."""

    def profile(**options: Any) -> BrowserContext:
        made = browser.new_context(**{"viewport": {"width": 1320, "height": 860}, **options})
        made.set_default_timeout(PATIENCE_MS)
        made.add_init_script(HURRY)
        return made

    return profile


@pytest.fixture
def context(profile: Callable[..., BrowserContext]) -> Iterator[Callable[..., BrowserContext]]:
    """`context()`: a browser profile of the test's own."""
    contexts: list[BrowserContext] = []

    def context(**options: Any) -> BrowserContext:
        contexts.append(profile(**options))
        return contexts[-1]

    yield context
    for each in contexts:
        each.close()


@pytest.fixture(scope="session")
def window_in() -> Callable[[BrowserContext], Window]:
    """`window_in(profile)`: a window that outlives the test; whoever asks looks at its `errors`."""
    return lambda profile: Window(profile.new_page())


@pytest.fixture
def window(context: Callable[..., BrowserContext]) -> Iterator[Callable[..., Window]]:
    """`window()`: a window in a profile of its own, or in a given one. None may throw."""
    windows: list[Window] = []

    def window(profile: BrowserContext | None = None, **options: Any) -> Window:
        windows.append(Window((profile or context(**options)).new_page()))
        return windows[-1]

    yield window
    assert [error for each in windows for error in each.errors] == []


@pytest.fixture
def names() -> Callable[[str], str]:
    """`names("Ada")`: a name that no other test uses; people and rooms outlive a test."""
    number = next(_numbers)
    return lambda name: f"{name} {number:02}"


@pytest.fixture
def meet(
    window: Callable[..., Window], names: Callable[[str], str]
) -> Callable[[str], tuple[Window, Window]]:
    """`meet(base)`: Ada and Grace, in two profiles, in a room of their own."""

    def meet(base: str) -> tuple[Window, Window]:
        ada, grace = window(), window()
        form = {"name": names("Room"), "csrf_token": ada.sit(base, names("Ada"))}
        room = ada.page.request.post(f"{base}/u/0/rooms", form=form)
        assert room.ok
        grace.sit(base, names("Grace"))
        for each in (ada, grace):
            each.page.goto(room.url, wait_until="commit")
        for each in (ada, grace):
            each.ready()
            expect(each.people).to_have_count(2)
        return ada, grace

    return meet


@pytest.fixture
def two(demo: Command, meet: Callable[[str], tuple[Window, Window]]) -> tuple[Window, Window]:
    """Ada and Grace in the demo."""
    return meet(demo.urls["App"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Of a failed test every page that is open is pictured, in `test-results/`."""
    report = yield
    browser = item.session.stash.get(_BROWSER, None)
    item.failed = report.failed
    if report.failed and call.when != "teardown" and browser and browser.is_connected():
        folder = item.config.rootpath / "test-results"
        take_pictures(browser, folder, item.name)
    return report


def take_pictures(browser: Browser, folder: Path, name: str) -> None:
    pages = [page for each in browser.contexts for page in each.pages]
    for number, page in enumerate(pages):
        page.screenshot(path=folder / f"{name}-{number}.png")


@pytest.fixture(scope="session")
def violations(checkout: Path) -> Callable[[Page], list[str]]:
    """`violations(page)`: what axe finds, with the element."""
    script = checkout / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("no axe-core: run `make setup`")
    axe = script.read_text()

    def violations(page: Page) -> list[str]:
        page.evaluate(f"() => {{ {axe} }}")
        # An animation's colours are on their way; what counts is where they arrive.
        page.evaluate(
            "document.getAnimations().forEach((each) => each.effect.getTiming().iterations"
            " === Infinity ? each.cancel() : each.finish())"
        )
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert len(found["passes"]) > 10
        return [
            f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    return violations
