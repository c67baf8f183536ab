"""DynamoDB's API over the wire: one request, one answer, and the values of items.

By hand, because boto3 takes 160 ms to be imported and 9 ms to read 1,000 items; `Boto3DynamoDB` is
there for who wants the SDK's own ways to credentials and proxies.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from realtime_kit.errors import ProviderUnavailable, missing_extra
from realtime_kit.hosting.apigateway.sigv4 import CredentialSource, Signer

Value = str | int
Row = Mapping[str, Value]


class Key(NamedTuple):
    """The key of an item: partition and sort key."""

    pk: str
    sk: str


class DynamoDBError(Exception):
    """An error that DynamoDB answered. `code` is its name; `answer` is its body: `Item` and
    `CancellationReasons` are there where conditions failed."""

    def __init__(self, status: int, code: str, answer: Mapping[str, Any]) -> None:
        message = answer.get("message") or answer.get("Message") or "without a message"
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.answer = answer


class DynamoDB(Protocol):
    """What carries a request."""

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make one request of the API (`"PutItem"`, …), once, and return its answer.

        Raises `DynamoDBError` for an answer that is an error, and `ProviderUnavailable` if there
        was none.
        """


# --- carriers -------------------------------------------------------------------------------


class HttpAnswer(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


class Http(Protocol):
    """Requests to one host, on kept connections. Raises `ProviderUnavailable` without an answer."""

    def request(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> HttpAnswer: ...


class SignedDynamoDB:
    """Signs with the kit's own signer. Thread-safe if `http` is.

    `host` is the Host header that `http` sends: `dynamodb.REGION.amazonaws.com`, with the port
    unless it is the scheme's own. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        http: Http,
        host: str,
        *,
        region: str,
        credentials: CredentialSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._host = host
        self._signer = Signer("dynamodb", region)
        self._credentials = credentials
        self._clock = clock

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(request, separators=(",", ":")).encode()
        headers = self._signer.headers(
            self._credentials(),
            self._clock(),
            "POST",
            self._host,
            "/",
            {
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            },
            body,
        )
        answer = self._http.request("POST", "/", headers=headers, body=body)
        return read_answer(answer.status, answer.body)


def read_answer(status: int, body: bytes) -> dict[str, Any]:
    """The answer of an HTTP response. Raises `DynamoDBError`."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None  # a proxy's page
    if not isinstance(answer, dict):
        raise DynamoDBError(status, f"HTTP {status}", {"message": "not an answer of DynamoDB"})
    if status == 200:
        return answer
    raise DynamoDBError(status, str(answer.get("__type", "")).rpartition("#")[2], answer)


class Boto3DynamoDB:
    """Goes through boto3's client, or one that is given. What is tried again is decided above."""

    def __init__(self, client: Any = None, *, region: str | None = None) -> None:
        self._client = client or self._make(region)

    @staticmethod
    def _make(region: str | None) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise missing_extra("aws", "DynamoDB through boto3") from error
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=3)
        return boto3.client("dynamodb", region_name=region, config=config)

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        from botocore import exceptions, xform_name

        try:
            answer: dict[str, Any] = getattr(self._client, xform_name(operation))(**request)
        except exceptions.ClientError as error:
            response: Any = error.response
            status = response["ResponseMetadata"]["HTTPStatusCode"]
            body = {"message": response["Error"]["Message"], **response}
            raise DynamoDBError(status, response["Error"]["Code"], body) from error
        except (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
        ) as error:
            raise ProviderUnavailable(
                f"DynamoDB: {error}", provider="aws", retryable=True, maybe_sent=True
            ) from error
        return answer


# --- values ---------------------------------------------------------------------------------


# What JSON can carry and UTF-8 cannot, a lone surrogate in a user's id, travels as a noncharacter
# and four hexadecimal digits; so does that noncharacter.
_ESCAPE = "\ufffe"
_TO_ESCAPE = re.compile("[\ufffe\ud800-\udfff]")
_ESCAPED = re.compile("\ufffe([0-9a-f]{4})")


def _carried(text: str) -> str:
    if text.isascii():
        return text
    return _TO_ESCAPE.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def _meant(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if _ESCAPE in text else text


def packed(row: Row) -> dict[str, Any]:
    """A row as DynamoDB wants it."""
    return {
        name: {"S": _carried(value)} if isinstance(value, str) else {"N": str(value)}
        for name, value in row.items()
    }


def unpacked(item: Mapping[str, Any]) -> dict[str, Value]:
    """A row as we want it; it holds only strings and integers."""
    return {
        name: _meant(typed["S"]) if "S" in typed else int(typed["N"])
        for name, typed in item.items()
    }


def key_of(item: Mapping[str, Any]) -> Key:
    """The key of an item that came from DynamoDB."""
    return Key(_meant(item["pk"]["S"]), _meant(item["sk"]["S"]))
