"""The transactional outbox: events that are sent if, and only if, the caller's transaction commits.

    with Session(engine) as session, session.begin():
        session.add(order)
        realtime.outbox(session).trigger("private-orders-42", "created", {"id": 42})

The events are rows of the caller's own transaction, which a relay (`realtime-kit relay`) sends
afterwards: at least once, each channel's in order. `trigger_after_commit` needs neither a table nor
a relay, and loses what was committed when the process ends before it has sent.
"""

from __future__ import annotations

from realtime_kit.outbox.commits import trigger_after_commit
from realtime_kit.outbox.queue import Dead, Queue
from realtime_kit.outbox.relay import Relay, Tally
from realtime_kit.outbox.table import create_tables, metadata
from realtime_kit.outbox.writing import Outbox

__all__ = [
    "Dead",
    "Outbox",
    "Queue",
    "Relay",
    "Tally",
    "create_tables",
    "metadata",
    "trigger_after_commit",
]
