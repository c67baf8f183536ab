"""The driver of a deployment on Lambda: one app's effects, performed over DynamoDB and
`@connections`.

Functions live for one frame or request. What is to happen later goes through `queue`, and comes
back to `Driver.arrived`, perhaps in another process, perhaps twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from realtime_kit.errors import ProviderError, ProviderUnavailable
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.delivery import (
    Command,
    Delivery,
    Disconnect,
    Message,
    Transport,
)
from realtime_kit.hosting.apigateway.dynamodb import Row
from realtime_kit.hosting.apigateway.ids import to_connection_id, to_socket_id
from realtime_kit.hosting.apigateway.registry import CLAIM_SECONDS, Registry
from realtime_kit.hosting.apigateway.rows import number, text
from realtime_kit.hosting.apigateway.table import Change
from realtime_kit.hosting.apigateway.webhooks import Webhooks
from realtime_kit.protocol import announcements, effects, session
from realtime_kit.protocol.app import App
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import Cached, Effect, run

# Brings a message (an object of JSON values) back to `Driver.arrived` in so many seconds, at least
# once; raises if it cannot.
Queue = Callable[[Mapping[str, Any], float], object]

GONE_PER_MESSAGE = 50
# The announcement of a count is asked for anew if it has not come so long after its time.
ANNOUNCEMENT_LOST = 60.0


class Driver:
    """Performs the effects of one app.

    `notify` takes each webhook event; without it there are none. `observe` is given every delivery,
    for the metrics.
    """

    def __init__(
        self,
        app: App,
        *,
        registry: Registry,
        transport: Transport,
        queue: Queue,
        notify: Callable[[Mapping[str, Any]], object] | None = None,
        observe: Callable[[Delivery], object] = lambda delivery: None,
    ) -> None:
        self.app = app
        self.registry = registry
        self._transport = transport
        self._queue = queue
        self._webhooks = notify and Webhooks(registry, notify, self._look_later)
        self._observe = observe
        subscriptions = registry.subscriptions
        self._performers: dict[type[Effect], Callable[[Any], Any]] = {
            effects.Broadcast: self._broadcast,
            effects.Terminate: self._terminate,
            effects.QueryChannels: lambda effect: subscriptions.channels(effect.prefix),
            effects.QueryChannel: lambda effect: subscriptions.channel(effect.channel),
            effects.QueryMembers: lambda effect: subscriptions.members(effect.channel),
            effects.QueryPresent: self._present,
            effects.CacheGet: self._cache_get,
            effects.CacheSet: self._cache_set,
            effects.Notify: self._notify,
            effects.Later: self._later,
        }

    def perform(self, effect: Effect) -> Any:
        """Perform an effect of a step that is nobody's: the HTTP API's and delayed ones."""
        return self._performers[type(effect)](effect)

    def peer(self, conn: str, *, address: str | None = None) -> Peer:
        """What performs the effects of a connection's steps; `address` is the client's, while it
        connects."""
        return Peer(self, conn, address)

    def arrived(self, message: Mapping[str, Any]) -> None:
        """Do what a message of the queue says. Raises if it must be delivered again."""
        match message:
            case {"do": "look", "event": event, "key": key, "mark": mark}:
                if self._webhooks:
                    self._webhooks.look(event, key, mark)
            case {"do": "count", "channel": channel}:
                waits = self.registry.names.announcement(channel)
                self.registry.table.write(Change("Delete", waits))
                run(session.announce_count(self.app, channel), self.perform)
            case {"do": "disconnect", "connections": conns}:
                self.disconnect(conns)
            case _:
                raise ValueError(f"not a message of the driver: {message!r}")

    def disconnect(self, conns: Iterable[str]) -> None:
        """These connections are gone: the same as `$disconnect`, for those who did not get one."""
        for conn in conns:
            value = Connection(self.app.id, to_socket_id(conn))
            run(session.disconnect(self.app, value), self.peer(conn).perform)

    def is_told(self, channel: str, joined: effects.Joined) -> bool:
        """Whether others are to be told that a subscription to a channel began."""
        webhooks = self._webhooks is not None
        return announcements.is_told(self.app, channel, joined, webhooks=webhooks)

    def later(self, message: Mapping[str, Any], delay: float) -> None:
        self._queue({"app": self.app.id, **message}, delay)

    # --- to the clients ---------------------------------------------------------------------

    def deliver(self, commands: list[Command], *, forget: bool = True) -> Delivery:
        """Deliver, and have the connections that are found gone disconnected."""
        delivery = self._transport.deliver(commands)
        self._observe(delivery)
        gone = sorted(delivery.gone_ids) if forget else []
        for start in range(0, len(gone), GONE_PER_MESSAGE):
            conns = gone[start : start + GONE_PER_MESSAGE]
            self.later({"do": "disconnect", "connections": conns}, 0.0)
        return delivery

    def _broadcast(self, effect: effects.Broadcast) -> None:
        excluded = None if effect.exclude is None else to_connection_id(effect.exclude)
        pages = self.registry.subscriptions.subscribers(effect.channel)
        conns = [conn for page in pages for conn in page if conn != excluded]
        if conns:
            delivery = self.deliver([Message(effect.frame.encode(), conns)])
            if delivery.undelivered and not delivery.delivered:
                raise undelivered(delivery)

    def _terminate(self, effect: effects.Terminate) -> None:
        conns = self.registry.subscriptions.connections_of(effect.user_id, effect.channel)
        if conns:
            self.deliver([Message(effect.frame.encode(), conns), Disconnect(conns)])

    # --- state of channels ------------------------------------------------------------------

    def _present(self, effect: effects.QueryPresent) -> Mapping[str, str | None]:
        if effect.channel is None:
            return self.registry.online(effect.user_ids)
        return self.registry.subscriptions.present(effect.user_ids, effect.channel)

    def _cache_get(self, effect: effects.CacheGet) -> Cached | None:
        row = self.registry.table.get(self.registry.names.last_event(effect.channel))
        left = 0 if row is None else number(row, "ends") - rows.micros(self.registry.clock())
        if row is None or left <= 0:
            return None
        # A second that has begun still counts: a ttl of 0 would say "expired".
        return Cached(text(row, "frame"), max(1, round(left / 1_000_000)))

    def _cache_set(self, effect: effects.CacheSet) -> None:
        ends = self.registry.clock() + effect.ttl
        values: Row = {
            "frame": effect.frame,
            "ends": rows.micros(ends),
            "expires": int(ends) + 1,
        }
        key = self.registry.names.last_event(effect.channel)
        self.registry.table.write(Change("Put", key, values=values))

    # --- later ------------------------------------------------------------------------------

    def _notify(self, effect: effects.Notify) -> None:
        if self._webhooks:
            self._webhooks.notify(effect)

    def _look_later(self, event: Mapping[str, Any], key: str, delay: float) -> None:
        mark = self.registry.mark()
        self.later({"do": "look", "event": dict(event), "key": key, "mark": mark}, delay)

    def _later(self, effect: effects.Later) -> None:
        registry, now = self.registry, self.registry.clock()
        waits = registry.names.announcement(effect.channel)
        row = registry.table.get(waits)
        if row is not None and number(row, "ends") > rows.micros(now):
            return
        # First the message: who dies in between has it sent twice, not never.
        self.later({"do": "count", "channel": effect.channel}, effect.delay)
        ends = rows.micros(now + effect.delay + ANNOUNCEMENT_LOST)
        values: Row = {"ends": ends, "expires": rows.expiry(now)}
        registry.table.write(Change("Put", waits, values=values))


class Peer:
    """One connection's side of a driver: it knows whose step it performs."""

    def __init__(self, driver: Driver, conn: str, address: str | None) -> None:
        self._driver = driver
        self._registry = driver.registry
        self._conn = conn
        self._address = address
        self._claim = driver.registry.mark()
        self._settle: Callable[[str], None] | None = None

    def perform(self, effect: Effect) -> Any:
        performer = _PERFORMERS.get(type(effect))
        return self._driver.perform(effect) if performer is None else performer(self, effect)

    def _connect(self, effect: effects.Connect) -> bool:
        return self._registry.connect(
            self._conn, effect.connection, address=self._address, most=effect.max_connections
        )

    def _send(self, effect: effects.Send) -> None:
        self._deliver(Message(effect.frame.encode(), [self._conn]))

    def _close(self, _: effects.Close) -> None:
        self._deliver(Disconnect([self._conn]))

    def _deliver(self, command: Command) -> None:
        delivery = self._driver.deliver([command])
        if delivery.undelivered:
            raise undelivered(delivery)

    def _subscribe(self, effect: effects.Subscribe) -> effects.Joined:
        subscriptions, driver = self._registry.subscriptions, self._driver
        joined = subscriptions.subscribe(self._conn, effect, self._claim, driver.is_told)
        if joined.new and driver.is_told(effect.channel, joined):
            self._settle = lambda channel: subscriptions.told(self._conn, channel, self._claim)
        return joined

    def _unsubscribe(self, effect: effects.Unsubscribe) -> effects.Left:
        subscriptions = self._registry.subscriptions
        left = subscriptions.unsubscribe(self._conn, effect.channel, self._claim)
        if left.existed:
            self._settle = lambda channel: subscriptions.forget(self._conn, channel, self._claim)
        return left

    def _drop(self, _: effects.Drop) -> effects.Dropped:
        again = {"do": "disconnect", "connections": [self._conn]}
        try:
            dropped, whole = self._registry.drop(self._conn, self._claim)
        except ProviderError:
            self._driver.later(again, CLAIM_SECONDS + 1)
            raise
        if not whole:
            self._driver.later(again, CLAIM_SECONDS + 1)
        return dropped

    def _told(self, effect: effects.Told) -> None:
        if effect.channel is None:
            self._registry.told(self._conn, self._claim)
        elif self._settle is not None:
            self._settle(effect.channel)

    def _subscribed(self, effect: effects.Subscribed) -> str | None:
        return self._registry.subscriptions.subscribed(self._conn, effect.channel)

    def _sign_in(self, effect: effects.SignIn) -> effects.SignedIn:
        signed_in = self._registry.sign_in(self._conn, effect, self._claim)
        if signed_in.first:
            self._settle = lambda _: self._registry.told_online(self._conn, self._claim)
        return signed_in

    def _allow(self, effect: effects.Allow) -> bool:
        return self._registry.allow(self._conn, effect.bucket, effect.rate)


_PERFORMERS: dict[type[Effect], Callable[[Peer, Any], Any]] = {
    effects.Connect: Peer._connect,
    effects.Send: Peer._send,
    effects.Close: Peer._close,
    effects.Subscribe: Peer._subscribe,
    effects.Unsubscribe: Peer._unsubscribe,
    effects.Drop: Peer._drop,
    effects.Told: Peer._told,
    effects.Subscribed: Peer._subscribed,
    effects.SignIn: Peer._sign_in,
    effects.Allow: Peer._allow,
}


def undelivered(delivery: Delivery) -> ProviderUnavailable:
    """The error of a delivery that reached nobody."""
    calls = delivery.undelivered
    return ProviderUnavailable(
        f"@connections: {calls[0].reason}",
        provider="aws",
        status=calls[0].status,
        retryable=True,
        maybe_sent=any(call.maybe_sent for call in calls),
    )
