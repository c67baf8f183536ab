"""The pytest plugin: it is active wherever realtime-kit is installed.

def test_order(realtime):
    ship(realtime, order)
    realtime.provider.assert_triggered("private-orders-42", "shipped", count=1)

def test_page(realtime_server):
    realtime_server.realtime().trigger("orders", "shipped", {})
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from realtime_kit.realtime import Realtime
    from realtime_kit.testing.servers import Served

# Everything else is imported where it is asked for: the plugin is loaded in every project's runs.


@pytest.fixture
def realtime() -> Realtime:
    """A `Realtime` over a `FakeProvider`: nothing is delivered, `realtime.provider` remembers."""
    from realtime_kit.realtime import Realtime
    from realtime_kit.testing.fakes import FakeProvider

    return Realtime(FakeProvider())


@pytest.fixture
def realtime_server() -> Iterator[Served]:
    """A running embedded server on a free port."""
    from realtime_kit.testing.servers import serve

    with serve() as served:
        yield served
