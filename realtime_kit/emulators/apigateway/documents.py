"""The documents that AWS gives to functions, member for member as it does. Pure.

Sources: "Set up a WebSocket API integration request: Input format of a Lambda function for proxy
integration"; "Create AWS Lambda proxy integrations for HTTP APIs" (payload format 2.0); Lambda
Developer Guide, "Using Lambda with Amazon SQS"; EventBridge, "Scheduled Event".
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from random import Random
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

Document = dict[str, Any]
Headers = Sequence[tuple[str, str]]

ACCOUNT = "123456789012"

# What the handshake consists of never reaches a function.
_HOP_BY_HOP = ("connection", "upgrade")
# "The body is base64-encoded if the content type is binary": everything but these is, forms too.
_TEXT_TYPES = ("application/json", "application/xml", "application/javascript")


class Ids:
    """Ids of the forms that AWS gives them."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def short(self) -> str:
        """Of a connection, a request or a message: the base64url of 11 bytes."""
        octets = self._random.randbytes(11)
        return b64encode(octets, b"-_").decode()

    def api(self) -> str:
        return "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10))

    def uuid(self) -> str:
        return str(UUID(bytes=self._random.randbytes(16), version=4))

    def trace(self, now: float) -> str:
        return f"Root=1-{int(now):08x}-{self._random.randbytes(12).hex()}"


@dataclass(frozen=True, slots=True)
class Api:
    """An API as its functions see it. `domain` is the host, and the port, that clients dial."""

    id: str
    stage: str
    domain: str


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a connection. `connected_at` is seconds since 1970."""

    connection_id: str
    connected_at: float
    source_ip: str
    user_agent: str | None

    @property
    def identity(self) -> Document:
        agent = {} if self.user_agent is None else {"userAgent": self.user_agent}
        return {**agent, "sourceIp": self.source_ip}


# --- WebSocket ------------------------------------------------------------------------------


def connect_event(
    api: Api,
    client: Client,
    *,
    headers: Headers,
    query: str,
    request_id: str,
    trace: str,
    now: float,
) -> Document:
    """The document of `$connect`. `query` is the raw query string."""
    lists = _header_lists(_forwarded(headers, api, client.source_ip, trace))
    event: Document = {
        "headers": {name: values[-1] for name, values in lists.items()},
        "multiValueHeaders": lists,
    }
    if query:
        values = _query_lists(query)
        event["queryStringParameters"] = {name: each[-1] for name, each in values.items()}
        event["multiValueQueryStringParameters"] = values
    context = _context(api, client, "$connect", "CONNECT", request_id, now)
    return {**event, "requestContext": context, "isBase64Encoded": False}


def message_event(
    api: Api,
    client: Client,
    *,
    route_key: str,
    body: str,
    request_id: str,
    message_id: str,
    now: float,
) -> Document:
    """The document of a message. It has neither the headers nor the query of `$connect`."""
    context = _context(
        api, client, route_key, "MESSAGE", request_id, now, before={"messageId": message_id}
    )
    return {"requestContext": context, "body": body, "isBase64Encoded": False}


def disconnect_event(
    api: Api, client: Client, *, code: int, reason: str, request_id: str, now: float
) -> Document:
    """The document of `$disconnect`."""
    headers = {"Host": api.domain, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    context = _context(
        api,
        client,
        "$disconnect",
        "DISCONNECT",
        request_id,
        now,
        before={"disconnectStatusCode": code},
        after={"disconnectReason": reason},
    )
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
        "isBase64Encoded": False,
    }


def _context(
    api: Api,
    client: Client,
    route_key: str,
    event_type: str,
    request_id: str,
    now: float,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Document:
    return {
        "routeKey": route_key,
        **(before or {}),
        "eventType": event_type,
        "extendedRequestId": request_id,
        "requestTime": _log_time(now),
        "messageDirection": "IN",
        **(after or {}),
        "stage": api.stage,
        "connectedAt": _millis(client.connected_at),
        "requestTimeEpoch": _millis(now),
        "identity": client.identity,
        "requestId": request_id,
        "domainName": api.domain,
        "connectionId": client.connection_id,
        "apiId": api.id,
    }


# --- HTTP -----------------------------------------------------------------------------------


def http_event(
    api: Api,
    *,
    route_key: str,
    method: str,
    path: str,
    query: str,
    protocol: str,
    headers: Headers,
    body: bytes,
    source_ip: str,
    parameters: Mapping[str, str],
    request_id: str,
    trace: str,
    now: float,
) -> Document:
    """The document of an HTTP request, payload format 2.0. `path` and `query` are as sent."""
    lists = _header_lists(
        (name.lower(), value) for name, value in _forwarded(headers, api, source_ip, trace)
    )
    cookies = [cookie for value in lists.pop("cookie", []) for cookie in value.split("; ")]
    joined = {name: ",".join(values) for name, values in lists.items()}
    event: Document = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
    }
    if cookies:
        event["cookies"] = cookies
    event["headers"] = joined
    if query:
        values = _query_lists(query)
        event["queryStringParameters"] = {name: ",".join(each) for name, each in values.items()}
    event["requestContext"] = {
        "accountId": ACCOUNT,
        "apiId": api.id,
        "domainName": api.domain,
        "domainPrefix": api.domain.split(".")[0],
        "http": {
            "method": method,
            "path": path,
            "protocol": protocol,
            "sourceIp": source_ip,
            "userAgent": joined.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": route_key,
        "stage": api.stage,
        "time": _log_time(now),
        "timeEpoch": _millis(now),
    }
    if parameters:
        event["pathParameters"] = dict(parameters)
    text = _text(body, joined.get("content-type", ""))
    if body:
        event["body"] = b64encode(body).decode() if text is None else text
    event["isBase64Encoded"] = bool(body) and text is None
    return event


def _text(body: bytes, content_type: str) -> str | None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT_TYPES:
        return body.decode(errors="replace")
    return None


# --- the queue and the schedule -------------------------------------------------------------


def sqs_record(
    *,
    message_id: str,
    receipt: str,
    body: str,
    attributes: Mapping[str, str],
    queue_arn: str,
    region: str,
) -> Document:
    """One record of a document from a queue."""
    return {
        "messageId": message_id,
        "receiptHandle": receipt,
        "body": body,
        "attributes": dict(attributes),
        "messageAttributes": {},
        "md5OfBody": md5_of(body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def scheduled_event(*, rule: str, event_id: str, region: str, now: float) -> Document:
    """The document of a schedule."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [f"arn:aws:events:{region}:{ACCOUNT}:rule/{rule}"],
        "detail": {},
    }


