"""AWS Lambda: its events converted to plain requests and events, and the answers back.

`http_handler` answers API Gateway (REST API; HTTP API with payload format 1.0 and 2.0) and Function
URLs; `trigger_handler` those, direct invocation, EventBridge and SQS. Nothing is decided here: the
endpoints and Realtime do that.

Sources: Lambda Developer Guide, "Using AWS Lambda with Amazon API Gateway: Event format", "Lambda
function URLs: Request and response payloads", "Using Lambda with Amazon SQS: Handling errors";
EventBridge User Guide, "Events".
"""

from __future__ import annotations

import gc
import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from realtime_kit.errors import ConfigurationError, InvalidEvent, RealtimeError
from realtime_kit.events import Event
from realtime_kit.realtime import Realtime
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)

MEMBERS = frozenset({"channel", "channels", "name", "data", "id", "mutation", "exclude"})


@dataclass(slots=True, eq=False, repr=False)
class LambdaRequest(HttpRequest):
    """An HTTP request as Lambda got it.

    `authorizer` is `requestContext.authorizer`, empty where API Gateway asked none: see
    `users.authorizer_user`. `event` is the whole event.
    """

    authorizer: Mapping[str, Any] = field(default_factory=dict)
    event: Mapping[str, Any] = field(default_factory=dict)


LoadUser = Callable[[LambdaRequest], Any]
Handler = Callable[..., dict[str, Any]]


def http_handler(
    realtime: Realtime, load_user: LoadUser | None = None, *, prefix: str | None = None
) -> Handler:
    """The endpoints as a Lambda function: `handler = http_handler(realtime, load_user)`.

    `load_user(request)` answers the user or None; it is called only where an endpoint needs to
    know (see `users` for ready ones). Without it everybody is a guest. `prefix` is the path that
    the endpoints are under, if not `REALTIME_WEB__PREFIX`; a stage or a base path before it is
    passed over.

    What cannot be set up is raised now, in Lambda's init phase, not on a user's first request.
    The handler raises `ConfigurationError` for an event that is no HTTP request.
    """
    set_up(realtime)
    under = realtime.settings.web.prefix if prefix is None else prefix.rstrip("/")

    def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        if not _is_http(event):
            raise ConfigurationError(
                "http_handler answers API Gateway REST and HTTP APIs and Function URLs; "
                f"this is {_describe(event)}"
            )
        request = http_request(event, under)
        response = endpoints.dispatch(
            realtime, request, lambda: None if load_user is None else load_user(request)
        )
        log.info("%s %r %d", request.method, request.path, response.status)
        return http_answer(response)

    return handler


def trigger_handler(
    realtime: Realtime, load_user: LoadUser | None = None, *, prefix: str | None = None
) -> Handler:
    """A Lambda function that triggers what it is invoked with.

    - Direct: `{"channel": "orders", "name": "shipped", "data": {…}}`, with `channels` for several,
      and optionally `id`, `mutation`, `exclude`; or `{"events": [{…}, …]}`. It answers as
      `POST /trigger` does: `{"events": [{"id", "channel", …}]}`.
    - EventBridge: `detail` is such an object; its `name` may be left out and is then the
      `detail-type`. Other events are brought into the form by the rule's input transformer.
    - SQS: each body is one of the above, as JSON. It answers `{"batchItemFailures": [...]}`, so
      the event source needs `ReportBatchItemFailures`. In a FIFO queue what follows a failure in
      its group is left unsent and reported with it, because order is what the queue is for.
    - HTTP: `POST /trigger` and the other endpoints, as `http_handler`; in a deployment of provider
      `aws` the Pusher HTTP API below `/apps/` as well.

    An event without an id gets that of the message which brought it: a repeated delivery is the
    same event. Failures are raised (or reported to SQS) whatever `REALTIME_ON_ERROR` says: whoever
    invoked is to retry. Raises `InvalidEvent` for what is none of the above.
    """
    from realtime_kit.web.aws_websocket import api_handler, is_api_request  # `auth` does without

    http = http_handler(realtime, load_user, prefix=prefix)
    api = api_handler(realtime)

    def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        if _is_http(event):
            for_api = api is not None and is_api_request(event)
            return api(event, context) if api and for_api else http(event, context)
        if _is_sqs(event):
            return _consume(realtime, event["Records"])
        return _send(realtime, event)

    return handler


def set_up(realtime: Realtime) -> None:
    """Make the provider, and raise what is wrong with the settings.

    The garbage collector rests meanwhile: it would go through all that is loaded again and again,
    for a tenth of a cold start, and find nothing. On Lambda, where the process is the function's
    alone, it never looks at that any more.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        realtime.provider  # noqa: B018 - made on first use
        if realtime.settings.on_lambda:
            gc.freeze()
    finally:
        if collecting:
            gc.enable()


def http_request(event: Mapping[str, Any], prefix: str) -> LambdaRequest:
    """The request in an event of API Gateway or of a Function URL."""
    context = event["requestContext"]
    headers = _headers(event)
    if "http" in context:
        method, path = context["http"]["method"], event["rawPath"]
        text = event.get("rawQueryString") or ""
        query = dict(parse_qsl(text, keep_blank_values=True))
    else:
        # `path` leaves the stage out here and a base path in; the context's has what was called.
        method, path = event["httpMethod"], context.get("path") or event["path"]
        query = event.get("queryStringParameters") or {}
        text = urlencode(event.get("multiValueQueryStringParameters") or query, doseq=True)
    host = headers.get("host") or context.get("domainName") or ""
    before, below = _split(path, prefix, context.get("stage") or "")
    return LambdaRequest(
        method=method,
        path=below,
        prefix=before,
        headers=headers,
        query=query,
        query_string=text,
        body=_body(event),
        origin=f"{headers.get('x-forwarded-proto', 'https')}://{host}",
        authorizer=context.get("authorizer") or {},
        event=event,
    )


def http_answer(response: HttpResponse) -> dict[str, Any]:
    """A response in the form that both API Gateways and Function URLs take."""
    try:
        body, encoded = response.body.decode(), False
    except UnicodeDecodeError:
        body, encoded = b64encode(response.body).decode(), True
    return {
        "statusCode": response.status,
        "headers": dict(response.headers),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """By lower-case name; several of one name are joined, as a WSGI server does."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    for given, values in (event.get("multiValueHeaders") or {}).items():
        name = given.lower()
        headers[name] = ("; " if name == "cookie" else ",").join(values)
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    return headers


