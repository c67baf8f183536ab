"""An embedded server for a test, and the ways into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from realtime_kit.hosting.local import LocalServer, running
from realtime_kit.protocol.app import App, Key
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings


@dataclass(frozen=True)
class Served:
    """A running embedded server with one app. `webhooks` grows by what it reports, oldest first:
    events in Pusher's own shape."""

    server: LocalServer
    app: App
    webhooks: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        """Of the HTTP API."""
        return self.server.url

    @property
    def settings(self) -> RealtimeSettings:
        """Settings of an application that uses this server, and nothing of the environment."""
        return RealtimeSettings(environ=self.environ)

    @property
    def environ(self) -> dict[str, str]:
        """The same as environment variables, for another process or for Flask's config."""
        pair = self.app.key
        return {
            "REALTIME_PROVIDER": "local",
            "REALTIME_PORT": str(self.port),
            "REALTIME_LOCAL__APP_ID": self.app.id,
            "REALTIME_LOCAL__KEYS": f"{pair.key}:{pair.secret}",
        }

    def realtime(self, **options: Any) -> Realtime:
        """A `Realtime` that uses this server; `options` are its own."""
        return Realtime(settings=self.settings, **options)


@contextmanager
def serve(app: App | None = None, **options: Any) -> Iterator[Served]:
    """Run an embedded server on a free port until the block ends; `options` are `LocalServer`'s."""
    app = app or App("1", (Key("test-key", "test-secret"),))
    webhooks: list[Mapping[str, Any]] = []
    server = LocalServer(
        [app], port=0, on_webhook=lambda _app, event: webhooks.append(event), **options
    )
    with running(server):
        yield Served(server, app, webhooks)
