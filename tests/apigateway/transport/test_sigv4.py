"""Our signatures against botocore's: the same headers, byte for byte."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import boto3
import botocore.credentials
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.requests import Endpoint, Method, Signed, quoted
from realtime_kit.hosting.apigateway.sigv4 import Credentials, Signer, canonical_path

REGIONS = st.sampled_from(["eu-west-1", "us-gov-west-1", "ap-southeast-4"])
TIMES = st.integers(0, 4_000_000_000)
SECRETS = st.text(string.ascii_letters + string.digits + "+/", min_size=1, max_size=60)
CREDENTIALS = st.builds(
    Credentials,
    access_key=st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=20),
    secret_key=SECRETS,
    session_token=st.none() | SECRETS,
)
CONNECTION_IDS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{15}=", fullmatch=True),
    st.uuids().map(str),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
).filter(lambda connection_id: connection_id not in (".", ".."))
# A stage's name, or the key of a domain's mapping.
STAGES = st.text(string.ascii_letters + string.digits + "$-_.+!*'()", max_size=20).filter(
    lambda stage: stage not in (".", "..")
)
HOSTS = st.sampled_from(
    ["abc123.execute-api.eu-west-1.amazonaws.com", "ws.example.com:8443", "127.0.0.1:3001"]
)


def at(now: int) -> Any:
    """botocore's clock, stopped."""
    return patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(now, UTC))


def by_botocore(
    service: str, region: str, credentials: Credentials, now: int, request: AWSRequest
) -> dict[str, str]:
    given = botocore.credentials.Credentials(
        credentials.access_key, credentials.secret_key, credentials.session_token
    )
    with at(now):
        SigV4Auth(given, service, region).add_auth(request)
    return dict(request.headers.items())


def parsed(request: bytes) -> tuple[str, str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    method, path, version = line.split(" ")
    assert version == "HTTP/1.1"
    return method, path, dict(each.split(": ", 1) for each in lines), body


@given(
    method=st.sampled_from(["POST", "GET", "DELETE"]),
    scheme=st.sampled_from(["https", "http"]),
    host=HOSTS,
    stage=STAGES,
    connection_id=CONNECTION_IDS,
    region=REGIONS,
    credentials=CREDENTIALS,
    now=TIMES,
    body=st.binary(max_size=300),
)
@settings(max_examples=300, deadline=None)
def test_requests_of_the_connections_api(
    method: Method,
    scheme: str,
    host: str,
    stage: str,
    connection_id: str,
    region: str,
    credentials: Credentials,
    now: int,
    body: bytes,
) -> None:
    body = body if method == "POST" else b""
    url = f"{scheme}://{host}/{stage}".rstrip("/")
    signed = Signed(
        Endpoint.parse(url), Signer("execute-api", region), credentials, now, method, body
    )
    request = signed.request(quoted(connection_id))
    assert signed.request(quoted(connection_id)) == request  # nothing is used up

    sent_method, path, headers, sent_body = parsed(request)
    theirs = by_botocore(
        "execute-api",
        region,
        credentials,
        now,
        AWSRequest(method=sent_method, url=f"{scheme}://{host}{path}", data=sent_body),
    )
    assert sent_body == body
    assert headers.pop("Host") == host
    assert headers.pop("Content-Length", None) == (None if method == "GET" else str(len(body)))
    assert headers == theirs


class _Captured(Exception):
    pass


def captured(url: str, region: str, credentials: Credentials, now: int) -> Callable[..., Any]:
    """What boto3's own client would send, without sending it."""
    client = boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
    )
    found: list[AWSPreparedRequest] = []

    def capture(request: AWSPreparedRequest, **_: object) -> None:
        found.append(request)
        raise _Captured

    client.meta.events.register("before-send", capture)

    def call(operation: str, **arguments: Any) -> AWSPreparedRequest:
        with at(now), pytest.raises(_Captured):
            getattr(client, operation)(**arguments)
        return found[-1]

    return call


