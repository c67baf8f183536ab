"""Who is connected and signed in, of one app, in a DynamoDB table; with `Subscriptions`, all that
`MemoryRegistry` is for the embedded server.

A connection's row is there first and goes last: whatever else it has is written under the condition
that it was not dropped. What it had is ended in two steps, so that no leave is lost with a function
that dies: `drop` ends it and keeps what is to be told, under a claim; `told` forgets that. A claim
that nobody honoured for `CLAIM_SECONDS` can be taken over.
"""

from __future__ import annotations

import json
import random as random_numbers
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import Key, Row, Value
from realtime_kit.hosting.apigateway.rows import LIVE, Names, number, text
from realtime_kit.hosting.apigateway.schedule import Schedule
from realtime_kit.hosting.apigateway.subscriptions import Subscriptions, ended
from realtime_kit.hosting.apigateway.table import Change, ConditionFailed, Table
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import Dropped, Left, SignedIn, SignIn, watchers_of

# API Gateway waits 29 seconds for a function: after that nobody honours a claim.
CLAIM_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one address, user or connection may have; None is no bound.

    `authorization`: seconds to sign in or to subscribe to a channel that needs a proof. `age`: a
    connection ends at an age drawn from these seconds, before API Gateway ends all that began
    together at two hours.
    """

    per_address: int | None = 200
    per_user: int | None = 50
    subscriptions: int | None = 200
    authorization: float | None = 30.0
    age: tuple[float, float] = (100 * 60.0, 115 * 60.0)


class Registry:
    """The rows of one app. `clock` gives seconds since 1970; `random` numbers from 0 up to 1."""

    def __init__(
        self,
        table: Table,
        app_id: str,
        *,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random_numbers.random,
        mark: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.table = table
        self.names = Names.of(app_id)
        self.bounds = bounds or Bounds()
        self.clock = clock
        self.mark = mark
        self._random = random
        self.schedule = Schedule(table, self.names, clock=clock, proof=self.bounds.authorization)
        self.subscriptions = Subscriptions(
            table, self.names, clock=clock, mark=mark, most=self.bounds.subscriptions
        )

    # --- a connection begins ----------------------------------------------------------------

    def connect(
        self, conn: str, value: Connection, *, address: str | None, most: int | None
    ) -> bool:
        """Write a connection; False if its address or the app has as many as it may have."""
        now = self.clock()
        youngest, oldest = self.bounds.age
        closes = now + youngest + self._random() * (oldest - youngest)
        row: dict[str, Value] = {**value.to_json(), "expires": rows.expiry(now)}
        if address is not None and self.bounds.per_address is not None:
            row["address"] = address
        if most is not None:
            row["counted"] = 1
        return self.table.settle(lambda: self._connect(conn, row, now, closes, most))

    def _connect(self, conn: str, row: Row, now: float, closes: float, most: int | None) -> bool:
        """It is listed whenever its row is there. If this function dies in between, the sweep
        strikes it off."""
        key, counter, listed = rows.connection(conn), self.names.connections(), self._due(conn, row)
        found = self.table.get_many([key] if most is None else [key, counter])
        if key in found:
            return True
        if most is not None and number(found.get(counter, {}), "conns") >= most:
            self.schedule.end(listed)
            return False
        self.schedule.begin(listed, now, closes)
        if "address" in row and self.schedule.is_crowded(listed, self.bounds.per_address or 0):
            self.schedule.end(listed)
            return False
        change = Change("Put", key, "attribute_not_exists(pk)", values=row)
        if most is None:
            self.table.write(change)
        else:
            raised = rows.raised(counter, found.get(counter), number(row, "expires"), most=most)
            self.table.transact([change, raised])
        return True

    def _due(self, conn: str, row: Row) -> Key:
        return self.names.due(conn, text(row, "address") if "address" in row else None)

    def connection(self, conn: str) -> Connection | None:
        """The value of a connection; None if there is none, or it is dropped."""
        row = self.table.get(rows.connection(conn))
        return None if row is None or "dropped" in row else Connection.from_json(dict(row))

    def allow(self, conn: str, bucket: str, rate: float) -> bool:
        """Take one token, of `rate` a second and as many in store.

        The bucket is one number: when it will be full again (the "generic cell rate algorithm").
        """
        if rate < 1:
            return False
        key, name = rows.connection(conn), f"bucket_{bucket}"
        step, now = round(1_000_000 / rate), rows.micros(self.clock())
        latest = now + 1_000_000 - step
        full = Change(
            "Update",
            key,
            f"{LIVE} AND (attribute_not_exists({name}) OR {name} <= :now)",
            f"SET {name} = :next",
            given={"now": now, "next": now + step},
        )
        used = Change(
            "Update",
            key,
            f"{LIVE} AND {name} > :now AND {name} <= :latest",
            f"SET {name} = {name} + :step",
            given={"now": now, "latest": latest, "step": step},
        )
        return self.table.settle(lambda: self._allow(full, used, name, latest))

    def _allow(self, full: Change, used: Change, name: str, latest: int) -> bool:
        try:
            self.table.write(full)
        except ConditionFailed as failed:
            row = failed.rows[0]
            if row is None or "dropped" in row or number(row, name) > latest:
                return False
            self.table.write(used)
        return True

    # --- users ------------------------------------------------------------------------------

    def sign_in(self, conn: str, wanted: SignIn, claim: str) -> SignedIn:
        """If watchers are to be told of it, the row says so until `told_online` is called."""
        tried: dict[Value, bool] = {}
        watched = {self.names.user(user_id): user_id for user_id in wanted.watchlist}
        found = self.table.get_many(watched)  # before this connection is one of them
        online = tuple(user_id for key, user_id in watched.items() if key in found)
        answer = self.table.settle(lambda: self._sign_in(conn, wanted, claim, tried))
        if not answer.accepted:
            return answer
        self.subscriptions.watch(conn, map(watchers_of, wanted.watchlist))
        return replace(answer, online=online)

    def _sign_in(self, conn: str, wanted: SignIn, claim: str, tried: dict[Value, bool]) -> SignedIn:
        key, user = rows.connection(conn), self.names.user(wanted.user_id)
        found = self.table.get_many([key, user])
        row, most = found.get(key), self.bounds.per_user
        if row is None or "dropped" in row or row.get("user_id", wanted.user_id) != wanted.user_id:
            return SignedIn(accepted=False)
        if "user_id" in row:
            by, touched = str(row["signed_by"]), number(row, "touched")
            self.table.write(_signing_in(key, wanted, "user_id = :user_id", by, touched))
            return SignedIn(True, tried.get(row["signed_by"], False))
        if most is not None and number(found.get(user, {}), "conns") >= most:
            return SignedIn(accepted=False, excess=True)
        mark, expires = self.mark(), rows.expiry(self.clock())
        tried[mark] = user not in found
        own: dict[str, Value] = {"user_id": wanted.user_id, "mark": mark, "expires": expires}
        own["since"] = now = rows.micros(self.clock())
        if tried[mark]:
            own["untold_by"] = claim
        index: Row = {"conn": conn, "expires": expires}
        self.table.transact(
            [
                _signing_in(key, wanted, f"{LIVE} AND attribute_not_exists(user_id)", mark, now),
                rows.raised(user, found.get(user), expires, most=most),
                Change("Put", rows.sign_in(conn), values=own),
                Change("Put", self.names.signed_in(wanted.user_id, conn), values=index),
            ]
        )
        return SignedIn(True, tried[mark])

    def told_online(self, conn: str, claim: str) -> None:
        """Watchers were told that the user is online."""
        with suppress(ConditionFailed):  # the connection ended meanwhile
            self.table.write(rows.told(rows.sign_in(conn), claim))

    def online(self, user_ids: Iterable[str]) -> dict[str, None]:
        """Those of the users who are signed in."""
        keys = {self.names.user(user_id): user_id for user_id in user_ids}
        found = self.table.get_many(keys)
        return {user_id: None for key, user_id in keys.items() if key in found}

    # --- a connection ends ------------------------------------------------------------------

    def drop(self, conn: str, claim: str) -> tuple[Dropped, bool]:
        """End all that a connection has; what is to be told of it, and whether that is all: not,
        if another is about to tell some of it."""
        now = self.clock()
        dropped = Change(
            "Update",
            rows.connection(conn),
            "attribute_exists(pk)",
            "SET dropped = if_not_exists(dropped, :now)",
            given={"now": rows.micros(now)},
        )
        try:
            self.table.write(dropped)
        except ConditionFailed:
            return Dropped(), True
        held = list(self.table.query(rows.connection(conn).pk))
        subscriptions = sorted(
            (row for row in held if "channel" in row), key=lambda row: number(row, "since")
        )
        self.subscriptions.unlist(conn, subscriptions)
        internal = [row for row in subscriptions if _is_internal(row)]
        left: list[Left | None] = [Left(text(row, "channel"), existed=True) for row in internal]
        for row in subscriptions:
            if not _is_internal(row):
                left.append(self._leave(conn, row, claim))
        signed_in = next((row for row in held if row["sk"] == "I"), None)
        user = {} if signed_in is None else self._sign_out(conn, signed_in, claim)
        whole = None not in left and user is not None
        return Dropped(tuple(filter(None, left)), **(user or {})), whole

    def _leave(self, conn: str, row: Row, claim: str) -> Left | None:
        if "ended" not in row:
            return self.subscriptions.end(conn, row, claim, alive=False)
        return ended(row) if self._claimed(row, claim) else None

    def _sign_out(self, conn: str, row: Row, claim: str) -> dict[str, str] | None:
        """What `Dropped` is to say of the user; None if another tells."""
        if "ended" in row:
            return _told(row) if self._claimed(row, claim) else None
        return self.table.settle(lambda: self._end_sign_in(conn, row, claim))

    def _end_sign_in(self, conn: str, row: Row, claim: str) -> dict[str, str] | None:
        own_key, user_id = rows.sign_in(conn), text(row, "user_id")
        user = self.names.user(user_id)
        found = self.table.get_many([own_key, user])
        now = found.get(own_key)
        if now is None or "ended" in now:
            return _told(now) if now and now["ended_by"] == claim else None
        last = number(found.get(user, {}), "conns") <= 1
        told = {"signed_out": user_id} if last else {}
        if "untold_by" in now and not last:
            told = {"signed_in": user_id}
        self.table.transact(
            [
                rows.ending(own_key, now, told, claim, self.clock()),
                *rows.lowered(user, found.get(user)),
                Change("Delete", self.names.signed_in(user_id, conn)),
            ]
        )
        return told

    def _claimed(self, row: Row, claim: str) -> bool:
        """Take over the claim to tell what was ended, if nobody else may be about to."""
        before = text(row, "ended_by")
        if before == claim:
            return True
        if number(row, "ended_at") > rows.micros(self.clock() - CLAIM_SECONDS):
            return False
        taking = Change(
            "Update",
            Key(text(row, "pk"), text(row, "sk")),
            "ended_by = :before OR ended_by = :claim",
            "SET ended_by = :claim, ended_at = :now",
            given={"before": before, "claim": claim, "now": rows.micros(self.clock())},
        )
        try:
            self.table.write(taking)
        except ConditionFailed:
            return False
        return True

    def told(self, conn: str, claim: str) -> None:
        """What `drop` answered under this claim was told: forget it, and the connection with it
        unless there is something else to tell."""
        held = list(self.table.query(rows.connection(conn).pk))
        connection = next((row for row in held if row["sk"] == "#"), None)
        if connection is None or "dropped" not in connection:
            return
        rest = [row for row in held if row is not connection]
        mine = [row for row in rest if _is_internal(row) or row.get("ended_by") == claim]
        self.table.delete_many(Key(text(row, "pk"), text(row, "sk")) for row in mine)
        if len(mine) == len(rest) and self.table.settle(lambda: self._forget(conn, connection)):
            self.schedule.end(self._due(conn, connection))

    def _forget(self, conn: str, connection: Row) -> bool:
        """Whether it is not there any more."""
        change = Change("Delete", rows.connection(conn), "attribute_exists(dropped)")
        if "counted" not in connection:
            try:
                self.table.write(change)
            except ConditionFailed as failed:
                return failed.rows[0] is None
            return True
        counter = self.names.connections()
        found = self.table.get_many([change.key, counter])
        if change.key in found:
            self.table.transact([change, *rows.lowered(counter, found.get(counter))])
        return True

    # --- looking after them -----------------------------------------------------------------

    def is_unfinished(self, conn: str, row: Row, since: int) -> bool:
        """Whether a function died before it told others what it did for a connection; `row` is its
        row, which says whether anything was done after `since`, microseconds, of the last look."""
        claim = rows.micros(CLAIM_SECONDS)
        if number(row, "touched") <= since - claim:
            return False
        before = rows.micros(self.clock()) - claim
        held = self.table.query(rows.connection(conn).pk)
        return any(rows.is_overdue(each, before) for each in held)


def _is_internal(row: Row) -> bool:
    return str(row.get("channel", "")).startswith("#")


def _told(row: Row) -> dict[str, str]:
    told: dict[str, str] = json.loads(text(row, "ended"))
    return told


def _signing_in(key: Key, wanted: SignIn, condition: str, mark: str, now: int) -> Change:
    update = "SET user_id = :user_id, signed_by = :mark, authorized = :one, touched = :now"
    given: dict[str, Value] = {"user_id": wanted.user_id, "mark": mark, "one": 1, "now": now}
    if wanted.user_info is None:
        update += " REMOVE user_info"
    else:
        update += ", user_info = :info"
        given["info"] = wanted.user_info
    return Change("Update", key, condition, update, given=given)
