"""The outbox's tables. A row is one event for one channel."""

from __future__ import annotations

from realtime_kit.errors import missing_extra

try:
    import sqlalchemy as sa
except ImportError as error:
    raise missing_extra("sql", "an outbox") from error

metadata = sa.MetaData()
"""For migrations: Alembic's `target_metadata` may be a list with this in it."""

outbox = sa.Table(
    "realtime_outbox",
    metadata,
    # SQLite numbers only INTEGER by itself.
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("channel", sa.String(255), nullable=False),
    sa.Column("id", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("mutation", sa.String(255)),
    sa.Column("exclude", sa.Text),  # a socket id; Ably's names its user
    sa.Column("created", sa.BigInteger, nullable=False),
    # Not to be touched before: somebody is sending it, or it failed and waits. Milliseconds.
    sa.Column("due", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("owner", sa.String(64), index=True),  # the relay that is sending it
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.String(500)),
    sa.Column("dead", sa.BigInteger),  # since when it is given up
    sa.Index("ix_realtime_outbox_order", "dead", "seq"),
    sa.Index("ix_realtime_outbox_due", "due"),
    sqlite_autoincrement=True,  # a number is never given twice
)

turn = sa.Table(
    "realtime_outbox_turn",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("taken", sa.BigInteger, nullable=False),
)
"""One row, which is locked by the relay that takes rows of the outbox, for as long as that takes.

Row locks with SKIP LOCKED would give every relay rows; but while one relay sends a channel's first
rows, no other may have its next ones, and only a look at everything that is taken tells that.
"""


def create_tables(engine: sa.Engine | sa.Connection) -> None:
    """Make the tables, where they are not there yet."""
    metadata.create_all(engine)
