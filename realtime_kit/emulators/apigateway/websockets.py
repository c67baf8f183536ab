"""The WebSocket API of the gateway: handshakes, messages to functions, ends.

Sources: "Overview of WebSocket APIs in API Gateway", "Manage connected users and client apps:
$connect and $disconnect routes", "Invoke your backend integration".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from realtime_kit.emulators.apigateway import answers, documents
from realtime_kit.emulators.apigateway.connection import Connection
from realtime_kit.emulators.apigateway.documents import Client
from realtime_kit.emulators.apigateway.functions import Function
from realtime_kit.emulators.apigateway.log import metered
from realtime_kit.emulators.apigateway.protocol import raw_headers, watch
from realtime_kit.emulators.apigateway.routes import CONNECT, DISCONNECT, Selection
from realtime_kit.emulators.apigateway.runtime import Runtime
from realtime_kit.hosting.apigateway.bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Mock:
    """A MOCK integration: `body` is its answer, and no function runs. It reaches the client where
    the route is two-way."""

    body: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """`two_way`: there is a route response, so the answer's body goes back to the client. AWS's own
    frames about failures go back in any case."""

    target: Function | Mock
    two_way: bool = False


Routes = Mapping[str, Route | Function | Mock]


class WebSocketApi:
    """Connections by id, and what their clients do."""

    def __init__(self, runtime: Runtime, routes: Routes, selection: str) -> None:
        self.connections: dict[str, Connection] = {}
        self._runtime = runtime
        self._routes = {
            key: target if isinstance(target, Route) else Route(target)
            for key, target in routes.items()
        }
        self._selection = Selection(selection)
        self._connects = TokenBucket(runtime.quotas.connects, runtime.quotas.connects)

    # --- the handshake ----------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """A connection from its handshake to its end."""
        runtime = self._runtime
        client = Client(
            runtime.ids.short(),
            runtime.timeline.time(),
            request.remote or "",
            request.headers.get("User-Agent"),
        )
        connection = Connection(client, runtime.quotas, self)
        status, chosen = self._refuse(request, path), None
        if status is None:
            watch(request, connection)
            status, chosen = await self._connect(connection, request, query)
        if not 200 <= status < 300:
            runtime.record("refused", client.connection_id, status=status)
            return self._refusal(status, client.connection_id)
        # Frames are parsed here, and as they are: no browser may be told that they can be packed.
        websocket = web.WebSocketResponse(
            protocols=() if chosen is None else (chosen,), compress=False
        )
        if chosen is not None:
            websocket.headers["Sec-WebSocket-Protocol"] = chosen
        transport = request.transport
        try:
            await websocket.prepare(request)
        except ConnectionError:  # the client did not wait, and $connect does not know
            transport = None
        self._accept(connection, transport)
        await connection.lost
        return websocket

    def _refuse(self, request: web.BaseRequest, path: str) -> int | None:
        """The status of a handshake that no function is asked about."""
        runtime = self._runtime
        if path.removesuffix("/") != f"/{runtime.stage}":
            return 403  # also with more of a path: there are no path parameters
        if len(request.raw_path) > runtime.quotas.url:
            return 414
        asked = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
        if not web.WebSocketResponse(protocols=asked).can_prepare(request):
            return 400
        if runtime.stopping:
            return 503
        if not self._connects.take(time.monotonic()) or not runtime.admit():
            return 429
        return None

    async def _connect(
        self, connection: Connection, request: web.BaseRequest, query: str
    ) -> tuple[int, str | None]:
        self.connections[connection.id] = connection  # known from now on, and answered with 410
        route = self._routes.get(CONNECT)
        if route is None or isinstance(route.target, Mock):
            return 200, None
        runtime = self._runtime
        now = runtime.timeline.time()
        event = documents.connect_event(
            runtime.api,
            connection.client,
            headers=raw_headers(request),
            query=query,
            request_id=runtime.ids.short(),
            trace=runtime.ids.trace(now),
            now=now,
        )
        outcome = await runtime.invoke(route.target, event, connection.id)
        status, chosen = answers.handshake(outcome)
        if not 200 <= status < 300:
            self.connections.pop(connection.id, None)
        return status, chosen

    def _refusal(self, status: int, connection_id: str) -> web.Response:
        response = web.Response(status=status)
        if status == 403:
            request_id = self._runtime.ids.short()
            response.text = answers.frame_error(answers.FORBIDDEN, connection_id, request_id)
            response.content_type = "application/json"
        response.force_close()  # what the socket brings is the connection's
        return response

    def _accept(self, connection: Connection, transport: asyncio.Transport | None) -> None:
        runtime = self._runtime
        runtime.usage.connections += 1
        runtime.record("connected", connection.id)
        if transport is None or connection.lost.done():
            self.on_end(connection, *answers.CUT_OFF)
            return
        if connection.gone:  # the gateway stops
            transport.abort()
            return
        self._limit(connection)
        connection.attach(transport)
        lag = runtime.faults.connect_lag
        if lag:
            runtime.loop.call_later(lag, self._open, connection)
        else:
            self._open(connection)

    def _open(self, connection: Connection) -> None:
        connection.open = not connection.gone

    # --- its life ---------------------------------------------------------------------------

    def on_active(self, connection: Connection) -> None:
        connection.last_active = self._runtime.timeline.time()

    def on_text(self, connection: Connection, text: str) -> None:
        runtime = self._runtime
        if connection.gone:
            return
        runtime.usage.messages_in += metered(len(text.encode()))
        if not self._break(connection):
            runtime.spawn(self._dispatch(connection, text))

    def on_violation(self, connection: Connection, code: int) -> None:
        self.close(connection, code, "")

    async def _dispatch(self, connection: Connection, body: str) -> None:
        """One message, concurrently with all others."""
        runtime = self._runtime
        request_id = runtime.ids.short()
        key = self._selection.route(body, self._routes)
        runtime.record("message", connection.id, route=key, body=body)
        response: str | None = None
        error: str | None = None
        if not runtime.admit():
            error = answers.TOO_MANY
        elif key is None:
            error = answers.FORBIDDEN
        else:
            response, error = await self._answer(connection, key, body, request_id)
        if error is not None:
            runtime.record("error", connection.id, message=error)
            response = answers.frame_error(error, connection.id, request_id)
        if response and not connection.gone:
            self.send(connection, response.encode())

    async def _answer(
        self, connection: Connection, key: str, body: str, request_id: str
    ) -> tuple[str | None, str | None]:
        """What a route answers a message: a body for the client, or the name of an error."""
        runtime = self._runtime
        route = self._routes[key]
        if isinstance(route.target, Mock):
            return (route.target.body if route.two_way else None), None
        event = documents.message_event(
            runtime.api,
            connection.client,
            route_key=key,
            body=body,
            request_id=request_id,
            message_id=runtime.ids.short(),
            now=runtime.timeline.time(),
        )
        outcome = await self._invoke(connection, route.target, event)
        response, error = answers.route_response(outcome)
        return (response if route.two_way else None), error

    async def _invoke(
        self, connection: Connection, function: Function, event: documents.Document
    ) -> answers.Outcome:
        runtime = self._runtime
        if runtime.faults.happens("hold_back"):
            runtime.record("fault", connection.id, fault="hold_back")
            await asyncio.sleep(runtime.faults.seconds("hold_back_seconds"))
        return await runtime.invoke(function, event, connection.id)

    def send(self, connection: Connection, data: bytes) -> None:
        """Send one message to the client."""
        runtime = self._runtime
        runtime.usage.messages_out += metered(len(data))
        if connection.vanished:
            return
        self.on_active(connection)
        runtime.record("sent", connection.id, size=len(data))
        if not self._break(connection):
            connection.send(data)

    def _break(self, connection: Connection) -> bool:
        """Whether the client's network gives way now."""
        faults = self._runtime.faults
        if faults.happens("cut"):
            self.cut(connection)
        elif faults.happens("vanish"):
            self.vanish(connection)
        else:
            return False
        return True

    # --- its end ----------------------------------------------------------------------------

    def close(self, connection: Connection, code: int, reason: str) -> None:
        """End it with a close frame."""
        if not connection.gone:
            connection.close(code, reason)
            self.on_end(connection, code, reason)

    def cut(self, connection: Connection) -> None:
        """End it without one: the client's network is gone."""
        self._runtime.record("fault", connection.id, fault="cut")
        connection.cut()
        self.on_end(connection, *answers.CUT_OFF)

    def vanish(self, connection: Connection) -> None:
        """The same, but that the gateway does not notice."""
        self._runtime.record("fault", connection.id, fault="vanish")
        connection.vanished = True
        connection.cut()

    def on_end(self, connection: Connection, code: int, reason: str) -> None:
        """From now on the answer for it is 410; `$disconnect` is invoked, once."""
        if connection.gone:
            return
        connection.gone, connection.open = True, False
        for timer in connection.timers:
            timer.cancel()
        del self.connections[connection.id]
        runtime = self._runtime
        runtime.usage.connection_seconds += runtime.timeline.time() - connection.client.connected_at
        runtime.record("closed", connection.id, code=code, reason=reason)
        route = self._routes.get(DISCONNECT)
        if route is None or isinstance(route.target, Mock) or runtime.stopping:
            return
        if runtime.faults.happens("lose_disconnect"):
            runtime.record("disconnect", connection.id, outcome="lost")
            return
        again = runtime.faults.happens("repeat_disconnect")
        runtime.record("disconnect", connection.id, outcome="repeated" if again else "sent")
        for _ in range(2 if again else 1):
            event = documents.disconnect_event(
                runtime.api,
                connection.client,
                code=code,
                reason=reason,
                request_id=runtime.ids.short(),
                now=runtime.timeline.time(),
            )
            runtime.spawn(self._invoke(connection, route.target, event))

    def _limit(self, connection: Connection) -> None:
        """Set the two limits that no connection escapes."""
        timeline, quotas = self._runtime.timeline, self._runtime.quotas

        def end() -> None:
            self.close(connection, *answers.GOING_AWAY)

        def check_idle() -> None:
            due = connection.last_active + quotas.idle
            if due <= timeline.time():
                end()
            else:
                connection.timers[0] = timeline.call_at(due, check_idle)

        connected = connection.client.connected_at
        connection.timers = [
            timeline.call_at(connected + quotas.idle, check_idle),
            timeline.call_at(connected + quotas.life, end),
        ]
