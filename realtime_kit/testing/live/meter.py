"""What a run spends: counted before each call, and refused once it would be more than allowed.

Everything counts as one message: what is published to a channel and each delivery of it, what a
browser sends and is answered, a request to the HTTP API and each member in its answer. A large
event is several: as many as for Ably, whose unit is the smallest. A vendor counts some of it, none
of it twice: what is counted here is never less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from realtime_kit.channels import kind_of
from realtime_kit.events import Event, Receipt, size
from realtime_kit.providers.base import AuthAnswer, ChannelInfo, Provider
from realtime_kit.testing.conformance.channels_wire import ChannelsObserver
from realtime_kit.testing.conformance.wire import Delivery, Observer

CHUNK = 5 * 1024  # bytes that Ably counts as one message
BESIDE = 1024  # bytes of an event at most, beside its data: name, ids, claims


class CapReached(Exception):
    """The next call would go over the cap; it was not made."""


class Meter:
    """`spent` of `limit` messages. `present` has how many browsers are on each channel."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.present: Counter[str] = Counter()

    def spend(self, messages: int) -> None:
        """Count them. Raises `CapReached` instead, if that is more than is left."""
        if self.spent + messages > self.limit:
            raise CapReached(
                f"{self.spent} of {self.limit} messages are spent, and the next call may take "
                f"{messages}"
            )
        self.spent += messages


class Metered(Provider):
    """Mixed into a provider's class: its requests are counted. `meter` is set after it is made."""

    meter: Meter

    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        info = tuple(info)
        asked = [self._asked(name) for event in events for name in event.channels] if info else []
        self.meter.spend(sum(map(self._sent, events)) + sum(asked))
        return super().publish(events, info=info)  # type: ignore[safe-super]

    def _sent(self, event: Event) -> int:
        """An event, published to each of its channels and delivered there."""
        parts = 1 + (size(event.payload()) + BESIDE) // CHUNK
        return parts * sum(1 + self.meter.present[name] for name in event.channels)

    def _asked(self, channel: str) -> int:
        """A question about a channel, and one who its members are."""
        return 2 + self.meter.present[channel]

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        info = tuple(info)
        self.meter.spend(1 + (sum(map(self._asked, self.meter.present)) if info else 0))
        return super().channels(prefix=prefix, info=info)

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        self.meter.spend(self._asked(name))
        return super().channel(name, info=info)

    def members(self, channel: str) -> list[str]:
        self.meter.spend(self._asked(channel))
        return super().members(channel)

    def disconnect_user(self, user_id: str) -> None:
        self.meter.spend(1 + self.meter.present.total())
        super().disconnect_user(user_id)

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        self.meter.spend(1 + self.meter.present.total())
        super().revoke(user_id, channel=channel)


def metered(kind: type[Provider]) -> type[Metered]:
    """The same provider, whose calls a meter counts."""
    return type(kind.__name__, (Metered, kind), {"__module__": kind.__module__})


class MeteredObserver:
    """A browser whose frames are counted."""

    def __init__(self, observer: Observer, meter: Meter) -> None:
        self._observer = observer
        self._meter = meter
        self._joined: list[str] = []

    @property
    def socket_id(self) -> str:
        return self._observer.socket_id

    def subscribe(self, channel: str, answer: AuthAnswer | None = None) -> None:
        present = self._meter.present
        # On a presence channel the others hear who comes, and later who goes.
        told = 2 * present[channel] if kind_of(channel).is_presence else 0
        self._meter.spend(2 + told)
        self._observer.subscribe(channel, answer)
        self._joined.append(channel)
        present[channel] += 1

    def sign_in(self, proof: Mapping[str, str]) -> None:
        self._meter.spend(2)
        self._observer.sign_in(proof)

    def send(self, channel: str, name: str, data: Any) -> None:
        self._meter.spend(1 + self._meter.present[channel])
        self._observer.send(channel, name, data)

    def receive(self) -> Delivery:
        return self._observer.receive()

    def wait_closed(self) -> None:
        self._observer.wait_closed()

    def ping(self) -> None:
        assert isinstance(self._observer, ChannelsObserver)
        self._meter.spend(2)
        self._observer.ping()

    def close(self) -> None:
        self._meter.present.subtract(self._joined)
        self._joined.clear()
        self._observer.close()
