"""Both transports: what the one does, the other does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.boto3_transport import Boto3Transport
from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import (
    Description,
    Disconnect,
    Message,
    Transport,
    Tuning,
)
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.testing.faults import Answer, FaultServer, Hang, Received, Reset, unused_port

OK = Answer(200, b"")
GONE = Answer(410, b"gone", {"x-amzn-ErrorType": "GoneException"})
THROTTLED = Answer(429, b"{}", {"x-amzn-ErrorType": "LimitExceededException"})
TUNING = Tuning(connections=4, answer=0.4, patience=0.2)
MakeTransport = Callable[..., Transport]


def whom(received: Received) -> str:
    return unquote(received.target.rsplit("/", 1)[1])


@pytest.fixture
def surroundings(
    certificate: Path, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", credentials.session_token or "")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@pytest.fixture(params=["own", "boto3"])
def make(
    request: pytest.FixtureRequest,
    stage: FaultServer,
    make_posts: Callable[..., Posts],
    surroundings: None,
) -> Iterator[MakeTransport]:
    made: list[Transport] = []

    def make(url: str | None = None, **options: object) -> Transport:
        given = {"tuning": TUNING, **options}
        url = url or f"https://127.0.0.1:{stage.port}/prod"
        if request.param == "own":
            made.append(make_posts(url, **given))
        else:
            made.append(Boto3Transport(url, region="eu-west-1", **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for transport in made:
        transport.close()


def test_frames_in_order(stage: FaultServer, make: MakeTransport) -> None:
    delivery = make().deliver([Message(b"1", ["a=", "b="]), Message(b"2", ["b=", "a="])])
    assert len(delivery.delivered) == delivery.requests == 4
    for name in ("a=", "b="):
        sent = [received.body for received in stage.received if whom(received) == name]
        assert sent == [b"1", b"2"]
    assert all(
        "SignedHeaders=host;x-amz-date;x-amz-security-token," in each.headers["authorization"]
        for each in stage.received
    )


def test_what_is_gone_what_is_throttled_what_is_refused(
    stage: FaultServer, make: MakeTransport
) -> None:
    answers = {"gone": GONE, "slow": THROTTLED, "large": Answer(413, b"{}"), "there": OK}
    stage.decide = lambda received: answers[whom(received)]
    delivery = make().deliver([Message(b"x", list(answers))])
    assert [call.connection_id for call in delivery.delivered] == ["there"]
    assert delivery.gone_ids == {"gone"}
    assert delivery.gone[0].reason == "410 goneexception"
    assert [call.connection_id for call in delivery.throttled] == ["slow"]
    assert delivery.throttles > 1
    assert [(call.connection_id, call.status) for call in delivery.failed] == [("large", 413)]
    assert not any(call.maybe_sent for call in delivery.undelivered)


def test_throttled_then_not(stage: FaultServer, make: MakeTransport) -> None:
    stage.script(THROTTLED, THROTTLED)
    delivery = make().deliver([Message(b"x", ["a"])])
    assert (len(delivery.delivered), delivery.throttles) == (1, 2)


def test_too_early(stage: FaultServer, make: MakeTransport) -> None:
    stage.script(GONE, GONE)
    delivery = make().deliver([Message(b"x", ["a"], grace=5.0)])
    assert (len(delivery.delivered), delivery.requests) == (1, 3)


@pytest.mark.parametrize("fault", [Answer(503), Reset(), Hang()], ids=repr)
def test_what_is_not_known_to_have_arrived(
    stage: FaultServer, make: MakeTransport, fault: Answer | Reset | Hang
) -> None:
    transport = make()
    stage.script(fault)
    (call,) = transport.deliver([Message(b"x", ["a"])]).failed
    assert call.maybe_sent
    assert len(stage.received) == 1
    stage.script(fault)
    assert len(transport.deliver([Message(b"x", ["a"], repeatable=True)]).delivered) == 1
    assert len(stage.received) == 3


def test_nobody_listens(make: MakeTransport) -> None:
    transport = make(f"https://127.0.0.1:{unused_port()}/prod")
    (call,) = transport.deliver([Message(b"x", ["a"])]).failed
    assert call.reason
    assert not call.maybe_sent


def test_disconnect_and_describe(stage: FaultServer, make: MakeTransport) -> None:
    body = {
        "connectedAt": "2020-04-30T20:10:33.236Z",
        "lastActiveAt": "2020-04-30T20:10:42.997Z",
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "agent"},
    }
    answers = {
        "there": Answer(200, json.dumps(body).encode()),
        "odd": Answer(200, b"{}"),
        "gone": GONE,
        "refused": Answer(403, b"{}"),
    }
    stage.decide = lambda received: answers[whom(received)]
    transport = make()
    assert transport.describe(list(answers)) == {
        "there": Description(1588277433.236, 1588277442.997, "192.0.2.1", "agent"),
        "gone": None,
    }
    stage.decide = lambda _: Answer(204, b"")
    assert len(transport.deliver([Disconnect(["a", "b"])]).delivered) == 2
    assert [received.method for received in stage.received] == ["GET"] * 4 + ["DELETE"] * 2


def test_the_deadline(stage: FaultServer, make: MakeTransport) -> None:
    stage.decide = lambda _: THROTTLED
    delivery = make(tuning=Tuning(patience=60)).deliver([Message(b"x", ["a", "b"])], timeout=0.3)
    assert len(delivery.throttled) == 2
    assert delivery.seconds < 5


def test_the_bucket(stage: FaultServer, make: MakeTransport) -> None:
    transport = make(bucket=TokenBucket(rate=50, burst=2))
    delivery = transport.deliver([Message(b"x", [str(number) for number in range(12)])])
    assert len(delivery.delivered) == 12
    assert delivery.seconds >= 0.19


def test_a_closed_one_can_be_used_again(stage: FaultServer, make: MakeTransport) -> None:
    transport = make()
    for _ in range(2):
        assert len(transport.deliver([Message(b"x", ["a"])]).delivered) == 1
        transport.close()


@pytest.mark.usefixtures("surroundings")
def test_boto3_without_credentials(stage: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    transport = Boto3Transport(f"https://127.0.0.1:{stage.port}/prod", region="eu-west-1")
    with pytest.raises(ConfigurationError, match="credentials"):
        transport.deliver([Message(b"x", ["a"])])
    transport.close()


def test_a_missing_boto3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    transport = Boto3Transport("https://example.com/prod", region="eu-west-1")
    with pytest.raises(ConfigurationError, match=r"realtime-kit\[aws\]"):
        transport.deliver([Message(b"x", ["a"])])


def test_neither_transport_loads_boto3_before_it_is_used() -> None:
    code = (
        "import sys\n"
        "import realtime_kit.hosting.apigateway.posts\n"
        "import realtime_kit.hosting.apigateway.boto3_transport as fallback\n"
        "fallback.Boto3Transport('https://example.com/prod', region='eu-west-1')\n"
        "print([name for name in ('boto3', 'botocore', 'asyncio', 'http.client', 'pydantic')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
