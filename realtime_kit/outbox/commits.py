"""Events that this very process sends after a commit: no table, no relay, and no guarantee."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from realtime_kit.events import Event

if TYPE_CHECKING:
    from realtime_kit.sending import OnError, Sending

_KEY = "realtime_kit.after_commit"


class _Call(NamedTuple):
    realtime: Sending
    event: Event
    on_error: OnError


def trigger_after_commit(
    realtime: Sending,
    session: Session | scoped_session[Any],
    event: Event,
    *,
    on_error: OnError = "log",
) -> str:
    """Send `event` when the session's transaction has committed; its id.

    It is dropped with the transaction, or with the savepoint that it was triggered in. Events of
    one policy are sent in one call, in order. With `on_error="raise"` the commit raises what
    failed, although it has happened.
    """
    own: Session = session() if isinstance(session, scoped_session) else session
    (settled,) = realtime.settle([event])
    pending = own.info.get(_KEY)
    if pending is None:
        pending = own.info[_KEY] = _Pending(own)
    pending.add(own, _Call(realtime, settled, on_error))
    return str(settled.id)


class _Pending:
    """What waits for the commit of one session, each with the transaction that it goes down with:
    the innermost savepoint, or all."""

    def __init__(self, session: Session) -> None:
        self._waiting: list[tuple[SessionTransaction, _Call]] = []
        self._committed: SessionTransaction | None = None
        sa.event.listen(session, "after_commit", self._after_commit)
        sa.event.listen(session, "after_transaction_end", self._after_end)

    def add(self, session: Session, call: _Call) -> None:
        self._waiting.append((_innermost(session) or session.begin(), call))

    def _after_commit(self, session: Session) -> None:
        self._committed = _innermost(session)  # which ends now

    def _after_end(self, session: Session, ended: SessionTransaction) -> None:
        mine = [call for transaction, call in self._waiting if transaction is ended]
        if not mine:
            return
        outer = _innermost(session)
        if ended is not self._committed:
            self._waiting = [one for one in self._waiting if one[0] is not ended]
        elif outer is not None:
            self._waiting = [
                (outer if transaction is ended else transaction, call)
                for transaction, call in self._waiting
            ]
        else:
            self._waiting = []
            _send(mine)


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _send(calls: list[_Call]) -> None:
    """One after the other, as many at once as may be."""
    for _, alike in groupby(calls, key=lambda call: (id(call.realtime), call.on_error)):
        first, *others = alike
        events = [first.event, *(call.event for call in others)]
        first.realtime.trigger_batch(events, on_error=first.on_error)
