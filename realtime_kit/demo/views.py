"""The demo's pages and what they post to: ordinary Flask views that call `rt.trigger`."""

from __future__ import annotations

import logging
from typing import Any

from flask import (
    Blueprint,
    abort,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response

from realtime_kit.demo import excerpts, hints, live, seats, text
from realtime_kit.demo.common import ENDPOINTS, address, body, of_all, slow_down
from realtime_kit.demo.live import members_of, ring, rt, store
from realtime_kit.demo.models import Message, Person, Room
from realtime_kit.errors import ProviderError

MAX_ROOMS = 40

log = logging.getLogger(__name__)

front = Blueprint("front", __name__)
chat = Blueprint("chat", __name__, url_prefix="/u/<int:seat>")
seats.guard(chat)
front.before_request(seats.check_csrf)


@front.get("/")
def home() -> str:
    """What all of this is, and where."""
    seat = seats.first()
    person = None if seat is None else seats.person_on(seat)
    return render_template("home.html", person=person, providers=hints.providers(), next="chat")


@front.get(f"/<any({', '.join(ENDPOINTS)}):page>")
def open_page(page: str) -> Response:
    """`/likes` is the page of whoever sits first here; a name is asked for where nobody does."""
    seat = seats.first()
    if seat is None:
        return redirect(url_for("front.join", next=page))
    return redirect(address(page, seat))


@front.get("/join")
def join() -> str:
    return _ask_name(request.args.get("next", ""))


def _ask_name(page: str, name: str = "", problem: text.Refused | None = None) -> str:
    page = page if page in ENDPOINTS else "chat"
    return render_template("join.html", next=page, name=name, problem=problem)


@front.post("/join")
def take_seat() -> Response | tuple[str, int]:
    given, page = request.form.get("name", ""), request.form.get("next", "")
    try:
        person = store.add_person(text.name(given))
    except text.Refused as refused:
        return _ask_name(page, given, refused), 400
    seat = seats.take(person)
    if seat is None:
        abort(409, f"This browser has {seats.SEATS} people already. Let one of them leave first.")
    rt.trigger(live.NEWS, "joined", {"text": f"{person.name} came in", "person": person.id})
    return redirect(address(page if page in ENDPOINTS else "chat", seat), 303)


@chat.post("/leave")
def leave() -> Response:
    seats.leave(g.seat)
    return redirect(url_for("front.home"), 303)


@chat.get("/rooms/<room>")
def room(room: str) -> str:
    found = _room(room)
    messages, more = store.latest(found.id)
    everything = _everything()  # first: it says what is unread here
    if messages:
        store.mark_read(found.id, g.person, messages[-1].id)
    page = {
        **everything,
        **of_all(),
        "room": found.as_json(),
        "messages": [message.as_json() for message in messages],
        "more": more,
        "members": members_of(found),
        "limits": {"message": text.MESSAGE},
    }
    return render_template(
        "chat.html",
        page=page,
        current="chat",
        hints=hints.for_room(rt.settings, found.id),
        excerpts=excerpts.of("chat"),
    )


@chat.post("/rooms")
def create_room() -> Response:
    name = text.name(request.form.get("name"), limit=text.ROOM_NAME)
    private = request.form.get("private") == "on"
    slow_down()
    room = store.add_room(name, g.person, private=private, limit=MAX_ROOMS)
    if room is None:
        abort(409, f"There is a room “{name}” already, or there are too many rooms.")
    if not private:
        rt.trigger(live.ROOMS, "created", {"id": room.id, "name": room.name})
        rt.trigger(live.NEWS, "opened", {"text": f"A new room: {room.name}", "room": room.id})
    return redirect(url_for("chat.room", room=room.id), 303)


@chat.get("/rooms/<room>/messages")
def earlier(room: str) -> Response:
    """The messages before one that the page has: `?before=ID`."""
    found = _room(room)
    messages, more = store.latest(found.id, before=request.args.get("before", type=int))
    return jsonify(messages=[message.as_json() for message in messages], more=more)


@chat.post("/rooms/<room>/messages")
def send(room: str) -> tuple[Response, int]:
    found = _room(room)
    given = body()
    words, nonce = text.message(given.get("text")), str(given.get("nonce", ""))
    if not 8 <= len(nonce) <= 64:
        abort(400, "A message needs a nonce of 8 to 64 characters.")
    slow_down()
    # how: chat
    message = store.add_message(found.id, g.person, words, nonce)
    told = message.as_json()
    # To all windows but the one that sent it, which shows it already.
    rt.trigger(live.messages_of(found.id), "message", told, to_others=True)
    # end of how
    _ring_mentioned(found, message)
    return jsonify(message=told), 201


@chat.post("/rooms/<room>/read")
def read(room: str) -> tuple[str, int]:
    store.mark_read(_room(room).id, g.person, _number("up_to"))
    return "", 204


@chat.post("/rooms/<room>/members")
def invite(room: str) -> Response:
    found, person = _private(room), _person("name")
    slow_down()
    if store.add_member(found.id, person.id):
        ring("invitation", g.person, person.id, found)
        live.tell_members(found)
    return jsonify(members=members_of(found))


@chat.post("/rooms/<room>/members/<person_id>/remove")
def remove(room: str, person_id: str) -> Response:
    found = _private(room)
    if g.person.id not in (found.owner, person_id):
        abort(403, "Only who made the room may remove somebody else.")
    if store.remove_member(found.id, person_id):
        # The rules say no from now on; this ends the subscriptions that they granted before.
        try:
            rt.revoke(person_id)
        except ProviderError as error:
            log.warning("revoke failed: %s", error)
            abort(503, "No member any more, but a window open now may go on listening for a while.")
        live.tell_members(found)
        if person_id != g.person.id:
            ring("removal", g.person, person_id, found)
    return jsonify(members=members_of(found))


@chat.post("/waves")
def wave() -> tuple[str, int]:
    person = _person("to")
    slow_down()
    ring("wave", g.person, person.id)
    return "", 204


@chat.post("/notifications/read")
def read_notifications() -> tuple[str, int]:
    """One, `{"id": 7}`, or all of them, `{}`; this person's other windows are told."""
    only = _number("id") if "id" in body() else None
    store.mark_notifications_read(g.person, only)
    rt.send_to_user(g.person.id, "notifications-read", {"id": only})
    return "", 204


@chat.get("/catch-up")
def catch_up() -> Response:
    """What a page missed while it had no connection: `?room=ID&after=MESSAGE`."""
    found = _room(request.args.get("room", ""))
    missed = store.since(found.id, request.args.get("after", 0, type=int))
    return jsonify(
        **_everything(),
        messages=None if missed is None else [message.as_json() for message in missed],
        members=members_of(found),
    )


def _everything() -> dict[str, Any]:
    notifications = [each.as_json() for each in store.notifications(g.person)]
    return {"rooms": store.rooms(g.person), "notifications": notifications}


def _ring_mentioned(room: Room, message: Message) -> None:
    for person_id in text.mentions(message.text):
        known = store.person(person_id) is not None and store.may_enter(person_id, room.id)
        if known and person_id != message.author.id:
            ring("mention", message.author, person_id, room, message.text[:140])


def _room(room_id: str) -> Room:
    found = store.room(room_id)
    if found is None:
        abort(404, "There is no such room.")
    if not store.may_enter(g.person.id, found.id):
        abort(403, f"“{found.name}” is private. Ask one of its members to invite you.")
    return found


def _private(room_id: str) -> Room:
    found = _room(room_id)
    if not found.private:
        abort(409, f"“{found.name}” is open to everybody.")
    return found


def _person(field: str) -> Person:
    """Whom a JSON body names, by id or by name."""
    given = text.name(body().get(field))
    person = store.find_person(given)
    if person is None:
        abort(404, f"Nobody here is called {given}.")
    return person


def _number(field: str) -> int:
    value = body().get(field)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**53:
        abort(400, f"{field} is a number.")
    return value
