"""The engine against a real TLS server that misbehaves."""

from __future__ import annotations

import gc
import itertools
import json
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from unittest.mock import patch
from urllib.parse import unquote

import botocore.credentials
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import MAX_FRAME, Call, Disconnect, Message, Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.testing.faults import (
    Answer,
    Drip,
    Fault,
    FaultServer,
    Hang,
    Raw,
    Received,
    Reset,
    unused_port,
)

OK = Answer(200, b"")
GONE = Answer(410, b"gone", {"x-amzn-ErrorType": "GoneException"})
THROTTLED = Answer(429, b'{"message": "Too Many Requests"}')
MakePosts = Callable[..., Posts]


def names(count: int) -> list[str]:
    return [f"connection-{number:04d}=" for number in range(count)]


def ids(calls: list[Call]) -> list[str]:
    return sorted(call.connection_id for call in calls)


def whom(received: Received) -> str:
    return unquote(received.target.rsplit("/", 1)[1])


def bodies(stage: FaultServer) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for received in stage.received:
        found.setdefault(whom(received), []).append(received.body)
    return found


def test_a_frame_reaches_every_connection(stage: FaultServer, posts: Posts) -> None:
    delivery = posts.deliver([Message("frühstück".encode(), names(300))])
    assert ids(delivery.delivered) == names(300)
    assert delivery.gone == delivery.undelivered == []
    assert Counter(map(whom, stage.received)) == Counter(names(300))
    assert {received.body for received in stage.received} == {"frühstück".encode()}
    assert len({received.connection for received in stage.received}) == 8
    assert delivery.requests == 300
    assert 0 < delivery.latency(0.5) <= delivery.latency(0.99) <= delivery.seconds


def test_requests_are_as_botocore_signs_them(
    stage: FaultServer, make_posts: MakePosts, credentials: Credentials
) -> None:
    now = 1_767_268_800
    posts = make_posts(wall_clock=lambda: float(now))
    posts.deliver([Message(b"hello", ["PJqB0fHsqRcCHlw="]), Disconnect(["PJqB0fHsqRcCHlw="])])
    for received, method in zip(stage.received, ["POST", "DELETE"], strict=True):
        assert (received.method, received.target) == (
            method,
            "/prod/@connections/PJqB0fHsqRcCHlw%3D",
        )
        request = AWSRequest(
            method, f"https://127.0.0.1:{stage.port}{received.target}", data=received.body
        )
        given = botocore.credentials.Credentials(
            credentials.access_key, credentials.secret_key, credentials.session_token
        )
        with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(now, UTC)):
            SigV4Auth(given, "execute-api", "eu-west-1").add_auth(request)
        for name, value in request.headers.items():
            assert received.headers[name.lower()] == value


def test_few_calls_take_few_connections(stage: FaultServer, posts: Posts) -> None:
    posts.deliver([Message(b"x", names(4))])
    assert len({received.connection for received in stage.received}) == 1


def test_no_calls(stage: FaultServer, posts: Posts) -> None:
    assert not posts.deliver([]).delivered
    assert not posts.deliver([Message(b"x", [])]).delivered
    assert stage.received == []


# --- what API Gateway answers ------------------------------------------------------------------


def test_a_storm_of_410(stage: FaultServer, posts: Posts) -> None:
    living = names(200)[::3]
    stage.decide = lambda received: OK if whom(received) in living else GONE
    delivery = posts.deliver([Message(b"1", names(200)), Message(b"2", names(200))])
    assert ids(delivery.delivered) == sorted(living * 2)
    assert delivery.gone_ids == set(names(200)) - set(living)
    assert delivery.gone[0].reason == "410 goneexception"
    assert all(
        sent == ([b"1", b"2"] if name in living else [b"1"]) for name, sent in bodies(stage).items()
    )


def test_a_storm_of_429_is_ridden_out(stage: FaultServer, posts: Posts) -> None:
    tries = Counter[str]()

    def decide(received: Received) -> Fault:
        tries[received.target] += 1
        return THROTTLED if tries[received.target] <= 2 else OK

    stage.decide = decide
    delivery = posts.deliver([Message(b"x", names(60))])
    assert ids(delivery.delivered) == names(60)
    assert (delivery.throttles, delivery.requests) == (120, 180)


