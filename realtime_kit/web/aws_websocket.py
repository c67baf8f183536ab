"""The functions of a deployment of provider `aws`: what API Gateway, SQS and the schedule call.

    handler = websocket_handler(realtime)   # $connect, $disconnect, $default
    handler = fanout_handler(realtime)      # the queue
    handler = sweep_handler(realtime)       # every minute

Nothing is decided here: `hosting/apigateway/host.py` does that.

Sources: API Gateway Developer Guide, "Set up a WebSocket API integration request"; Lambda Developer
Guide, "Using Lambda with Amazon SQS: Handling errors".
"""

from __future__ import annotations

import json
import logging
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from realtime_kit.errors import ConfigurationError, ProviderError, ProviderUnavailable
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App
from realtime_kit.protocol.http_api import Request
from realtime_kit.realtime import Realtime

if TYPE_CHECKING:
    from realtime_kit.hosting.apigateway.host import Host
    from realtime_kit.providers._http import HttpClient
    from realtime_kit.providers.aws import AwsProvider

_log = logging.getLogger(__name__)

Handler = Callable[..., dict[str, Any]]

WEBHOOK_AGE = 60.0  # seconds
WEBHOOK_SECONDS = 5.0
_API = "/apps/"


def websocket_handler(realtime: Realtime) -> Handler:
    """The routes `$connect`, `$disconnect` and `$default` of the WebSocket API, and the function's
    own asynchronous invocations, which greet clients.

    It never raises for a frame, and returns none: what clients hear goes through `@connections`.
    """
    host = _host(realtime)

    def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        try:
            return _websocket(host, event)
        finally:
            host.flush()

    return handler


def fanout_handler(realtime: Realtime) -> Handler:
    """What the queue brings: shards of large broadcasts, webhooks, and what was put off.

    It answers `{"batchItemFailures": [...]}`, so the event source needs `ReportBatchItemFailures`.
    """
    host = _host(realtime)

    def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        left = partial(_seconds_left, context)
        failed = [
            {"itemIdentifier": record["messageId"]}
            for record in event["Records"]
            if not _arrived(host, record, left)
        ]
        host.flush()
        return {"batchItemFailures": failed}

    return handler


def sweep_handler(realtime: Realtime) -> Handler:
    """Called by a schedule, every minute: ends what is old, proved nothing, or is gone."""
    host = _host(realtime)

    def handler(event: object = None, context: object = None) -> dict[str, Any]:
        swept = host.sweep(left=partial(_seconds_left, context))
        host.flush()
        return {name: len(getattr(swept, name)) for name in swept.__slots__}

    return handler


def api_handler(realtime: Realtime) -> Handler | None:
    """Answers requests below `/apps/`: the Pusher HTTP API. None where this is not a deployment of
    provider `aws`."""
    if realtime.settings.provider_name != "aws" or not realtime.settings.aws.table:
        return None
    host = _host(realtime)

    def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        response = host.respond(api_request(event))
        host.flush()
        return {
            "statusCode": response.status,
            "headers": {"Content-Type": response.content_type, **response.headers},
            "body": response.body.decode(),
            "isBase64Encoded": False,
        }

    return handler


def is_api_request(event: Mapping[str, Any]) -> bool:
    """Whether an HTTP event is for the Pusher HTTP API."""
    path = event.get("rawPath") or event.get("path") or ""
    stage = (event.get("requestContext") or {}).get("stage") or ""
    return str(path).removeprefix(f"/{stage}").startswith(_API)


def api_request(event: Mapping[str, Any]) -> Request:
    """The request in an HTTP event, as it was signed: without stage or base path."""
    context = event["requestContext"]
    if "http" in context:
        method, path = context["http"]["method"], event["rawPath"]
        query = event.get("rawQueryString") or ""
    else:
        method, path = event["httpMethod"], event["path"]
        query = urlencode(event.get("queryStringParameters") or {})
    body = (event.get("body") or "").encode(errors="surrogatepass")
    if event.get("isBase64Encoded"):
        body = b64decode(body)
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    return Request(method, path[path.index(_API) :], query, headers, body)


# --- WebSocket ------------------------------------------------------------------------------


