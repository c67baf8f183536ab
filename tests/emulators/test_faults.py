"""What goes wrong on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from realtime_kit.emulators.apigateway import Faults, Function, Killed, Quotas
from realtime_kit.hosting.apigateway.delivery import Message, Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials

DEADLINE = 10.0
CREDENTIALS = Credentials("AKIDEXAMPLE", "a-secret", "a/session+token==")
Start = Callable[..., Any]


def drawn(seed: int, share: float = 0.3, times: int = 200) -> list[bool]:
    faults = Faults(seed=seed, limit=share)
    return [faults.happens("limit") for _ in range(times)]


def test_a_seed_repeats_itself() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 30 < sum(drawn(1)) < 90
    assert not any(drawn(1, 0.0))
    assert all(drawn(1, 1.0))


def test_one_fault_does_not_shift_another() -> None:
    faults = Faults(seed=1, limit=0.3, cut=0.5)
    mixed = []
    for _ in range(200):
        faults.happens("cut")
        mixed.append(faults.happens("limit"))
    assert mixed == drawn(1)


def test_messages_overtake_each_other(start: Start) -> None:
    site = start(faults=Faults(seed=5, hold_back=0.5, hold_back_seconds=0.05))
    client = site.client()
    for number in range(30):
        client.send(str(number))
    site.handler.wait("MESSAGE", 30)
    bodies = [event["body"] for event in site.handler.events("MESSAGE")]
    assert sorted(bodies, key=int) == [str(number) for number in range(30)]
    assert bodies != sorted(bodies, key=int)
    assert site.gateway.log.of("fault", fault="hold_back")


@pytest.mark.parametrize(
    ("faults", "times", "outcome"),
    [
        (Faults(), 1, "sent"),
        (Faults(lose_disconnect=1.0), 0, "lost"),
        (Faults(repeat_disconnect=1.0), 2, "repeated"),
    ],
)
def test_disconnects_are_lost_and_repeated(
    start: Start, faults: Faults, times: int, outcome: str
) -> None:
    site = start(faults=faults)
    client = site.client()
    client.close()
    site.gateway.log.wait("disconnect", outcome=outcome)
    site.gateway.settle()
    assert len(site.handler.events("DISCONNECT")) == times
    assert site.gateway.connections == []


def test_a_storm_of_429(start: Start) -> None:
    site = start()
    client, connection_id = site.connect()
    management = site.management()
    site.gateway.faults.limit = 1.0
    with pytest.raises(management.exceptions.LimitExceededException):
        management.post_to_connection(ConnectionId=connection_id, Data=b"no")
    site.gateway.faults.limit = 0.0
    management.post_to_connection(ConnectionId=connection_id, Data=b"yes")
    assert client.receive() == "yes"


def test_a_storm_of_410_is_true(start: Start) -> None:
    site = start(faults=Faults(gone=1.0))
    client, connection_id = site.connect()
    management = site.management()
    with pytest.raises(management.exceptions.GoneException):
        management.post_to_connection(ConnectionId=connection_id, Data=b"x")
    client.cut_off()
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1006


def test_a_connection_that_is_known_late(start: Start) -> None:
    site = start(faults=Faults(connect_lag=0.5))
    management = site.management()
    client, connection_id = site.connect()
    with pytest.raises(management.exceptions.GoneException):
        management.post_to_connection(ConnectionId=connection_id, Data=b"x")
    posts = engine(site)
    assert posts.deliver([Message(b"hello", [connection_id], grace=5.0)]).delivered
    assert client.receive() == "hello"
    posts.close()


def test_latency(start: Start) -> None:
    site = start(faults=Faults(seed=1, latency=0.05))
    _, connection_id = site.connect()
    management = site.management()
    management.get_connection(ConnectionId=connection_id)
    began = time.monotonic()
    for _ in range(10):
        management.get_connection(ConnectionId=connection_id)
    assert time.monotonic() - began > 0.05


def test_invocations_that_lambda_refuses(start: Start) -> None:
    site = start()
    client = site.client()
    for fault in ("throttle", "fail"):
        setattr(site.gateway.faults, fault, 1.0)
        client.send("hello")
        assert client.receive_json()["message"] == "Internal server error"
        setattr(site.gateway.faults, fault, 0.0)
    assert site.handler.events("MESSAGE") == []


@pytest.mark.parametrize("by", ["a post", "a message", "hand"])
def test_a_network_that_is_cut(start: Start, by: str) -> None:
    site = start()
    client, connection_id = site.connect()
    if by == "hand":
        site.gateway.cut(connection_id)
    else:
        site.gateway.faults.cut = 1.0
        if by == "a message":
            client.send("hello")
        else:
            site.management().post_to_connection(ConnectionId=connection_id, Data=b"x")
    client.cut_off()
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1006
    assert site.handler.events("MESSAGE") == []


def test_a_client_that_vanishes(start: Start) -> None:
    site = start(speed=0)
    client, connection_id = site.connect()
    site.gateway.vanish(connection_id)
    client.cut_off()
    management = site.management()
    management.post_to_connection(ConnectionId=connection_id, Data=b"into the dark")
    site.gateway.advance(599)
    assert site.gateway.connections == [connection_id]
    management.post_to_connection(ConnectionId=connection_id, Data=b"into the dark")
    site.gateway.advance(1)  # posts do not keep it
    assert site.gateway.connections == []
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1001


# --- functions that die ---------------------------------------------------------------------


def engine(site: Any) -> Posts:
    return Posts(
        site.gateway.endpoint,
        region="eu-west-1",
        credentials=lambda: CREDENTIALS,
        tuning=Tuning(connections=1),
    )


def test_killed_in_the_middle_of_a_fan_out(start: Start) -> None:
    done: list[str] = []

    def fan_out(event: Any, _: Any) -> dict[str, int]:
        for connection_id in clients:
            try:
                posts.deliver([Message(b"hello", [connection_id])])
            except Exception:  # no handler survives its process
                done.append("survived")
        done.append("finished")
        return {"statusCode": 200}

    site = start(routes={"fan-out": Function("fan-out", fan_out)})
    clients = dict(reversed(site.connect()) for _ in range(5))
    posts = engine(site)
    site.gateway.faults.kill_at("fan-out", 3)
    sender = site.client()
    sender.send('{"event":"fan-out"}')
    assert sender.receive_json()["message"] == "Internal server error"
    failed = site.gateway.log.wait("failed", function="fan-out")
    assert failed.detail["error"] == "killed"
    received = [client.receive() for client in list(clients.values())[:2]]
    assert received == ["hello", "hello"]
    assert len(site.gateway.log.of("sent", size=5)) == 2
    sender.send('{"event":"fan-out"}')  # once only
    site.gateway.log.wait("returned", function="fan-out")
    assert done == ["finished"]
    posts.close()


def test_killed_while_boto3_waits(start: Start) -> None:
    def post(event: Any, _: Any) -> dict[str, int]:
        connection_id = event["requestContext"]["connectionId"]
        management.post_to_connection(ConnectionId=connection_id, Data=b"hello")
        return {"statusCode": 200}

    site = start(routes={"post": Function("post", post)}, faults=Faults(seed=1, kill=1.0))
    management = site.management()
    client = site.client()
    client.send('{"event":"post"}')
    assert client.receive_json()["message"] == "Internal server error"
    assert site.gateway.log.of("fault", fault="kill")


def test_killed_by_hand(start: Start) -> None:
    running, over = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        running.set()
        while not over.wait(0.001):
            pass

    site = start(routes={"wait": Function("wait", wait)})
    client = site.client()
    client.send('{"event":"wait"}')
    assert running.wait(DEADLINE)
    site.gateway.kill("wait")
    assert client.receive_json()["message"] == "Internal server error"
    over.set()


@pytest.mark.parametrize("death", [Killed, SystemExit])
def test_a_handler_that_ends_its_process(site: Any, death: type[BaseException]) -> None:
    def die(*_: Any) -> None:
        raise death

    site.handler.on["$default"] = die
    client = site.client()
    client.send("hello")
    assert client.receive_json()["message"] == "Internal server error"
    failed = site.gateway.log.wait("failed", function="websocket")
    assert failed.detail["error"] == death.__name__


def test_a_gateway_stops_whatever_runs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_kit.emulators.apigateway.server._GRACE", 0.2)
    over = threading.Event()

    def wait(*_: Any) -> None:
        while not over.wait(0.001):
            pass

    site = start(routes={"wait": Function("wait", wait)})
    site.client().send('{"event":"wait"}')
    site.gateway.log.wait("invoked", function="wait")
    site.cleanup.close()
    assert site.gateway.log.of("failed", function="wait", error="the gateway stops")
    over.set()


# --- all at once ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_hangs_and_nothing_is_lost_silently(start: Start, seed: int) -> None:
    """A deployment that has everything go wrong still comes to rest, and its log adds up."""
    faults = Faults(
        seed=seed,
        hold_back=0.3,
        hold_back_seconds=0.01,
        lose_disconnect=0.3,
        repeat_disconnect=0.2,
        throttle=0.05,
        fail=0.05,
        limit=0.2,
        gone=0.05,
        cut=0.05,
        vanish=0.03,
        latency=0.002,
    )
    site = start(faults=faults, speed=0, quotas=Quotas(idle=600))
    posts = engine(site)
    clients = []
    for _ in range(20):
        connection = site.handshake()
        if connection.getresponse().status == 101:
            clients.append(connection)
    for connection_id in site.gateway.connections:
        posts.deliver([Message(b"hello", [connection_id])] * 3, timeout=2.0)
    for connection in clients:
        connection.close()
    log = site.gateway.log
    site.gateway.advance(7_200)  # those that vanished end here, with the latest
    ended = len(log.of("closed"))
    assert ended == site.gateway.usage.connections == len(log.of("connected"))
    assert len(log.of("disconnect")) == ended
    assert site.gateway.connections == []
    posts.close()
