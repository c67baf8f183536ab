"""Who is looking: no password, a name in a signed cookie, and several people per browser.

Each window has its seat in its address (`/u/0/…`, `/u/1/…`), so that one browser can hold a
conversation with itself. The cookie says who sits where.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from flask import Blueprint, Request, abort, g, redirect, request, session, url_for
from werkzeug.wrappers import Response

from realtime_kit.demo.live import store
from realtime_kit.demo.models import Person

SEATS = 8
HEADER = "X-Seat"  # how the realtime endpoints, which have no seat in their address, are told


def take(person: Person) -> int | None:
    """The seat of `person` in this browser, a new one if need be; None: all are taken."""
    people: list[str | None] = list(session.get("people", []))
    if person.id in people:
        return people.index(person.id)
    seat = people.index(None) if None in people else len(people)
    if seat == SEATS:
        return None
    people[seat : seat + 1] = [person.id]
    session["people"] = people
    return seat


def leave(seat: int) -> None:
    people = list(session["people"])
    people[seat] = None
    session["people"] = people


def first() -> int | None:
    """The lowest seat that somebody sits on."""
    people = session.get("people", [])
    return next((seat for seat, person in enumerate(people) if person), None)


def person_on(seat: int) -> Person | None:
    people = session.get("people", [])
    person_id = people[seat] if 0 <= seat < len(people) else None
    return store.person(person_id) if person_id else None


def current_person() -> Person | None:
    """The realtime endpoints' user: who sits on the seat that the page names."""
    seat = request.headers.get(HEADER, "0")
    return person_on(int(seat)) if seat.isdecimal() and len(seat) < 3 else None


def guard(blueprint: Blueprint) -> None:
    """Its views are for whoever sits on the seat in their address, from pages of ours."""
    blueprint.url_value_preprocessor(pull_seat)
    blueprint.url_defaults(_keep_seat)
    blueprint.before_request(check_csrf)
    blueprint.before_request(require_person)


def _keep_seat(_endpoint: str, values: dict[str, Any]) -> None:
    values.setdefault("seat", g.get("seat", 0))


def pull_seat(endpoint: str | None, values: dict[str, int] | None) -> None:
    """Take the seat out of the address, for all views of the blueprint."""
    g.seat = (values or {}).pop("seat")


def require_person() -> Response | None:
    """Before every view of the blueprint: somebody sits there, or else a name is asked for."""
    person = person_on(g.seat)
    if person is None:
        if request.method == "GET" and not wants_json(request):
            return redirect(url_for("front.join", next=request.path.rpartition("/")[2]))
        abort(401, "Nobody sits here any more. Pick a name again.")
    g.person = person
    return None


def wants_json(asked: Request) -> bool:
    """A script does, also one that takes anything; an address that is opened prefers a page."""
    found = asked.accept_mimetypes.best_match(["application/json", "text/html"])
    return found == "application/json"


def csrf_token() -> str:
    """What a form or a script of ours repeats, and a page from elsewhere cannot know."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(16)
    return str(session["csrf"])


def check_csrf() -> None:
    """Before everything that changes something: the token, in a header or in the form."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    given = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if not hmac.compare_digest(csrf_token().encode(), given.encode()):
        abort(403, "This page is from an earlier session. Reload it and try again.")
