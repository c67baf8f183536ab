"""Handshakes, messages and ends, with real clients."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import websocket

from realtime_kit.emulators.apigateway import (
    ApiGateway,
    Context,
    Function,
    Mock,
    Quotas,
    Route,
    running,
)
from realtime_kit.errors import ConfigurationError

DEADLINE = 10.0
Start = Callable[..., Any]


# --- the handshake --------------------------------------------------------------------------


def test_connect_gets_the_handshake(site: Any) -> None:
    query = "?p=/app/KEY?protocol=7&client=js&version=8.6.0&flash=false"
    _, connection_id = site.connect(query, header=["x-Custom: One", "X-Custom: Two"])
    event = site.handler.wait("CONNECT")
    assert event["queryStringParameters"] == {
        "p": "/app/KEY?protocol=7",
        "client": "js",
        "version": "8.6.0",
        "flash": "false",
    }
    assert event["headers"]["x-Custom"] == "One"
    assert event["headers"]["X-Custom"] == "Two"
    assert event["headers"]["Host"] == f"127.0.0.1:{site.gateway.port}"
    assert not {"connection", "upgrade"} & {name.lower() for name in event["headers"]}
    context = event["requestContext"]
    assert context["connectionId"] == connection_id
    assert context["identity"] == {"sourceIp": "127.0.0.1"}
    assert context["domainName"] == f"127.0.0.1:{site.gateway.port}"
    assert context["stage"] == "dev"
    assert "body" not in event


def test_a_slash_at_the_end_is_fine(site: Any) -> None:
    site.client("/?a=1")
    assert site.handler.wait("CONNECT")["queryStringParameters"] == {"a": "1"}


@pytest.mark.parametrize("path", ["/app/KEY", "/app/KEY?protocol=7", "x"])
def test_more_of_a_path_is_forbidden(site: Any, path: str) -> None:
    assert site.status(path) == 403
    assert site.handler.events() == []
    assert site.gateway.log.wait("refused").detail["status"] == 403


def test_a_url_of_more_than_4096_characters(site: Any) -> None:
    assert site.status("?a=" + "x" * 4096) == 414


@pytest.mark.parametrize("status", [301, 400, 401, 403, 429, 501])
def test_any_other_status_is_the_handshake_s(site: Any, status: int) -> None:
    site.handler.on["$connect"] = {"statusCode": status}
    assert site.status() == status
    assert site.gateway.connections == []
    assert site.handler.events("DISCONNECT") == []


def test_connect_that_fails(site: Any) -> None:
    site.handler.on["$connect"] = lambda *_: 1 / 0
    assert site.status() == 502
    site.handler.on["$connect"] = None  # not the answer of a proxy integration
    assert site.status() == 502
    site.handler.on["$connect"] = {"statusCode": 200, "body": {1, 2}}  # no JSON
    assert site.status() == 502


def test_connect_that_takes_too_long(start: Start) -> None:
    site = start(quotas=Quotas(integration=0.05))
    over = threading.Event()
    site.handler.on["$connect"] = lambda *_: {"statusCode": 200 if over.wait(DEADLINE) else 500}
    assert site.status() == 504
    over.set()


def test_connect_that_is_throttled(start: Start) -> None:
    site = start(function={"concurrency": 0})
    assert site.status() == 500
    few = start(quotas=Quotas(connects=1))
    few.client()
    assert few.status() == 429


def test_without_connect_all_are_accepted(start: Start) -> None:
    site = start(routes={"$connect": None})
    site.client().send("hello")
    assert site.handler.wait("MESSAGE")["body"] == "hello"


def test_a_handshake_that_is_none(site: Any) -> None:
    assert site.status(**{"Sec-WebSocket-Key": ""}) == 400
    assert site.handler.events() == []


@pytest.mark.parametrize("chosen", ["v2", None])
def test_connect_chooses_the_subprotocol(site: Any, chosen: str | None) -> None:
    headers = {"Sec-WebSocket-Protocol": chosen} if chosen else {}
    site.handler.on["$connect"] = {"statusCode": 200, "headers": headers}
    answer = site.handshake(**{"Sec-WebSocket-Protocol": "v1, v2"}).getresponse()
    assert answer.status == 101
    assert answer.headers["Sec-WebSocket-Protocol"] == chosen
    assert site.handler.wait("CONNECT")["headers"]["Sec-WebSocket-Protocol"] == "v1, v2"


def test_who_leaves_while_connect_runs(site: Any) -> None:
    here, over = threading.Event(), threading.Event()

    def connect(*_: Any) -> dict[str, int]:
        here.set()
        assert over.wait(DEADLINE)
        return {"statusCode": 200}

    site.handler.on["$connect"] = connect
    raw = site.handshake()
    assert here.wait(DEADLINE)
    raw.close()
    over.set()
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1006
    assert site.gateway.connections == []


def test_who_speaks_before_connect_has_returned(site: Any) -> None:
    here, over = threading.Event(), threading.Event()

    def connect(*_: Any) -> dict[str, int]:
        here.set()
        return {"statusCode": 200 if over.wait(DEADLINE) else 500}

    site.handler.on["$connect"] = connect
    raw = site.handshake()
    assert here.wait(DEADLINE)
    early = websocket.ABNF.create_frame("early", websocket.ABNF.OPCODE_TEXT).format()
    raw.sock.sendall(early)
    over.set()
    assert site.handler.wait("MESSAGE")["body"] == "early"


# --- messages -------------------------------------------------------------------------------


def test_a_message_is_an_event_without_headers(site: Any) -> None:
    client, connection_id = site.connect("?a=1", header=["User-Agent: Client/1.0"])
    client.send('{"event":"event","data":"…"}')
    event = site.handler.wait("MESSAGE")
    assert set(event) == {"requestContext", "body", "isBase64Encoded"}
    assert event["body"] == '{"event":"event","data":"…"}'
    context = event["requestContext"]
    assert context["routeKey"] == "event"
    assert context["connectionId"] == connection_id
    assert context["identity"] == {"userAgent": "Client/1.0", "sourceIp": "127.0.0.1"}
    assert context["connectedAt"] == site.handler.wait("CONNECT")["requestContext"]["connectedAt"]


def test_answers_go_back_where_a_route_is_two_way(start: Start) -> None:
    back = Function("back", lambda event, _: {"statusCode": 200, "body": event["body"]})
    site = start(routes={"one": back, "two": Route(back, two_way=True)})
    client = site.client()
    client.send('{"event":"one"}')
    site.gateway.log.wait("returned", function="back")
    client.send('{"event":"two"}')
    assert client.receive_json() == {"event": "two"}


def test_a_mock_route_needs_no_function(pinged: Any) -> None:
    client = pinged.client()
    client.send('{"event":"pusher:ping","data":{}}')
    assert client.receive_json() == {"event": "pusher:pong", "data": {}}
    assert pinged.handler.events("MESSAGE") == []


def test_a_mock_route_without_a_response_is_silent(start: Start) -> None:
    site = start(routes={"ping": Mock("pong"), "two": Route(Mock("second"), two_way=True)})
    client = site.client()
    client.send('{"event":"ping"}')
    client.send('{"event":"two"}')
    assert client.receive() == "second"


@pytest.mark.parametrize(
    "answer", [lambda *_: 1 / 0, None, {"statusCode": 200, "body": 5}, lambda *_: object()]
)
def test_what_fails_is_told_by_aws_s_own_frame(site: Any, answer: Any) -> None:
    """On one-way routes too: it was seen so."""
    site.handler.on["event"] = answer
    client, connection_id = site.connect()
    client.send('{"event":"event"}')
    frame = client.receive()
    event = site.handler.wait("MESSAGE")
    request_id = event["requestContext"]["requestId"]
    assert frame == (
        f'{{"message": "Internal server error", "connectionId":"{connection_id}", '
        f'"requestId":"{request_id}"}}'
    )
    client.send("still there")
    assert site.handler.wait("MESSAGE", 2)["body"] == "still there"


def test_a_function_that_takes_too_long(start: Start) -> None:
    site = start(quotas=Quotas(integration=0.05))
    over = threading.Event()
    site.handler.on["$default"] = lambda *_: {"statusCode": 200 if over.wait(DEADLINE) else 500}
    client = site.client()
    client.send("hello")
    assert client.receive_json()["message"] == "Endpoint request timed out"
    over.set()
    site.gateway.settle()  # it ran on, and nobody was told
    assert site.gateway.log.of("returned", function="websocket")


def test_no_route_and_no_default(start: Start) -> None:
    client = start(routes={"$default": None}).client()
    client.send("hello")
    assert client.receive_json()["message"] == "Forbidden"


def test_messages_of_one_connection_run_at_the_same_time(site: Any) -> None:
    together = threading.Barrier(5)
    site.handler.on["$default"] = lambda *_: {"statusCode": 200 + 0 * together.wait(DEADLINE)}
    client = site.client()
    for number in range(5):
        client.send(str(number))
    site.gateway.settle()
    assert len(site.gateway.log.of("returned")) == 6  # $connect, and five that waited for another


def test_more_than_the_function_may_run(start: Start) -> None:
    site = start(function={"concurrency": 1})
    over = threading.Event()
    site.handler.on["$default"] = lambda *_: {"statusCode": 200 if over.wait(DEADLINE) else 500}
    client = site.client()
    client.send("first")
    site.handler.wait("MESSAGE")
    client.send("second")
    assert client.receive_json()["message"] == "Internal server error"
    over.set()


def test_what_the_context_says(start: Start) -> None:
    site = start(function={"timeout": 3.0, "memory": 256})
    left: list[int] = []

    def connect(_: Any, context: Context) -> dict[str, int]:
        left.append(context.get_remaining_time_in_millis())
        return {"statusCode": 200}

    site.handler.on["$connect"] = connect
    site.client()
    context = site.handler.contexts[0]
    assert 2_000 < left[0] <= 3_000
    assert context.function_name == "websocket"
    assert context.memory_limit_in_mb == "256"
    assert context.invoked_function_arn.startswith("arn:aws:lambda:eu-west-1:123456789012:function")
    assert len(context.aws_request_id) == 36


def test_a_handler_cannot_change_what_another_gets(site: Any) -> None:
    answer = {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "v1"}}
    site.handler.on["$connect"] = lambda event, _: (event.clear(), answer)[1]
    site.client(subprotocols=["v1"])
    site.client(subprotocols=["v1"])
    assert answer["headers"] == {"Sec-WebSocket-Protocol": "v1"}


# --- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        (lambda s: s.close(1001), 1001, ""),
        (lambda s: s.close(4000, b"enough"), 4000, "enough"),
        (
            lambda s: s.send(b"", websocket.ABNF.OPCODE_CLOSE),
            1005,
            "Client-side close frame status",
        ),
        (lambda s: s.shutdown(), 1006, ""),
    ],
)
def test_how_a_client_left(
    site: Any, close: Callable[[websocket.WebSocket], object], code: int, reason: str
) -> None:
    client, connection_id = site.connect()
    close(client.socket)
    event = site.handler.wait("DISCONNECT")
    context = event["requestContext"]
    assert context["connectionId"] == connection_id
    assert context["disconnectStatusCode"] == code
    assert context["disconnectReason"].startswith(reason)
    assert set(event["headers"]) == {"Host", "x-api-key", "X-Forwarded-For", "x-restapi"}
    assert "body" not in event
    assert site.gateway.connections == []


def test_a_close_is_answered(site: Any) -> None:
    client = site.client()
    client.socket.send((4001).to_bytes(2, "big"), websocket.ABNF.OPCODE_CLOSE)
    assert client.closed() == (4001, "")


def test_pings_are_answered_and_count_as_activity(still: Any) -> None:
    client = still.client()
    still.gateway.advance(400)
    client.socket.ping(b"there?")
    opcode, data = client.socket.recv_data(control_frame=True)
    assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"there?")
    still.gateway.advance(400)
    assert len(still.gateway.connections) == 1


def test_a_gateway_that_stops_says_so(make_client: Callable[[str], Any]) -> None:
    seen: list[dict[str, Any]] = []
    function = Function("websocket", lambda event, _: seen.append(event) or {"statusCode": 200})
    closed: list[tuple[int, str]] = []
    with running(ApiGateway({"$connect": function, "$disconnect": function})) as gateway:
        client = make_client(gateway.websocket_url)
        reading = threading.Thread(target=lambda: closed.append(client.closed()))
        reading.start()
    reading.join(DEADLINE)
    assert closed == [(1001, "Going away")]
    assert [event["requestContext"]["eventType"] for event in seen] == ["CONNECT"]


def test_a_gateway_starts_again_on_its_port(make_client: Callable[[str], Any]) -> None:
    gateway = ApiGateway({"$default": Route(Mock("here"), two_way=True)})
    for _ in range(2):
        with running(gateway):
            client = make_client(gateway.websocket_url)
            client.send("anybody?")
            assert client.receive() == "here"
            client.close()
    with (
        socket.create_server(("127.0.0.1", gateway.port)),
        pytest.raises(ConfigurationError, match="cannot listen"),
        running(gateway),
    ):
        pass


# --- aiohttp --------------------------------------------------------------------------------


async def _talk(url: str) -> list[Any]:
    seen: list[Any] = []
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "?token=1", protocols=["v1"]) as ws:
            seen.append(ws.protocol)
            await ws.send_str('{"event":"pusher:ping"}')
            seen.append(json.loads(await ws.receive_str())["event"])
            await ws.send_bytes(b"binary")
            message = await ws.receive()
            seen.append((message.type, ws.close_code))
        try:
            await session.ws_connect(url + "/app/KEY")
        except aiohttp.WSServerHandshakeError as error:
            seen.append(error.status)
    return seen


def test_an_aiohttp_client(pinged: Any) -> None:
    headers = {"Sec-WebSocket-Protocol": "v1"}
    pinged.handler.on["$connect"] = {"statusCode": 200, "headers": headers}
    assert asyncio.run(_talk(pinged.gateway.websocket_url)) == [
        "v1",
        "pusher:pong",
        (aiohttp.WSMsgType.CLOSE, 1003),
        403,
    ]
