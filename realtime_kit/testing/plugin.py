"""The pytest plugin: it is active wherever realtime-kit is installed.

def test_order(realtime):
    ship(realtime, order)
    realtime.provider.assert_triggered("private-orders-42", "shipped", count=1)

def test_page(realtime_server):
    realtime_server.realtime().trigger("orders", "shipped", {})

def test_no_gaps(realtime_world):
    realtime_world(history=History(50), make_log=open_my_log).run()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from realtime_kit.realtime import Realtime
    from realtime_kit.testing.servers import Served
    from realtime_kit.testing.world import World

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


@pytest.fixture
def realtime_world() -> Callable[..., World]:
    """`realtime_world(seed=…, **options)`: a `World` with these options, and with a seed by chance
    unless one is given. A failure names it."""
    from realtime_kit.testing.world import World

    def make(seed: int | None = None, **options: Any) -> World:
        return World(int.from_bytes(os.urandom(4)) if seed is None else seed, **options)

    return make
