"""The demo's pages and what they post to: ordinary Flask views that call `rt.trigger`."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, abort, g, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response

from realtime_kit.demo import hints, live, seats, text
from realtime_kit.demo.live import ring, rt, store
from realtime_kit.demo.store import Message, Person, Room
from realtime_kit.errors import ProviderError

MAX_ROOMS = 40
BURST, BURST_SECONDS = 30, 10.0  # messages, waves and invitations of one person
FIRST_ROOM = "lobby"

log = logging.getLogger(__name__)

front = Blueprint("front", __name__)
chat = Blueprint("chat", __name__, url_prefix="/u/<int:seat>")
chat.url_value_preprocessor(seats.pull_seat)
for before in (seats.check_csrf, seats.require_person):
    chat.before_request(before)
front.before_request(seats.check_csrf)


@chat.url_defaults
def keep_seat(_endpoint: str, values: dict[str, Any]) -> None:
    values.setdefault("seat", g.get("seat", 0))


@front.get("/")
def home() -> Response | str:
    seat = seats.first()
    if seat is None:
        return join()
    return redirect(url_for("chat.room", seat=seat, room=FIRST_ROOM))


@front.get("/join")
def join() -> str:
    return render_template("join.html", first=seats.first(), name="", problem=None)


@front.post("/join")
def take_seat() -> Response | tuple[str, int]:
    given = request.form.get("name", "")
    try:
        person = store.add_person(text.name(given))
    except text.Refused as refused:
        page = render_template("join.html", first=seats.first(), name=given, problem=refused)
        return page, 400
    seat = seats.take(person)
    if seat is None:
        abort(409, f"This browser has {seats.SEATS} people already. Let one of them leave first.")
    rt.trigger(live.NEWS, "joined", {"text": f"{person.name} came in", "person": person.id})
    return redirect(url_for("chat.room", seat=seat, room=FIRST_ROOM), 303)


@chat.post("/leave")
def leave() -> Response:
    seats.leave(g.seat)
    return redirect(url_for("front.home"), 303)


@chat.get("/rooms/<room>")
def room(room: str) -> str:
    found = _room(room)
    messages, more = store.latest(found.id)
    if messages:
        store.mark_read(found.id, g.person, messages[-1].id)
    page = {
        **_everything(),
        "me": g.person,
        "seat": g.seat,
        "room": found,
        "messages": [message.as_json() for message in messages],
        "more": more,
        "members": store.members(found.id),
        "base": url_for("chat.room", room="").removesuffix("/rooms/"),
        "limits": {"message": text.MESSAGE},
        "config": url_for("realtime.config"),
        "client": url_for("realtime.client", rest="realtime.js"),
    }
    return render_template("chat.html", page=page, hints=hints.for_room(rt.settings, found.id))


@chat.post("/rooms")
def create_room() -> Response:
    name = text.name(request.form.get("name"), limit=text.ROOM_NAME)
    private = request.form.get("private") == "on"
    _slow_down()
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
    body = _body()
    words, nonce = text.message(body.get("text")), str(body.get("nonce", ""))
    if not 8 <= len(nonce) <= 64:
        abort(400, "A message needs a nonce of 8 to 64 characters.")
    _slow_down()
    message = store.add_message(found.id, g.person, words, nonce)
    # The page that sent it shows it already. Others, this person's other windows too, hear it now.
    rt.trigger(live.messages_of(found.id), "message", message.as_json(), to_others=True)
    _ring_mentioned(found, message)
    return jsonify(message=message.as_json()), 201


@chat.post("/rooms/<room>/read")
def read(room: str) -> tuple[str, int]:
    store.mark_read(_room(room).id, g.person, _number("up_to"))
    return "", 204


@chat.post("/rooms/<room>/members")
def invite(room: str) -> Response:
    found, person = _private(room), _person("name")
    _slow_down()
    if store.add_member(found.id, person.id):
        ring("invitation", g.person, person.id, found)
        live.tell_members(found)
    return jsonify(members=store.members(found.id))


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
    return jsonify(members=store.members(found.id))


@chat.post("/waves")
def wave() -> tuple[str, int]:
    person = _person("to")
    _slow_down()
    ring("wave", g.person, person.id)
    return "", 204


@chat.post("/notifications/read")
def read_notifications() -> tuple[str, int]:
    """One, `{"id": 7}`, or all of them, `{}`; this person's other windows are told."""
    only = _number("id") if "id" in _body() else None
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
        members=store.members(found.id),
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
    given = text.name(_body().get(field))
    person = store.find_person(given)
    if person is None:
        abort(404, f"Nobody here is called {given}.")
    return person


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        abort(400, "A JSON object is needed.")
    return body


def _number(field: str) -> int:
    value = _body().get(field)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**53:
        abort(400, f"{field} is a number.")
    return value


def _slow_down() -> None:
    if store.sent_lately(g.person, BURST_SECONDS) >= BURST:
        wait = round(BURST_SECONDS)
        raise TooManyRequests(f"That is a lot at once. Wait {wait} seconds.", retry_after=wait)
