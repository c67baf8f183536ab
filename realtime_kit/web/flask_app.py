"""What an app has of its own: its Realtime, its users, and who of them logs out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from blinker import Namespace
from flask import Flask, current_app, has_request_context, request

from realtime_kit.errors import ConfigurationError, ProviderError, RealtimeError
from realtime_kit.events import Event
from realtime_kit.providers.base import Provider
from realtime_kit.realtime import Realtime
from realtime_kit.recording import Recorder
from realtime_kit.sending import OnError
from realtime_kit.settings import RealtimeSettings

EXTENSION = "realtime"

logger = logging.getLogger("realtime_kit")

realtime_failed = Namespace().signal("realtime-failed")
"""Sent by the app, with `error` and `events`, for a push that failed and was only logged."""


class AppRealtime(Realtime):
    """One app's. Its mode is asked for when it matters: `testing` is often set after `init_app`."""

    def __init__(self, app: Flask, declared: Realtime) -> None:
        config = dict(app.config)
        provider = config.get("REALTIME_PROVIDER")
        if isinstance(provider, Provider):
            del config["REALTIME_PROVIDER"]
        else:
            provider = None
        super().__init__(
            provider,
            settings=RealtimeSettings.from_mapping(config),
            user_id=declared.user_id,
            on_error=declared._on_error,
            catalog=declared.catalog,
        )
        self.rules = declared.rules
        self._sources = declared.sources
        self._handlers = declared._handlers
        self._app = app

    @property
    def recorder(self) -> Recorder:
        many = has_request_context() and request.environ.get("wsgi.multiprocess")
        if many and self.keeps_history and not super().recorder.log.shared:
            raise ConfigurationError(
                "an event log in memory, and more than one worker: each would have a log of its "
                "own. Set REALTIME_HISTORY__URL to a database"
            )
        return super().recorder

    def in_context(self) -> AbstractContextManager[Any]:
        return self._app.app_context()

    def in_development(self) -> bool:
        return self._app.debug or self._app.testing

    def default_on_error(self) -> OnError:
        chosen = self._on_error or self.settings.on_error
        return chosen or ("raise" if self._app.testing else "log")

    def _record(self, error: ProviderError, events: Sequence[Event]) -> None:
        super()._record(error, events)
        realtime_failed.send(self._app, error=error, events=events)


def realtime_of(app: Flask) -> Realtime:
    """The app's. Raises `ConfigurationError` for an app without."""
    found: Realtime | None = app.extensions.get(EXTENSION)
    if found is None:
        raise ConfigurationError(f"app {app.name!r} needs FlaskRealtime.init_app(app)")
    if not isinstance(found, AppRealtime):  # one that was given, and knows no modes
        development = app.debug or app.testing
        found.settings.check_credentials(provider=found.provider.name, development=development)
    return found


def login_user() -> Any:
    """Flask-Login's current user; None for an anonymous one, and where the app does not use it."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    return current_user._get_current_object() if current_user.is_authenticated else None


def follow_logouts(app: Flask) -> None:
    """End the connections of whoever logs out with Flask-Login."""
    try:
        from flask_login import user_logged_out
    except ModuleNotFoundError:
        return
    user_logged_out.connect(_end_connections, sender=app, weak=False)


def _end_connections(app: Flask, user: Any, **_: Any) -> None:
    realtime: Realtime = app.extensions[EXTENSION]
    try:
        user_id = realtime.user_id(user)
        if user_id is not None:
            realtime.disconnect_user(user_id)
    except RealtimeError as error:  # whoever logs out must be logged out
        logger.warning("the connections of a user who logged out were not ended: %s", error)