def _split(path: str, prefix: str, stage: str) -> tuple[str | None, str]:
    """`path` up to the end of `prefix`, and what follows.

    In front of the prefix there may be a stage, a base path mapping, both or neither, and the
    gateways do not agree on which of them they leave in the event. A path without the prefix is
    taken as it is: a proxy in front has taken that away, and only the settings know it.
    """
    if not prefix:
        own = f"/{stage}" if path.startswith(f"/{stage}/") else ""
        return own, path.removeprefix(own)
    before, found, rest = path.rpartition(f"{prefix}/")
    return (f"{before}{prefix}", f"/{rest}") if found else (None, path)


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return b64decode(body)
    # A lone surrogate, which JSON can bring, becomes bytes that are not UTF-8: the endpoints' 400.
    return body.encode(errors="surrogatepass")


def _is_http(event: object) -> bool:
    context = event.get("requestContext") if isinstance(event, Mapping) else None
    if not isinstance(context, Mapping) or "elb" in context:
        return False
    return "http" in context or "httpMethod" in event  # type: ignore[operator]


def _is_sqs(event: object) -> bool:
    records = event.get("Records") if isinstance(event, Mapping) else None
    return isinstance(records, list) and all(
        isinstance(record, Mapping) and record.get("eventSource") == "aws:sqs" for record in records
    )


def _describe(event: object) -> str:
    """An event by its form alone: values may be anybody's secrets."""
    if not isinstance(event, Mapping):
        return f"a {type(event).__name__}"
    return f"an object with {', '.join(sorted(map(str, event))) or 'no members'}"


def _send(realtime: Realtime, message: object, origin: str | None = None) -> dict[str, Any]:
    events = list(_events(message, origin))
    receipts = realtime.trigger_batch(events, on_error="raise")
    log.info("%d events sent to %d channels", len(events), len(receipts))
    return endpoints.receipts_json(receipts)


def _consume(realtime: Realtime, records: list[Mapping[str, Any]]) -> dict[str, Any]:
    """One record after the other; the ids of those to be delivered again."""
    failed: list[str] = []
    stopped: set[str] = set()
    for record in records:
        message_id = record["messageId"]
        group = record.get("attributes", {}).get("MessageGroupId")
        if group in stopped:
            failed.append(message_id)
            continue
        try:
            _send(realtime, _decoded(record["body"]), message_id)
        except RealtimeError as error:
            log.error("message %s: %s: %s", message_id, type(error).__name__, error)
            failed.append(message_id)
            if record.get("eventSourceARN", "").endswith(".fifo"):
                stopped.add(group)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _decoded(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidEvent("the message's body is not JSON") from None


def _events(message: object, origin: str | None) -> Iterator[Event]:
    """The events that a message asks for. `origin` is the id of what brought it."""
    name = None
    if isinstance(message, Mapping) and "detail-type" in message:
        name, origin, message = message["detail-type"], message.get("id"), message.get("detail")
    if not isinstance(message, Mapping):
        raise InvalidEvent(f"an event to trigger is a JSON object; this is {_describe(message)}")
    if "events" not in message:
        yield _event(message, name, origin)
        return
    several = message["events"]
    if not isinstance(several, list) or len(message) > 1:
        raise InvalidEvent("'events' is a list of events to trigger, and stands alone")
    for index, one in enumerate(several):
        yield _event(one, name, origin and f"{origin}:{index}")


def _event(message: object, name: str | None, origin: str | None) -> Event:
    if not isinstance(message, Mapping) or message.keys() - MEMBERS or "data" not in message:
        raise InvalidEvent(
            "an event to trigger is {channel or channels, name, data} with id, mutation and "
            f"exclude if need be; this is {_describe(message)}"
        )
    if ("channel" in message) is ("channels" in message):
        raise InvalidEvent("an event to trigger has either 'channel' or 'channels'")
    channels = message["channels"] if "channels" in message else [message["channel"]]
    if not isinstance(channels, list) or not all(isinstance(channel, str) for channel in channels):
        raise InvalidEvent("'channel' is a string, 'channels' a list of strings")
    return Event(
        tuple(channels),
        _text(message, "name", name) or "",
        message["data"],
        id=_text(message, "id", origin),
        mutation=_text(message, "mutation"),
        exclude=_text(message, "exclude"),
    )


def _text(message: Mapping[str, Any], member: str, default: str | None = None) -> str | None:
    value = message.get(member)
    if value is not None and not isinstance(value, str):
        raise InvalidEvent(f"{member!r} is a string")
    return default if value is None else value
