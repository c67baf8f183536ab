"""Providers `log` and `null`."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from realtime_kit.events import Event
from realtime_kit.providers.log import LogProvider
from realtime_kit.providers.null import NullProvider
from realtime_kit.testing import conformance


@pytest.fixture(params=[LogProvider, NullProvider], ids=lambda provider: provider.name)
def provider(request: pytest.FixtureRequest) -> NullProvider:
    return request.param()


class TestSilent(conformance.SilentSuite): ...


class TestDeclared(conformance.DeclaredSuite): ...


def test_log_writes_a_line_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "realtime_kit.events")
    LogProvider().publish(
        [
            Event(("news", "sport"), "goal", {"by": "Zoë"}),
            Event(("news",), "typing", "%s", exclude="1.2"),
        ]
    )
    assert caplog.messages == [
        'goal -> news, sport: {"by": "Zoë"}',
        "typing -> news (not to 1.2): %s",
    ]


def test_log_writes_nothing_if_one_event_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "realtime_kit.events")
    with pytest.raises(ValueError, match="at least one channel"):
        LogProvider().publish([Event(("news",), "goal", {}), Event((), "goal", {})])
    assert caplog.messages == []


def test_null_writes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    NullProvider().publish([Event(("news",), "goal", {})])
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("configure", "seen"),
    [
        ("pass", True),
        ("logging.getLogger('realtime_kit').setLevel('INFO')", True),
        ("logging.basicConfig(level='INFO', format='%(message)s')", True),
        ("logging.basicConfig()", False),
        ("logging.getLogger('realtime_kit').addHandler(logging.NullHandler())", False),
    ],
)
def test_log_is_seen_unless_the_application_says_otherwise(configure: str, seen: bool) -> None:
    code = (
        "import logging; from realtime_kit import Realtime\n"
        f"{configure}\n"
        "Realtime('log').trigger('news', 'goal', {'by': 'Zoë'}, id='e1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout == ""
    assert done.stderr == ('goal -> news: {"by": "Zoë"}\n' if seen else "")
