"""What a step asks of its driver, and the answers.

An effect is about "this connection" where it names none: the driver that runs a step knows whose
step it is. Names of channels that begin with `#` are internal (`#server-to-user-…`, and the
watchers of a user, `watchers_of`): they are subscribed and broadcast to like any other, and never
listed or counted.

Steps may interleave, also those of one connection, unless the driver runs each to its end. Two
things are then the driver's to see to. A connection that was dropped stays so: `Subscribe` answers
`new=False`, `SignIn` `accepted=False`. And a `Notify` with a `cancel_key` may come late, so that it
only says where to look: of the two states that a key has, such a driver remembers which it told
last, and asks the registry which is so. What clients are told is the steps' own: each looks again
after it spoke, until what it said last is so.

Nobody changes an effect or an answer; they are not frozen because making one would cost six times
as much, and a step makes several.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from realtime_kit.protocol.connection import Connection


def watchers_of(user_id: str) -> str:
    """The internal channel of the connections whose watchlist holds `user_id`."""
    return "#watchers-of-" + user_id


# --- the connection -------------------------------------------------------------------------


@dataclass(slots=True)
class Connect:
    """Write this connection's value. Answer: False if the app has `max_connections` already."""

    connection: Connection
    max_connections: int | None = None


# --- frames ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Send:
    """Send a frame to this connection. Answer: None."""

    frame: str


@dataclass(slots=True)
class Broadcast:
    """Send one frame, encoded once, to all subscribers of a channel. Answer: None.

    `exclude` is the socket id that must not receive it.
    """

    channel: str
    frame: str
    exclude: str | None = None


@dataclass(slots=True)
class Close:
    """End this connection, after what was sent before. Answer: None.

    `code` is the protocol's close code (4000 to 4299); a host that cannot send it just closes.
    """

    code: int
    reason: str


# --- subscriptions --------------------------------------------------------------------------


@dataclass(slots=True)
class Joined:
    """`new`: was not subscribed before. `first_of_member`: the user's first connection here.
    `occupied`: the channel had no subscriber before. `count`: connections now subscribed.
    `refused`: a presence channel is full; `excess`: the connection has as many subscriptions as
    its host allows. Nothing was changed then."""

    new: bool
    first_of_member: bool = False
    occupied: bool = False
    count: int = 0
    refused: bool = False
    excess: bool = False


@dataclass(slots=True)
class Subscribe:
    """Subscribe this connection. Answer: `Joined`.

    On presence channels `user_id` and `user_info` (JSON text) make the member; the first
    connection's info stands for all of a user's connections. `max_members` bounds the members.
    """

    channel: str
    user_id: str | None = None
    user_info: str | None = None
    max_members: int | None = None


@dataclass(slots=True)
class Left:
    """`existed`: was subscribed. `user_id`: the member that this subscription was.
    `last_of_member`: it was the user's last connection here. `vacated`: nobody is subscribed any
    more. `count`: connections still subscribed. `untold`: what others may not have been told of its
    beginning, because who was to tell it died; `user_info` is the member's then."""

    channel: str
    existed: bool
    user_id: str | None = None
    last_of_member: bool = False
    vacated: bool = False
    count: int = 0
    untold: Joined | None = None
    user_info: str | None = None


@dataclass(slots=True)
class Unsubscribe:
    """End this connection's subscription. Answer: `Left`."""

    channel: str


@dataclass(slots=True)
class Dropped:
    """`left`: one `Left` for each subscription that there was, internal ones included.
    `signed_out`: the user whose last signed-in connection this was. `signed_in`: the one whose
    first it was, of which others may not have been told; another is left."""

    left: tuple[Left, ...] = ()
    signed_out: str | None = None
    signed_in: str | None = None


@dataclass(slots=True)
class Drop:
    """This connection is gone: end all it had. Answer: `Dropped`; empty the second time.

    A driver that fails half-way must answer the rest when it is asked again: a leave is never lost.
    The same goes for `Unsubscribe`, whose failure ends the connection. A driver whose process may
    die half-way answers it all again until it was `Told`.
    """


@dataclass(slots=True)
class Told:
    """Others were told of all that `Drop` answered; with `channel`, of what `Subscribe`,
    `Unsubscribe` or (for a channel of watchers) `SignIn` answered in the same step. Answer: None.

    Until then a driver whose process may die remembers that there is something to tell.
    """

    channel: str | None = None


@dataclass(slots=True)
class Subscribed:
    """Is this connection subscribed? Answer: None, or the member's user id ("" if it has none)."""

    channel: str


# --- users ----------------------------------------------------------------------------------


