"""The applications of docs/usual-samples.md as they stand there, each on a server of its own."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Page

from realtime_kit.testing.servers import Served, serve

SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHARED = "What the examples share"
EVENTS = "/realtime/events"
NOBODY = ""


@pytest.fixture(scope="session")
def sections(checkout: Path) -> dict[str, str]:
    """The page's, by title, in its order."""
    return dict(SECTION.findall((checkout / "docs" / "usual-samples.md").read_text()))


@pytest.fixture(scope="session")
def files_of() -> Callable[[str], dict[str, str]]:
    """`files_of(SECTION)`, by name."""
    return lambda section: dict(FILE.findall(section))


class Line:
    """Between browser and application: what was answered to whom, and what gets lost on the way."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.answers: list[tuple[str, str]] = []  # request, status
        self.streams = 0  # that are open
        self.broken: set[str] = set()
        self.cuts = 0

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"

        def start(status: str, *rest: Any) -> Any:
            self.answers.append((asked, status))
            return start_response(status, *rest)

        if asked in self.broken:
            start("500 Internal Server Error", [("Content-Type", "application/json")])
            return [b'{"orders": "an error", "state": "an error"}']
        answer = self._application(environ, start)
        return self._watch(answer) if asked == f"GET {EVENTS}" else answer

    def _watch(self, answer: Any) -> Iterator[bytes]:
        self.streams += 1
        try:
            for chunk in answer:
                if self.cuts and b"data:" in chunk:
                    self.cuts -= 1
                    return  # the connection ends, and what was on it is lost
                yield chunk
        finally:
            self.streams -= 1
            answer.close()

    def statuses(self, asked: str) -> list[int]:
        return [int(status.split()[0]) for given, status in self.answers if given == asked]


@dataclass
class Sample:
    """A section's application, running. `the` is its module."""

    the: ModuleType
    url: str
    line: Line

    def call(self, name: str, *arguments: Any) -> None:
        """A function of the example, as one of its views would call it."""
        with self.the.app.app_context():
            getattr(self.the, name)(*arguments)

    def rt(self, verb: str, *arguments: Any, **options: Any) -> Any:
        with self.the.app.app_context():
            return getattr(self.the.rt, verb)(*arguments, **options)

    def signed_in(self, page: Page, user: str) -> Page:
        """As the application's login would do it."""
        cookies = self.the.app.session_interface.get_signing_serializer(self.the.app)
        value = cookies.dumps({"user": user})
        page.context.add_cookies([{"name": "session", "value": value, "url": self.url}])
        return page

    @property
    def waiting(self) -> int:
        """How many streams and polls the application holds."""
        with self.the.app.app_context():
            return int(self.the.rt.realtime.following.waiting)

    def subscriptions(self, channel: str) -> int:
        found = self.rt("channel", channel, info=["subscription_count"])
        return found.subscription_count or 0

    def sql(self, statement: str, *values: dict[str, Any]) -> list[Any]:
        """In the example's database; with values once for each."""
        with self.the.engine.begin() as db:
            done = db.execute(self.the.sa.text(statement), list(values) or None)
            return done.all() if done.returns_rows else []


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as served:
        yield served


@pytest.fixture
def start(
    served: Served,
    serving: Any,
    sections: dict[str, str],
    files_of: Callable[[str], dict[str, str]],
    bundle: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Sample]]:
    """`start(TITLE)`: the application of that section."""
    for name, value in served.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    with ExitStack() as ending:

        def start(title: str) -> Sample:
            files = files_of(sections[title])
            for name, text in {**files_of(sections[SHARED]), **files}.items():
                path = tmp_path / ("templates" if name.endswith(".html") else "") / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            the = load(tmp_path / "app.py")
            the.app.secret_key = "of these tests"
            the.app.wsgi_app = line = Line(the.app.wsgi_app)
            if engine := getattr(the, "engine", None):
                ending.callback(engine.dispose)
            if "App.jsx" in files:
                with (tmp_path / "main.jsx").open("a") as main:
                    main.write("window.root = root;\n")
                bundle("main.jsx")
            return Sample(the, ending.enter_context(serving(the.app)), line)

        yield start


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sample", path)
    assert spec
    assert spec.loader
    the = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(the)
    the.app.root_path = str(path.parent)
    return the


@pytest.fixture
def bundle(checkout: Path, sections: dict[str, str], tmp_path: Path) -> Callable[[str], None]:
    """`bundle(ENTRY)`, with the manual's own command, and the packages as `npm install` puts them
    there."""

    def bundle(entry: str) -> None:
        modules = tmp_path / "node_modules"
        shutil.copytree(checkout / "realtime_kit" / "client", modules / "realtime-kit-client")
        for name in ("react", "react-dom", "scheduler", "pusher-js"):
            (modules / name).symlink_to(checkout / "node_modules" / name)
        command = re.search(r"\$ npx (esbuild .*)\n", sections[SHARED])
        assert command
        words = shlex.split(command[1].replace("main.jsx", entry))
        words[0] = str(checkout / "node_modules" / ".bin" / "esbuild")
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    return bundle


@pytest.fixture
def visit(window: Callable[..., Any]) -> Callable[..., Page]:
    """`visit(sample, path, user)`: the page, in a profile of its own."""

    def visit(sample: Sample, path: str, user: str = NOBODY) -> Page:
        page: Page = window().page
        if user:
            sample.signed_in(page, user)
        page.goto(sample.url + path)
        return page

    return visit
