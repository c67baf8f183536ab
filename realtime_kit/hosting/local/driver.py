"""The driver of the embedded server: one app's effects, performed in memory.

Synchronous: a step runs to its end without giving way, so that no other step comes between two of
its effects. It holds no event loop; time, delays, frame encoding and webhooks are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from realtime_kit.hosting.local.fanout import CallLater, Clock, Timer, write_all
from realtime_kit.hosting.local.registry import MemoryRegistry, Socket
from realtime_kit.protocol import effects
from realtime_kit.protocol.announcements import announce_count
from realtime_kit.protocol.app import App
from realtime_kit.protocol.effects import Cached, Dropped, Effect, Perform, run

Notify = Callable[[Mapping[str, Any]], object]


class MemoryDriver:
    """Performs the effects of one app.

    `encode` makes the bytes that are written to sockets out of a frame, once per frame. `clock`
    gives seconds, monotonic. `call_later(seconds, function)` is the only source of delays. `notify`
    takes each webhook event; it must not raise.
    """

    def __init__(
        self,
        app: App,
        *,
        encode: Callable[[str], bytes],
        clock: Clock,
        call_later: CallLater,
        notify: Notify,
    ) -> None:
        self.app = app
        self.registry = MemoryRegistry(clock, call_later)
        self._encode = encode
        self._clock = clock
        self._call_later = call_later
        self._notify = notify
        self._cache: dict[str, tuple[str, float]] = {}
        self._waiting: dict[object, Timer] = {}
        self._announcing: dict[str, Timer] = {}
        self._said: dict[object, float] = {}
        self._performers: dict[type[Effect], Callable[[Any], Any]] = {
            effects.Broadcast: self._broadcast,
            effects.Terminate: self._terminate,
            effects.QueryChannels: lambda effect: self.registry.channels(effect.prefix),
            effects.QueryChannel: lambda effect: self.registry.channel(effect.channel),
            effects.QueryMembers: lambda effect: self.registry.members(effect.channel),
            effects.QueryPresent: lambda effect: self.registry.present(
                effect.user_ids, effect.channel
            ),
            effects.CacheGet: self._cache_get,
            effects.CacheSet: self._cache_set,
            effects.Notify: self._notify_or_cancel,
            effects.Later: self._later,
        }

    def perform(self, effect: Effect) -> Any:
        """Perform an effect of a step that is nobody's: the HTTP API's and delayed ones."""
        return self._performers[type(effect)](effect)

    def performer(self, socket_id: str, socket: Socket) -> Perform:
        """What performs the effects of this connection's steps."""
        return _Peer(self, socket_id, socket, self._encode, self._clock).perform

    def close(self) -> None:
        """Write what waits to be written, and call off what was to happen later."""
        self.registry.flush()
        for timer in [*self._waiting.values(), *self._announcing.values()]:
            timer.cancel()
        self._waiting.clear()
        self._announcing.clear()

    def _broadcast(self, effect: effects.Broadcast) -> None:
        fanout = self.registry.fanout(effect.channel)
        if fanout is not None:
            fanout.send(self._encode(effect.frame), effect.exclude)

    def _terminate(self, effect: effects.Terminate) -> None:
        self.registry.flush()
        frame = self._encode(effect.frame)
        for socket in self.registry.sockets_of(effect.user_id, effect.channel):
            write_all([socket.write], frame)
            socket.close(effect.code, effect.reason)

    def _cache_get(self, effect: effects.CacheGet) -> Cached | None:
        self._forget_expired()
        kept = self._cache.get(effect.channel)
        # A second that has begun still counts: a ttl of 0 would say "expired".
        return Cached(kept[0], max(1, round(kept[1] - self._clock()))) if kept else None

    def _cache_set(self, effect: effects.CacheSet) -> None:
        self._forget_expired()
        self._cache.pop(effect.channel, None)
        self._cache[effect.channel] = (effect.frame, self._clock() + effect.ttl)

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._cache and next(iter(self._cache.values()))[1] <= now:  # the oldest end first
            del self._cache[next(iter(self._cache))]

    def _notify_or_cancel(self, effect: effects.Notify) -> None:
        key: object = effect.cancel_key or object()
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.cancel()
        if effect.delay:
            self._waiting[key] = self._call_later(
                effect.delay, lambda: self._notify_now(key, effect.event)
            )
        elif waiting is None and not (effect.window and self._just_said(key, effect.window)):
            self._notify(effect.event)

    def _just_said(self, key: object, window: float) -> bool:
        """Whether this was said within the window; it is now."""
        now = self._clock()
        while self._said and next(iter(self._said.values())) <= now:  # the oldest end first
            del self._said[next(iter(self._said))]
        if key in self._said:
            return True
        self._said[key] = now + window
        return False

    def _notify_now(self, key: object, event: Mapping[str, Any]) -> None:
        del self._waiting[key]
        self._notify(event)

    def _later(self, effect: effects.Later) -> None:
        channel = effect.channel
        if channel not in self._announcing:
            self._announcing[channel] = self._call_later(
                effect.delay, lambda: self._announce(channel)
            )

    def _announce(self, channel: str) -> None:
        del self._announcing[channel]
        run(announce_count(self.app, channel), self.perform)


