"""What the demo keeps: its tables. Times are milliseconds since 1970."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

_NEVER_AGAIN = {"sqlite_autoincrement": True}  # the id of a row that was deleted


def now() -> int:
    return time.time_ns() // 1_000_000


class Base(DeclarativeBase):
    """A table."""

    def as_json(self) -> dict[str, Any]:
        return {each.key: getattr(self, each.key) for each in inspect(type(self)).column_attrs}


class Person(Base):
    """Whoever picked this name: `id` is made of it, so the same name is the same person. Messages
    up to the one with the id `since` were there before them."""

    __tablename__ = "people"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    since: Mapped[int]

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name}


class Room(Base):
    """A place to talk. A private one is for its members; `owner` may remove them again."""

    __tablename__ = "rooms"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    private: Mapped[bool] = mapped_column(default=False)
    owner: Mapped[str | None]


class Member(Base):
    """Somebody may enter a private room."""

    __tablename__ = "members"
    room: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)


class Message(Base):
    """`nonce` is the sending page's own name for it."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("author", "nonce"),
        Index("messages_of_room", "room", "id"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[str]
    author_id: Mapped[str] = mapped_column("author", ForeignKey(Person.id))
    text: Mapped[str]
    sent_at: Mapped[int]
    nonce: Mapped[str]
    author: Mapped[Person] = relationship(lazy="joined", innerjoin=True)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "room": self.room,
            "author": self.author.as_json(),
            "text": self.text,
            "sent_at": self.sent_at,
            "nonce": self.nonce,
        }


class Read(Base):
    """How far somebody has read in a room: up to this message."""

    __tablename__ = "reads"
    room: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    message: Mapped[int]


class Notice(Base):
    """A notification. `kind` is mention, wave, invitation, removal or note; wave and note are of no
    room. `version` is its place among all changes of all of them; those that one statement has
    changed share it."""

    __tablename__ = "notifications"
    __table_args__ = (Index("notifications_of_person", "person", "id"), _NEVER_AGAIN)
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str]
    kind: Mapped[str]
    sender_id: Mapped[str] = mapped_column("sender", ForeignKey(Person.id))
    room_id: Mapped[str | None] = mapped_column("room", ForeignKey(Room.id))
    text: Mapped[str]
    at: Mapped[int]
    read: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int]
    sender: Mapped[Person] = relationship(lazy="joined", innerjoin=True)
    room: Mapped[Room | None] = relationship(lazy="joined")

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "sender": self.sender.as_json(),
            "room": self.room.as_json() if self.room else None,
            "text": self.text,
            "at": self.at,
            "read": self.read,
        }


class Post(Base):
    """Something to like. `version` counts the changes: of two events the higher one is right."""

    __tablename__ = "posts"
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    text: Mapped[str]
    version: Mapped[int] = mapped_column(default=0)


class Like(Base):
    """One person likes one post."""

    __tablename__ = "likes"
    post: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)


class Todo(Base):
    """A line of the house's list. Its id is made by the page that wrote it."""

    __tablename__ = "todos"
    id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    done: Mapped[bool]
    removed: Mapped[bool]
    author: Mapped[str]
    at: Mapped[int]
    version: Mapped[int]


class Order(Base):
    """Something that was sold. A later one has a higher id: SQLite has one writer at a time."""

    __tablename__ = "orders"
    __table_args__ = _NEVER_AGAIN
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    cents: Mapped[int]
    person: Mapped[str]
    at: Mapped[int]


class Secret(Base):
    """What this installation alone knows."""

    __tablename__ = "secrets"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
