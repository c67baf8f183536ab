"""An app: one tenant of a server, with its keys, switches and limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from realtime_kit.errors import ConfigurationError
from realtime_kit.events import Limits
from realtime_kit.protocol.signing import Key

__all__ = ["App", "Apps", "Key"]


@dataclass(frozen=True, slots=True)
class App:
    """What a server knows of one application. Defaults are Pusher's, client events apart.

    `keys`: newest first; the newest signs, all verify. `activity_timeout` is seconds of silence
    after which a client pings. `subscription_error` also answers a refused subscription with the
    channel-scoped `pusher:subscription_error` that some servers send (not production).
    `cache_ttl` is seconds for which a cache channel keeps its last event.
    """

    id: str
    keys: tuple[Key, ...]
    client_events: bool = True
    subscription_count: bool = False
    subscription_error: bool = False
    enabled: bool = True
    activity_timeout: int = 120
    cache_ttl: int = 1_800
    client_events_per_second: int = 10
    max_connections: int | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError(f"app {self.id!r} has no key")

    @property
    def key(self) -> Key:
        """The newest key: the one that signs."""
        return self.keys[0]

    def secret_of(self, key: str) -> str | None:
        """The secret that belongs to `key`, if it is one of this app's."""
        return next((pair.secret for pair in self.keys if pair.key == key), None)


class Apps:
    """The apps of a server, found by id (HTTP API) or by key (WebSocket)."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._by_id: dict[str, App] = {}
        self._by_key: dict[str, App] = {}
        for app in apps:
            if app.id in self._by_id:
                raise ConfigurationError(f"app id {app.id!r} is there twice")
            self._by_id[app.id] = app
            for pair in app.keys:
                if pair.key in self._by_key:
                    raise ConfigurationError(f"app key {pair.key!r} is there twice")
                self._by_key[pair.key] = app

    def by_id(self, app_id: str) -> App | None:
        return self._by_id.get(app_id)

    def by_key(self, key: str) -> App | None:
        return self._by_key.get(key)

    def __iter__(self) -> Iterator[App]:
        return iter(self._by_id.values())
