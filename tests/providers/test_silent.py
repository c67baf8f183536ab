"""Providers `log` and `null`."""

from __future__ import annotations

import logging

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