def _websocket(host: Host, event: Mapping[str, Any]) -> dict[str, Any]:
    if "do" in event:
        host.arrived(event)
        return {}
    context = event.get("requestContext") or {}
    conn, kind = context.get("connectionId"), context.get("eventType")
    if not isinstance(conn, str) or kind not in ("CONNECT", "MESSAGE", "DISCONNECT"):
        raise ConfigurationError("websocket_handler answers API Gateway WebSocket APIs alone")
    try:
        if kind == "CONNECT":
            return _connect(host, conn, event)
        if kind == "MESSAGE":
            host.receive(conn, event.get("body") or "")
        else:
            host.disconnect(conn)
    except Exception:  # API Gateway would answer a frame of its own, on which pusher-js throws
        _log.exception("%s: %s failed", conn, kind)
        return {"statusCode": 500}
    return {"statusCode": 200}


def _connect(host: Host, conn: str, event: Mapping[str, Any]) -> dict[str, Any]:
    key, query = dialled(event.get("queryStringParameters") or {})
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    try:
        host.connect(
            conn,
            key=key,
            query=query,
            address=event["requestContext"].get("identity", {}).get("sourceIp"),
            origin=headers.get("origin"),
        )
    except ProviderError:
        _log.exception("%s: could not connect", conn)
        return {"statusCode": 503}
    # A browser that offers subprotocols hangs up where none is chosen.
    offered = headers.get("sec-websocket-protocol", "").partition(",")[0].strip()
    chosen = {"headers": {"Sec-WebSocket-Protocol": offered}} if offered else {}
    return {"statusCode": 200, **chosen}


def dialled(query: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The app key and the protocol's parameters out of the query of `$connect`.

    API Gateway takes no path behind the stage. A client that is told `wsPath: "/STAGE?p="` dials
    `/STAGE?p=/app/KEY?protocol=7&client=js`, whose `p` is `/app/KEY?protocol=7`; `key=KEY` works
    as well. Without either the key is empty.
    """
    given = dict(query)
    path, _, rest = given.pop("p", "").partition("?")
    given |= parse_qsl(rest, keep_blank_values=True)
    _, found, key = path.rpartition("/app/")
    return (unquote(key.rstrip("/")) if found else given.get("key", "")), given


# --- the queue ------------------------------------------------------------------------------


def _arrived(host: Host, record: Mapping[str, Any], left: Callable[[], float]) -> bool:
    try:
        host.arrived(json.loads(record["body"]), left=left)
    except Exception:  # whatever it was, the other messages are to be dealt with
        _log.exception("message %s failed", record["messageId"])
        return False
    return True


def _seconds_left(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return float("inf") if remaining is None else remaining() / 1000


# --- webhooks -------------------------------------------------------------------------------


def _host(realtime: Realtime) -> Host:
    from realtime_kit.providers.aws import AwsProvider
    from realtime_kit.web.aws_lambda import set_up

    set_up(realtime)
    provider = realtime.provider
    if not isinstance(provider, AwsProvider):
        raise ConfigurationError(
            f"this function belongs to provider 'aws', and REALTIME_PROVIDER is {provider.name!r}"
        )
    host, url = provider.host, provider.settings.webhook
    if url:
        host.on_webhook = partial(_post, _client(url), urlsplit(url))
    elif realtime.listens:
        host.on_webhook = partial(_hear, realtime, provider)
    return host


def _hear(
    realtime: Realtime, provider: AwsProvider, _: App, event: Mapping[str, Any], time_ms: int
) -> None:
    # Our own queue's word, however old: it comes again after minutes if a handler has failed.
    realtime.hear([provider.webhook_event(event, time_ms)])


def _post(client: HttpClient, url: Any, app: App, event: Mapping[str, Any], time_ms: int) -> None:
    # A webhook that failed comes back from the queue after minutes, when receivers would refuse it
    # as a replay of an old one: it is signed anew, with a time that they take.
    made = max(time_ms, int((time.time() - WEBHOOK_AGE) * 1000))
    headers, body = notices.signed(app, event, made)
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    # Vendors repeat webhooks, and so do we: from the queue, but that takes minutes.
    answer = client.request("POST", target, headers=headers, body=body, repeatable=True)
    if not 200 <= answer.status < 300:
        raise ProviderUnavailable(
            f"the webhook was answered {answer.status}",
            provider="aws",
            status=answer.status,
            retryable=True,
        )


def _client(url: str) -> HttpClient:
    from realtime_kit.providers._http import HttpClient

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            "aws.webhook (REALTIME_AWS__WEBHOOK) is not like https://HOST/realtime/webhook"
        )
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return HttpClient("aws", parts.hostname, port, tls=tls, timeout=WEBHOOK_SECONDS)
