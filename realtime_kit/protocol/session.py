"""A client's session: what happens when it connects, sends a frame, and goes.

Source: Pusher Channels Protocol, version 7. No step raises, whatever it is given. When the driver
fails to perform an effect:

- a frame that only passes something on is answered with an error;
- where the registry may now say something else than the client believes (subscribe, unsubscribe,
  sign-in), the client is told code 4100 and the connection is ended: it comes back in a second and
  tells everything anew, and `disconnect` ends whatever was half-done;
- once a subscription or a sign-in is written, it is announced to others even if its own client
  could not be told, because its end will be announced too. Each announcement is tried by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from realtime_kit.channels import kind_of
from realtime_kit.protocol import admission, announcements, frames, notices
from realtime_kit.protocol.announcements import announce_count
from realtime_kit.protocol.app import App
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import (
    Allow,
    Broadcast,
    Cached,
    CacheGet,
    Close,
    Connect,
    Drop,
    Dropped,
    EffectFailed,
    Joined,
    Left,
    QueryMembers,
    QueryPresent,
    Send,
    SignedIn,
    SignIn,
    Step,
    Subscribed,
    Told,
    Unsubscribe,
    attempt,
    watchers_of,
)
from realtime_kit.protocol.frames import Refused

__all__ = ["announce_count", "connect", "disconnect", "receive"]

OVER_CAPACITY = 4100
_UNAVAILABLE = "Temporarily unavailable, please reconnect"
_REASON_BYTES = 123  # what a WebSocket close frame can carry (RFC 6455, 5.5)


# --- connect --------------------------------------------------------------------------------


def connect(
    app: App | None, *, key: str, query: Mapping[str, str], socket_id: str
) -> Step[Connection | None]:
    """A client opened a socket for `key`; `app` is the one that the key belongs to, if any.

    Returns the connection, or None if it was refused and closed: `disconnect` is then not due.
    A refused client is told both by `pusher:error` and by the close code: some read only one.
    """
    try:
        version, app = _protocol(query), _usable(app, key)
    except Refused as refused:
        yield from _end(str(refused), refused.code)
        return None
    connection = Connection(app_id=app.id, socket_id=socket_id, protocol=version)
    try:
        accepted: bool = yield Connect(connection, app.max_connections)
        if accepted:
            yield Send(frames.connection_established(socket_id, app.activity_timeout))
            return connection
    except EffectFailed:
        yield from attempt(Drop())
        yield from attempt(Told())
        yield from _end(_UNAVAILABLE, OVER_CAPACITY)
        return None
    yield from _end("Application is over connection quota", 4004)
    return None


def _protocol(query: Mapping[str, str]) -> int:
    version = query.get("protocol")
    if not version:
        raise Refused("No protocol version supplied", 4008)
    if not (version.isascii() and version.isdigit() and len(version) < 5):
        raise Refused("Invalid version string format", 4006)
    if not 4 <= int(version) <= 7:
        raise Refused("Unsupported protocol version", 4007)
    return int(version)


def _usable(app: App | None, key: str) -> App:
    if app is None:
        raise Refused(
            f"App key {key} not in this cluster. Did you forget to specify the cluster?", 4001
        )
    if not app.enabled:
        raise Refused("Application disabled", 4003)
    return app


def _end(message: str, code: int | None) -> Step[None]:
    yield from attempt(Send(frames.error(message, code)))
    reason = message.encode("utf-8", "replace")[:_REASON_BYTES].decode(errors="ignore")
    yield from attempt(Close(code or OVER_CAPACITY, reason))


# --- receive --------------------------------------------------------------------------------


def receive(app: App, connection: Connection, frame: str | bytes) -> Step[Connection]:
    """The client sent a frame; `bytes` is a binary one, which the protocol does not know.

    Returns the connection, changed if the client signed in. A frame that is refused is answered
    with `pusher:error`, and changed nothing.
    """
    try:
        message = _read(app, frame)
        event = message["event"]
        handler = _HANDLERS.get(event)
        if handler is not None:
            return (yield from handler(app, connection, message))
        yield from _client_event(app, connection, message)
    except Refused as refused:
        yield from attempt(Send(frames.error(str(refused), refused.code)))
    except EffectFailed:
        yield from _end(_UNAVAILABLE, OVER_CAPACITY)
    return connection


def _read(app: App, frame: str | bytes) -> dict[str, Any]:
    if isinstance(frame, bytes):
        raise Refused("Received invalid JSON: binary frames are not supported")
    limit = frames.max_frame(app.limits)
    if frames.size(frame) > limit:
        raise Refused(f"Frame exceeds the allowed maximum ({limit} bytes)")
    try:
        message = frames.decode(frame)
    except ValueError as error:
        raise Refused("Received invalid JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise Refused("Invalid message: it must be a JSON object with an event")
    return message


def _fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """The member `data` of a protocol event: an object; some old clients send it as a string."""
    data = message.get("data")
    if isinstance(data, str):
        try:
            data = frames.decode(data)
        except ValueError as error:
            raise Refused(f"Received invalid JSON in the data of {message['event']}") from error
    if not isinstance(data, dict):
        raise Refused(f"Invalid message: the data of {message['event']} must be an object")
    return data


def _channel(message: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    channel = fields.get("channel")
    if not isinstance(channel, str):
        raise Refused(f"Invalid message: {message['event']} must contain a channel")
    return channel


def _ping(_app: App, connection: Connection, _message: Mapping[str, Any]) -> Step[Connection]:
    yield Send(frames.PONG)
    return connection


def _pong(_app: App, connection: Connection, _message: Mapping[str, Any]) -> Step[Connection]:
    yield from ()
    return connection


# --- subscriptions --------------------------------------------------------------------------


def _subscribe(app: App, connection: Connection, message: Mapping[str, Any]) -> Step[Connection]:
    fields = _fields(message)
    channel = _channel(message, fields)
    try:
        request = admission.admit(app, connection, channel, fields)
        joined: Joined = yield request
        if joined.refused:
            raise Refused(
                f"{channel} is full: a presence channel has at most "
                f"{app.limits.presence_members} members"
            )
        if joined.excess:
            raise Refused("This connection has as many subscriptions as it may have")
    except Refused as refused:
        if app.subscription_error:
            yield from attempt(Send(frames.subscription_error(channel, str(refused))))
        raise
    if not joined.new:
        raise Refused(f"Existing subscription to channel {channel}")
    failure: EffectFailed | None = None
    try:
        yield from _welcome(channel)
    except EffectFailed as error:
        failure = error
    yield from announcements.joined(app, connection.socket_id, request, joined)
    yield from attempt(Told(channel))
    if failure is not None:
        raise failure
    return connection


def _welcome(channel: str) -> Step[None]:
    kind = kind_of(channel)
    if kind.is_presence:
        yield from _welcome_member(channel)
    else:
        yield Send(frames.subscription_succeeded(channel))
    if kind.is_cache:
        yield from _welcome_cached(channel)


def _welcome_member(channel: str) -> Step[None]:
    told: Mapping[str, str | None] = yield QueryMembers(channel)
    yield Send(frames.presence_succeeded(channel, told))
    # Who came or went before this was sent was announced before it, too.
    while (members := (yield QueryMembers(channel))) != told:
        for user_id in told.keys() - members.keys():
            yield Send(frames.member_removed(channel, user_id))
        for user_id in members.keys() - told.keys():
            yield Send(frames.member_added(channel, user_id, members[user_id]))
        told = members


def _welcome_cached(channel: str) -> Step[None]:
    cached: Cached | None = yield CacheGet(channel)
    if cached is None:
        yield Send(frames.cache_miss(channel))
        yield from attempt(notices.cache_miss(channel))
    told: str | None = None
    while cached is not None and cached.frame != told:
        told = cached.frame
        yield Send(told)
        cached = yield CacheGet(channel)  # a newer event may have been sent before the older one


def _unsubscribe(app: App, connection: Connection, message: Mapping[str, Any]) -> Step[Connection]:
    channel = _channel(message, _fields(message))
    left: Left | None = None
    if not channel.startswith(watchers_of("")):  # a watchlist is not the client's to end
        left = yield Unsubscribe(channel)
    if left is None or not left.existed:
        raise Refused(f"No current subscription to channel {channel}, or subscription in progress")
    yield from announcements.left(app, left)
    yield from attempt(Told(channel))
    return connection


# --- users ----------------------------------------------------------------------------------


def _sign_in(app: App, connection: Connection, message: Mapping[str, Any]) -> Step[Connection]:
    user = admission.identify(app, connection, _fields(message))
    answer: SignedIn = yield SignIn(user.user_id, user.user_info, user.watchlist)
    if answer.excess:
        raise Refused("This user has as many connections as a user may have")
    if not answer.accepted:
        raise Refused("Connection is already signed in as another user")
    if answer.first:
        yield from announcements.user(user.user_id, online=True, exclude=connection.socket_id)
        yield from attempt(Told(watchers_of(user.user_id)))
    yield Send(frames.signin_success(user.user_data))
    if user.excess:
        limit = app.limits.watchlist
        yield Send(frames.error(f"Watchlist limit exceeded: {limit} users at most", 4302))
    if user.watchlist:
        yield from _welcome_watcher(user.watchlist, answer.online)
    return replace(connection, user_id=user.user_id, user_info=user.user_info)


def _welcome_watcher(watchlist: tuple[str, ...], online: tuple[str, ...]) -> Step[None]:
    if online:
        yield Send(frames.watchlist_event("online", online))
    told = set(online)
    while (now := set((yield QueryPresent(watchlist)))) != told:
        for name, user_ids in (("offline", told - now), ("online", now - told)):
            if user_ids:
                yield Send(frames.watchlist_event(name, sorted(user_ids)))
        told = now


# --- client events --------------------------------------------------------------------------


def _client_event(app: App, connection: Connection, message: Mapping[str, Any]) -> Step[None]:
    """Source: Pusher Channels, "Events: Triggering client events"."""
    event = message["event"]
    if event.startswith(("pusher:", "pusher_internal:")):
        raise Refused(f"Unknown event {event}")
    if not app.client_events:
        raise Refused(
            "To send client events, you must enable this feature in the Settings page of your "
            "dashboard."
        )
    if not event.startswith("client-"):
        raise Refused("Client event rejected - client events must be prefixed by 'client-'")
    if not isinstance(message.get("channel"), str) or "data" not in message:
        raise Refused("Invalid client event (must contain channel and data)")
    channel, data = message["channel"], message["data"]
    encoded = _client_data(app, event, data)
    # The length first: `kind_of` keeps the names that it was asked about.
    if len(channel) > app.limits.channel_name or not kind_of(channel).requires_auth:
        raise Refused("Client event rejected - only supported on private and presence channels")
    try:
        member = yield from _sender(app, connection, channel)
        frame = frames.client_event(event, channel, encoded, member)
        yield Broadcast(channel, frame, connection.socket_id)
    except EffectFailed as error:
        raise Refused("Client event rejected - temporarily unavailable") from error
    text = data if isinstance(data, str) else encoded
    yield from attempt(notices.client_event(channel, event, text, connection.socket_id, member))


def _client_data(app: App, event: str, data: object) -> str:
    """The data as JSON text, of the type that the sender used."""
    limits = app.limits
    if len(event) > limits.event_name:
        raise Refused(f"Event name of {len(event)} characters; the limit is {limits.event_name}")
    try:
        text = frames.encode(data)
    except ValueError as error:
        raise Refused("Received invalid JSON") from error
    if frames.size(data if isinstance(data, str) else text) > limits.data:
        raise Refused(frames.too_large(limits))
    return text


def _sender(app: App, connection: Connection, channel: str) -> Step[str | None]:
    """The member that the sender is on a presence channel; None on others."""
    member: str | None = yield Subscribed(channel)
    if member is None:
        raise Refused(
            f"Cannot broadcast client event (connection not subscribed to channel {channel})"
        )
    allowed: bool = yield Allow("client_events", app.client_events_per_second)
    if not allowed:
        raise Refused("Client event rejected due to rate limit", 4301)
    return member or None


_Handler = Callable[[App, Connection, Mapping[str, Any]], Step[Connection]]
_HANDLERS: Mapping[str, _Handler] = {
    "pusher:ping": _ping,
    "pusher:pong": _pong,
    "pusher:subscribe": _subscribe,
    "pusher:unsubscribe": _unsubscribe,
    "pusher:signin": _sign_in,
}


# --- disconnect -----------------------------------------------------------------------------


def disconnect(app: App, connection: Connection) -> Step[None]:
    """The client is gone: end all it had and tell the others. Safe to run again."""
    try:
        dropped: Dropped = yield Drop()
    except EffectFailed:
        return
    for left in dropped.left:
        yield from announcements.left(app, left)
    if dropped.signed_out is not None:
        yield from announcements.user(dropped.signed_out, online=False)
    if dropped.signed_in is not None:
        yield from announcements.user(dropped.signed_in, online=True)
    yield from attempt(Told())
