"""Events into the outbox: rows of the caller's own transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from realtime_kit.errors import InvalidEvent
from realtime_kit.events import Event
from realtime_kit.outbox.table import outbox

if TYPE_CHECKING:
    from realtime_kit.catalog import RealtimeEvent
    from realtime_kit.outbox.relay import Relay
    from realtime_kit.sending import Sending

running: WeakSet[Relay] = WeakSet()
"""The relays of this process, which are told of its commits."""
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=running.clear)


class Outbox:
    """`Realtime.outbox(session)`. What `Realtime.trigger` would refuse is refused at once.

    What the session holds is flushed first: the rows that a transaction changes are locked then, so
    that the events of transactions that change the same row are in the order of their commits.
    """

    def __init__(self, realtime: Sending, session: Session | scoped_session[Any]) -> None:
        self._realtime = realtime
        self._session = session() if isinstance(session, scoped_session) else session

    def trigger(
        self,
        channels: str | Iterable[str] | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
    ) -> str:
        """Like `Realtime.trigger`, once the transaction has committed; the event's id."""
        event = self._realtime.event(
            channels, name, data, exclude=exclude, id=id, mutation=mutation
        )
        return self.trigger_batch([event])[0]

    def trigger_batch(self, events: Iterable[Event | RealtimeEvent]) -> list[str]:
        """Like `Realtime.trigger_batch`, once the transaction has committed; the events' ids."""
        settled = self._realtime.settle(events)
        if any(event.epoch or event.offset for event in settled):
            raise InvalidEvent("what goes into the outbox is numbered when it is sent")
        now = int(time.time() * 1000)
        rows = [
            {
                "channel": channel,
                "id": event.id,
                "name": event.name,
                "data": event.payload(),
                "mutation": event.mutation,
                "exclude": event.exclude,
                "created": now,
            }
            for event in settled
            for channel in dict.fromkeys(event.channels)
        ]
        if rows:
            self._session.flush()
            self._session.execute(sa.insert(outbox), rows)
            if not sa.event.contains(self._session, "after_commit", _tell):
                sa.event.listen(self._session, "after_commit", _tell)
        return [str(event.id) for event in settled]

    def send_to_user(
        self, user_id: str, name: str | RealtimeEvent, data: Any = ..., *, id: str | None = None
    ) -> str:
        """Like `Realtime.send_to_user`, once the transaction has committed; the event's id."""
        event = self._realtime.event_for_user(user_id, name, data, id=id)
        return self.trigger_batch([event])[0]


def _tell(_session: Session) -> None:
    for relay in list(running):
        relay.wake()
