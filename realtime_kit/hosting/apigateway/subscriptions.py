"""Who is subscribed to what, of one app. Every answer is decided by one transaction.

A transaction is made for what was read, under conditions that fail if it has changed; then all is
read anew. The `mark` of a row says who wrote it: who lost the answer to a transaction finds a mark
of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from realtime_kit.channels import kind_of
from realtime_kit.errors import ProviderError
from realtime_kit.hosting.apigateway import rows
from realtime_kit.hosting.apigateway.dynamodb import Key, Row, Value
from realtime_kit.hosting.apigateway.occupancy import Occupancy
from realtime_kit.hosting.apigateway.rows import LIVE, Names, number, text
from realtime_kit.hosting.apigateway.table import MAX_TRANSACTION, Change, ConditionFailed, Table
from realtime_kit.protocol.effects import ChannelState, Joined, Left, Subscribe

# A counter takes some hundred transactions a second. A channel is spread when it has so many
# subscribers a shard, or so many and they were in each other's way.
SHARD_SIZE = 2_000
SHARD_SIZE_CONTENDED = 100
MAX_SHARDS = 16

# Whether others are to be told that a subscription to a channel began.
IsTold = Callable[[str, Joined], bool]

_log = logging.getLogger(__name__)


class Subscriptions:
    """`clock` gives seconds since 1970; `mark` makes a text that nobody else makes; `most` bounds
    the subscriptions of a connection."""

    def __init__(
        self,
        table: Table,
        names: Names,
        *,
        clock: Callable[[], float],
        mark: Callable[[], str],
        most: int | None,
    ) -> None:
        self._table = table
        self._names = names
        self._clock = clock
        self._mark = mark
        self._most = most

    # --- one begins -------------------------------------------------------------------------

    def subscribe(self, conn: str, wanted: Subscribe, claim: str, is_told: IsTold) -> Joined:
        """If others are to be told of it, the row says so until `told` is called."""
        tried: dict[Value, Joined] = {}
        return self._table.settle(lambda: self._subscribe(conn, wanted, claim, is_told, tried))

    def _subscribe(
        self,
        conn: str,
        wanted: Subscribe,
        claim: str,
        is_told: IsTold,
        tried: dict[Value, Joined],
    ) -> Joined:
        channel, user_id = wanted.channel, wanted.user_id
        own_key, connection_key = rows.subscription(conn, channel), rows.connection(conn)
        found, seen = self._see(channel, user_id, own_key, connection_key)
        own, connection = found.get(own_key), found.get(connection_key)
        if own is not None and own["mark"] in tried:
            return tried[own["mark"]]
        if connection is None or "dropped" in connection or (own and "ended" not in own):
            return Joined(new=False, count=seen.count)
        if self._most is not None and number(connection, "subs") >= self._most:
            return Joined(new=False, count=seen.count, excess=True)
        first = user_id is not None and seen.member is None
        if first and wanted.max_members is not None and seen.members >= wanted.max_members:
            return Joined(new=False, count=seen.count, refused=True)
        mark = self._mark()
        joined = tried[mark] = Joined(True, first, seen.vacant, seen.count + seen.counted)
        values: dict[str, Value] = {"mark": mark}
        if is_told(channel, joined):
            told = {"first": first, "occupied": seen.vacant}
            values |= {"untold_by": claim, "untold": json.dumps(told)}
        changes = self._beginning(conn, wanted, seen, first, values)
        conflicts = self._table.transact([*changes, *self._put(conn, values, own)])
        self._spread(seen, conflicts)
        return joined

    def _put(self, conn: str, values: Row, ended: Row | None) -> list[Change]:
        """Write the row of a subscription; if another `ended` and is to be told of, keep that."""
        channel = text(values, "channel")
        key = rows.subscription(conn, channel)
        if ended is None:
            return [Change("Put", key, "attribute_not_exists(pk)", values=values)]
        by = text(ended, "ended_by")
        kept = {name: value for name, value in ended.items() if name not in Key._fields}
        return [
            Change("Put", key, "ended_by = :by", values=values, given={"by": by}),
            Change("Put", rows.earlier(conn, channel, by), values=kept),
        ]

    def _beginning(
        self, conn: str, wanted: Subscribe, seen: Occupancy, first: bool, own: dict[str, Value]
    ) -> list[Change]:
        names, channel, user_id = self._names, wanted.channel, wanted.user_id
        expires, since = rows.expiry(self._clock()), rows.micros(self._clock())
        shard = rows.spread_over(seen.spread, conn)
        own |= {"channel": channel, "shard": shard, "since": since, "expires": expires}
        if user_id is not None:
            own["user_id"] = user_id
        changes = [
            self._counted(conn, channel, since),
            Change("Put", names.subscriber(channel, shard, conn), values={"expires": expires}),
            *seen.joining(names, shard, first=first, most=wanted.max_members, expires=expires),
        ]
        if user_id is not None:
            values: dict[str, Value] = {"user_id": user_id, "since": since}
            if wanted.user_info is not None:
                values["info"] = wanted.user_info
            member = names.member(channel, user_id)
            changes.append(rows.raised(member, seen.member, expires, values=values))
            presence = names.presence(user_id, channel, conn)
            changes.append(Change("Put", presence, values={"conn": conn, "expires": expires}))
        return changes

    def _counted(self, conn: str, channel: str, now: int) -> Change:
        """One more subscription of a connection, which must not have been dropped."""
        update, condition = "ADD subs :one SET touched = :now", LIVE
        given = {"one": 1, "now": now}
        if channel.startswith("#") or kind_of(channel).requires_auth:
            update += ", authorized = :one"
        if self._most is not None:
            condition += " AND (attribute_not_exists(subs) OR subs < :most)"
            given["most"] = self._most
        return Change("Update", rows.connection(conn), condition, update, given=given)

    def _spread(self, seen: Occupancy, conflicts: int) -> None:
        """Spread the channel over more shards, if it is time."""
        size = SHARD_SIZE_CONTENDED if conflicts > 1 else SHARD_SIZE
        spread, channel = seen.spread, seen.channel
        if seen.count < size * spread or spread >= MAX_SHARDS or kind_of(channel).is_presence:
            return
        given = {"spread": spread, "more": spread * 2}
        head = Change(
            "Update",
            self._names.head(channel),
            "spread = :spread",
            "SET spread = :more",
            given=given,
        )
        # It goes with the head, and no sooner: who is told of the channel's events depends on it.
        marker = Change("Put", self._names.spread(channel), values={"spread": spread * 2})
        try:
            self._table.transact([head, marker])
        except ConditionFailed:  # another has done it
            return
        except ProviderError:  # the subscription stands all the same
            _log.warning("channel %s could not be spread over more shards", channel, exc_info=True)

    def watch(self, conn: str, channels: Iterable[str]) -> None:
        """Subscribe to internal channels; those of a connection that is dropped are not."""
        expires, since = rows.expiry(self._clock()), rows.micros(self._clock())
        wanted = list(channels)
        size = (MAX_TRANSACTION - 1) // 2
        for start in range(0, len(wanted), size):
            changes = [Change("ConditionCheck", rows.connection(conn), LIVE)]
            for channel in wanted[start : start + size]:
                subscriber = self._names.subscriber(channel, 0, conn)
                own: dict[str, Value] = {"channel": channel, "shard": 0, "mark": self._mark()}
                changes += [
                    Change(
                        "Put",
                        rows.subscription(conn, channel),
                        values={**own, "since": since, "expires": expires},
                    ),
                    Change("Put", subscriber, values={"expires": expires}),
                ]
            try:
                self._table.transact(changes)
            except ConditionFailed:
                return

    # --- one ends ---------------------------------------------------------------------------

    def unsubscribe(self, conn: str, channel: str, claim: str) -> Left:
        """The row stays until `forget` is called, because others are to be told."""
        own = self._table.get(rows.subscription(conn, channel))
        left = None if own is None else self.end(conn, own, claim, alive=True)
        if left is None:
            return Left(channel, existed=False, count=self.channel(channel).subscriptions)
        return left

    def told(self, conn: str, channel: str, claim: str) -> None:
        """Others were told that a subscription began."""
        with suppress(ConditionFailed):  # it ended meanwhile
            self._table.write(rows.told(rows.subscription(conn, channel), claim))

    def forget(self, conn: str, channel: str, claim: str) -> None:
        """Others were told that a subscription ended."""
        key = rows.subscription(conn, channel)
        try:
            self._table.write(Change("Delete", key, "ended_by = :claim", given={"claim": claim}))
        except ConditionFailed:  # subscribed again, or deleted already
            self._table.write(Change("Delete", rows.earlier(conn, channel, claim)))

    def end(self, conn: str, own: Row, claim: str, *, alive: bool) -> Left | None:
        """End the subscription whose row is `own`; None if another did. One of a connection that is
        not `alive` was taken off the lists.

        The row stays, with what is to be told of its end, until who has the claim has told it.
        """
        return self._table.settle(lambda: self._end(conn, own, claim, alive))

    def _end(self, conn: str, own: Row, claim: str, alive: bool) -> Left | None:
        names, channel, shard = self._names, text(own, "channel"), number(own, "shard")
        user_id = user_of(own)
        own_key, connection_key = rows.subscription(conn, channel), rows.connection(conn)
        found, seen = self._see(channel, user_id, own_key, connection_key)
        now = found.get(own_key)
        if now is None or now["mark"] != own["mark"]:
            return None
        if "ended" in now:
            return ended(now) if now["ended_by"] == claim else None
        last = user_id is not None and (seen.member is None or number(seen.member, "conns") <= 1)
        vacated = seen.counted and seen.vacated_by(shard)
        left = Left(channel, True, user_id, last, vacated, max(0, seen.count - seen.counted))
        told: dict[str, object] = {"last": last, "vacated": vacated, "count": left.count}
        if "untold" in now:
            left.untold = _untold(json.loads(text(now, "untold")))
            left.user_info = None if seen.member is None else _info(seen.member)
            told |= {"untold": json.loads(text(now, "untold")), "info": left.user_info}
        changes = [
            rows.ending(own_key, now, told, claim, self._clock()),
            *seen.leaving(names, shard, last=last),
        ]
        if user_id is not None:
            changes += rows.lowered(names.member(channel, user_id), seen.member)
        if alive:
            changes += [Change("Delete", key) for key in self._listed(conn, now)]
        if alive and connection_key in found:
            given = {"less": -1, "now": rows.micros(self._clock())}
            there, update = "attribute_exists(pk)", "ADD subs :less SET touched = :now"
            changes.append(Change("Update", connection_key, there, update, given=given))
        self._table.transact(changes)
        return left

    def unlist(self, conn: str, held: Iterable[Row]) -> None:
        """Send nothing more to a connection that is dropped, and `held` these subscriptions. It
        needs no transaction, because it can begin no others."""
        self._table.delete_many(key for own in held for key in self._listed(conn, own))

    def _listed(self, conn: str, own: Row) -> list[Key]:
        """Where a connection is found by a channel, and by a member."""
        channel, user_id = text(own, "channel"), user_of(own)
        listed = [self._names.subscriber(channel, number(own, "shard"), conn)]
        if user_id is not None:
            listed.append(self._names.presence(user_id, channel, conn))
        return listed

    # --- what is --------------------------------------------------------------------------

    def subscribed(self, conn: str, channel: str) -> str | None:
        """The member's user id, "" for who is none, None for who is not subscribed."""
        own = self._table.get(rows.subscription(conn, channel))
        return None if own is None or "ended" in own else str(own.get("user_id", ""))

    def subscribers(self, channel: str) -> Iterator[list[str]]:
        """The connections on a channel, a page at a time."""
        spread = 1
        for items in self._table.pages(self._names.shard(channel), start="N"):
            conns = [item["sk"]["S"][2:] for item in items]
            if items and items[0]["sk"]["S"] == "N":
                spread = int(items[0]["spread"]["N"])
                del conns[0]
            yield conns
        for shard in range(1, spread):
            for items in self._table.pages(self._names.shard(channel, shard), begins="S#"):
                yield [item["sk"]["S"][2:] for item in items]

    def channel(self, channel: str) -> ChannelState:
        _, seen = self._see(channel, None)
        if seen.counted:
            return ChannelState(seen.count, seen.members)
        return ChannelState(sum(len(page) for page in self.subscribers(channel)))

    def occupied(self, channel: str) -> bool:
        return self._table.get(self._names.head(channel)) is not None

    def channels(self, prefix: str) -> dict[str, ChannelState]:
        """The occupied channels that begin with `prefix`, by name."""
        found: dict[str, ChannelState] = {}
        for partition in range(rows.HEAD_PARTITIONS):
            for head in self._table.query(self._names.heads(partition), begins=prefix):
                channel = text(head, "sk")
                seen = self._with_counters(Occupancy(channel, head))
                found[channel] = ChannelState(seen.count, seen.members)
        return dict(sorted(found.items()))

    def members(self, channel: str) -> dict[str, str | None]:
        """The members and their info (JSON text), in the order in which they came."""
        members = self._table.query(self._names.shard(channel), begins="M#")
        ordered = sorted(members, key=lambda row: number(row, "since"))
        return {text(row, "user_id"): _info(row) for row in ordered}

    def present(self, user_ids: Iterable[str], channel: str) -> dict[str, str | None]:
        """Those of the users who are members of a channel."""
        keys = {self._names.member(channel, user_id): user_id for user_id in user_ids}
        found = self._table.get_many(keys)
        return {user_id: _info(found[key]) for key, user_id in keys.items() if key in found}

    def connections_of(self, user_id: str, channel: str | None) -> list[str]:
        """The connections that are signed in as a user or are the user on a presence channel; with
        `channel`, those of them that are on it."""
        there = self._table.query(self._names.user(user_id).pk)
        conns = list(dict.fromkeys(text(row, "conn") for row in there if "conn" in row))
        if channel is None:
            return conns
        held = self._table.get_many(rows.subscription(conn, channel) for conn in conns)
        on_it = {key.pk for key, row in held.items() if "ended" not in row}
        return [conn for conn in conns if rows.connection(conn).pk in on_it]

    # --- reading ----------------------------------------------------------------------------

    def _see(
        self, channel: str, user_id: str | None, *more: Key
    ) -> tuple[dict[Key, Row], Occupancy]:
        """What there is of a channel, and of a member, and the rows of `more` that are there."""
        seen = Occupancy(channel)
        head = self._names.head(channel)
        keys = [*more, head] if seen.counted else [*more]
        member = None if user_id is None else self._names.member(channel, user_id)
        found = self._table.get_many(keys if member is None else [*keys, member])
        seen = Occupancy(channel, found.get(head), member=found.get(member) if member else None)
        return found, self._with_counters(seen)

    def _with_counters(self, seen: Occupancy) -> Occupancy:
        if seen.spread == 1:
            return seen
        keys = {self._names.counter(seen.channel, shard): shard for shard in range(1, seen.spread)}
        found = self._table.get_many(keys)
        counters = {keys[key]: row for key, row in found.items()}
        return Occupancy(seen.channel, seen.head, counters, seen.member)


def _info(member: Row) -> str | None:
    return str(member["info"]) if "info" in member else None


def user_of(own: Row) -> str | None:
    """The member that a subscription is, or the user that a sign-in is."""
    return str(own["user_id"]) if "user_id" in own else None


def ended(own: Row) -> Left:
    """What is to be told of a subscription that was ended."""
    told = json.loads(text(own, "ended"))
    left = Left(
        text(own, "channel"), True, user_of(own), told["last"], told["vacated"], told["count"]
    )
    if "untold" in told:
        left.untold, left.user_info = _untold(told["untold"]), told["info"]
    return left


def _untold(told: Mapping[str, bool]) -> Joined:
    return Joined(True, told["first"], told["occupied"])
