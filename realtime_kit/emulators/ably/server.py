"""Ably on this machine: REST and realtime on one port.

with running(AblyEmulator()) as emulator:
    print(emulator.url, emulator.keys[0])
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TypeVar

from realtime_kit.errors import ConfigurationError, missing_extra

try:
    from aiohttp import web
except ImportError as error:
    raise missing_extra("emulators", "Ably's emulator") from error
try:
    import msgpack  # noqa: F401 - wanted by wire.py
except ImportError as error:
    raise missing_extra("emulators", "Ably's emulator") from error

from realtime_kit.emulators.ably import rest
from realtime_kit.emulators.ably.app import Key, Namespace
from realtime_kit.emulators.ably.client_socket import CLOSE_SECONDS, ClientSocket
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.faults import Faults
from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.options import DEFAULT_KEY
from realtime_kit.emulators.ably.rest_http import Call
from realtime_kit.emulators.ably.world import World
from realtime_kit.emulators.log import Entry, Log
from realtime_kit.settings import is_loopback

T = TypeVar("T")

SCRIPT_PATH = "/ably.min.js"
_MAX_BODY = 4 * 1024 * 1024
_STOP_SECONDS = 3.0
_TICK = 0.001
_GOING_AWAY = AblyError(80003, 503, "The emulator is stopping")
_SECRET = frozenset({"key", "access_token", "accessToken", "resume", "recover"})


class AblyEmulator:
    """The apps of `keys` (`APPID.KEYID:SECRET`; an app id has six characters), each with
    `namespaces`. `port` 0 takes a free one. `tls`: serve `https` and `wss` with this context.
    `seed` makes ids repeatable. `script`: a build of ably-js, to be had at `script_url` by pages.

    `faults` may be changed, `log` be read, at any time. The kinds of the log: `connect` (params),
    `in` and `out` (action, channel, frame), `closed`, `request` (method, path, status), `fault`
    (fault, way). `call`, `advance` and `drop` are for other threads than that of the loop, as with
    `running`.
    """

    def __init__(
        self,
        keys: Iterable[str | Key] = (DEFAULT_KEY,),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        namespaces: Iterable[Namespace] = (),
        limits: Limits | None = None,
        faults: Faults | None = None,
        seed: int | None = None,
        script: Path | None = None,
        log: Log | None = None,
    ) -> None:
        parsed = _parsed(keys)
        self.keys = tuple(key.text for key in parsed)
        if DEFAULT_KEY in self.keys and not is_loopback(host):
            raise ConfigurationError(
                f"on {host} others can reach the emulator: give a key of your own, "
                "or listen on 127.0.0.1"
            )
        self.host = host
        self.port = port
        self.faults = faults or Faults()
        self.log = Log() if log is None else log
        self._script = script
        self._tls = tls
        self._ahead = 0
        random = SystemRandom() if seed is None else Random(seed)  # noqa: S311 - for tests
        self.world = World(parsed, clock=self._now, random=random, limits=limits)
        for app in self.world.apps.values():
            app.namespaces.update({namespace.id: namespace for namespace in namespaces})
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._listener: asyncio.AbstractServer | None = None
        self._http: web.Server | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self.host}:{self.port}"

    @property
    def script_url(self) -> str | None:
        return None if self._script is None else self.url + SCRIPT_PATH

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` if the port cannot be had."""
        self._loop = loop = asyncio.get_running_loop()
        self._http = web.Server(
            self._serve, request_factory=_request_factory(loop), access_log=None
        )
        try:
            self._listener = await loop.create_server(
                self._http, self.host, self.port, ssl=self._tls
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self.host} port {self.port}: {error.strerror or error}"
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self.world.timers.changed = self._arm
        self._arm()

    async def stop(self) -> None:
        """Send clients away, to come back, and let go of the port."""
        if self._listener is None or self._http is None:
            return
        self._listener.close()
        self.world.timers.changed = lambda: None
        if self._alarm is not None:
            self._alarm.cancel()
        for app in self.world.apps.values():
            for connection in list(app.connections.values()):
                connection.disconnect(_GOING_AWAY)
        self._http.pre_shutdown()
        await self._http.shutdown(_STOP_SECONDS)
        await self._listener.wait_closed()
        self._listener = self._http = self._loop = None

    # --- for tests --------------------------------------------------------------------------

    def call(self, function: Callable[[World], T]) -> T:
        """What the function answers, called with all that the emulator knows, in its thread."""
        if self._loop is None:
            return function(self.world)

        async def work() -> T:
            return function(self.world)

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once: what is due happens, in order."""

        def jump(world: World) -> None:
            end = self._now() + int(seconds * 1000)
            while (due := world.timers.next_due) is not None and due <= end:
                self._ahead += max(0, due - self._now())
                world.timers.run()
            self._ahead += max(0, end - self._now())
            self._arm()

        self.call(jump)

    def drop(self, connection_id: str) -> None:
        """The network of a connection is gone. Raises `KeyError`."""

        def cut(world: World) -> None:
            for app in world.apps.values():
                if connection_id in app.connections:
                    socket = app.connections[connection_id].socket
                    if isinstance(socket, ClientSocket):
                        socket.abort()
                    return
            raise KeyError(connection_id)

        self.call(cut)

    # --- time -------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(time.time() * 1000) + self._ahead

    def _arm(self) -> None:
        """Wake up when the next timer is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.world.timers.next_due
        if self._loop is not None and due is not None:
            wait = max(0, due - self._now()) / 1000
            self._alarm = self._loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.world.timers.run()
        self._arm()

    # --- requests ---------------------------------------------------------------------------

    def _write(self, kind: str, connection_id: str | None, detail: Mapping[str, Any]) -> None:
        self.log.add(Entry(self._now() / 1000, kind, connection_id, detail))

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_websocket(request)
        if self._script is not None and request.path == SCRIPT_PATH:
            text = self._script.read_bytes()
            return web.Response(body=text, content_type="text/javascript", charset="utf-8")
        return await self._serve_rest(request)

    async def _serve_websocket(self, request: web.BaseRequest) -> web.StreamResponse:
        params = dict(request.query)
        shown = {name: "…" if name in _SECRET else value for name, value in params.items()}
        self._write("connect", None, {"params": shown})
        websocket = web.WebSocketResponse(
            timeout=CLOSE_SECONDS, max_msg_size=_MAX_BODY, compress=False
        )
        try:
            await websocket.prepare(request)
        except ConnectionResetError:
            return web.Response()  # to nobody: the client was gone before it began
        transport = request.transport
        if transport is not None:
            client = ClientSocket(
                self.world, websocket, transport, params, self.faults, self._write
            )
            await client.serve()
        return websocket

    async def _serve_rest(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        call = Call(self.world, _pure(request, path, query, body))
        answer: rest.Response | None = None
        for rule in self.faults.of("request", path=path):
            self._write("fault", None, {"fault": rule.fault, "way": "request", "path": path})
            if rule.fault == "delay":
                await asyncio.sleep(rule.seconds)
            else:
                answer = call.refuse(rule.error)
                if rule.fault == "drop" and request.transport is not None:
                    request.transport.abort()
        if answer is None and path == "/time":
            answer = await self._time(call)
        answer = answer or rest.handle(self.world, call.request)
        shown = {"method": request.method, "path": path, "status": answer.status}
        self._write("request", None, shown)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response

    async def _time(self, call: Call) -> rest.Response:
        """What a client asked for before is earlier than this, and what it asks for next is later,
        as over a network: `start` and `end` of a history are such times, and it includes both."""
        await self._later_than(self._now())
        answer = rest.handle(self.world, call.request)
        await self._later_than(self._now())
        return answer

    async def _later_than(self, moment: int) -> None:
        # Again, because a sleep is measured by another clock; and no event tells of this one.
        while self._now() <= moment:  # noqa: ASYNC110
            await asyncio.sleep(_TICK)


def _parsed(keys: Iterable[str | Key]) -> list[Key]:
    try:
        parsed = [key if isinstance(key, Key) else Key.parse(key) for key in keys]
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if len({key.name for key in parsed}) < len(parsed):
        raise ConfigurationError("two keys have the same APPID.KEYID")
    return parsed


def _pure(request: web.BaseRequest, path: str, query: str, body: bytes) -> rest.Request:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return rest.Request(request.method, path, query, headers, body, secure=request.secure)


def _request_factory(loop: asyncio.AbstractEventLoop) -> Any:
    def make(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY
        )

    return make
