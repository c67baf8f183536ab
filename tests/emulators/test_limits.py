"""Sizes, ages and rates."""

from __future__ import annotations

import socket as sockets
from collections.abc import Callable
from typing import Any

import pytest
import websocket
from websocket import ABNF

from realtime_kit.emulators.apigateway import Quotas

KB = 1024
Start = Callable[..., Any]


def fragment(data: str, opcode: int, *, last: bool) -> ABNF:
    return ABNF(int(last), 0, 0, 0, opcode, 1, data)


def test_a_message_of_128_kb_in_frames_of_32(site: Any) -> None:
    client = site.client()
    part = "x" * 32 * KB
    for at in range(4):
        opcode = ABNF.OPCODE_CONT if at else ABNF.OPCODE_TEXT
        client.socket.send_frame(fragment(part, opcode, last=at == 3))
    assert len(site.handler.wait("MESSAGE")["body"]) == 128 * KB
    site.gateway.settle()
    assert site.gateway.usage.messages_in == 4  # billed by 32 KB


def test_a_message_of_more(site: Any) -> None:
    client = site.client()
    part = "x" * 32 * KB
    for at in range(5):
        opcode = ABNF.OPCODE_CONT if at else ABNF.OPCODE_TEXT
        client.socket.send_frame(fragment(part, opcode, last=at == 4))
    assert client.closed() == (1009, "")
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1009


def test_a_frame_of_more_than_32_kb(site: Any) -> None:
    client = site.client()
    client.send("before")
    client.send("x" * (32 * KB + 1))
    assert client.closed() == (1009, "")
    site.handler.wait("DISCONNECT")
    site.gateway.settle()
    assert [event["body"] for event in site.handler.events("MESSAGE")] == ["before"]


def test_a_binary_message(site: Any) -> None:
    client = site.client()
    client.socket.send_binary(b"binary")
    assert client.closed() == (1003, "")
    assert site.handler.wait("DISCONNECT")["requestContext"]["disconnectStatusCode"] == 1003
    assert site.handler.events("MESSAGE") == []


def test_an_end_after_ten_idle_minutes(still: Any) -> None:
    client = still.client()
    still.gateway.advance(599)
    assert len(still.gateway.connections) == 1
    still.gateway.advance(1)
    assert client.closed() == (1001, "Going away")
    context = still.handler.events("DISCONNECT")[0]["requestContext"]
    assert context["disconnectStatusCode"] == 1001
    assert context["disconnectReason"] == "Going away"
    assert context["requestTimeEpoch"] - context["connectedAt"] == pytest.approx(600_000, abs=1)
    assert still.gateway.usage.connection_seconds == pytest.approx(600)


def test_messages_either_way_keep_it(still: Any) -> None:
    client, connection_id = still.connect()
    management = still.management()
    for _ in range(3):
        still.gateway.advance(599)
        client.send("here")
        still.gateway.log.wait("message", count=_ + 1)
        still.gateway.advance(599)
        management.post_to_connection(ConnectionId=connection_id, Data=b"there")
        assert client.receive() == "there"
    assert len(still.gateway.connections) == 1


def test_an_end_after_two_hours_whatever_happens(still: Any) -> None:
    client = still.client()
    for minute in range(0, 120, 5):
        assert len(still.gateway.connections) == 1, minute
        client.socket.ping()
        client.socket.recv_data(control_frame=True)
        still.gateway.advance(300)
    assert client.closed() == (1001, "Going away")


def test_an_hour_in_a_second(start: Start) -> None:
    site = start(speed=3600, quotas=Quotas(idle=600))
    client = site.client()
    assert client.closed() == (1001, "Going away")  # after a sixth of a second
    assert site.gateway.usage.connection_seconds >= 600


def test_the_account_s_rate(start: Start) -> None:
    site = start(quotas=Quotas(rate=0.001, burst=3))
    client, connection_id = site.connect()  # the first
    management = site.management()
    management.post_to_connection(ConnectionId=connection_id, Data=b"second")
    assert client.receive() == "second"
    client.send("third")
    site.gateway.log.wait("message")
    client.send("fourth")
    assert client.receive_json()["message"] == "Too Many Requests"
    with pytest.raises(management.exceptions.LimitExceededException):
        management.post_to_connection(ConnectionId=connection_id, Data=b"fifth")
    with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
        site.client()


def test_a_client_that_does_not_read(start: Start) -> None:
    site = start(quotas=Quotas(unread=64 * KB))
    options = [(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)]
    _, connection_id = site.connect(sockopt=options)
    management = site.management()

    def post(times: int) -> None:
        for _ in range(times):
            management.post_to_connection(ConnectionId=connection_id, Data=b"x" * 128 * KB)

    with pytest.raises(management.exceptions.LimitExceededException):
        post(times=1_000)
    assert len(site.gateway.log.of("sent")) > 0
    with pytest.raises(management.exceptions.LimitExceededException):  # until it reads
        post(times=1)
