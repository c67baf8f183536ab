"""Whoever opens the developer tools on a page sees nothing in red: nothing is wrong."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

LEFT = "net::ERR_ABORTED"  # a request that was under way when the page was left


def test_the_demo_leaves_nothing_in_the_console(demo: Any, window: Any, names: Any) -> None:
    ada = window()
    red: list[str] = []
    ada.page.on("console", lambda told: red.append(told.text) if told.type == "error" else None)
    ada.page.on("requestfailed", lambda asked: red.append(f"{asked.failure} {asked.url}"))
    ada.sit(demo.urls["App"], names("Ada"))
    for path in ("/chat", "/notifications", "/todos", "/likes", "/dashboard"):
        with ada.page.expect_response(lambda answer: "/realtime/events?" in answer.url):
            ada.page.goto(f"{demo.urls['App']}{path}")
        ada.is_in("connected")
        assert [line for line in red if not line.startswith(LEFT)] == [], path
