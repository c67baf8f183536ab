"""The endpoints, from a plain request and a user to a plain response.

Flask and Lambda only convert: whatever is decided about a request is decided here. To browsers an
error is a status and a short reason, `{"error": "…"}`. A `ConfigurationError`, and whatever an
application's own function raises, goes on to the host: it is nobody's request that is wrong.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from realtime_kit.errors import (
    AuthError,
    BadSignature,
    ConfigurationError,
    Denied,
    Expired,
    InvalidChannel,
    InvalidEvent,
    PartiallySent,
    PayloadTooLarge,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RealtimeError,
    Unsupported,
)
from realtime_kit.events import Receipt
from realtime_kit.providers.base import TokenForm
from realtime_kit.realtime import Realtime
from realtime_kit.web.http import MAX_BODY, HttpRequest, HttpResponse

MAX_CHANNELS = 100
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
JWT = "application/jwt"

LoadUser = Callable[[], Any]

logger = logging.getLogger("realtime_kit")


@dataclass(slots=True)
class Call:
    """What an endpoint works with. `load_user` is asked only where the answer depends on it."""

    realtime: Realtime
    request: HttpRequest
    load_user: LoadUser
    debug: bool


Endpoint = Callable[[Call], HttpResponse]


class Refusal(Exception):
    """The request is answered with a status and a short reason, and with what else is told."""

    def __init__(self, status: int, reason: str, **more: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.body = {"error": reason, **more}


def dispatch(
    realtime: Realtime, request: HttpRequest, load_user: LoadUser, *, debug: bool = False
) -> HttpResponse:
    """Answer one request. `debug` lets a 403 of `/auth` say which rule denied, and why."""
    realtime.rules.freeze()
    response = _route(Call(realtime, request, load_user, debug))
    if request.method != "HEAD" or response.stream is not None:
        return response
    length = {"Content-Length": str(len(response.body))}
    return replace(response, body=b"", headers={**response.headers, **length})


def _route(call: Call) -> HttpResponse:
    request = call.request
    methods = _methods(call)
    if methods is None:
        return HttpResponse.json({"error": "not found"}, 404)
    endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
    if endpoint is None:
        return _not_called(request.method, methods)
    if len(request.body) > MAX_BODY:
        return HttpResponse.json({"error": f"the body is over {MAX_BODY} bytes"}, 413)
    try:
        return endpoint(call)
    except Refusal as refusal:
        return HttpResponse.json(refusal.body, refusal.status)
    except ConfigurationError:
        raise
    except RealtimeError as error:
        return _answer_to(error, request)


def _not_called(method: str, methods: Mapping[str, Endpoint]) -> HttpResponse:
    allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
    if method == "OPTIONS":
        # No Access-Control-*: other origins are let in by the host, by name, or not at all.
        return HttpResponse(204, headers={"Allow": allowed})
    return HttpResponse.json({"error": "method not allowed"}, 405, Allow=allowed)


def _methods(call: Call) -> Mapping[str, Endpoint] | None:
    path = call.request.path
    if path.startswith("/client/"):
        return _CLIENT
    if path == "/trigger" and not _trigger_is_on(call.realtime):
        return None
    if path == "/auth" and _has_tokens(call):
        return _AUTH
    return _ENDPOINTS.get(path)


def _trigger_is_on(realtime: Realtime) -> bool:
    return realtime.rules.has_trigger_rules or bool(realtime.settings.web.trigger_tokens)


# --- channels and users ---------------------------------------------------------------------


def _auth(call: Call) -> HttpResponse:
    """`/auth`: one channel as Pusher's clients ask, many at once, or the bare token."""
    fields = fields_of(call.request)
    channel, names = text_of(fields, "channel_name"), names_of(fields, "channels")
    if channel is not None and names is not None:
        raise Refusal(400, "channel_name or channels, not both")
    unnamed = channel is None and _is_form(call.request)
    as_jwt = _is_get(call.request) or JWT in call.request.headers.get("accept", "")
    if as_jwt or (unnamed and _has_tokens(call)):
        return _bare_token(call, fields, names or [] if channel is None else [channel])
    if unnamed:
        raise Refusal(400, "channel_name is missing")
    user = call.load_user()
    answers = _authorize(call, user, fields, names if channel is None else [channel])
    if channel is not None:
        answer = answers["channels"].pop(channel)
        if "status" not in answer:
            token = {"token": answers["token"]} if "token" in answers else {}
            return HttpResponse.json({**answer, **token})
        denial = {"error": answer["error"], **_explanation(call, user, channel)}
        return HttpResponse.json(denial, answer["status"])
    if call.debug:
        answers["channels"] = {
            name: {**answer, **_explanation(call, user, name)}
            if answer.get("status") == 403
            else answer
            for name, answer in answers["channels"].items()
        }
    return HttpResponse.json(answers)


