"""The real-time side of the demo: who may be where, and what is sent to whom."""

from __future__ import annotations

from typing import Any, cast

from flask import current_app
from werkzeug.local import LocalProxy

from realtime_kit import Grant, Member, SignIn
from realtime_kit.demo.models import Person, Room
from realtime_kit.demo.store import Store
from realtime_kit.flask import FlaskRealtime

rt = FlaskRealtime()
store = cast(Store, LocalProxy(lambda: current_app.extensions["demo_store"]))


# how: chat
@rt.channel_rule("private-room-{room:slug}", history="200/1h")
def may_read(user: Person, room: str) -> bool:
    """A page subscribes to all of its rooms at once, in one request."""
    return store.may_enter(user.id, room)
    # end of how


@rt.channel_rule("presence-room-{room:slug}")
def may_be_seen(user: Person, room: str) -> Grant | None:
    """Who has the room open, and their typing, which pages publish themselves."""
    if not store.may_enter(user.id, room):
        return None
    return Grant(Member(user.id, {"name": user.name}), publish=True)


@rt.channel_rule("news", history="100/1d")
def may_hear(user: Person | None) -> bool:
    """What happens in the house. Anybody may read it, so it is never asked: it says that the
    channel keeps history, and so `GET /events` has it."""
    return True


@rt.sign_in
def identity(user: Person) -> SignIn:
    """Signed in, a connection receives what is sent to its user: the bell."""
    return SignIn(user.id, {"name": user.name})


def messages_of(room_id: str) -> str:
    return f"private-room-{room_id}"


def people_in(room_id: str) -> str:
    return f"presence-room-{room_id}"


ROOMS = "rooms"  # public: a new room that everybody may enter
NEWS = "news"  # public: who came in, and which rooms there are


def ring(
    kind: str, sender: Person, person_id: str, room: Room | None = None, text: str = ""
) -> None:
    """Keep a notification, and ring the bell on all of the person's windows."""
    notification = store.notify(kind, sender, person_id, room, text)
    rt.send_to_user(person_id, "notification", notification.as_json())


def tell_members(room: Room) -> None:
    rt.trigger(messages_of(room.id), "members", {"members": members_of(room)})


def members_of(room: Room) -> list[dict[str, Any]]:
    return [person.as_json() for person in store.members(room.id)]
