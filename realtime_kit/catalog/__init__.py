"""Typed events: a class says an event's channels, name and data, for all who send and read it.

    class OrderShipped(RealtimeEvent, name="shipped", channel="private-orders-{order_id}"):
        order_id: int
        eta: datetime

    realtime = Realtime(catalog=Catalog(OrderShipped))
    realtime.trigger(OrderShipped(order_id=42, eta=eta))

With a catalogue also what is triggered by name is held to the classes, and browsers get their types
from it: `realtime-kit types`.
"""

from __future__ import annotations

from realtime_kit.catalog.catalogue import Catalog
from realtime_kit.catalog.event import RealtimeEvent

__all__ = ["Catalog", "RealtimeEvent"]
