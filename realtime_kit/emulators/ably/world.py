"""All that an emulator knows: apps, a clock, randomness, and what is to happen later."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from realtime_kit.emulators.ably.app import App, Key, Namespace
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.timers import Clock, Timers


class World:
    """`clock` is milliseconds since 1970. Nothing here waits: whoever runs it calls `timers.run`
    when `timers.next_due` has come."""

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        clock: Clock,
        random: Random,
        limits: Limits | None = None,
    ) -> None:
        self.apps: dict[str, App] = {}
        self.random = random
        self.timers = Timers(clock)
        self.limits = limits or Limits()
        for key in keys:
            app = self.apps.get(key.app_id) or self.add_app(key.app_id)
            app.keys[key.name] = key

    def add_app(
        self, id: str, keys: Iterable[Key] = (), namespaces: Iterable[Namespace] = ()
    ) -> App:
        """An app, with no channels yet. One of the same id is replaced."""
        app = App(id, keys, namespaces, timers=self.timers, random=self.random, limits=self.limits)
        self.apps[id] = app
        return app

    def remove_app(self, id: str) -> App | None:
        """It is gone, and its connections are told so."""
        app = self.apps.pop(id, None)
        if app is not None:
            for connection in list(app.connections.values()):
                connection.fail(AblyError(40400, 404, "The app was deleted"))
        return app

    def now(self) -> int:
        return self.timers.clock()
