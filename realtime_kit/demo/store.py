"""People, rooms, messages and notifications in one SQLite file. Knows nothing of real time."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

PAGE = 50  # messages in one piece of history
KEPT = 30  # notifications that a bell shows

_SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rooms (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, private INTEGER NOT NULL, owner TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    room TEXT NOT NULL, person TEXT NOT NULL, PRIMARY KEY (room, person)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, author TEXT NOT NULL,
    text TEXT NOT NULL, sent_at INTEGER NOT NULL, nonce TEXT NOT NULL, UNIQUE (author, nonce)
);
CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room, id);
CREATE TABLE IF NOT EXISTS reads (
    room TEXT NOT NULL, person TEXT NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (room, person)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL, kind TEXT NOT NULL,
    sender TEXT NOT NULL, room TEXT, text TEXT NOT NULL, at INTEGER NOT NULL,
    read INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS notifications_of_person ON notifications (person, id);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO rooms VALUES ('lobby', 'Lobby', 0, NULL), ('ideas', 'Ideas', 0, NULL);
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever picked this name: `id` is made of it, so the same name is the same person."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """A place to talk. A private one is for its members; `owner` may remove them again."""

    id: str
    name: str
    private: bool
    owner: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """`sent_at` is milliseconds since 1970. `nonce` is the sending page's own name for it."""

    id: int
    room: str
    author: Person
    text: str
    sent_at: int
    nonce: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Notification:
    """`kind` is mention, wave, invitation, removal or note; `room` is None for wave and note."""

    id: int
    kind: str
    sender: Person
    room: Room | None
    text: str
    at: int
    read: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def handle(name: str, fallback: str) -> str:
    """`name` in letters, digits and single hyphens, as ids and channel names need it.

    A name with none of these (such as 李) gets `fallback-` and a hash of it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain))
    return slug[:40].strip("-") or f"{fallback}-{sha256(name.encode()).hexdigest()[:8]}"


def default_path(environ: Mapping[str, str]) -> Path:
    """The file in the user's cache directory; in a fresh temporary one where that is read-only."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = cache / "realtime-kit"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="realtime-kit-")) / "demo.sqlite3"
    return folder / "demo.sqlite3"


