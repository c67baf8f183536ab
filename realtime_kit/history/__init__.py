"""The event log: what was triggered lately, numbered, so that who was away can catch up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime_kit.errors import ConfigurationError
from realtime_kit.history.base import (
    Draft,
    Entry,
    EventLog,
    Head,
    History,
    Page,
    Position,
    policy,
)

if TYPE_CHECKING:
    from realtime_kit.settings import RealtimeSettings

__all__ = [
    "Draft",
    "Entry",
    "EventLog",
    "Head",
    "History",
    "Page",
    "Position",
    "open_log",
    "policy",
]


def open_log(settings: RealtimeSettings) -> EventLog:
    """The log at `REALTIME_HISTORY__URL`: `memory:`, `dynamodb:`, or a URL of SQLAlchemy's."""
    url = settings.history.url.get_secret_value()
    if url.startswith("dynamodb:"):
        from realtime_kit.history.dynamodb import DynamoLog

        return DynamoLog.from_settings(settings, url)
    if url.rstrip("/") != "memory:":
        from realtime_kit.history.sql import SqlLog

        return SqlLog(url)
    if settings.on_lambda:
        raise ConfigurationError(
            "an event log in memory is lost between the processes of a function: "
            "set REALTIME_HISTORY__URL"
        )
    from realtime_kit.history.memory import MemoryLog

    return MemoryLog()