def test_one_that_does_not_read_is_dropped_and_holds_up_nobody(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    slow = names(40)[7]
    stage.decide = lambda received: THROTTLED if whom(received) == slow else OK
    posts = make_posts(tuning=Tuning(connections=4, patience=0.15))
    delivery = posts.deliver([Message(b"1", names(40)), Message(b"2", names(40))])
    assert ids(delivery.throttled) == [slow, slow]
    assert bodies(stage)[slow][-1] == b"1"
    assert len(delivery.delivered) == 78
    assert max(call.seconds for call in delivery.delivered) < delivery.throttled[0].seconds


def test_too_early_for_a_connection_that_is_being_made(stage: FaultServer, posts: Posts) -> None:
    stage.script(GONE, GONE, GONE)
    delivery = posts.deliver([Message(b"hello", ["a"], grace=5.0)])
    assert ids(delivery.delivered) == ["a"]
    assert delivery.requests == 4


@pytest.mark.parametrize("status", [301, 400, 403, 404, 413])
def test_a_refusal_is_not_tried_again(stage: FaultServer, posts: Posts, status: int) -> None:
    stage.script(Answer(status, b"{}", {"x-amzn-ErrorType": "SomeException:http://x/"}))
    delivery = posts.deliver([Message(b"x", ["a"], repeatable=True)])
    (call,) = delivery.failed
    assert (call.status, call.reason) == (status, f"{status} someexception")
    assert (call.maybe_sent, call.tries) == (False, 1)


def test_disconnect_comes_after_what_is_said_even_if_it_was_not_heard(
    stage: FaultServer, posts: Posts
) -> None:
    stage.decide = lambda received: Answer(413 if received.method == "POST" else 204, b"")
    delivery = posts.deliver([Message(b"4001", ["a"]), Disconnect(["a"])])
    assert [received.method for received in stage.received] == ["POST", "DELETE"]
    assert ids(delivery.delivered) == ids(delivery.failed) == ["a"]


def test_describe(stage: FaultServer, posts: Posts) -> None:
    body = {
        "connectedAt": "2020-04-30T20:10:33.236Z",
        "lastActiveAt": "2020-04-30T20:10:42.997Z",
        "identity": {"sourceIp": "192.0.2.1", "userAgent": "agent"},
    }
    answers: dict[str, Fault] = {
        "there": Answer(200, json.dumps(body).encode()),
        "gone": GONE,
        "odd": Answer(200, b'{"message": "?"}'),
        "refused": Answer(403),
    }
    stage.decide = lambda received: answers[whom(received)]
    found = posts.describe(list(answers))
    assert set(found) == {"there", "gone"}
    assert found["gone"] is None
    assert found["there"] is not None
    assert found["there"].source_ip == "192.0.2.1"
    assert {received.method for received in stage.received} == {"GET"}


# --- order -------------------------------------------------------------------------------------


def test_nothing_overtakes_whatever_happens(stage: FaultServer, make_posts: MakePosts) -> None:
    random, guard = Random(4), threading.Lock()  # noqa: S311

    def decide(_: Received) -> Fault:
        with guard:
            return random.choices(
                [
                    OK,
                    THROTTLED,
                    Answer(503),
                    Answer(200, b"", close=True),
                    Answer(200, b"", {"Connection": "close"}),
                    Reset(),
                    Reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
                    Raw(b"SSH-2.0-garbage\r\n"),
                    Drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0.0),
                ],
                [20, 2, 1, 1, 1, 1, 1, 1, 1],
            )[0]

    stage.decide = decide
    frames = [b"1", b"2", b"3", b"4"]
    commands = [Message(frame, names(40), repeatable=True) for frame in frames]
    delivery = make_posts(tuning=Tuning(connections=6)).deliver(commands, timeout=30)
    assert len(delivery.delivered) + len(delivery.failed) == 160
    assert len(delivery.delivered) > 120
    done = {(call.connection_id, id(call.command)) for call in delivery.delivered}
    for name, sent in bodies(stage).items():
        assert sent == sorted(sent), "one overtook another"
        for command in commands:
            assert (name, id(command)) not in done or command.frame in sent


# --- connections that fail ---------------------------------------------------------------------

CUT_SHORT = [
    Reset(),
    Reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
    Raw(),
    Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour"),
    Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfour"),
    Raw(b"SSH-2.0-garbage\r\n"),
    Raw(b"\x00" * 100),
]


