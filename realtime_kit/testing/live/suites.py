"""What `realtime-kit verify --live` runs: the conformance suites that ask a real account.

Not in here: `ErrorSuite`, whose faulty vendor is of our own, and `WebhookSuite`, for a webhook
comes to an address that the internet knows.
"""

from __future__ import annotations

from realtime_kit.testing import conformance
from realtime_kit.testing.conformance.suite import Connect
from realtime_kit.testing.conformance.suites import *  # noqa: F403
from realtime_kit.testing.live.meter import MeteredObserver


class TestConnection(conformance.Suite):
    """Of the Pusher protocol itself, below what the other suites ask."""

    def test_a_ping_is_answered(self, connect: Connect) -> None:
        page = connect()
        assert isinstance(page, MeteredObserver)
        page.ping()


class TestDeclared(conformance.DeclaredSuite):
    # Those of the suite that look at the file around it have nothing to tell here.
    test_all_that_is_declared_is_tested = None  # type: ignore[assignment]
    test_all_that_is_tested_is_declared = None  # type: ignore[assignment]
