"""The demo's file: where it is, and SQLAlchemy's sessions over it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from realtime_kit.demo.models import Base, Post, Room

ROOMS = {"lobby": "Lobby", "ideas": "Ideas"}
POSTS = {
    "plants": ("A plant on every desk", "Something green to look at between two meetings."),
    "fridays": ("No meetings on Fridays", "One day a week for what needs a whole day."),
    "dog": ("A dog in the office", "On Tuesdays, and only if the dog agrees."),
    "bread": ("Bake our own bread", "The oven is there. So are the volunteers."),
}


def default_path(environ: Mapping[str, str]) -> Path:
    """The file in the user's cache directory; in a fresh temporary one where that is read-only."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = cache / "realtime-kit"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="realtime-kit-")) / "demo.sqlite3"
    return folder / "demo.sqlite3"


def open_database(path: Path) -> sessionmaker[Session]:
    """Sessions over the file at `path`, for any number of threads and processes; the file and its
    tables are made when missing."""
    # It holds the key that signs the sessions: for the owner's eyes only.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    # Whoever writes waits up to five seconds for another one to be done.
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": 5})
    event.listen(engine, "connect", _set_up)
    with engine.begin() as connection:
        connection.execute(text("BEGIN IMMEDIATE"))  # of several that start at once, one makes them
        Base.metadata.create_all(connection)
        _upgrade(connection)
        rooms = [{"id": id, "name": name} for id, name in ROOMS.items()]
        posts = [{"id": id, "title": title, "text": words} for id, (title, words) in POSTS.items()]
        connection.execute(insert(Room).on_conflict_do_nothing(), rooms)
        connection.execute(insert(Post).on_conflict_do_nothing(), posts)
    return sessionmaker(engine, expire_on_commit=False)


def _set_up(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer; what was committed last may be lost with the power."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _upgrade(connection: Connection) -> None:
    """Add what the file of an earlier demo lacks."""
    columns = inspect(connection).get_columns("notifications")
    if "version" not in {column["name"] for column in columns}:
        connection.execute(text("ALTER TABLE notifications ADD version INTEGER NOT NULL DEFAULT 0"))