@pytest.mark.parametrize("fault", CUT_SHORT, ids=repr)
def test_an_answer_cut_short(stage: FaultServer, posts: Posts, fault: Fault) -> None:
    stage.script(fault)
    delivery = posts.deliver([Message(b"x", ["a"])])
    (call,) = delivery.failed
    assert call.maybe_sent
    assert call.reason
    assert len(stage.received) == 1

    stage.script(fault)
    assert ids(posts.deliver([Message(b"x", ["a"], repeatable=True)]).delivered) == ["a"]
    assert len(stage.received) == 3


WHOLE = [
    Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", 0.0),
    Drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n", 0.0),
    Raw(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
    Raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Raw(b"HTTP/1.0 200 OK\r\n\r\n"),
    Raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    Answer(200, b"x" * 100_000),  # several records of TLS
    Answer(200, b"", {"Connection": "close"}),
]


@pytest.mark.parametrize("fault", WHOLE, ids=lambda fault: repr(fault)[:60])
def test_an_answer_of_any_form(stage: FaultServer, posts: Posts, fault: Fault) -> None:
    stage.script(fault)
    (call,) = posts.deliver([Message(b"1", ["a"])]).delivered
    assert call.tries == 1
    # Nothing of it is left over for the next. That one is repeatable: some of these hang up.
    assert len(posts.deliver([Message(b"2", ["a"], repeatable=True)]).delivered) == 1
    assert bodies(stage)["a"][:2] == [b"1", b"2"]


@pytest.mark.parametrize("said", [True, False])
def test_connections_that_are_closed_after_some_requests(
    stage: FaultServer, posts: Posts, said: bool
) -> None:
    turns = Counter[int]()

    def decide(received: Received) -> Fault:
        turns[received.connection] += 1
        last = turns[received.connection] == 5
        return Answer(200, b"", {"Connection": "close"} if said and last else {}, close=last)

    stage.decide = decide
    delivery = posts.deliver([Message(b"x", names(200), repeatable=True)])
    assert ids(delivery.delivered) == names(200)
    assert max(turns.values()) == 5


def test_no_answer_in_time(stage: FaultServer, make_posts: MakePosts) -> None:
    slow = names(20)[3]
    stage.decide = lambda received: Hang() if whom(received) == slow else OK
    posts = make_posts(tuning=Tuning(connections=4, answer=0.3))
    delivery = posts.deliver([Message(b"x", names(20))])
    (call,) = delivery.failed
    assert (call.connection_id, call.reason) == (slow, "no answer within 0.3 s")
    assert call.maybe_sent
    assert len(delivery.delivered) == 19
    assert max(call.seconds for call in delivery.delivered) < call.seconds


def test_no_answer_in_time_is_asked_again_where_that_does_no_harm(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    stage.script(Hang(b"HTTP/1.1 200 OK\r\n"))
    posts = make_posts(tuning=Tuning(answer=0.2))
    assert len(posts.deliver([Message(b"x", ["a"], repeatable=True)]).delivered) == 1


def test_the_deadline_of_it_all(stage: FaultServer, make_posts: MakePosts) -> None:
    stage.decide = lambda _: Hang()
    posts = make_posts(tuning=Tuning(connections=2, answer=30))
    delivery = posts.deliver([Message(b"x", names(20))], timeout=0.4)
    assert len(delivery.failed) == 20
    assert {call.reason for call in delivery.failed} == {"no time is left"}
    asked = {whom(received) for received in stage.received}
    assert {call.connection_id for call in delivery.failed if call.maybe_sent} == asked
    assert len(asked) == 2
    assert 0.4 <= delivery.seconds < 5


def test_nobody_listens(make_posts: MakePosts) -> None:
    posts = make_posts(f"https://127.0.0.1:{unused_port()}/prod")
    delivery = posts.deliver([Message(b"x", names(50)), Disconnect(names(3))], timeout=30)
    assert len(delivery.failed) == 53
    assert delivery.failed[0].reason.endswith("Connection refused")
    assert not any(call.maybe_sent for call in delivery.failed)
    assert delivery.requests == 0


def test_a_name_that_is_not_found(make_posts: MakePosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    posts = make_posts("https://nowhere.invalid/prod")
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", getaddrinfo)
        (call,) = posts.deliver([Message(b"x", ["a"])]).failed
    assert call.reason == "no connection to nowhere.invalid: Name or service not known"


def test_one_of_the_addresses_is_dead(
    stage: FaultServer, posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = unused_port(), stage.port
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, alive)
    ]
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert len(posts.deliver([Message(b"x", ["a"])]).delivered) == 1


def test_a_server_that_does_not_shake_hands(make_posts: MakePosts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system accepts, nobody reads
        posts = make_posts(
            f"https://127.0.0.1:{listener.getsockname()[1]}/prod", tuning=Tuning(answer=0.2)
        )
        delivery = posts.deliver([Message(b"x", names(3))], timeout=30)
    assert len(delivery.failed) == 3
    assert delivery.failed[0].reason.endswith("not connected within 0.2 s")
    assert delivery.seconds < 10


def test_what_comes_unasked_ends_a_connection(stage: FaultServer, posts: Posts) -> None:
    go_on = threading.Event()

    class Late:
        def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
            OK.act(connection, stopped)
            go_on.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return False

    stage.script(Late(), GONE)
    posts.deliver([Message(b"x", ["a"])])
    go_on.set()
    stage.wait_closed(1)
    # The answer that is the next one's, not the one that lay there.
    assert posts.deliver([Message(b"x", ["b"])]).gone_ids == {"b"}


def test_an_unknown_certificate_is_refused(stage: FaultServer, make_posts: MakePosts) -> None:
    delivery = make_posts(tls=None).deliver([Message(b"x", names(50))], timeout=30)
    assert len(delivery.failed) == 50
    assert "certificate is not valid" in delivery.failed[0].reason
    assert stage.received == []


def test_a_certificate_for_another_name_is_refused(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    posts = make_posts(f"https://localhost:{stage.port}/prod")
    (call,) = posts.deliver([Message(b"x", ["a"])], timeout=30).failed
    assert "certificate is not valid" in call.reason
    assert stage.received == []


def test_a_server_that_hangs_up_on_everybody(
    server_tls: ssl.SSLContext, make_posts: MakePosts
) -> None:
    accepted = itertools.count()

    def hang_up(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if next(accepted) and connection.recv(1, socket.MSG_PEEK) == b"":
                    return
                with server_tls.wrap_socket(connection, server_side=True):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        delivery = make_posts(f"https://127.0.0.1:{port}/prod").deliver(
            [Message(b"x", names(10), repeatable=True)], timeout=30
        )
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join(10)
    assert len(delivery.failed) == 10
    assert delivery.seconds < 20
    assert next(accepted) < 60


def test_large_frames_are_written_as_the_socket_takes_them(
    stage: FaultServer, posts: Posts
) -> None:
    frame = os.urandom(MAX_FRAME)
    delivery = posts.deliver([Message(frame, names(30))])
    assert len(delivery.delivered) == 30
    assert {received.body for received in stage.received} == {frame}


# --- from one delivery to the next ----------------------------------------------------------------


def test_connections_are_kept_for_the_next_delivery(stage: FaultServer, posts: Posts) -> None:
    for _ in range(3):
        posts.deliver([Message(b"x", names(50))])
    assert len({received.connection for received in stage.received}) == 8


def test_connections_that_ended_meanwhile_are_not_used(stage: FaultServer, posts: Posts) -> None:
    stage.decide = lambda _: Answer(200, b"", close=True)
    assert len(posts.deliver([Message(b"x", ["a"])]).delivered) == 1
    stage.wait_closed(1)
    # Not repeatable: a request on the dead connection would be a failure.
    assert len(posts.deliver([Message(b"x", ["b"])]).delivered) == 1


def test_connections_that_few_calls_left_alone_are_let_go(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    now = 1_000_000.0
    posts = make_posts(clock=lambda: now)
    posts.deliver([Message(b"x", names(100))])
    for _ in range(2):
        now += 20
        posts.deliver([Message(b"x", ["a"])])
    stage.wait_closed(7)
    assert len(posts.deliver([Message(b"x", ["a"])]).delivered) == 1


@pytest.mark.parametrize("clock", ["clock", "wall_clock"])
def test_connections_that_rested_too_long_are_not_used(
    stage: FaultServer, make_posts: MakePosts, clock: str
) -> None:
    """Of a process that was frozen only the wall clock may have gone on."""
    now = 1_000_000.0
    posts = make_posts(**{clock: lambda: now})
    for rested, connection in ((0, 0), (29, 0), (31, 1), (0, 1), (-1, 1)):
        now += rested
        if clock == "clock" and rested < 0:
            break
        if rested < 0:
            connection = 2  # the clock was set: nobody knows how long it was
        posts.deliver([Message(b"x", ["a"])])
        assert stage.received[-1].connection == connection


def test_after_a_fork_parent_and_child_have_connections_of_their_own(
    stage: FaultServer, posts: Posts
) -> None:
    posts.deliver([Message(b"before", ["a"])])
    child = os.fork()
    if not child:
        delivered = posts.deliver([Message(b"child", names(5))]).delivered
        os._exit(0 if len(delivered) == 5 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(posts.deliver([Message(b"parent", ["a"])]).delivered) == 1
    by = {received.body: set[int]() for received in stage.received}
    for received in stage.received:
        by[received.body].add(received.connection)
    assert by[b"parent"] == by[b"before"] == {0}
    assert 0 not in by[b"child"]


def test_a_child_that_only_closes_takes_nothing_from_the_parent(
    stage: FaultServer, posts: Posts
) -> None:
    posts.deliver([Message(b"before", ["a"])])
    child = os.fork()
    if not child:
        posts.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    delivery = posts.deliver([Message(b"after", ["a"])], timeout=2)
    assert len(delivery.delivered) == 1
    assert {received.connection for received in stage.received} == {0}


def test_threads_take_turns(stage: FaultServer, posts: Posts) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        for turn in range(5):
            delivery = posts.deliver([Message(b"%d" % number, [f"{number}-{turn}"] * 2)])
            failures.extend(delivery.undelivered)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failures
    assert len(stage.received) == 20


def test_credentials_are_asked_before_each_delivery(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    given = iter([Credentials("FIRST", "s"), Credentials("SECOND", "t", "token")])
    posts = make_posts(credentials=lambda: next(given))
    for name in ("FIRST", "SECOND"):
        posts.deliver([Message(b"x", ["a"])])
        assert f"Credential={name}/" in stage.received[-1].headers["authorization"]
    assert stage.received[-1].headers["x-amz-security-token"] == "token"


def test_no_credentials_no_request(stage: FaultServer, make_posts: MakePosts) -> None:
    posts = make_posts(credentials=lambda: Credentials.from_environment({}))
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
        posts.deliver([Message(b"x", ["a"])])
    assert stage.received == []


def test_a_signature_is_of_the_second_in_which_it_is_sent(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    seconds = itertools.count(1_767_268_800)
    posts = make_posts(wall_clock=lambda: float(next(seconds)), tuning=Tuning(connections=1))
    posts.deliver([Message(b"x", names(5))])
    dates = [received.headers["x-amz-date"] for received in stage.received]
    assert dates == sorted(set(dates))
    assert len(dates) == 5


def test_an_interrupted_delivery_leaves_no_answers_for_the_next(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    calls = itertools.count()

    def clock() -> float:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return 1.0

    posts = make_posts(clock=clock)
    with pytest.raises(KeyboardInterrupt):
        posts.deliver([Message(b"1", ["a"])])
    assert ids(posts.deliver([Message(b"2", ["b"])]).delivered) == ["b"]


def test_the_bucket_limits_requests_over_deliveries(
    stage: FaultServer, make_posts: MakePosts
) -> None:
    posts = make_posts(bucket=TokenBucket(rate=100, burst=5))
    first = posts.deliver([Message(b"x", names(5))])
    second = posts.deliver([Message(b"x", names(20))])
    assert len(second.delivered) == 20
    assert first.seconds + second.seconds >= 0.19
    assert len(stage.received) == 25


def test_what_is_no_id_stops_all_before_anything_is_sent(stage: FaultServer, posts: Posts) -> None:
    with pytest.raises(ValueError, match="not the id"):
        posts.deliver([Message(b"x", ["a", ".."])])
    assert stage.received == []


def test_a_pool_that_nobody_closes_goes_quietly(
    stage: FaultServer, certificate: Path, credentials: Credentials
) -> None:
    posts = Posts(
        f"https://127.0.0.1:{stage.port}/prod",
        region="eu-west-1",
        credentials=lambda: credentials,
        tls=ssl.create_default_context(cafile=certificate),
    )
    posts.deliver([Message(b"x", ["a"])])
    del posts
    gc.collect()
    stage.wait_closed(1)


def test_a_closed_one_can_be_used_again(stage: FaultServer, posts: Posts) -> None:
    posts.deliver([Message(b"x", ["a"])])
    posts.close()
    stage.wait_closed(1)
    assert len(posts.deliver([Message(b"x", ["a"])]).delivered) == 1