def _has_tokens(call: Call) -> bool:
    return call.realtime.provider.tokens


def _authorize(
    call: Call, user: Any, fields: Mapping[str, Any], names: Iterable[str] | None
) -> dict[str, Any]:
    wanted = text_of(fields, "format")
    form: TokenForm = "token_request" if wanted == "token_request" else "jwt"
    if wanted not in (None, form) or (wanted and not _has_tokens(call)):
        raise Refusal(400, f"provider {call.realtime.provider.name} has no tokens of that format")
    socket_id, token = text_of(fields, "socket_id"), text_of(fields, "token")
    return call.realtime.authorize(user, socket_id, names, token, form)


def _explanation(call: Call, user: Any, channel: str) -> dict[str, str]:
    return {"explain": call.realtime.explain(user, channel)} if call.debug else {}


def _bare_token(call: Call, fields: Mapping[str, Any], names: Iterable[str]) -> HttpResponse:
    """What a vendor's SDK fetches by itself (Ably: authUrl): a token for the user's standing
    channels, and for those that are named. A channel that is denied is not in it, and no more is
    said: to a 403 the SDK would give up altogether."""
    user = call.load_user()
    # The first as ably-js spells it, the second as Python's SDK does.
    client_id = text_of(fields, "clientId") or text_of(fields, "client_id")
    if client_id is not None and client_id != call.realtime.user_id(user):
        raise Refusal(403, "the SDK was given a clientId that is not the user's id")
    wanted = dict.fromkeys([*call.realtime.rules.standing(user), *names])
    answer = _authorize(call, user, fields, wanted)
    if any(one.get("status") == 500 for one in answer["channels"].values()):
        raise Refusal(500, "a rule failed")  # the SDK tries again; a token without it would stay
    if "token" not in answer:
        if all("status" in one for one in answer["channels"].values()):
            raise Denied("no channel is granted")
        raise Refusal(406, f"provider {call.realtime.provider.name} issues no tokens")
    token = answer["token"]
    if not isinstance(token, str):
        return HttpResponse.json(token)
    headers = {"Content-Type": JWT, "Cache-Control": "no-store"}
    return HttpResponse(200, token.encode(), headers)


def _user_auth(call: Call) -> HttpResponse:
    """`POST /user-auth`: whose connection it is."""
    socket_id = text_of(fields_of(call.request), "socket_id")
    if not socket_id:
        raise Refusal(400, "socket_id is missing")
    return HttpResponse.json(call.realtime.authenticate_user(call.load_user(), socket_id))


# --- the rest -------------------------------------------------------------------------------


def _webhook(call: Call) -> HttpResponse:
    """`POST /webhook`: any answer but 2xx makes the vendor try again."""
    try:
        call.realtime.handle_webhook(call.request.headers, call.request.body)
    except ExceptionGroup as failures:
        logger.error("webhook handlers failed", exc_info=failures)
        return HttpResponse.json({"error": "a handler failed"}, 500)
    return HttpResponse.json({})


def _config(call: Call) -> HttpResponse:
    return HttpResponse.json(call.realtime.client_config(call.request.prefix))


# Most processes are never asked for these.


def _trigger(call: Call) -> HttpResponse:
    from realtime_kit.web import triggering

    return triggering.answer(call)


