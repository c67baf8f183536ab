"""The chat's queries: people, rooms, messages and notifications. Knows nothing of real time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from realtime_kit.demo.database import open_database
from realtime_kit.demo.models import Member, Message, Notice, Person, Read, Room, Secret
from realtime_kit.demo.text import handle

PAGE = 50  # messages in one piece of history
KEPT = 30  # notifications that a bell shows


class Store:
    """The file at `path`, made when missing. Each call is one transaction, of a connection of its
    own: thread-safe. What it returns belongs to no session."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.sessions = open_database(path)
        self._clock = clock

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def secret_key(self) -> str:
        """Signs the session cookies; made once, so that a restart signs nobody out."""
        made = insert(Secret).values(name="session", value=secrets.token_urlsafe(32))
        with self.sessions.begin() as session:
            session.execute(made.on_conflict_do_nothing())
            return session.scalars(select(Secret.value).where(Secret.name == "session")).one()

    # People

    def add_person(self, name: str) -> Person:
        """The person of that name, from now on if new; spelled as they spell it this time."""
        newest = select(func.coalesce(func.max(Message.id), 0)).scalar_subquery()
        add = insert(Person).values(id=handle(name, "person"), name=name, since=newest)
        add = add.on_conflict_do_update(index_elements=[Person.id], set_={"name": name})
        with self.sessions.begin() as session:
            return session.scalars(add.returning(Person)).one()

    def person(self, person_id: str) -> Person | None:
        with self.sessions() as session:
            return session.get(Person, person_id)

    def find_person(self, name: str) -> Person | None:
        """By id, or by a name that makes the same id."""
        return self.person(handle(name, "person"))

    def people(self) -> list[Person]:
        with self.sessions() as session:
            return list(session.scalars(select(Person).order_by(_by_name(Person)).limit(100)))

    # Rooms

    def rooms(self, person: Person) -> list[dict[str, Any]]:
        """Every room that `person` may enter, as JSON with its number of `unread` messages."""
        seen = func.max(person.since, func.coalesce(Read.message, 0))
        others = Message.author_id != person.id
        unread = select(func.count(Message.id)).where(
            Message.room == Room.id, others, Message.id > seen
        )
        query = (
            select(Room, unread.correlate(Room, Read).scalar_subquery())
            .outerjoin(Read, (Read.room == Room.id) & (Read.person == person.id))
            .where(_is_open_to(person.id))
            .order_by(Room.id != "lobby", Room.private, _by_name(Room))
        )
        with self.sessions() as session:
            return [{**room.as_json(), "unread": n} for room, n in session.execute(query)]

    def room(self, room_id: str) -> Room | None:
        with self.sessions() as session:
            return session.get(Room, room_id)

    def may_enter(self, person_id: str, room_id: str) -> bool:
        """Public rooms are for everybody, private ones for their members."""
        query = select(Room.id).where(Room.id == room_id, _is_open_to(person_id))
        with self.sessions() as session:
            return session.scalar(query) is not None

    def add_room(self, name: str, owner: Person, *, private: bool, limit: int) -> Room | None:
        """The new room, or None: the name is taken, or there are `limit` rooms already."""
        room = {"id": handle(name, "room"), "name": name, "private": private, "owner": owner.id}
        add = insert(Room).values(room).on_conflict_do_nothing().returning(Room)
        with self.sessions.begin() as session:
            if session.scalars(select(func.count(Room.id))).one() >= limit:
                return None
            added = session.scalar(add)
            if added and private:
                session.add(Member(room=added.id, person=owner.id))
        return added

    def members(self, room_id: str) -> list[Person]:
        theirs = select(Member.person).where(Member.room == room_id)
        query = select(Person).where(Person.id.in_(theirs)).order_by(_by_name(Person))
        with self.sessions() as session:
            return list(session.scalars(query))

    def add_member(self, room_id: str, person_id: str) -> bool:
        """False: they were a member already."""
        add = insert(Member).values(room=room_id, person=person_id).on_conflict_do_nothing()
        with self.sessions.begin() as session:
            return session.scalar(add.returning(Member.person)) is not None

    def remove_member(self, room_id: str, person_id: str) -> bool:
        """False: they were none."""
        remove = delete(Member).where(Member.room == room_id, Member.person == person_id)
        with self.sessions.begin() as session:
            return session.scalar(remove.returning(Member.person)) is not None

    # Messages

    def add_message(self, room_id: str, author: Person, text: str, nonce: str) -> Message:
        """The same nonce again is the same message: a page may repeat what got no answer."""
        add = insert(Message).values(
            room=room_id, author_id=author.id, text=text, sent_at=self._now(), nonce=nonce
        )
        query = select(Message).where(Message.author_id == author.id, Message.nonce == nonce)
        with self.sessions.begin() as session:
            session.execute(add.on_conflict_do_nothing())
            return session.scalars(query).one()

    def latest(self, room_id: str, *, before: int | None = None) -> tuple[list[Message], bool]:
        """The newest messages (of those before an id), oldest first, and whether there are more."""
        query = select(Message).where(Message.room == room_id, Message.id < (before or 2**62))
        with self.sessions() as session:
            found = session.scalars(query.order_by(Message.id.desc()).limit(PAGE + 1)).all()
        return list(reversed(found[:PAGE])), len(found) > PAGE

    def since(self, room_id: str, after: int) -> list[Message] | None:
        """What came after message `after`; None: too much, begin anew from `latest`."""
        query = select(Message).where(Message.room == room_id, Message.id > after)
        with self.sessions() as session:
            found = session.scalars(query.order_by(Message.id).limit(4 * PAGE + 1)).all()
        return None if len(found) > 4 * PAGE else list(found)

    def mark_read(self, room_id: str, person: Person, up_to: int) -> None:
        read = insert(Read).values(room=room_id, person=person.id, message=up_to)
        furthest = func.max(Read.message, read.excluded.message)
        read = read.on_conflict_do_update(set_={"message": furthest})
        with self.sessions.begin() as session:
            session.execute(read)

    def sent_lately(self, person: Person, seconds: float) -> int:
        """How many messages and notifications `person` caused within the last `seconds`."""
        after = self._now() - round(seconds * 1000)
        said = select(func.count()).where(Message.author_id == person.id, Message.sent_at > after)
        rung = select(func.count()).where(Notice.sender_id == person.id, Notice.at > after)
        with self.sessions() as session:
            return session.scalars(said).one() + session.scalars(rung).one()

    # Notifications

    def notify(
        self, kind: str, sender: Person, person_id: str, room: Room | None = None, text: str = ""
    ) -> Notice:
        """Keep one for somebody; of theirs the oldest goes when there are `KEPT`."""
        add = insert(Notice).values(
            person=person_id,
            kind=kind,
            sender_id=sender.id,
            room_id=room.id if room else None,
            text=text,
            at=self._now(),
            version=_next_version(),
        )
        theirs = select(Notice.id).where(Notice.person == person_id)
        latest = theirs.order_by(Notice.id.desc()).limit(KEPT)
        prune = delete(Notice).where(Notice.person == person_id, Notice.id.not_in(latest))
        with self.sessions.begin() as session:
            id = session.scalars(add.returning(Notice.id)).one()
            session.execute(prune)
            return session.scalars(select(Notice).where(Notice.id == id)).one()

    def notifications(self, person: Person) -> list[Notice]:
        """Newest first."""
        query = select(Notice).where(Notice.person == person.id).order_by(Notice.id.desc())
        with self.sessions() as session:
            return list(session.scalars(query))

    def unread(self, person: Person) -> int:
        """How many notifications are."""
        query = select(func.count()).where(Notice.person == person.id, ~Notice.read)
        with self.sessions() as session:
            return session.scalars(query).one()

    def mark_notifications_read(self, person: Person, only: int | None = None) -> None:
        mark = update(Notice).where(Notice.person == person.id, ~Notice.read)
        if only is not None:
            mark = mark.where(Notice.id == only)
        with self.sessions.begin() as session:
            session.execute(mark.values(read=True, version=_next_version()))


def _is_open_to(person_id: str) -> ColumnElement[bool]:
    mine = select(Member.room).where(Member.person == person_id)
    return or_(~Room.private, Room.id.in_(mine))


def _next_version() -> ColumnElement[int]:
    return select(func.coalesce(func.max(Notice.version), 0) + 1).scalar_subquery()


def _by_name(table: type[Person | Room]) -> ColumnElement[str]:
    return table.name.collate("NOCASE")