@given(
    stage=st.sampled_from(["/prod", "/ws_v-1", ""]),
    connection_id=CONNECTION_IDS,
    credentials=CREDENTIALS,
    now=TIMES,
    body=st.binary(min_size=1, max_size=100),
)
@settings(max_examples=15, deadline=None)
def test_the_clients_own_requests(
    stage: str, connection_id: str, credentials: Credentials, now: int, body: bytes
) -> None:
    url = f"https://abc123.execute-api.eu-west-1.amazonaws.com{stage}"
    call = captured(url, "eu-west-1", credentials, now)
    operations: list[tuple[str, Method, bytes]] = [
        ("post_to_connection", "POST", body),
        ("get_connection", "GET", b""),
        ("delete_connection", "DELETE", b""),
    ]
    for operation, method, payload in operations:
        data = {"Data": payload} if payload else {}
        theirs = call(operation, ConnectionId=connection_id, **data)
        signer = Signer("execute-api", "eu-west-1")
        signed = Signed(Endpoint.parse(url), signer, credentials, now, method, payload)
        sent_method, path, headers, sent = parsed(signed.request(quoted(connection_id)))
        assert (sent_method, sent) == (theirs.method, theirs.body or b"")
        assert url.removesuffix(stage) + path == theirs.url
        for name in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization", "Content-Length"):
            found = theirs.headers.get(name)
            assert headers.get(name) == (found.decode() if isinstance(found, bytes) else found)


@given(
    service=st.sampled_from(["dynamodb", "ssm", "secretsmanager", "sqs"]),
    path=st.sampled_from(["/", "/a/b c", "/a%20b/~x/", "/@é"]),
    headers=st.dictionaries(
        st.sampled_from(["X-Amz-Target", "Content-Type", "x-extra"]),
        st.text(string.ascii_letters + " ./-", max_size=30),
    ),
    region=REGIONS,
    credentials=CREDENTIALS,
    now=TIMES,
    body=st.binary(max_size=300),
)
@settings(max_examples=200, deadline=None)
def test_posts_of_any_service(
    service: str,
    path: str,
    headers: dict[str, str],
    region: str,
    credentials: Credentials,
    now: int,
    body: bytes,
) -> None:
    host = f"{service}.{region}.amazonaws.com"
    ours = Signer(service, region).headers(credentials, now, "POST", host, path, headers, body)
    theirs = by_botocore(
        service,
        region,
        credentials,
        now,
        AWSRequest(method="POST", url=f"https://{host}{path}", headers=dict(headers), data=body),
    )
    assert ours == theirs


def test_the_derived_key_is_that_of_the_day_and_of_the_credentials() -> None:
    signer = Signer("dynamodb", "eu-west-1")
    day = 86_400
    for credentials in (Credentials("A", "one"), Credentials("A", "two"), Credentials("A", "one")):
        for now in (1.0, day - 0.5, day, 3.0):
            fresh = Signer("dynamodb", "eu-west-1")
            given = (credentials, now, "POST", "h", "/", {}, b"x")
            assert signer.headers(*given) == fresh.headers(*given)


@pytest.mark.parametrize("path", ["", "a", "//a", "/a//b", "/a/../b", "/.", "/..", "/./"])
def test_a_path_that_would_be_signed_otherwise_than_sent(path: str) -> None:
    with pytest.raises(ValueError, match="plain form"):
        canonical_path(path)


@pytest.mark.parametrize("connection_id", ["", ".", "..", "\ud800"])
def test_what_no_path_can_hold(connection_id: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the encoder's own words for the last one
        quoted(connection_id)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "abc.execute-api.eu-west-1.amazonaws.com/prod",
        "wss://abc.execute-api.eu-west-1.amazonaws.com/prod",
        "https:///prod",
        "https://user:secret@example.com/prod",
        "https://example.com/prod?x=1",
        "https://example.com/prod#x",
        "https://example.com/a/../b",
        "https://example.com:port/prod",
        "https://example.com/prod\r\nX-Injected: 1",
        "https://exämple.com/prod",
    ],
)
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigurationError, match="execute-api") as caught:
        Endpoint.parse(url)
    assert "secret" not in str(caught.value)


def test_endpoints() -> None:
    aws = Endpoint.parse("https://abc.execute-api.eu-west-1.amazonaws.com/prod/")
    assert aws == Endpoint(
        True,
        "abc.execute-api.eu-west-1.amazonaws.com",
        443,
        "abc.execute-api.eu-west-1.amazonaws.com",
        "/prod",
    )
    assert Endpoint.parse("http://[::1]:3001") == Endpoint(False, "::1", 3001, "[::1]:3001", "")
    assert Endpoint.parse("https://WS.example.com:443").host_header == "ws.example.com"


def test_credentials_from_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush"}
    assert Credentials.from_environment(environ) == Credentials("AKID", "hush")
    role = Credentials.from_environment({**environ, "AWS_SESSION_TOKEN": "token"})
    assert role == Credentials("AKID", "hush", "token")
    assert "hush" not in repr(role)
    assert "token='" not in repr(role)
    for missing in environ:
        with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
            Credentials.from_environment({**environ, missing: ""})
