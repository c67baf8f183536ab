"""The `@connections` API of the gateway, and the signatures that it and the queue ask for.

Sources: "Use @connections commands in your backend service"; botocore's model of the API Gateway
Management API (errors and statuses); "Troubleshoot AWS Signature Version 4 errors".
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from datetime import UTC, datetime
from urllib.parse import unquote

from aiohttp import web

from realtime_kit.emulators.apigateway import answers
from realtime_kit.emulators.apigateway.connection import Connection
from realtime_kit.emulators.apigateway.documents import iso_time
from realtime_kit.emulators.apigateway.protocol import split_path
from realtime_kit.emulators.apigateway.runtime import Runtime
from realtime_kit.emulators.apigateway.websockets import WebSocketApi
from realtime_kit.hosting.apigateway.sigv4 import Credentials, Signer, timestamp

_CONNECTIONS = re.compile(r"(.*)/(?:@|%40)connections/([^/]+)")
_CONNECTION_ID = re.compile(r"[A-Za-z0-9_-]{15}=")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_MINUTES = 5 * 60


class AwsError(Exception):
    """An answer of AWS that is an error; `type` is what the SDKs make a class of."""

    def __init__(self, status: int, type: str, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.type = type

    def response(self, request_id: str) -> web.Response:
        headers = {"x-amzn-ErrorType": self.type, "x-amzn-RequestId": request_id}
        if not self.args[0]:
            return web.Response(status=self.status, headers=headers)
        body = json.dumps({"message": self.args[0]})
        return web.Response(
            status=self.status, text=body, headers=headers, content_type="application/json"
        )


class Verifier:
    """Verifies the signature of a request of one service. Without credentials all are taken."""

    def __init__(self, service: str, region: str, credentials: Credentials | None) -> None:
        self._signer = Signer(service, region)
        self._credentials = credentials

    def verify(self, request: web.BaseRequest, body: bytes) -> None:
        """Raises `AwsError` 403. The time is real, whatever the emulated one."""
        credentials = self._credentials
        if credentials is None:
            return
        given = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        if given is None:
            raise AwsError(
                403, "MissingAuthenticationTokenException", "Missing Authentication Token"
            )
        key, day, region, service, names, signature = given.groups()
        token = request.headers.get("X-Amz-Security-Token")
        if key != credentials.access_key or token != credentials.session_token:
            raise AwsError(
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        if (region, service) != (self._signer.region, self._signer.service):
            raise AwsError(
                403, "InvalidSignatureException", "Credential should be scoped to a valid region."
            )
        signed_at = self._time(request, day)
        own = ("host", "x-amz-date", "x-amz-security-token")
        path, query = split_path(request)
        expected = self._signer.headers(
            credentials,
            signed_at,
            request.method,
            request.headers["Host"],
            path,
            {name: request.headers.get(name, "") for name in names.split(";") if name not in own},
            body,
        )["Authorization"].rpartition("=")[2]
        if query or not hmac.compare_digest(expected, signature):
            raise AwsError(
                403,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            )

    def _time(self, request: web.BaseRequest, day: str) -> float:
        given = request.headers.get("X-Amz-Date", "")
        try:
            when = datetime.strptime(given, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise AwsError(403, "IncompleteSignatureException", "X-Amz-Date is missing") from None
        now = time.time()
        if not given.startswith(day) or abs(now - when) > _MINUTES:
            raise AwsError(
                403,
                "InvalidSignatureException",
                f"Signature expired: {given} is not within 5 min of {timestamp(now)}",
            )
        return when


class ManagementApi:
    """`POST`, `GET` and `DELETE` of `/STAGE/@connections/ID`."""

    def __init__(self, runtime: Runtime, websockets: WebSocketApi, verifier: Verifier) -> None:
        self._runtime = runtime
        self._websockets = websockets
        self._verifier = verifier

    @staticmethod
    def serves(path: str) -> bool:
        return _CONNECTIONS.fullmatch(path) is not None

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        runtime = self._runtime
        body = await request.read()
        runtime.usage.management_requests += 1
        if runtime.dies(request.transport):
            return web.Response()  # to nobody
        await asyncio.sleep(runtime.faults.seconds("latency"))
        path, _ = split_path(request)
        found = _CONNECTIONS.fullmatch(path)
        connection_id = unquote(found[2]) if found else ""
        request_id = runtime.ids.short()
        try:
            response = self._answer(request, body, path, connection_id)
        except AwsError as error:
            response = error.response(request_id)
        runtime.record("management", connection_id, method=request.method, status=response.status)
        return response

    def _answer(
        self, request: web.BaseRequest, body: bytes, path: str, connection_id: str
    ) -> web.Response:
        websockets = self._websockets
        self._verifier.verify(request, body)
        connection = self._find(request, body, path, connection_id)
        if request.method == "GET":
            return self._describe(connection)
        if request.method == "DELETE":
            websockets.close(connection, *answers.DELETED)
            return web.Response(status=204)
        if connection.full:
            raise AwsError(429, "LimitExceededException")
        websockets.send(connection, body)
        return web.Response()

    def _find(
        self, request: web.BaseRequest, body: bytes, path: str, connection_id: str
    ) -> Connection:
        """The connection, if all is well with the request. Raises `AwsError`."""
        runtime, websockets = self._runtime, self._websockets
        if not path.startswith((f"/{runtime.stage}/@", f"/{runtime.stage}/%40")):
            raise AwsError(403, "ForbiddenException", answers.FORBIDDEN)
        if request.method not in ("POST", "GET", "DELETE"):
            raise AwsError(403, "MissingAuthenticationTokenException", answers.FORBIDDEN)
        if not _CONNECTION_ID.fullmatch(connection_id):
            message = f"Invalid connectionId: {connection_id}"
            raise AwsError(400, "BadRequestException", message)
        if len(body) > runtime.quotas.data:
            raise AwsError(413, "PayloadTooLargeException", "Message too long")
        if not runtime.admit() or runtime.faults.happens("limit"):
            raise AwsError(429, "LimitExceededException")
        connection = websockets.connections.get(connection_id)
        if connection is not None and connection.open and runtime.faults.happens("gone"):
            websockets.cut(connection)
        if connection is None or not connection.open:
            raise AwsError(410, "GoneException")
        return connection

    def _describe(self, connection: Connection) -> web.Response:
        client = connection.client
        return web.json_response(
            {
                "connectedAt": iso_time(client.connected_at),
                "identity": client.identity,
                "lastActiveAt": iso_time(connection.last_active),
            }
        )
