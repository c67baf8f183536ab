"""What a connection costs: request units of DynamoDB, counted, not timed. `realtime-kit cost`
calculates with these figures; whoever changes one changes the other."""

from __future__ import annotations

import pytest

from realtime_kit.deployment import cost
from realtime_kit.emulators.apigateway.services import request_units
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.registry import Bounds
from realtime_kit.hosting.apigateway.sweep import sweep
from realtime_kit.testing.dynamodb import MemoryDynamoDB

ROOM = "presence-room"


class Counted:
    """A DynamoDB, and the units (read, written) of what was asked of it."""

    def __init__(self):
        self._db, self._read, self._written = MemoryDynamoDB(), 0.0, 0.0

    def call(self, operation, request):
        answer = {}
        try:
            answer = self._db.call(operation, request)
        finally:  # a condition that fails is paid for, too
            read, written = request_units(operation, request, answer)
            self._read += read
            self._written += written
        return answer

    def taken(self):
        """Since this was asked last."""
        units = self._read, self._written
        self._read = self._written = 0.0
        return units


class Page:
    """A client, and others who are on the channels already. Its functions know its address."""

    def __init__(self, make_world, **options):
        self.db = Counted()
        self.world = make_world(self.db, **options)
        for number in range(3):
            other = self.world.connect()
            other.subscribe("news")
            other.subscribe(ROOM, f"other-{number}")
        self.db.taken()
        self.client = self.world.client()
        driver = self.world.driver
        self.client.perform = lambda: driver.peer(self.client.conn, address="192.0.2.1").perform

    def units(self, name, *arguments):
        """Of one step, and of what the queue brings afterwards."""
        getattr(self.client, name)(*arguments)
        self.world.clock.advance(10)
        return self.db.taken()


@pytest.fixture
def page(make_world):
    return Page(make_world, notify=None)


@pytest.fixture
def there(page):
    page.client.connect()
    page.client.subscribe("news")
    page.client.subscribe(ROOM, "1")
    page.db.taken()
    return page


def test_a_connection(page):
    steps = [
        page.units("connect"),
        page.units("subscribe", "news"),
        page.units("subscribe", ROOM, "1"),
        page.units("go"),
    ]
    assert steps == [(2, 2), (4, 8), (9, 13), (11, 18)]
    read, written = map(sum, zip(*steps, strict=True))
    assert read == cost.READS_PER_CONNECTION
    assert written == cost.WRITES_PER_CONNECTION


def test_a_connection_of_which_the_application_hears(make_world):
    page = Page(make_world)
    steps = [
        page.units("connect"),
        page.units("subscribe", "news"),
        page.units("subscribe", ROOM, "1"),
        page.units("go"),
    ]
    assert steps == [(2, 2), (4, 8), (11, 15), (14, 21)]
    assert page.world.webhooks


def test_what_else_a_connection_does(there):
    assert there.units("unsubscribe", "news") == (5, 9)
    assert there.units("unsubscribe", ROOM) == (8, 13)
    assert there.units("sign_in", "7") == (5, 9)
    assert there.units("go") == (6, 10)


def swept(page, minutes):
    for _ in range(minutes):
        page.world.clock.advance(60)
        sweep(page.world.driver, page.world.deployment.clients)
    return page.db.taken()


def test_a_sweep_s_look_at_a_connection(there, make_world):
    """Of a connection that lasts until it is too old; nothing is written for it."""
    alone = Page(make_world, notify=None)
    others, written_for_others = swept(alone, 100)
    read, written = swept(there, 100)
    assert written == written_for_others == 100
    looks = 1 + 10  # when it must have proven something, and every ten minutes
    found = looks + 2  # at the first two, whether something that it did was not told of
    assert read - others == found
    assert pytest.approx(found / 10) == cost.READS_PER_LOOK


def test_a_sweep(make_world):
    empty = make_world(Counted(), notify=None)
    sweep(empty.driver, empty.deployment.clients)
    assert empty.deployment.db.taken() == (cost.READS_PER_SWEEP, 0)


def test_the_sweep_s_list(there):
    listed = there.world.registry.names.due(there.client.conn, "192.0.2.1")
    row = there.world.rows()[listed]
    # "Item sizes": names and texts by their bytes, numbers by two digits and one more.
    size = sum(map(len, row))
    size += sum(len(v) if isinstance(v, str) else (len(str(v)) + 1) // 2 + 1 for v in row.values())
    assert size == cost.LISTED_BYTES


def test_how_long_a_connection_lasts():
    assert sum(Bounds().age) / 2 / 60 == cost.SESSION_MINUTES
    assert rows.DUE_PARTITIONS + 1 == cost.READS_PER_SWEEP
