"""What the demo's pages have in common; each page is a module of its own beside this one."""

from __future__ import annotations

import time
from typing import Any, cast

from flask import Blueprint, abort, g, render_template, request, url_for
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.exceptions import TooManyRequests
from werkzeug.local import LocalProxy

from realtime_kit.demo import excerpts, seats
from realtime_kit.demo.live import store

# In the order in which they are shown: what each is called, and where it is.
ENDPOINTS = {
    "chat": "chat.room",
    "notifications": "pages.notifications",
    "dashboard": "pages.dashboard",
    "todos": "pages.todos",
    "likes": "pages.likes",
}
FIRST_ROOM = "lobby"
BURST, BURST_SECONDS = 30, 10.0  # messages, waves, notes and invitations of one person
LATE = 1.5  # seconds

pages = Blueprint("pages", __name__, url_prefix="/u/<int:seat>")
seats.guard(pages)

database = cast(sessionmaker[Session], LocalProxy(lambda: store.sessions))


def address(page: str, seat: int) -> str:
    """Where a page is, for whoever sits on `seat`."""
    if page == "chat":
        return url_for(ENDPOINTS[page], seat=seat, room=FIRST_ROOM)
    return url_for(ENDPOINTS[page], seat=seat)


def of_all() -> dict[str, Any]:
    """What the script of every page is told."""
    return {
        "me": g.person.as_json(),
        "seat": g.seat,
        "base": url_for("chat.room", room="").removesuffix("/rooms/"),
        "config": url_for("realtime.config"),
        "client": url_for("realtime.client", rest="realtime.js"),
        "optimistic": url_for("realtime.client", rest="optimistic.js"),
    }


def show(name: str, **page: Any) -> str:
    """`NAME.html`, with what its script is told beside `of_all`."""
    return render_template(
        f"{name}.html",
        page={**of_all(), **page},
        current=name,
        unread=store.unread(g.person),
        excerpts=excerpts.of(name),
    )


def body() -> dict[str, Any]:
    """The request's JSON object."""
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        abort(400, "A JSON object is needed.")
    return found


def slow_down() -> None:
    """Raise where somebody floods the others."""
    if store.sent_lately(g.person, BURST_SECONDS) >= BURST:
        wait = round(BURST_SECONDS)
        raise TooManyRequests(f"That is a lot at once. Wait {wait} seconds.", retry_after=wait)


def answer_as_asked() -> None:
    """Late, or with a refusal, where the page asks for it: how else would one see what it does?"""
    wish = request.headers.get("X-Demo-Answer")
    if wish == "late":
        time.sleep(LATE)
    elif wish == "refused":
        abort(409, "Refused, as you asked for.")
