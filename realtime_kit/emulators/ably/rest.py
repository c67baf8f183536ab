"""The REST API, as a function of what the emulator knows: no sockets, no clock.

Source: Ably, "REST API"; features spec RSC, RSA, RSL, RSP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from realtime_kit.emulators.ably import provisioning, rest_batch, rest_channels
from realtime_kit.emulators.ably.auth import key_named, optional_rest
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.rest_http import Answer, Call, Request, Response
from realtime_kit.emulators.ably.tokens import request_token, revoke_tokens

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.world import World

__all__ = ["Request", "Response", "handle"]

_Endpoint = Callable[[Call], Answer | Response]

# Any page may use the API: what it is allowed is said by its credentials, which are no cookies.
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link,X-Ably-Errorcode,X-Ably-Errormessage"),
)


def handle(world: World, request: Request) -> Response:
    """Answer a request. Does not raise."""
    if request.method == "OPTIONS":
        return _preflight(request)
    call = Call(world, request)
    try:
        answer = _route(call)(call)
        response = answer if isinstance(answer, Response) else call.respond(answer)
    except AblyError as error:
        response = call.refuse(error)
    body = b"" if request.method == "HEAD" else response.body
    return Response(response.status, (*response.headers, *_CORS), body)


def _preflight(request: Request) -> Response:
    wanted = request.headers.get("access-control-request-headers", "*")
    return Response(
        204,
        (
            *_CORS,
            ("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE"),
            ("Access-Control-Allow-Headers", wanted),
            ("Access-Control-Max-Age", "86400"),
        ),
    )


def _route(call: Call) -> _Endpoint:
    # Every second segment is a name, but for those of `presence/history`.
    names = {1} if call.segments[0] in ("channels", "keys", "apps") else set()
    if call.segments[2:3] == ["messages"]:
        names.add(3)
    pattern = tuple(
        "*" if index in names else segment for index, segment in enumerate(call.segments)
    )
    method = "GET" if call.request.method == "HEAD" else call.request.method
    endpoint = _ROUTES.get((method, *pattern))
    if endpoint is None:
        raise AblyError(40400, 404, f"Could not find path: {call.request.path[:200]}")
    return endpoint


def _time(call: Call) -> Answer:
    """GET /time (RSC16)"""
    return Answer([call.now_ms])


def _request_token(call: Call) -> Answer:
    """POST /keys/KEY/requestToken (RSA8a). A signature is credentials enough."""
    key = key_named(call.world, call.segments[1])
    given = call.fields()
    access = None
    if given.get("mac") is None:
        access = optional_rest(call.world, call.request.headers, call.params, call.now_ms)
    app = call.world.apps[key.app_id]
    return Answer(request_token(app, key, given, access, call.now_ms), 201)


def _revoke_tokens(call: Call) -> Answer:
    """POST /keys/KEY/revokeTokens (RSA17)"""
    key = key_named(call.world, call.segments[1])
    app = call.world.apps[key.app_id]
    results = revoke_tokens(app, key, call.access, call.fields(), call.now_ms)
    return Answer(rest_batch.batch(results), 201)


def _create_app(call: Call) -> Answer:
    """POST /apps, of Ably's sandbox, and where clients are to connect"""
    secure = call.request.secure
    try:
        host = urlsplit(f"//{call.request.headers.get('host', 'localhost')}")
        port = host.port or (443 if secure else 80)
    except ValueError as error:
        raise AblyError(40004, 400, "Invalid Host") from error
    reach = {"endpoint": host.hostname, "port": port, "tls": secure}
    return Answer({**provisioning.create_app(call.world, call.fields()), **reach}, 201)


def _delete_app(call: Call) -> Answer:
    """DELETE /apps/APP"""
    if not call.access.is_basic or call.access.app_id != call.segments[1]:
        raise AblyError(40100, 401, "An app is deleted with one of its keys")
    call.world.remove_app(call.app.id)
    return Answer(None, 204)


def _stats(call: Call) -> Answer:
    """GET /stats (RSC6): none are counted"""
    if not call.access.capability.allows_everywhere("stats"):
        raise AblyError(40160, 401, "Reading statistics requires the stats capability")
    call.forwards()
    none: list[str] = []
    found, links = call.page(none, str)
    return Answer(found, links=links)


_ROUTES: Mapping[tuple[str, ...], _Endpoint] = {
    ("GET", "time"): _time,
    ("GET", "stats"): _stats,
    ("GET", "channels"): rest_channels.enumerate_channels,
    ("GET", "channels", "*"): rest_channels.status,
    ("GET", "channels", "*", "messages"): rest_channels.history,
    ("GET", "channels", "*", "history"): rest_channels.history,
    ("POST", "channels", "*", "messages"): rest_channels.publish,
    ("GET", "channels", "*", "messages", "*"): rest_channels.message,
    ("PATCH", "channels", "*", "messages", "*"): rest_channels.change_message,
    ("GET", "channels", "*", "messages", "*", "versions"): rest_channels.message_versions,
    ("GET", "channels", "*", "presence"): rest_channels.presence,
    ("GET", "channels", "*", "presence", "history"): rest_channels.presence_history,
    ("POST", "messages"): rest_batch.batch_publish,
    ("GET", "presence"): rest_batch.batch_presence,
    ("POST", "keys", "*", "requestToken"): _request_token,
    ("POST", "keys", "*", "revokeTokens"): _revoke_tokens,
    ("POST", "apps"): _create_app,
    ("DELETE", "apps", "*"): _delete_app,
}
