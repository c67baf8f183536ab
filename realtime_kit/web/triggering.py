"""`POST /trigger`: a service with a token may send anything, a user what a rule allows."""

from __future__ import annotations

import hmac

from realtime_kit.errors import Denied
from realtime_kit.web.endpoints import (
    JSON,
    Call,
    Refusal,
    fields_of,
    media_type_of,
    names_of,
    receipts_json,
    text_of,
)
from realtime_kit.web.http import HttpRequest, HttpResponse

MEMBERS = frozenset({"name", "channels", "data", "id", "mutation", "exclude"})


def answer(call: Call) -> HttpResponse:
    """Answer one request."""
    trusted = _has_token(call)
    if not trusted:
        _refuse_foreign_pages(call.request)
    user = None if trusted else call.load_user()
    if not trusted and user is None:
        raise Refusal(401, "a trigger token or a signed-in user is needed")
    if media_type_of(call.request) != JSON:
        raise Refusal(415, f"Content-Type must be {JSON}")
    fields = fields_of(call.request)
    if unknown := fields.keys() - MEMBERS:
        raise Refusal(400, f"unknown member {min(unknown)!r}")
    name, names = text_of(fields, "name"), names_of(fields, "channels")
    if name is None or names is None or "data" not in fields:
        raise Refusal(400, "name, channels and data are needed")
    rules = call.realtime.rules
    if not trusted and not all(rules.may_trigger(user, channel, name) for channel in names):
        raise Denied("no trigger rule allows it")
    receipts = call.realtime.trigger(
        names,
        name,
        fields["data"],
        exclude=text_of(fields, "exclude"),
        id=text_of(fields, "id"),
        mutation=text_of(fields, "mutation"),
        on_error="raise",
    )
    return HttpResponse.json(receipts_json(receipts))


def _has_token(call: Call) -> bool:
    scheme, _, given = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    token = given.strip().encode(errors="backslashreplace")
    tokens = call.realtime.settings.web.trigger_tokens
    # Every one is compared, so that the time says nothing of which it was.
    matches = [hmac.compare_digest(token, known.get_secret_value().encode()) for known in tokens]
    return any(matches)


def _refuse_foreign_pages(request: HttpRequest) -> None:
    """A page of another origin can make a browser send the user's cookies, but neither a Bearer
    token nor the same-origin headers. What has cookies and names no origin is not believed."""
    headers = request.headers
    if headers.get("authorization", "").lower().startswith("bearer "):
        return
    if "sec-fetch-site" in headers:
        same = headers["sec-fetch-site"] == "same-origin"
    elif "origin" in headers:
        same = headers["origin"] == request.origin
    else:
        same = "cookie" not in headers
    if not same:
        raise Refusal(403, "not from a page of this origin")
