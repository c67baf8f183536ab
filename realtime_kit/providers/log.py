"""Writes each event to the log instead of delivering it: for development without a server."""

from __future__ import annotations

import logging
import sys
from typing import ClassVar

from realtime_kit.events import Event
from realtime_kit.providers.null import NullProvider

logger = logging.getLogger("realtime_kit.events")


class LogProvider(NullProvider):
    """Like `null`, and each event is a line of the logger `realtime_kit.events`, level INFO.

    Where the application has not configured logging, which would show warnings alone, it is a line
    on standard error.

    The line holds the event's data: what is private stays private only if the log does.
    """

    name: ClassVar[str] = "log"

    def _accept(self, event: Event, text: str) -> None:
        excluded = f" (not to {event.exclude})" if event.exclude else ""
        line = f"{event.name} -> {', '.join(event.channels)}{excluded}: {text}"
        if logger.hasHandlers():
            logger.info("%s", line)
        else:
            print(line, file=sys.stderr)
