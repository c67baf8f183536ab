"""A list for all of the house: it answers at once, and what is done offline is sent afterwards."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, abort, g, jsonify, request
from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import Insert, insert

from realtime_kit.demo import text
from realtime_kit.demo.common import answer_as_asked, body, database, pages, show
from realtime_kit.demo.live import rt
from realtime_kit.demo.models import Person, Todo, now

CHANNEL = "private-todos"
MAX_TODOS = 100
ID = re.compile(r"[0-9a-zA-Z-]{8,128}")


@pages.get("/todos")
def todos() -> str:
    return show("todos", limit=text.TODO, **snapshot())


@pages.get("/todos/now")
def todos_now() -> Response:
    """The list, and where in the channel's history that was."""
    return jsonify(snapshot())


def snapshot() -> dict[str, Any]:
    position = rt.position(CHANNEL)  # first: what comes between the two is in both, and no harm
    with database() as session:
        rows = session.scalars(select(Todo).where(~Todo.removed).order_by(Todo.at, Todo.id))
        return {"state": {row.id: row.as_json() for row in rows}, "position": position}


# how: todos
@rt.channel_rule(CHANNEL, history="200/1h")
def may_plan(user: Person) -> bool:
    return True  # everybody of the house; a guest is not even asked


@pages.patch("/todos/<id>")
def change_todo(id: str) -> Response:
    """Text, done or removed: whichever of them the page has changed."""
    answer_as_asked()
    given = _changes(id)
    with database.begin() as session:
        todo = session.scalars(_put(id, given).returning(Todo)).one().as_json()
    mutation = request.headers.get("X-Mutation-Id")
    rt.trigger(CHANNEL, "saved", todo, mutation=mutation)
    return jsonify(todo)


# end of how


def _put(id: str, given: dict[str, Any]) -> Insert:
    """One statement, so that two at once are one after the other; `version` says in which order."""
    new = {"text": "", "done": False, "removed": False, "author": g.person.id, "at": now()}
    put = insert(Todo).values({**new, **given, "id": id, "version": 1})
    changed = {**given, "version": Todo.version + 1}
    return put.on_conflict_do_update(index_elements=[Todo.id], set_=changed)


def _changes(id: str) -> dict[str, Any]:
    given = body()
    kinds = {"text": str, "done": bool, "removed": bool}
    wrong = [name for name, value in given.items() if not isinstance(value, kinds.get(name, ()))]
    if wrong or not given or not ID.fullmatch(id):
        abort(400, "text, done and removed can change.")
    if "text" in given:
        given["text"] = text.todo(given["text"])
    with database() as session:
        if session.get(Todo, id) is None:
            if "text" not in given:
                abort(404, "There is no such line.")
            count = select(func.count()).where(~Todo.removed)
            if session.scalars(count).one() >= MAX_TODOS:
                abort(409, f"The list is full: {MAX_TODOS} lines. Remove one first.")
    return given
