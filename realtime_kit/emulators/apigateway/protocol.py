"""aiohttp's HTTP protocol, and the way past it for what a handshake has opened."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from aiohttp import web


class Taker(Protocol):
    """Who takes over a socket."""

    def on_data(self, data: bytes) -> None: ...

    def on_lost(self) -> None: ...


class GatewayProtocol(web.RequestHandler):
    """Hands everything to `taker`, once there is one."""

    __slots__ = ("taker",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.taker: Taker | None = None

    def data_received(self, data: bytes) -> None:
        if self.taker is None:
            super().data_received(data)
        else:
            self.taker.on_data(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.taker is not None:
            self.taker.on_lost()


class GatewayHttp(web.Server):
    def __call__(self) -> web.RequestHandler:
        return GatewayProtocol(self, loop=self._loop, **self._kwargs)


def watch(request: web.BaseRequest, taker: Taker) -> None:
    """From now on the socket's bytes are `taker`'s."""
    protocol = request.protocol
    if not isinstance(protocol, GatewayProtocol):
        raise TypeError("not a request of the gateway")
    protocol.taker = taker


def raw_headers(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The headers as they were sent, in their own case."""
    return [(name.decode("latin-1"), text.decode("latin-1")) for name, text in request.raw_headers]


def split_path(request: web.BaseRequest) -> tuple[str, str]:
    """Path and query as they were sent."""
    path, _, query = request.raw_path.partition("?")
    return path, query


@contextmanager
def duplicate(transport: asyncio.Transport | None) -> Iterator[socket.socket | None]:
    """A transport's socket once more, to be shut without the loop."""
    if transport is None or transport.is_closing():
        yield None
        return
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as copy:
        yield copy
