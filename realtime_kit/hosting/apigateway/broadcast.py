"""The driver of a deployment: how an event reaches all who are subscribed, few or many.

Few are reached from where the event comes in. More than `INLINE` are the queue's: a message for
each shard of the channel, and a worker that goes through the shard a batch at a time and writes
down how far it has come. So a worker that dies is followed by one that repeats a batch at most.
Who comes and goes is told at once, however many there are, because its order matters.

What could not be delivered comes again a little later; a client that cannot be reached at all, or
would be told of members in the wrong order, is sent away to come back and hear everything anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from realtime_kit.hosting.apigateway.delivery import (
    Command,
    Delivery,
    Disconnect,
    Message,
    Transport,
)
from realtime_kit.hosting.apigateway.driver import Driver, undelivered
from realtime_kit.hosting.apigateway.dynamodb import Key, Row
from realtime_kit.hosting.apigateway.ids import to_connection_id
from realtime_kit.hosting.apigateway.registry import Registry
from realtime_kit.hosting.apigateway.rows import expiry, number, text
from realtime_kit.hosting.apigateway.table import Change
from realtime_kit.protocol import effects, frames
from realtime_kit.protocol.app import App

INLINE = 200  # recipients
BATCH = 500  # recipients between two notes of how far a worker has come
BATCH_SECONDS = 20.0
PER_MESSAGE = 2_000  # ids of connections
TRIES = 5
GRACE = 5.0  # seconds in which `$connect` may not have returned yet

# Who tells these looks afterwards whether they are so still, and tells again: they must have been
# delivered by then, and in that order.
_ORDERED = ('{"event":"pusher_internal:member_', '{"event":"pusher_internal:watchlist_')
_AWAY = frames.error("Server could not deliver, please reconnect", 4200)

_log = logging.getLogger(__name__)

Mode = Literal["auto", "inline", "queue"]


class Queue(Protocol):
    """Brings messages to `Broadcaster.arrived`, at least once."""

    def send(self, message: Mapping[str, Any], delay: float = 0.0) -> None: ...

    def send_many(self, messages: Sequence[Mapping[str, Any]]) -> None: ...


class Broadcaster(Driver):
    """A `Driver` that shares out its broadcasts as `mode` says."""

    def __init__(
        self,
        app: App,
        *,
        registry: Registry,
        transport: Transport,
        queue: Queue,
        mode: Mode = "auto",
        notify: Callable[[Mapping[str, Any]], object] | None = None,
        observe: Callable[[Delivery], object] = lambda delivery: None,
    ) -> None:
        super().__init__(
            app,
            registry=registry,
            transport=transport,
            queue=queue.send,
            notify=notify,
            observe=observe,
        )
        self._messages = queue
        self._mode = mode

    def arrived(
        self, message: Mapping[str, Any], *, left: Callable[[], float] = lambda: float("inf")
    ) -> None:
        """Do what a message says. `left` tells the seconds that there are for it."""
        match message:
            case {"do": "shard"}:
                self._work(message, left)
            case {"do": "again", "frame": frame, "connections": conns, "tries": tries}:
                self._reach(frame, conns, tries)
            case {"do": "away", "frame": frame, "connections": conns}:
                self.send_away(conns, frame)
            case {"do": "greet"}:
                self._greet(message)
            case _:
                super().arrived(message)

    # --- broadcasts -------------------------------------------------------------------------

    def _broadcast(self, effect: effects.Broadcast) -> None:
        excluded = None if effect.exclude is None else to_connection_id(effect.exclude)
        mode: Mode = "inline" if effect.frame.startswith(_ORDERED) else self._mode
        if mode == "queue":
            self._share_out(effect, excluded)
            return
        conns: list[str] = []
        for page in self.registry.subscriptions.subscribers(effect.channel):
            conns += (conn for conn in page if conn != excluded)
            if mode == "auto" and len(conns) > INLINE:
                self._share_out(effect, excluded)
                return
        self._reach(effect.frame, conns)

    def _share_out(self, effect: effects.Broadcast, excluded: str | None) -> None:
        spread = self.registry.table.get(self.registry.names.spread(effect.channel))
        message = {
            "app": self.app.id,
            "do": "shard",
            "id": self.registry.mark(),
            "channel": effect.channel,
            "frame": effect.frame,
            "exclude": excluded,
        }
        shards = 1 if spread is None else number(spread, "spread")
        self._messages.send_many([{**message, "shard": shard} for shard in range(shards)])

    def _work(self, message: Mapping[str, Any], left: Callable[[], float]) -> None:
        """Reach one shard of a channel, from where the last worker came to."""
        table, names = self.registry.table, self.registry.names
        note = Key(f"B#{names.app}#{message['id']}", str(message["shard"]))
        found = table.get(note)
        reached = "" if found is None else text(found, "reached")
        batches = self._batches(message["channel"], message["shard"], reached)
        for place, batch in enumerate(batches):
            if place:
                values: Row = {"reached": reached, "expires": expiry(self.registry.clock())}
                table.write(Change("Put", note, values=values))
                if left() < BATCH_SECONDS + 5:
                    self._messages.send(message)
                    return
            self._reach(message["frame"], [conn for conn in batch if conn != message["exclude"]])
            reached = batch[-1]

    def _batches(self, channel: str, shard: int, reached: str) -> Iterator[list[str]]:
        """The connections of a shard after `reached`, in order."""
        batch: list[str] = []
        pk = self.registry.names.shard(channel, shard)
        for items in self.registry.table.pages(pk, start=f"S#{reached}"):
            batch += (conn for item in items if (conn := item["sk"]["S"][2:]) != reached)
            while len(batch) >= BATCH:
                yield batch[:BATCH]
                del batch[:BATCH]
        if batch:
            yield batch

    def _reach(self, frame: str, conns: Sequence[str], tries: int = 0) -> None:
        """Deliver to all of them: now, later, or never, and then they are sent away."""
        if not conns:
            return
        message = Message(frame.encode(), conns, repeatable=True)
        failed = [call.connection_id for call in self.deliver([message]).undelivered]
        if not failed:
            return
        _log.warning("%d of %d not reached, try %d", len(failed), len(conns), tries + 1)
        if tries + 1 < TRIES and not frame.startswith(_ORDERED):
            again = {"do": "again", "frame": frame, "tries": tries + 1}
            self._each(again, failed, 2.0**tries)
        else:
            self._each({"do": "away", "frame": _AWAY}, failed, 0.0)

    def _each(self, message: Mapping[str, Any], conns: Sequence[str], delay: float) -> None:
        for start in range(0, len(conns), PER_MESSAGE):
            self.later({**message, "connections": conns[start : start + PER_MESSAGE]}, delay)

    # --- ends -------------------------------------------------------------------------------

    def _terminate(self, effect: effects.Terminate) -> None:
        conns = self.registry.subscriptions.connections_of(effect.user_id, effect.channel)
        if not conns:
            return
        delivery = self.deliver([Message(effect.frame.encode(), conns), Disconnect(conns)])
        if still := _open(delivery):
            self._each({"do": "away", "frame": effect.frame}, still, 1.0)

    def send_away(self, conns: Sequence[str], frame: str) -> None:
        """Tell them `frame`, close them, and see to what they leave behind.

        Raises `ProviderUnavailable` if some could not be closed.
        """
        delivery = self.deliver([Message(frame.encode(), conns), Disconnect(conns)], forget=False)
        still = _open(delivery)
        self.disconnect(conn for conn in conns if conn not in still)
        if still:
            raise undelivered(delivery)

    def _greet(self, message: Mapping[str, Any]) -> None:
        """The first that a client hears, once `$connect` has returned."""
        conn, tries = message["connection"], message.get("tries", 0)
        commands: list[Command] = [
            Message(frame.encode(), [conn], repeatable=True, grace=GRACE)
            for frame in message["frames"]
        ]
        if message["close"]:
            commands.append(Disconnect([conn]))
        delivery = self.deliver(commands)
        if not delivery.undelivered:
            return
        if tries + 1 < TRIES:
            self.later({**message, "tries": tries + 1}, 1.0)
        else:
            self._each({"do": "away", "frame": _AWAY}, [conn], 0.0)


def _open(delivery: Delivery) -> list[str]:
    """The connections that were to be closed and may not be."""
    failed: Iterable[str] = (
        call.connection_id for call in delivery.undelivered if isinstance(call.command, Disconnect)
    )
    return list(failed)
