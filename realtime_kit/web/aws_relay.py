"""The outbox's relay as a Lambda function, called by a schedule.

handler = relay_handler(realtime)       # every minute
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from realtime_kit.outbox import Queue, Relay
from realtime_kit.realtime import Realtime
from realtime_kit.web.aws_lambda import set_up

if TYPE_CHECKING:
    from realtime_kit.settings import RealtimeSettings

SPARE = 15.0  # seconds before the function's end at which no further batch is begun
WITHOUT_CONTEXT = 45.0

_log = logging.getLogger(__name__)


def relay_handler(realtime: Realtime, **options: Any) -> Callable[..., dict[str, int]]:
    """Sends what is due in the outbox of `REALTIME_OUTBOX__URL`, until nothing is or the function's
    time is nearly over; `options` are `Relay`'s. Answers `{"sent", "put_off", "dead", "waiting"}`.

    Raises `ConfigurationError`, and `ProviderUnavailable` (provider "outbox") where the database
    fails; the schedule comes again.
    """
    set_up(realtime)
    made: tuple[RealtimeSettings, Relay] | None = None

    def relay() -> Relay:
        nonlocal made
        settings = realtime.settings  # others, once the secret that they come from has changed
        if made is None or made[0] is not settings:
            if made is not None:
                made[1].queue.close()
            made = settings, Relay(realtime, Queue.from_settings(settings), **options)
        return made[1]

    def handler(event: object = None, context: Any = None) -> dict[str, int]:
        current = relay()
        done = current.drain(_seconds(context))
        answer = {**done._asdict(), "waiting": current.queue.waiting()}
        _log.info("%s", ", ".join(f"{count} {what}" for what, count in answer.items()))
        return answer

    return handler


def _seconds(context: Any) -> float:
    left = getattr(context, "get_remaining_time_in_millis", None)
    return WITHOUT_CONTEXT if left is None else left() / 1000 - SPARE