class _Peer:
    """One connection's side of a driver: it knows whose step it performs."""

    __slots__ = ("_buckets", "_clock", "_driver", "_encode", "_id", "_socket")

    def __init__(
        self,
        driver: MemoryDriver,
        socket_id: str,
        socket: Socket,
        encode: Callable[[str], bytes],
        clock: Clock,
    ) -> None:
        self._driver = driver
        self._id = socket_id
        self._socket = socket
        self._encode = encode
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def perform(self, effect: Effect) -> Any:
        performer = _PERFORMERS.get(type(effect))
        return self._driver.perform(effect) if performer is None else performer(self, effect)

    def _connect(self, effect: effects.Connect) -> bool:
        return self._driver.registry.connect(self._id, self._socket, effect.max_connections)

    def _send(self, effect: effects.Send) -> None:
        write_all([self._socket.write], self._encode(effect.frame))

    def _close(self, effect: effects.Close) -> None:
        self._socket.close(effect.code, effect.reason)

    def _subscribe(self, effect: effects.Subscribe) -> effects.Joined:
        return self._driver.registry.subscribe(self._id, effect)

    def _unsubscribe(self, effect: effects.Unsubscribe) -> effects.Left:
        return self._driver.registry.unsubscribe(self._id, effect.channel)

    def _drop(self, _: effects.Drop) -> Dropped:
        return self._driver.registry.drop(self._id)

    def _subscribed(self, effect: effects.Subscribed) -> str | None:
        return self._driver.registry.subscribed(self._id, effect.channel)

    def _sign_in(self, effect: effects.SignIn) -> effects.SignedIn:
        return self._driver.registry.sign_in(self._id, effect)

    def _allow(self, effect: effects.Allow) -> bool:
        now = self._clock()
        tokens, at = self._buckets.get(effect.bucket, (effect.rate, now))
        tokens = min(effect.rate, tokens + (now - at) * effect.rate)
        allowed = tokens >= 1
        self._buckets[effect.bucket] = (tokens - allowed, now)
        return allowed


_PERFORMERS: dict[type[Effect], Callable[[_Peer, Any], Any]] = {
    effects.Connect: _Peer._connect,
    effects.Send: _Peer._send,
    effects.Close: _Peer._close,
    effects.Subscribe: _Peer._subscribe,
    effects.Unsubscribe: _Peer._unsubscribe,
    effects.Drop: _Peer._drop,
    effects.Told: lambda _peer, _effect: None,  # a process that died has no registry either
    effects.Subscribed: _Peer._subscribed,
    effects.SignIn: _Peer._sign_in,
    effects.Allow: _Peer._allow,
}
