"""What the pages keep, with SQLAlchemy, in the SQLite file that the rooms of the chat are in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlalchemy.pool import NullPool

POSTS = {
    "plants": ("A plant on every desk", "Something green to look at between two meetings."),
    "fridays": ("No meetings on Fridays", "One day a week for what needs a whole day."),
    "dog": ("A dog in the office", "On Tuesdays, and only if the dog agrees."),
    "bread": ("Bake our own bread", "The oven is there. So are the volunteers."),
}


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Base(DeclarativeBase):
    """A table of the pages."""


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


class Person(Base):
    """The store's table."""

    __tablename__ = "people"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Room(Base):
    """The store's table."""

    __tablename__ = "rooms"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    private: Mapped[bool]


class Notice(Base):
    """A notification, in the store's table. `version` is its place among all changes of all of
    them; those that one statement has changed share it."""

    __tablename__ = "notifications"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str]
    kind: Mapped[str]
    sender_id: Mapped[str] = mapped_column("sender", ForeignKey(Person.id))
    room_id: Mapped[str | None] = mapped_column("room", ForeignKey(Room.id))
    text: Mapped[str]
    at: Mapped[int]
    read: Mapped[bool]
    version: Mapped[int]
    sender: Mapped[Person] = relationship(lazy="joined")
    room: Mapped[Room | None] = relationship(lazy="joined")

    def as_json(self) -> dict[str, Any]:
        sender, room = self.sender, self.room
        return {
            "id": self.id,
            "kind": self.kind,
            "sender": {"id": sender.id, "name": sender.name},
            "room": {"id": room.id, "name": room.name} if room else None,
            "text": self.text,
            "at": self.at,
            "read": self.read,
        }


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

    def as_json(self) -> dict[str, Any]:
        return {column.name: getattr(self, column.name) for column in Todo.__table__.columns}


class Order(Base):
    """Something that was sold. A later one has a higher id: SQLite has one writer at a time."""

    __tablename__ = "orders"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    cents: Mapped[int]
    person: Mapped[str]
    at: Mapped[int]

    def as_json(self) -> dict[str, Any]:
        return {column.name: getattr(self, column.name) for column in Order.__table__.columns}


def open_database(path: Path) -> sessionmaker[Session]:
    """Sessions over the file at `path`; its tables are made when missing."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": 5})
    Base.metadata.create_all(engine)  # the store's are there
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions.begin() as session:
        for id, (title, text) in POSTS.items():
            session.merge(Post(id=id, title=title, text=text))
    return sessions
