"""Notifications: a stream of rows of the database, whoever writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import abort, g
from sqlalchemy import select, tuple_

from realtime_kit.demo import text
from realtime_kit.demo.common import body, database, pages, show, slow_down
from realtime_kit.demo.live import ring, rt, store
from realtime_kit.demo.models import Notice, Person
from realtime_kit.sources import Row


# how: notifications
@rt.channel_rule("private-notifications-{person:slug}")
def may_read(user: Person, person: str) -> bool:
    return user.id == person


@rt.source("private-notifications-{person:slug}", every=1.0, page=20)
def changes(after: Any, limit: int, person: str) -> Iterator[Row]:
    """In the order of changes: what was read elsewhere comes again."""
    place = (Notice.version, Notice.id)
    mine = select(Notice).where(Notice.person == person).order_by(*place)
    newer = mine.where(tuple_(*place) > tuple(after or (-1, 0)))
    with database() as session:
        for row in session.scalars(newer.limit(limit)):
            yield Row([row.version, row.id], "changed", row.as_json())


# end of how


@pages.get("/notifications")
def notifications() -> str:
    return show("notifications", people=[each.as_json() for each in store.people()])


@pages.post("/notes")
def write_note() -> tuple[str, int]:
    """A row for somebody. The pages that list notifications hear of it from the database; `ring`
    also tells the bells of other pages at once, over the socket."""
    to, words = body().get("to"), text.message(body().get("text"))
    person = store.person(to) if isinstance(to, str) else None
    if person is None:
        abort(404, "There is nobody of that name.")
    slow_down()
    ring("note", g.person, person.id, text=words[:140])
    return "", 204