def md5_of(body: str) -> str:
    """The digest that SQS gives of a body, to find damage."""
    return md5(body.encode(), usedforsecurity=False).hexdigest()


# --- shared ---------------------------------------------------------------------------------


def iso_time(seconds: float) -> str:
    """As in `2020-04-30T20:10:33.236Z`."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def _forwarded(headers: Headers, api: Api, source_ip: str, trace: str) -> list[tuple[str, str]]:
    """The headers as they come out of the gateway: hop by hop ones gone, its own added.

    A client may send `X-Forwarded-For` itself; only the last address in it is AWS's word.
    """
    kept = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    claimed = [value for name, value in kept if name.lower() == "x-forwarded-for"]
    ours = {"x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}
    return [
        *((name, value) for name, value in kept if name.lower() not in ours),
        ("X-Amzn-Trace-Id", trace),
        ("X-Forwarded-For", ", ".join([*claimed, source_ip])),
        ("X-Forwarded-Port", api.domain.rpartition(":")[2]),
        ("X-Forwarded-Proto", "http"),
    ]


def _header_lists(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    lists: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in headers:
        lists[name].append(value)
    return dict(sorted(lists.items()))


def _query_lists(query: str) -> dict[str, list[str]]:
    lists: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in parse_qsl(query, keep_blank_values=True):
        lists[name].append(value)
    return dict(lists)


def _log_time(seconds: float) -> str:
    """As in `29/Nov/2023:08:04:01 +0000`, whatever the locale."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%d}/{_MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S} +0000"


def _millis(seconds: float) -> int:
    return int(seconds * 1000)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