def _events(call: Call) -> HttpResponse:
    from realtime_kit.web import events

    return events.answer(call)


def _ticket(call: Call) -> HttpResponse:
    from realtime_kit.web import events

    return events.ticket(call)


def _client(call: Call) -> HttpResponse:
    from realtime_kit.web import client_files

    return client_files.serve(call.request)


_CLIENT: Mapping[str, Endpoint] = {"GET": _client}
_AUTH: Mapping[str, Endpoint] = {"GET": _auth, "POST": _auth}
_ENDPOINTS: Mapping[str, Mapping[str, Endpoint]] = {
    "/auth": {"POST": _auth},
    "/user-auth": {"POST": _user_auth},
    "/trigger": {"POST": _trigger},
    "/webhook": {"POST": _webhook},
    "/config": {"GET": _config},
    "/events": {"GET": _events, "POST": _ticket},
}


# --- reading requests, answering errors -----------------------------------------------------


def media_type_of(request: HttpRequest) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_get(request: HttpRequest) -> bool:
    return request.method in ("GET", "HEAD")


def _is_form(request: HttpRequest) -> bool:
    return media_type_of(request) in (FORM, "")


def fields_of(request: HttpRequest) -> Mapping[str, Any]:
    """The members of the body, a form or a JSON object; of a GET, the query's."""
    if _is_get(request):
        return request.query
    try:
        if _is_form(request):
            pairs = parse_qsl(
                request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=100
            )
            return dict(pairs)
        if media_type_of(request) != JSON:
            raise Refusal(415, f"Content-Type must be {FORM} or {JSON}")
        fields = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body cannot be read") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "the body is no JSON object")
    return fields


def text_of(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, f"{name} is no string")
    return value


def names_of(fields: Mapping[str, Any], name: str) -> list[str] | None:
    values = fields.get(name)
    if values is None:
        return None
    if isinstance(values, str):  # a form, or a query
        try:
            values = json.loads(values)
        except (ValueError, RecursionError):
            raise Refusal(400, f"{name} is no JSON list") from None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Refusal(400, f"{name} is no list of strings")
    if len(values) > MAX_CHANNELS:
        raise Refusal(400, f"{name} holds more than {MAX_CHANNELS}")
    return values


def _answer_to(error: RealtimeError, request: HttpRequest) -> HttpResponse:
    match error:
        case Denied():
            return HttpResponse.json({"error": "denied"}, 403)
        case BadSignature() | Expired():
            reason = "expired" if isinstance(error, Expired) else "bad signature"
            return HttpResponse.json({"error": reason}, 401)
        case PayloadTooLarge():
            return HttpResponse.json({"error": str(error)}, 413)
        case AuthError() | InvalidEvent() | InvalidChannel():
            return HttpResponse.json({"error": str(error)}, 400)
        case Unsupported():
            return HttpResponse.json({"error": str(error)}, 501)
        case ProviderError():
            logger.error("%s %s: %s", request.method, request.path, error)
            return _failed_push(error)
    raise error


def receipts_json(receipts: Iterable[Receipt]) -> dict[str, Any]:
    """What `POST /trigger` answers: `{"events": [{"id", "channel", "epoch"?, "offset"?}]}`."""
    events = []
    for receipt in receipts:
        event: dict[str, Any] = {"id": receipt.id, "channel": receipt.channel}
        if receipt.offset is not None:
            event |= {"epoch": receipt.epoch, "offset": receipt.offset}
        events.append(event)
    return {"events": events}


def _failed_push(error: ProviderError) -> HttpResponse:
    match error:
        case RateLimited():
            wait = (
                {} if error.retry_after is None else {"Retry_After": str(ceil(error.retry_after))}
            )
            return HttpResponse.json({"error": "rate limited"}, 429, **wait)
        case ProviderUnavailable():
            return HttpResponse.json({"error": "the provider is not available"}, 503)
        case PartiallySent():
            sent = receipts_json(error.accepted)
            return HttpResponse.json({"error": "partially sent", **sent}, 502)
    return HttpResponse.json({"error": "the provider refused it"}, 502)