@dataclass(slots=True)
class SignedIn:
    """`accepted`: False if the connection is already another user's, or the user has as many
    connections as the host allows (`excess`); nothing was changed.
    `first`: the user's first signed-in connection. `online`: those of the watchlist who are."""

    accepted: bool
    first: bool = False
    online: tuple[str, ...] = ()
    excess: bool = False


@dataclass(slots=True)
class SignIn:
    """Make this connection the user's, and subscribe it to `watchers_of` each of `watchlist`.

    Answer: `SignedIn`. The driver stores user id and info in the connection value.
    """

    user_id: str
    user_info: str | None = None
    watchlist: tuple[str, ...] = ()


@dataclass(slots=True)
class Terminate:
    """Send `frame` to a user's connections and close them. Answer: None.

    A user's connections are those signed in as the user, and those that are the user on some
    presence channel. `channel` narrows them to its subscribers.
    """

    user_id: str
    frame: str
    code: int
    reason: str
    channel: str | None = None


# --- state of channels ----------------------------------------------------------------------


@dataclass(slots=True)
class ChannelState:
    """A channel at one moment. `subscriptions` counts connections, `users` members."""

    subscriptions: int = 0
    users: int = 0


@dataclass(slots=True)
class QueryChannels:
    """All occupied channels whose name starts with `prefix`, internal ones left out.
    Answer: `Mapping[str, ChannelState]`."""

    prefix: str = ""


@dataclass(slots=True)
class QueryChannel:
    """One channel. Answer: `ChannelState`; zeros if nobody is there."""

    channel: str


@dataclass(slots=True)
class QueryMembers:
    """The members of a presence channel. Answer: `Mapping[user_id, user_info JSON text | None]`."""

    channel: str


@dataclass(slots=True)
class QueryPresent:
    """Which of these users are members of a presence channel; without one, which are signed in.
    Answer: `Mapping[user_id, user_info JSON text | None]`; of those signed in the ids count."""

    user_ids: tuple[str, ...]
    channel: str | None = None


@dataclass(slots=True)
class Cached:
    """The last event of a cache channel: its frame, and the seconds for which it still stands."""

    frame: str
    ttl: int


@dataclass(slots=True)
class CacheGet:
    """Answer: `Cached` or None."""

    channel: str


@dataclass(slots=True)
class CacheSet:
    """Keep the last event of a cache channel for `ttl` seconds. Answer: None."""

    channel: str
    frame: str
    ttl: int


# --- the rest -------------------------------------------------------------------------------


@dataclass(slots=True)
class Allow:
    """Take one token from a bucket of this connection, `rate` tokens a second, as many in store.

    Answer: bool.
    """

    bucket: str
    rate: float


@dataclass(slots=True)
class Notify:
    """A webhook event for the application, in the provider's own shape. Answer: None.

    With `delay` (seconds) it waits, under `cancel_key`; an event with the same key and no delay
    that comes meanwhile cancels it and is itself not sent: a client that left came straight back.
    With `window` (seconds) it is not sent if one with the same key was within that time: of many
    that say the same thing, one is enough.
    """

    event: Mapping[str, Any]
    delay: float = 0.0
    cancel_key: str | None = None
    window: float = 0.0


@dataclass(slots=True)
class Later:
    """Run the step `announce_count(channel)` in `delay` seconds; at most one waits for a channel.

    It no longer waits once it runs: what is asked for meanwhile is another one. Answer: None.
    """

    channel: str
    delay: float


Effect = (
    Connect
    | Send
    | Broadcast
    | Close
    | Subscribe
    | Unsubscribe
    | Drop
    | Told
    | Subscribed
    | SignIn
    | Terminate
    | QueryChannels
    | QueryChannel
    | QueryMembers
    | QueryPresent
    | CacheGet
    | CacheSet
    | Allow
    | Notify
    | Later
)

T = TypeVar("T")
Step = Generator[Effect, Any, T]
Perform = Callable[[Effect], Any]

_log = logging.getLogger(__name__)


class EffectFailed(Exception):
    """Thrown into a step: its driver could not perform an effect; `__cause__` says why.

    It may have happened all the same (an answer that was lost), wholly or in part.
    """


def run(step: Step[T], perform: Perform) -> T:
    """Run a step to its end.

    An effect that fails is logged here, and thrown back into the step as `EffectFailed`: the step
    decides what the client is told.
    """
    try:
        effect = next(step)
        while True:
            try:
                answer = perform(effect)
            except Exception as error:
                name = type(effect).__name__
                _log.exception("the driver could not perform %s", name)
                failed = EffectFailed(name)
                failed.__cause__ = error
                effect = step.throw(failed)
            else:
                effect = step.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def attempt(effect: Effect) -> Step[None]:
    """Perform an effect on which nothing else depends; a failure is let be (`run` logs it)."""
    try:
        yield effect
    except EffectFailed:
        return
