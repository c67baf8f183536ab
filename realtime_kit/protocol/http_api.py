"""The HTTP API that server SDKs speak, as steps.

Source: Pusher Channels, "HTTP API Reference". Answers are JSON, errors plain text. Two extensions,
which the SDKs' own calls do not touch: members of events (`publishing.py`), and the body of
`terminate_connections`: `{"reconnect": true}` ends the connections with code 4200 instead of 4009,
so that clients come straight back and prove their grants again; `"channel"` narrows it to that
channel's subscribers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from realtime_kit.channels import kind_of, validate
from realtime_kit.errors import InvalidChannel
from realtime_kit.protocol import frames, publishing
from realtime_kit.protocol.app import App, Apps
from realtime_kit.protocol.effects import (
    Cached,
    CacheGet,
    ChannelState,
    EffectFailed,
    Perform,
    QueryChannel,
    QueryChannels,
    QueryMembers,
    Step,
    Terminate,
    run,
)
from realtime_kit.protocol.http_request import (
    ApiError,
    Call,
    Request,
    Response,
    not_found,
    read,
    verify,
)

__all__ = ["ApiError", "Request", "Response", "authenticate", "handle", "respond"]

_Endpoint = Callable[[App, Call], Step[Response]]


def respond(
    apps: Apps, request: Request, now: float, perform_for: Callable[[App], Perform]
) -> Response:
    """Verify a request and answer it. `now`: seconds since 1970."""
    try:
        call = read(request)
        endpoint = _route(call)
        app = verify(apps, call, now)
    except ApiError as error:
        return error.response()
    return run(_answer(endpoint, app, call), perform_for(app))


def authenticate(apps: Apps, request: Request, now: float) -> App:
    """The app on whose behalf the request is. Raises `ApiError`."""
    call = read(request)
    _route(call)
    return verify(apps, call, now)


def handle(app: App, request: Request) -> Step[Response]:
    """Answer a request that `authenticate` let through. Does not raise."""
    try:
        call = read(request)
        endpoint = _route(call)
    except ApiError as error:
        return error.response()
    return (yield from _answer(endpoint, app, call))


def _answer(endpoint: _Endpoint, app: App, call: Call) -> Step[Response]:
    try:
        return (yield from endpoint(app, call))
    except ApiError as error:
        return error.response()
    except EffectFailed:
        # Events may be out already, so this must not invite to a blind retry (503 would).
        return ApiError(500, "Internal server error").response()


def _route(call: Call) -> _Endpoint:
    # Every second segment is a name.
    pattern = tuple("*" if i % 2 else segment for i, segment in enumerate(call.segments))
    if pattern not in _ROUTES:
        raise not_found()
    method, endpoint = _ROUTES[pattern]
    if call.request.method != method:
        raise ApiError(405, f"405 METHOD NOT ALLOWED: use {method}", headers={"Allow": method})
    return endpoint


# --- queries --------------------------------------------------------------------------------


def _channels(_app: App, call: Call) -> Step[Response]:
    """GET /apps/ID/channels"""
    prefix = call.params.get("filter_by_prefix", "")
    if not isinstance(prefix, str):
        raise ApiError(400, "Invalid parameter: filter_by_prefix must be a string")
    info = publishing.attributes(call.params.get("info"))
    if "user_count" in info and not kind_of(prefix).is_presence:
        raise ApiError(
            400,
            "user_count may only be requested for presence channels - "
            "please supply filter_by_prefix begining with presence-",
        )
    states: Mapping[str, ChannelState] = yield QueryChannels(prefix)
    return Response.json({"channels": {name: _counts(name, states[name], info) for name in states}})


def _channel(app: App, call: Call) -> Step[Response]:
    """GET /apps/ID/channels/CHANNEL"""
    channel = _checked(app, call.segments[1])
    info = publishing.attributes(call.params.get("info"))
    kind = kind_of(channel)
    if "user_count" in info and not kind.is_presence:
        raise ApiError(
            400, "Cannot retrieve the user count unless the channel is a presence channel"
        )
    if "cache" in info and not kind.is_cache:
        raise ApiError(400, "Cannot retrieve the cache unless the channel is a cache channel")
    state: ChannelState = yield QueryChannel(channel)
    answer: dict[str, Any] = {
        "occupied": state.subscriptions > 0,
        **_counts(channel, state, info),
    }
    if "cache" in info:
        cached: Cached | None = yield CacheGet(channel)
        answer["cache"] = cached and {
            "data": frames.decode(cached.frame)["data"],
            "ttl": cached.ttl,
        }
    return Response.json(answer)


def _counts(channel: str, state: ChannelState, info: frozenset[str]) -> dict[str, int]:
    """Members are counted on presence channels, connections on the others."""
    if kind_of(channel).is_presence:
        return {"user_count": state.users} if "user_count" in info else {}
    return {"subscription_count": state.subscriptions} if "subscription_count" in info else {}


def _users(app: App, call: Call) -> Step[Response]:
    """GET /apps/ID/channels/CHANNEL/users"""
    channel = _checked(app, call.segments[1])
    if not kind_of(channel).is_presence:
        raise ApiError(400, "Users can only be retrieved for presence channels")
    members: Mapping[str, str | None] = yield QueryMembers(channel)
    return Response.json({"users": [{"id": user_id} for user_id in members]})


def _checked(app: App, channel: str) -> str:
    try:
        return validate(channel, limit=app.limits.channel_name)
    except InvalidChannel as error:
        raise ApiError(400, f"Invalid parameter: {error}") from error


# --- users ----------------------------------------------------------------------------------


def _terminate(app: App, call: Call) -> Step[Response]:
    """POST /apps/ID/users/USER/terminate_connections"""
    given = call.parameters()
    reconnect, channel = given.get("reconnect", False), given.get("channel")
    if not isinstance(reconnect, bool):
        raise ApiError(400, "Invalid parameter: reconnect must be a boolean")
    if channel is not None and not isinstance(channel, str):
        raise ApiError(400, "Invalid parameter: channel must be a string")
    if channel is not None:
        _checked(app, channel)
    code, reason = (
        (4200, "Authorize again") if reconnect else (4009, "You got disconnected by the app.")
    )
    yield Terminate(call.segments[1], frames.error(reason, code), code, reason, channel)
    return Response.json({})


_ROUTES: Mapping[tuple[str, ...], tuple[str, _Endpoint]] = {
    ("events",): ("POST", publishing.events),
    ("batch_events",): ("POST", publishing.batch_events),
    ("channels",): ("GET", _channels),
    ("channels", "*"): ("GET", _channel),
    ("channels", "*", "users"): ("GET", _users),
    ("channels", "*", "events"): ("POST", publishing.channel_event),
    ("users", "*", "terminate_connections"): ("POST", _terminate),
}
