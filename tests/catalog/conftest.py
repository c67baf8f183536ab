"""The events of a shop, as an application declares them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydantic import Field

from realtime_kit import Catalog, RealtimeEvent


class OrderShipped(RealtimeEvent, name="shipped", channel="private-orders-{order_id}"):
    """An order is on its way."""

    order_id: int = Field(gt=0)
    carrier: str = "post"


class TeamChanged(RealtimeEvent, channel=("private-team-{team}", "staff")):
    team: str = Field(exclude=True)
    size: int


class Typing(RealtimeEvent, name="client-typing", channel="presence-room-{room:slug}"):
    room: str = Field(exclude=True)
    on: bool


class Notice(RealtimeEvent):
    text: str


@pytest.fixture
def shop() -> SimpleNamespace:
    """The classes and a catalogue of them."""
    kinds = (OrderShipped, TeamChanged, Typing, Notice)
    return SimpleNamespace(
        catalog=Catalog(*kinds), kinds=kinds, **{kind.__name__: kind for kind in kinds}
    )
