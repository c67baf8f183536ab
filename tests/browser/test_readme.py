"""The README's own application, run with the README's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text()


@pytest.fixture
def application(
    readme: str, run: Callable[..., object], tmp_path: Path
) -> Iterator[dict[str, str]]:
    """`realtime-kit dev app:app`: its addresses."""
    program = re.search(r"`app\.py`.*?```python\n(.*?)```", readme, re.DOTALL)
    assert program
    (tmp_path / "app.py").write_text(program[1])
    command = re.search(r"\$ realtime-kit (dev app:app)\n", readme)
    assert command
    started = run(*command[1].split(), PORT="0", REALTIME_PORT="0", PYTHONPATH=str(tmp_path))
    yield started.urls  # type: ignore[attr-defined]
    started.stop()  # type: ignore[attr-defined]


def test_what_one_window_ships_the_other_sees(application, window) -> None:
    one, other = window(), window()
    for each in (one, other):
        each.page.goto(application["App"])
        each.page.wait_for_function("window.realtime?.state === 'connected'")
    expect(other.page.locator("#orders li")).to_have_count(0)
    one.page.get_by_role("button", name="Ship an order").click()
    expect(other.page.locator("#orders li")).to_have_text(["Order 1 is on its way"])


def test_the_command_reaches_the_page(application, readme, window) -> None:
    page = window().page
    page.goto(application["App"])
    page.wait_for_function("window.realtime?.state === 'connected'")
    command = re.search(r"\$ realtime-kit (trigger) (orders) (shipped) '(.*)'\n", readme)
    assert command
    port = re.search(r":(\d+)/", application["WebSocket"])
    assert port
    done = subprocess.run(
        [str(Path(sys.executable).with_name("realtime-kit")), *command.groups()],
        env={**os.environ, "REALTIME_PORT": port[1]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expect(page.locator("#orders li")).to_have_text(["Order 42 is on its way"])
