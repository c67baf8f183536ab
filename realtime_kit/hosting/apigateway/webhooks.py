"""What the application is told of who is there, so that what it was told last is so.

No function waits here, and steps overtake each other. So a row says whether the application was
told that a channel is occupied, or a member there; a leave is looked into when its delay is over;
and whoever changed what was told looks once more whether it is so.

A message may arrive twice, and a function may die. So the row says first what is about to be told
(`telling`, of a join; `gone`, of a leave, by the mark of its message), and afterwards that it was:
what was being told then may be told twice, and is not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import Key, Row, Value
from realtime_kit.hosting.apigateway.registry import CLAIM_SECONDS, Registry
from realtime_kit.hosting.apigateway.rows import number, text
from realtime_kit.hosting.apigateway.table import Change, ConditionFailed
from realtime_kit.protocol import effects, notices

Event = Mapping[str, Any]

# What the clocks of two functions may differ.
SKEW = 0.5


class Webhooks:
    """`notify` takes an event for the application, and raises if it could not; `later(event, key,
    delay)` brings about `look(event, key, mark)` in `delay` seconds, at least once, with a mark
    that no other message has."""

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

    def look(self, event: Event, key: str, mark: str) -> None:
        """The delay of a leave is over: tell it, if it is so still and nothing was told since."""
        told = self._registry.names.told(key)
        row, now = self._table.get(told), rows.micros(self._registry.clock())
        if row is not None and "gone" not in row:
            if number(row, "due") > now + rows.micros(SKEW):
                return  # there is a later leave
            if number(row, "telling") > now - rows.micros(CLAIM_SECONDS):
                self._later(event, key, CLAIM_SECONDS)  # who is about to tell the join may live
                return
            if not self._decide(event, told, row, mark):
                if "telling" in row:  # who was about to tell the join died
                    self._join(_opposite(event), key)
                return
            row = {**row, "gone": mark}
        if row is not None and row["gone"] == mark:
            if "telling" in row:
                self._notify(_opposite(event))
            self._notify(event)
            self._write(Change("Delete", told, "gone = :mark", given={"mark": mark}))
        if self._is_there(event):
            self._join(_opposite(event), key)

    def _join(self, event: Event, key: str) -> None:
        told, mark = self._registry.names.told(key), self._registry.mark()
        mine = self._table.settle(lambda: self._enter(told, mark))
        if mine:
            self._notify(event)
            given = {"mark": mine}
            self._write(Change("Update", told, "mark = :mark", "REMOVE telling", given=given))
        elif mine is not None:
            self._later(_opposite(event), key, CLAIM_SECONDS)
        if not self._is_there(event):
            self._later(_opposite(event), key, notices.LEAVE_DELAY)

    def _enter(self, told: Key, mark: str) -> str | None:
        """Write down that a join is about to be told; the row's mark then, "" if another is about
        to and may die, None if it was told or will be by who tells that it was gone."""
        row, now = self._table.get(told), rows.micros(self._registry.clock())
        if row is None:
            values: Row = {"mark": mark, "telling": now}
            self._table.write(Change("Put", told, "attribute_not_exists(pk)", values=values))
            return mark
        if "gone" in row:
            return None
        before = text(row, "mark")
        if before == mark:  # the answer to the write was lost
            return mark
        given: dict[str, Value] = {"before": before}
        if "due" in row:
            given["due"] = row["due"]
            back = "mark = :before AND due = :due"
            self._table.write(Change("Update", told, back, "REMOVE due, expires", given=given))
        if "telling" not in row:
            return None
        if number(row, "telling") > now - rows.micros(CLAIM_SECONDS):
            return ""
        given = {"before": before, "mark": mark, "now": now}  # who was about to tell it died
        update = "SET mark = :mark, telling = :now"
        self._table.write(Change("Update", told, "mark = :before", update, given=given))
        return mark

    def _decide(self, event: Event, told: Key, row: Row, mark: str) -> bool:
        """Write down that a leave is about to be told, or that there is none; whether there is."""
        there = self._is_there(event)
        condition = "due = :due" if "due" in row else "attribute_not_exists(due)"
        update = "REMOVE due, expires" if there else "SET gone = :mark REMOVE mark, due"
        given: dict[str, Value] = {} if there else {"mark": mark}
        if "due" in row:
            given["due"] = row["due"]
        condition = f"attribute_exists(mark) AND {condition}"
        try:
            self._table.write(Change("Update", told, condition, update, given=given))
        except ConditionFailed as failed:  # who came or went meanwhile is looked at, too
            return (failed.rows[0] or {}).get("gone") == mark
        return not there

    def _write(self, change: Change) -> None:
        with suppress(ConditionFailed):  # another was quicker
            self._table.write(change)

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
