"""What every test shares: where the browser and Node are, and that nothing hides in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# No test is timed: a busy machine is no failure. (Tests that hang are ended by pytest-timeout.)
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")

CHECKOUT = Path(__file__).resolve().parent.parent
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
