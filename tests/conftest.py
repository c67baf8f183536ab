"""What every test shares: where the browser and Node are, and that nothing hides in CI."""

from __future__ import annotations

import itertools
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# No test is timed: a busy machine is no failure. (Tests that hang are ended by pytest-timeout.)
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")

CHECKOUT = Path(__file__).resolve().parent.parent
DEADLINE = 15.0  # seconds for what a client reports
IN_CI = os.environ.get("CI") == "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with one reason; in CI nothing is skipped."""
    missing = {
        "browser": None if chromium_path() else "no chromium: apt-get install chromium",
        "node": _why_no_node(),
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and not IN_CI and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
    # Last: Playwright keeps an event loop running in the main thread, where others start theirs.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing is skipped in CI: {report.longrepr}"
    return report


def chromium_path() -> str | None:
    return shutil.which(os.environ.get("CHROMIUM", "chromium"))


def _why_no_node() -> str | None:
    if not shutil.which("node"):
        return "no Node 20 on this machine"
    if not (CHECKOUT / "node_modules").is_dir():
        return "no node_modules: run `make setup`"
    return None


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for tests marked `browser`."""
    path = chromium_path()
    assert path, "chromium is not installed: apt-get install chromium"
    return path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("REALTIME_", "PUSHER_", "ABLY_")):
            monkeypatch.delenv(name)


# --- the official JavaScript clients ----------------------------------------------------------


class Agent:
    """Node with pusher-js, laravel-echo and the `pusher` SDK; see `real_clients/agent.mjs`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._reported: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._answers[0].get(timeout=DEADLINE)["answer"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers[message["id"]].put(message)
            else:
                with self._news:
                    self._reported.append(message)
                    self._news.notify_all()

    def __call__(self, command: str, **options: Any) -> Any:
        """The command's answer. Raises `Failed` with what the client threw."""
        number = next(self._ids)
        self._answers[number] = queue.Queue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._answers[number].get(timeout=DEADLINE)
        del self._answers[number]
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["answer"]

    def saw(self, **wanted: Any) -> list[dict[str, Any]]:
        """What was reported so far and has these members."""
        with self._news:
            return [
                message
                for message in self._reported
                if all(message.get(name) == value for name, value in wanted.items())
            ]

    def wait(self, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """The `count`-th report that has these members, once it is there."""
        end = time.monotonic() + DEADLINE
        with self._news:
            while len(found := self.saw(**wanted)) < count:
                left = end - time.monotonic()
                assert left > 0, f"never saw {wanted} ×{count}; last: {self._reported[-9:]}"
                self._news.wait(left)
        return found[count - 1]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """What `condition` returns, once it is true; it is asked again after each report."""
        with self._news:
            value = self._news.wait_for(condition, DEADLINE)
        assert value, f"never saw {what}; last: {self._reported[-9:]}"
        return value

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)


class Failed(Exception):
    """What a JavaScript client threw: `details` has name, message, status and body."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__(details)
        self.details = details


@pytest.fixture(scope="module")
def agent(checkout: Path) -> Iterator[Agent]:
    process = subprocess.Popen(
        ["node", "tests/real_clients/agent.mjs"],
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        agent = Agent(process)
        yield agent
        agent.end()


@pytest.fixture(scope="module")
def failed() -> type[Failed]:
    return Failed
