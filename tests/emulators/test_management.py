"""`@connections`, with boto3 and with the kit's own engine."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError

from realtime_kit.emulators.apigateway import ApiGateway, management
from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.delivery import Describe, Disconnect, Message
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials

DEADLINE = 10.0
CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret", "a/session+token==")
NOBODY = "PJqB0fHsqRcCHlw="
Start = Callable[..., Any]


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("size", [1, 1_000, 32 * 1024 + 1, 128 * 1024])
def test_a_post_reaches_the_client(site: Any, size: int) -> None:
    client, connection_id = site.connect()
    answer = site.management().post_to_connection(ConnectionId=connection_id, Data=b"x" * size)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.receive() == "x" * size


def test_posts_are_text(site: Any) -> None:
    client, connection_id = site.connect()
    site.management().post_to_connection(ConnectionId=connection_id, Data=b"\xffcaf\xc3\xa9")
    assert client.receive() == "�café"


def test_more_than_128_kb(site: Any) -> None:
    _, connection_id = site.connect()
    aws = site.management()
    with pytest.raises(aws.exceptions.PayloadTooLargeException) as caught:
        aws.post_to_connection(ConnectionId=connection_id, Data=b"x" * (128 * 1024 + 1))
    assert code(caught) == (413, "PayloadTooLargeException")


def test_what_is_known_of_a_connection(still: Any) -> None:
    connected = still.gateway.time()
    client, connection_id = still.connect(header=["User-Agent: Client/1.0"])
    still.gateway.advance(90)
    client.send("hello")
    still.gateway.log.wait("message")
    still.gateway.advance(10)
    answer = still.management().get_connection(ConnectionId=connection_id)
    assert answer["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "Client/1.0"}
    assert answer["ConnectedAt"].timestamp() == pytest.approx(connected, abs=0.01)
    assert answer["LastActiveAt"] - answer["ConnectedAt"] == timedelta(seconds=90)


def test_an_end_by_delete(site: Any) -> None:
    client, connection_id = site.connect()
    aws = site.management()
    answer = aws.delete_connection(ConnectionId=connection_id)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.closed() == (1000, "Connection Closed Normally")
    context = site.handler.wait("DISCONNECT")["requestContext"]
    assert context["disconnectStatusCode"] == 1000
    assert context["disconnectReason"] == "Connection Closed Normally"
    with pytest.raises(aws.exceptions.GoneException):
        aws.delete_connection(ConnectionId=connection_id)


@pytest.mark.parametrize("operation", ["post_to_connection", "get_connection", "delete_connection"])
def test_gone(site: Any, operation: str) -> None:
    client, connection_id = site.connect()
    client.socket.close()
    site.handler.wait("DISCONNECT")
    aws = site.management()
    given = {"Data": b"x"} if operation == "post_to_connection" else {}
    for gone in (connection_id, NOBODY):
        with pytest.raises(aws.exceptions.GoneException) as caught:
            getattr(aws, operation)(ConnectionId=gone, **given)
        assert code(caught) == (410, "GoneException")


def test_gone_until_connect_has_returned(site: Any) -> None:
    aws = site.management()
    statuses: list[int] = []

    def connect(event: Any, _: Any) -> dict[str, int]:
        connection_id = event["requestContext"]["connectionId"]
        for ask in (
            lambda: aws.post_to_connection(ConnectionId=connection_id, Data=b"early"),
            lambda: aws.get_connection(ConnectionId=connection_id),
            lambda: aws.delete_connection(ConnectionId=connection_id),
        ):
            try:
                ask()
            except aws.exceptions.GoneException:
                statuses.append(410)
        return {"statusCode": 200}

    site.handler.on["$connect"] = connect
    client, connection_id = site.connect()
    assert statuses == [410, 410, 410]
    aws.post_to_connection(ConnectionId=connection_id, Data=b"now")
    assert client.receive() == "now"


@pytest.mark.parametrize("malformed", ["abc", "PJqB0fHsqRcCHlw", NOBODY + "=", "PJqB0fHsqRcCHl!="])
def test_what_is_no_id(site: Any, malformed: str) -> None:
    with pytest.raises(ClientError, match="Invalid connectionId") as caught:
        site.management().get_connection(ConnectionId=malformed)
    assert code(caught) == (400, "BadRequestException")


@pytest.mark.parametrize("path", ["", "/prod", "/dev/more"])
def test_the_wrong_stage(site: Any, path: str) -> None:
    _, connection_id = site.connect()
    aws = site.management(endpoint_url=site.gateway.url + path)
    with pytest.raises(aws.exceptions.ForbiddenException) as caught:
        aws.post_to_connection(ConnectionId=connection_id, Data=b"x")
    assert code(caught) == (403, "ForbiddenException")


# --- signatures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"aws_secret_access_key": "another"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIDANOTHER"}, "UnrecognizedClientException"),
        ({"aws_session_token": "another"}, "UnrecognizedClientException"),
        ({"aws_session_token": None}, "UnrecognizedClientException"),
        ({"region_name": "us-east-1"}, "InvalidSignatureException"),
    ],
)
def test_who_may_not(site: Any, options: dict[str, Any], error: str) -> None:
    _, connection_id = site.connect()
    with pytest.raises(ClientError) as caught:
        site.management(**options).delete_connection(ConnectionId=connection_id)
    assert code(caught) == (403, error)
    assert site.gateway.connections == [connection_id]


def ask(
    site: Any,
    method: str,
    connection_id: str,
    body: bytes = b"",
    *,
    change: dict[str, str] | None = None,
    path: str = "/dev/@connections/{id}",
) -> tuple[int, str | None]:
    """Status and error type of a request that botocore signs, with headers changed afterwards."""
    path = path.format(id=connection_id.replace("=", "%3D"))
    request = AWSRequest(method, site.gateway.url + path, data=body)
    signer = SigV4Auth(
        BotoCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token),
        "execute-api",
        "eu-west-1",
    )
    signer.add_auth(request)
    headers = {**dict(request.headers.items()), **(change or {})}
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=DEADLINE)
    connection.request(method, path, body, headers={n: v for n, v in headers.items() if v})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["x-amzn-ErrorType"]


def test_signed_by_botocore_alone(site: Any) -> None:
    client, connection_id = site.connect()
    assert ask(site, "POST", connection_id, b"hello") == (200, None)
    assert client.receive() == "hello"
    # The at sign may be encoded; both ways it is signed as %40 or %2540.
    path = "/dev/%40connections/{id}"
    assert ask(site, "POST", connection_id, b"again", path=path) == (200, None)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"Authorization": ""}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x"}, "MissingAuthenticationTokenException"),
        ({"X-Amz-Date": ""}, "IncompleteSignatureException"),
        ({"X-Amz-Date": "20150830T123600Z"}, "InvalidSignatureException"),
    ],
)
def test_what_proves_nothing(site: Any, change: dict[str, str], error: str) -> None:
    _, connection_id = site.connect()
    assert ask(site, "POST", connection_id, b"x", change=change) == (403, error)


@pytest.mark.parametrize(("late", "status"), [(299, 200), (301, 403), (-301, 403)])
def test_a_signature_lasts_five_minutes(
    site: Any, monkeypatch: pytest.MonkeyPatch, late: float, status: int
) -> None:
    _, connection_id = site.connect()
    clock = SimpleNamespace(time=lambda: time.time() + late)
    monkeypatch.setattr(management, "time", clock)
    assert ask(site, "POST", connection_id, b"x")[0] == status


def test_a_body_that_was_not_signed(site: Any) -> None:
    _, connection_id = site.connect()
    path = f"/dev/@connections/{connection_id.replace('=', '%3D')}"
    request = AWSRequest("POST", site.gateway.url + path, data=b"signed")
    credentials = BotoCredentials(
        CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token
    )
    SigV4Auth(credentials, "execute-api", "eu-west-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", site.gateway.port, timeout=DEADLINE)
    connection.request("POST", path, b"forged", headers=dict(request.headers.items()))
    assert connection.getresponse().status == 403
    connection.close()


def test_without_credentials_nothing_is_asked(start: Start) -> None:
    site = start(credentials=None)
    client, connection_id = site.connect()
    anyone = site.management(aws_access_key_id="x", aws_secret_access_key="y", region_name="x-1")
    anyone.post_to_connection(ConnectionId=connection_id, Data=b"hello")
    assert client.receive() == "hello"


def test_others_who_could_reach_it_need_credentials() -> None:
    with pytest.raises(ConfigurationError, match="others can reach"):
        ApiGateway({}, host="0.0.0.0")  # noqa: S104 - that is the point
    ApiGateway({}, host="0.0.0.0", credentials=CREDENTIALS)  # noqa: S104


def test_other_methods(site: Any) -> None:
    _, connection_id = site.connect()
    assert ask(site, "PUT", connection_id)[0] == 403


# --- the kit's own engine -------------------------------------------------------------------


@pytest.fixture
def posts(site: Any) -> Any:
    engine = Posts(site.gateway.endpoint, region="eu-west-1", credentials=lambda: CREDENTIALS)
    yield engine
    engine.close()


def test_the_engine_delivers(site: Any, posts: Posts) -> None:
    clients = dict(reversed(site.connect()) for _ in range(20))
    frames = [f"frame {number}" for number in range(5)]
    delivery = posts.deliver([Message(frame.encode(), list(clients)) for frame in frames])
    assert len(delivery.delivered) == 100
    for client in clients.values():
        assert [client.receive() for _ in frames] == frames


def test_the_engine_waits_for_connect_to_return(site: Any, posts: Posts) -> None:
    sending: list[threading.Thread] = []

    def connect(event: Any, _: Any) -> dict[str, int]:
        hello = Message(b"hello", [event["requestContext"]["connectionId"]], grace=5.0)
        sending.append(threading.Thread(target=posts.deliver, args=([hello],)))
        sending[0].start()
        site.gateway.log.wait("management", status=410)
        return {"statusCode": 200}

    site.handler.on["$connect"] = connect
    assert site.client().receive() == "hello"
    sending[0].join(DEADLINE)


def test_the_engine_finds_who_is_gone(site: Any, posts: Posts) -> None:
    client, here = site.connect()
    gone_client, gone = site.connect()
    gone_client.close()
    site.handler.wait("DISCONNECT")
    delivery = posts.deliver([Message(b"hello", [here, gone, NOBODY])])
    assert delivery.gone_ids == {gone, NOBODY}
    assert posts.describe([here, gone])[gone] is None
    described = posts.deliver([Describe([here])]).delivered[0].description
    assert described is not None
    assert described.source_ip == "127.0.0.1"
    posts.deliver([Disconnect([here])])
    assert client.closed()[0] == 1000