class Store:
    """The file at `path`, made when missing. Each call has a connection of its own: thread-safe."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        # It holds the key that signs the sessions: for the owner's eyes only.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)
            columns = db.execute("PRAGMA table_info(notifications)").fetchall()
            if "version" not in {column["name"] for column in columns}:  # of an earlier demo
                db.execute("ALTER TABLE notifications ADD version INTEGER NOT NULL DEFAULT 0")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection in one transaction."""
        db = sqlite3.connect(self._path, timeout=5)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = NORMAL")
            with db:
                yield db
        finally:
            db.close()

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def secret_key(self) -> str:
        """Signs the session cookies; made once, so that a restart signs nobody out."""
        with self._open() as db:
            made = ("session", secrets.token_urlsafe(32))
            db.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", made)
            return str(db.execute("SELECT value FROM secrets WHERE name = 'session'").fetchone()[0])

    # People

    def add_person(self, name: str) -> Person:
        """The person of that name, from now on if new; spelled as they spell it this time."""
        person = Person(handle(name, "person"), name)
        with self._open() as db:
            db.execute(
                "INSERT INTO people SELECT ?, ?, ifnull(max(id), 0) FROM messages WHERE true"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                (person.id, person.name),
            )
        return person

    def person(self, person_id: str) -> Person | None:
        with self._open() as db:
            row = db.execute("SELECT id, name FROM people WHERE id = ?", (person_id,)).fetchone()
        return Person(**row) if row else None

    def find_person(self, name: str) -> Person | None:
        """By id, or by a name that makes the same id."""
        return self.person(handle(name, "person"))

    def people(self) -> list[Person]:
        with self._open() as db:
            rows = db.execute("SELECT id, name FROM people ORDER BY name COLLATE NOCASE LIMIT 100")
            return [Person(**row) for row in rows]

    # Rooms

    def rooms(self, person: Person) -> list[dict[str, Any]]:
        """Every room that `person` may enter, as JSON with its number of `unread` messages."""
        with self._open() as db:
            rows = db.execute(
                """
                SELECT rooms.*, (
                    SELECT count(*) FROM messages WHERE messages.room = rooms.id AND author != me.id
                    AND messages.id > max(me.since, ifnull(reads.message, 0))
                ) AS unread
                FROM rooms JOIN people AS me ON me.id = ?
                LEFT JOIN reads ON reads.room = rooms.id AND reads.person = me.id
                LEFT JOIN members ON members.room = rooms.id AND members.person = me.id
                WHERE NOT private OR members.person IS NOT NULL
                ORDER BY rooms.id != 'lobby', private, rooms.name COLLATE NOCASE
                """,
                (person.id,),
            ).fetchall()
        return [{**dict(row), "private": bool(row["private"])} for row in rows]

    def room(self, room_id: str) -> Room | None:
        with self._open() as db:
            row = db.execute("SELECT * FROM rooms WHERE id = ?", (room_id,)).fetchone()
        return _room(row) if row else None

    def may_enter(self, person_id: str, room_id: str) -> bool:
        """Public rooms are for everybody, private ones for their members."""
        with self._open() as db:
            return _may_enter(db, person_id, room_id)

    def add_room(self, name: str, owner: Person, *, private: bool, limit: int) -> Room | None:
        """The new room, or None: the name is taken, or there are `limit` rooms already."""
        room = Room(handle(name, "room"), name, private, owner.id)
        with self._open() as db:
            if db.execute("SELECT count(*) FROM rooms").fetchone()[0] >= limit:
                return None
            row = (room.id, name, private, owner.id)
            if not db.execute("INSERT OR IGNORE INTO rooms VALUES (?, ?, ?, ?)", row).rowcount:
                return None
            if private:
                db.execute("INSERT INTO members VALUES (?, ?)", (room.id, owner.id))
        return room

    def members(self, room_id: str) -> list[Person]:
        with self._open() as db:
            rows = db.execute(
                "SELECT id, name FROM people JOIN members ON person = id WHERE room = ?"
                " ORDER BY name COLLATE NOCASE",
                (room_id,),
            ).fetchall()
        return [Person(**row) for row in rows]

    def add_member(self, room_id: str, person_id: str) -> bool:
        """False: they were a member already."""
        with self._open() as db:
            row = (room_id, person_id)
            return db.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", row).rowcount > 0

    def remove_member(self, room_id: str, person_id: str) -> bool:
        """False: they were none."""
        with self._open() as db:
            row = (room_id, person_id)
            sql = "DELETE FROM members WHERE room = ? AND person = ?"
            return db.execute(sql, row).rowcount > 0

    # Messages

    def add_message(self, room_id: str, author: Person, text: str, nonce: str) -> Message:
        """The same nonce again is the same message: a page may repeat what got no answer."""
        with self._open() as db:
            db.execute(
                "INSERT INTO messages (room, author, text, sent_at, nonce) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (room_id, author.id, text, self._now(), nonce),
            )
            sql = f"{_MESSAGES} WHERE author = ? AND nonce = ?"
            return _message(db.execute(sql, (author.id, nonce)).fetchone())

    def latest(self, room_id: str, *, before: int | None = None) -> tuple[list[Message], bool]:
        """The newest messages (of those before an id), oldest first, and whether there are more."""
        with self._open() as db:
            rows = db.execute(
                f"{_MESSAGES} WHERE room = ? AND messages.id < ? ORDER BY messages.id DESC LIMIT ?",
                (room_id, before or 2**62, PAGE + 1),
            ).fetchall()
        return [_message(row) for row in reversed(rows[:PAGE])], len(rows) > PAGE

    def since(self, room_id: str, after: int) -> list[Message] | None:
        """What came after message `after`; None: too much, begin anew from `latest`."""
        with self._open() as db:
            rows = db.execute(
                f"{_MESSAGES} WHERE room = ? AND messages.id > ? ORDER BY messages.id LIMIT ?",
                (room_id, after, 4 * PAGE + 1),
            ).fetchall()
        return None if len(rows) > 4 * PAGE else [_message(row) for row in rows]

    def mark_read(self, room_id: str, person: Person, up_to: int) -> None:
        with self._open() as db:
            db.execute(
                "INSERT INTO reads VALUES (?, ?, ?) ON CONFLICT DO"
                " UPDATE SET message = max(message, excluded.message)",
                (room_id, person.id, up_to),
            )

    def sent_lately(self, person: Person, seconds: float) -> int:
        """How many messages and notifications `person` caused within the last `seconds`."""
        after = self._now() - round(seconds * 1000)
        with self._open() as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM messages WHERE author = :id AND sent_at > :after)"
                " + (SELECT count(*) FROM notifications WHERE sender = :id AND at > :after)",
                {"id": person.id, "after": after},
            ).fetchone()
        return int(row[0])

    # Notifications

    def notify(
        self, kind: str, sender: Person, person_id: str, room: Room | None = None, text: str = ""
    ) -> Notification:
        now = self._now()
        with self._open() as db:
            (added,) = db.execute(
                "INSERT INTO notifications (person, kind, sender, room, text, at, version)"
                " SELECT ?, ?, ?, ?, ?, ?, ifnull(max(version), 0) + 1 FROM notifications"
                " RETURNING id",
                (person_id, kind, sender.id, room.id if room else None, text, now),
            ).fetchone()
            db.execute(
                "DELETE FROM notifications WHERE person = ? AND id NOT IN"
                " (SELECT id FROM notifications WHERE person = ? ORDER BY id DESC LIMIT ?)",
                (person_id, person_id, KEPT),
            )
        return Notification(added, kind, sender, room, text, now, read=False)

    def notifications(self, person: Person) -> list[Notification]:
        """Newest first."""
        with self._open() as db:
            rows = db.execute(
                """
                SELECT notifications.*, people.name AS sender_name,
                    rooms.name AS room_name, rooms.private, rooms.owner
                FROM notifications JOIN people ON people.id = sender
                LEFT JOIN rooms ON rooms.id = room
                WHERE person = ? ORDER BY notifications.id DESC
                """,
                (person.id,),
            ).fetchall()
        return [_notification(row) for row in rows]

    def unread(self, person: Person) -> int:
        """How many notifications are."""
        with self._open() as db:
            sql = "SELECT count(*) FROM notifications WHERE person = ? AND NOT read"
            return int(db.execute(sql, (person.id,)).fetchone()[0])

    def mark_notifications_read(self, person: Person, only: int | None = None) -> None:
        with self._open() as db:
            db.execute(
                "UPDATE notifications SET read = 1,"
                " version = (SELECT max(version) + 1 FROM notifications)"
                " WHERE person = ? AND id = ifnull(?, id) AND NOT read",
                (person.id, only),
            )


_MESSAGES = "SELECT messages.*, people.name FROM messages JOIN people ON people.id = author"


def _may_enter(db: sqlite3.Connection, person_id: str, room_id: str) -> bool:
    row = db.execute(
        "SELECT NOT private OR EXISTS (SELECT 1 FROM members WHERE room = rooms.id AND person = ?)"
        " FROM rooms WHERE id = ?",
        (person_id, room_id),
    ).fetchone()
    return bool(row and row[0])


def _room(row: sqlite3.Row) -> Room:
    return Room(row["id"], row["name"], bool(row["private"]), row["owner"])


def _message(row: sqlite3.Row) -> Message:
    author = Person(row["author"], row["name"])
    return Message(row["id"], row["room"], author, row["text"], row["sent_at"], row["nonce"])


def _notification(row: sqlite3.Row) -> Notification:
    room = None
    if row["room_name"] is not None:
        room = Room(row["room"], row["room_name"], bool(row["private"]), row["owner"])
    sender = Person(row["sender"], row["sender_name"])
    return Notification(
        row["id"], row["kind"], sender, room, row["text"], row["at"], bool(row["read"])
    )
