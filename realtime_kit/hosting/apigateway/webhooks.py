"""What the application is told of who is there, so that what it was told last is so.

No function waits here, and steps overtake each other. So a row says whether the application was
told that a channel is occupied, or a member there; a leave is looked into when its delay is over;
and whoever changed what was told looks once more whether it is so.

A message may arrive twice, and a function may die: then a leave may be told twice, and is not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import Row
from realtime_kit.hosting.apigateway.registry import Registry
from realtime_kit.hosting.apigateway.rows import number
from realtime_kit.hosting.apigateway.table import Change, ConditionFailed
from realtime_kit.protocol import effects, notices

Event = Mapping[str, Any]

# What the clocks of two functions may differ.
SKEW = 0.5


class Webhooks:
    """`notify` takes an event for the application, and raises if it could not; `later(event, key,
    delay)` brings about `look(event, key)` in `delay` seconds, at least once."""

    def __init__(
        self,
        registry: Registry,
        notify: Callable[[Event], object],
        later: Callable[[Event, str, float], object],
    ) -> None:
        self._registry = registry
        self._table = registry.table
        self._notify = notify
        self._later = later

    def notify(self, effect: effects.Notify) -> None:
        """Perform `Notify`."""
        event, key = effect.event, effect.cancel_key
        if key is None:
            self._notify(event)
        elif effect.window:
            if not self._said(key, effect.window):
                self._notify(event)
        elif effect.delay:
            self._leave(event, key, effect.delay)
        else:
            self._join(event, key)

    def look(self, event: Event, key: str) -> None:
        """The delay of a leave is over: tell it, if it is so still and nothing was told since."""
        told = self._registry.names.told(key)
        row = self._table.get(told)
        if row is None or number(row, "due") > rows.micros(self._registry.clock() + SKEW):
            return  # it was never told of the join; or there is a later leave
        if self._is_there(event):
            with suppress(ConditionFailed):
                kept = "attribute_exists(pk)"
                self._table.write(Change("Update", told, kept, "REMOVE due, expires"))
            return
        self._notify(event)
        self._table.write(Change("Delete", told))
        if self._is_there(event):
            self._join(_opposite(event), key)

    def _join(self, event: Event, key: str) -> None:
        if not self._is_there(event):
            return
        mark = self._registry.mark()
        before = self._table.write(
            Change(
                "Update",
                self._registry.names.told(key),
                update="SET mark = if_not_exists(mark, :mark) REMOVE due, expires",
                given={"mark": mark},
            )
        )
        if before is None or before["mark"] == mark:
            self._notify(event)
        if not self._is_there(event):
            self._later(_opposite(event), key, notices.LEAVE_DELAY)

    def _leave(self, event: Event, key: str, delay: float) -> None:
        now = self._registry.clock()
        due = Change(
            "Update",
            self._registry.names.told(key),
            "attribute_exists(pk)",
            "SET due = :due, expires = :expires",
            given={"due": rows.micros(now + delay), "expires": rows.expiry(now)},
        )
        try:
            self._table.write(due)
        except ConditionFailed:  # the join was not told; who does so now looks again
            return
        self._later(event, key, delay)

    def _said(self, key: str, window: float) -> bool:
        """Whether this was said within the window; it is now."""
        now, mark = self._registry.clock(), self._registry.mark()
        ends = rows.micros(now + window)
        values: Row = {"mark": mark, "ends": ends, "expires": rows.expiry(now)}
        said = Change(
            "Put",
            self._registry.names.told(key),
            "attribute_not_exists(pk) OR ends <= :now",
            values=values,
            given={"now": rows.micros(now)},
        )
        try:
            self._table.write(said)
        except ConditionFailed as failed:
            row = failed.rows[0]
            return row is None or row["mark"] != mark
        return False

    def _is_there(self, event: Event) -> bool:
        """Whether the channel is occupied, or the member there, that the event speaks of."""
        channel, user_id = event["channel"], event.get("user_id")
        if user_id is None:
            return self._registry.subscriptions.occupied(channel)
        return bool(self._registry.subscriptions.present([user_id], channel))


def _opposite(event: Event) -> Event:
    channel, user_id = event["channel"], event.get("user_id")
    if event["name"] == "channel_vacated":
        return notices.channel_occupied(channel).event
    if event["name"] == "channel_occupied":
        return notices.channel_vacated(channel).event
    if event["name"] == "member_removed":
        return notices.member_added(channel, str(user_id)).event
    return notices.member_removed(channel, str(user_id)).event
