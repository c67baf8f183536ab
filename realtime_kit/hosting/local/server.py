"""The embedded server: the Pusher Channels protocol on one port, without an account.

ws://HOST:PORT/app/KEY       browsers: pusher-js, Laravel Echo and the like
http://HOST:PORT/apps/ID/…   server SDKs
http://HOST:PORT/up          health
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from realtime_kit.errors import ConfigurationError, missing_extra

try:
    from aiohttp import web
except ImportError as error:
    raise missing_extra("server", "the embedded server") from error

from realtime_kit.hosting.local.client_socket import Bounds, ClientSocket
from realtime_kit.hosting.local.driver import MemoryDriver
from realtime_kit.hosting.local.webhooks import WebhookSender
from realtime_kit.hosting.local.wire import text_frame
from realtime_kit.protocol import frames, http_api
from realtime_kit.protocol.app import App, Apps
from realtime_kit.settings import DEVELOPMENT_KEY, DEVELOPMENT_SECRET, is_loopback

_log = logging.getLogger("realtime_kit.server")

OnWebhook = Callable[[App, Mapping[str, Any]], object]

_BACKLOG = 4_096
_GRACE = 1.0  # seconds for requests under way when the server stops
_SOCKET_PATH = re.compile(r"(?:/.*)?/app/([^/]+)/?")


class LocalServer:
    """The embedded server of some apps.

    `port` 0 takes a free one. `on_webhook(app, event)` is called in the server's loop with each
    webhook event, in the provider's own shape, and must not block; `webhook_url` is posted the same
    events, signed. `ssl_context` makes it `wss://` and `https://`. `bounds` is what a client may
    take. Raises `ConfigurationError` where the published development credentials would be reachable
    from other machines.
    """

    def __init__(
        self,
        apps: Iterable[App],
        *,
        host: str = "127.0.0.1",
        port: int = 6001,
        on_webhook: OnWebhook | None = None,
        webhook_url: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._apps = Apps(apps)
        if not list(self._apps):
            raise ConfigurationError("the embedded server needs an app: ID:KEY:SECRET")
        _refuse_published(self._apps, host)
        self.host = host
        self.port = port
        self._on_webhook = on_webhook
        self._sender = WebhookSender(webhook_url) if webhook_url else None
        self._ssl_context = ssl_context
        self._bounds = bounds or Bounds()
        self._max_frame = 4 * max(frames.max_frame(app.limits) for app in self._apps)
        self._drivers: dict[str, MemoryDriver] = {}
        self._clients: set[ClientSocket] = set()
        self._gone = asyncio.Event()  # no client is there
        self._stopping = False
        self._http: web.Server | None = None
        self._listener: asyncio.AbstractServer | None = None

    @property
    def url(self) -> str:
        """Of the HTTP API; the WebSocket's is the same with `ws`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self._ssl_context else ''}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """Open WebSockets."""
        return len(self._clients)

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` if the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._stopping = False
        self._gone = asyncio.Event()
        self._gone.set()
        for app in self._apps:
            self._drivers[app.id] = MemoryDriver(
                app,
                encode=text_frame,
                clock=loop.time,
                call_later=loop.call_later,
                notify=partial(self._notify, app),
            )
        # No SDK compresses; what is not unpacked cannot burst.
        self._http = _Http(self._answer, access_log=None, auto_decompress=False)
        try:
            self._listener = await loop.create_server(
                self._http, self.host, self.port, ssl=self._ssl_context, backlog=_BACKLOG
            )
        except OSError as error:
            raise ConfigurationError(_why_not(error, self.host, self.port)) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        if self._sender is not None:
            self._sender.start()

    async def stop(self) -> None:
        """Send every client away, to come straight back to whoever listens then, and let go."""
        if self._listener is None or self._http is None:
            return
        self._stopping = True
        self._listener.close()
        for client in list(self._clients):
            client.send_away()  # each has its deadline
        # Only then: once aiohttp shuts down it reads no more, not even what answers a close.
        await self._gone.wait()
        self._http.pre_shutdown()
        await self._http.shutdown(_GRACE)
        await self._listener.wait_closed()
        for driver in self._drivers.values():
            driver.close()
        if self._sender is not None:
            await self._sender.stop()
        self._drivers.clear()
        self._listener = self._http = None

    def _notify(self, app: App, event: Mapping[str, Any]) -> None:
        if self._sender is not None:
            self._sender.send(app, event)
        if self._on_webhook is not None:
            try:
                self._on_webhook(app, event)
            except Exception:  # the application's code: its failure is not a client's
                _log.exception("on_webhook failed for %s", event.get("name"))

    # --- requests ---------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_client(request, path)
        if path.startswith("/apps/"):
            return await self._answer_api(request, path, query)
        if request.method not in ("GET", "HEAD"):
            return _text(404, "404 NOT FOUND")
        if path == "/up":
            return web.json_response({"status": "ok", "connections": self.connections})
        if path == "/":
            return _text(200, _PAGE.format(url=self.url, ws=self.url.replace("http", "ws", 1)))
        if _SOCKET_PATH.fullmatch(path):
            return _text(426, "this is a WebSocket: connect with ws://", Upgrade="websocket")
        return _text(404, "404 NOT FOUND")

    async def _answer_api(
        self, request: web.BaseRequest, path: str, query: str
    ) -> web.StreamResponse:
        body = await request.read()
        answer = http_api.respond(
            self._apps,
            http_api.Request(request.method, path, query, request.headers, body),
            time.time(),
            lambda app: self._drivers[app.id].perform,
        )
        if answer.status >= 400:  # without the query, which is signed
            why = answer.body.decode().rstrip()
            _log.warning("%s %.200s: %d %.400r", request.method, path, answer.status, why)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _serve_client(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        websocket = web.WebSocketResponse(
            max_msg_size=self._max_frame, autoping=False, autoclose=False, compress=False
        )
        await websocket.prepare(request)
        protocol, transport = request.protocol, request.transport
        if transport is None or not isinstance(protocol, _Protocol):
            return websocket  # it was gone before it began
        client = ClientSocket(websocket, transport, _socket_id(), self._bounds)
        protocol.on_pause = client.cut_off
        self._clients.add(client)
        self._gone.clear()
        try:
            self._open(client, path, request.rel_url.query)
            await client.serve()
        finally:
            self._clients.discard(client)
            if not self._clients:
                self._gone.set()
        return websocket

    def _open(self, client: ClientSocket, path: str, query: Mapping[str, str]) -> None:
        found = _SOCKET_PATH.fullmatch(path)
        if self._stopping:
            client.send_away()
        elif found is None:
            client.refuse(4005, "Path not found")
        else:
            key = unquote(found[1])
            app = self._apps.by_key(key)
            client.open(None if app is None else self._drivers[app.id], key, query)


class _Protocol(web.RequestHandler):
    """aiohttp's HTTP protocol; `on_pause` is called when the transport holds too much unread."""

    __slots__ = ("on_pause",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.on_pause: Callable[[], None] | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.on_pause is not None:
            self.on_pause()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        gone = isinstance(exc, ConnectionError)
        if status >= 500 and not gone:
            return super().handle_error(request, status, exc, message)
        # What is not HTTP deserves a line and no traceback; who left in the middle, not even that.
        level = logging.DEBUG if gone else logging.WARNING
        _log.log(level, "bad request: %.200s", (message or repr(exc)).partition("\n")[0])
        answer = _text(400, "400 BAD REQUEST")
        answer.force_close()
        return answer


class _Http(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


_PAGE = """\
realtime-kit: the embedded server of the Pusher Channels protocol.

  WebSocket  {ws}/app/KEY
  HTTP API   {url}/apps/ID/events
  health     {url}/up
"""


def _text(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=text.rstrip("\n") + "\n", headers=headers)


def _socket_id() -> str:
    """Of the form that SDKs accept, and not to be guessed."""
    return f"{secrets.randbelow(1 << 31)}.{secrets.randbelow(1 << 31)}"


def _refuse_published(apps: Iterable[App], host: str) -> None:
    published = any(
        pair.key == DEVELOPMENT_KEY and pair.secret == DEVELOPMENT_SECRET
        for app in apps
        for pair in app.keys
    )
    if published and not is_loopback(host):
        raise ConfigurationError(
            f"the published development credentials on {host} would let anybody in: "
            "give an app of your own with --app ID:KEY:SECRET, or listen on 127.0.0.1"
        )


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: end the server that has it, or choose another "
            "with --port or REALTIME_PORT"
        )
    return f"cannot listen on {host} port {port}: {error.strerror or error}"
