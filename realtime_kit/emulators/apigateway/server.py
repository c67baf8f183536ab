"""API Gateway on this machine, with the functions, the queues and the schedules around it.

ws://HOST:PORT/STAGE                      the WebSocket API
http://HOST:PORT/STAGE/@connections/ID    what functions do to connections
http://HOST:PORT/…                        the HTTP API
http://HOST:PORT/                         DynamoDB, SQS and Lambda, for AWS_ENDPOINT_URL
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from realtime_kit.errors import ConfigurationError, missing_extra

try:
    from aiohttp import web
except ImportError as error:
    raise missing_extra("emulators", "the API Gateway emulator") from error

from realtime_kit.emulators.apigateway import documents
from realtime_kit.emulators.apigateway.answers import GOING_AWAY
from realtime_kit.emulators.apigateway.connection import CLOSE_SECONDS, Connection, Quotas
from realtime_kit.emulators.apigateway.faults import Faults
from realtime_kit.emulators.apigateway.functions import Function
from realtime_kit.emulators.apigateway.http_api import HttpApi
from realtime_kit.emulators.apigateway.log import Log, Usage
from realtime_kit.emulators.apigateway.management import ManagementApi, Verifier
from realtime_kit.emulators.apigateway.protocol import GatewayHttp, split_path
from realtime_kit.emulators.apigateway.queues import Queue
from realtime_kit.emulators.apigateway.runtime import Runtime
from realtime_kit.emulators.apigateway.services import Services
from realtime_kit.emulators.apigateway.websockets import Mock, Route, Routes, WebSocketApi
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.settings import is_loopback

T = TypeVar("T")

_BACKLOG = 4_096
_GRACE = 5.0  # real seconds for functions under way when the gateway stops
_HTTP_GRACE = 1.0
_MAX_BODY = 10 * 1024 * 1024  # "Quotas for configuring and running an HTTP API": the payload


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function that is invoked every so many emulated seconds, as by EventBridge."""

    every: float
    function: Function
    name: str = "sweep"


class ApiGateway:
    """The gateway of one deployment.

    `websocket` maps route keys to functions, `Mock`s or `Route`s, `http` keys such as
    `POST /realtime/auth` to functions. `db` is the table. `port` 0 takes a free one. With
    `credentials`, requests to `@connections`, the queues, the functions and the table must be
    signed with them; on an address that others can reach they are required. `speed` is how fast
    emulated time runs: 60 makes the idle limit of ten minutes ten seconds, 0 leaves it to
    `advance`. `seed` makes ids repeatable (faults have their own).

    `faults` may be changed, `log` and `usage` be read, at any time. `settle`, `advance`, `cut`,
    `vanish` and `kill` are for other threads than that of the loop, as with `running`.
    """

    def __init__(
        self,
        websocket: Routes,
        *,
        http: Mapping[str, Function] | None = None,
        queues: Iterable[Queue] = (),
        schedules: Iterable[Schedule] = (),
        db: DynamoDB | None = None,
        selection: str = "$request.body.event",
        stage: str = "dev",
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "us-east-1",
        credentials: Credentials | None = None,
        quotas: Quotas | None = None,
        faults: Faults | None = None,
        speed: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if credentials is None and not is_loopback(host):
            raise ConfigurationError(
                f"on {host} others can reach the emulator: give credentials, or listen on 127.0.0.1"
            )
        self.host = host
        self.port = port
        self.stage = stage
        self.queues = {queue.name: queue for queue in queues}
        self._schedules = tuple(schedules)
        self._runtime = runtime = Runtime(
            region=region,
            stage=stage,
            speed=speed,
            quotas=quotas or Quotas(),
            faults=faults or Faults(),
            seed=seed,
        )
        self._websockets = WebSocketApi(runtime, websocket, selection)
        self._http_api = HttpApi(runtime, http or {})
        verifier = Verifier("execute-api", region, credentials)
        self._management = ManagementApi(runtime, self._websockets, verifier)
        targets: list[Function | Mock] = [
            *(route.target if isinstance(route, Route) else route for route in websocket.values()),
            *(http or {}).values(),
            *(queue.function for queue in self.queues.values()),
            *(schedule.function for schedule in self._schedules),
        ]
        self._services = Services(
            runtime,
            queues=self.queues,
            functions={each.name: each for each in targets if isinstance(each, Function)},
            db=db,
            credentials=credentials,
        )
        self._http: web.Server | None = None
        self._listener: asyncio.AbstractServer | None = None
        for queue in self.queues.values():
            queue.attach(runtime)

    # --- where and what it is ---------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the HTTP API, and what `AWS_ENDPOINT_URL` is for functions."""
        return f"http://{self.host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://{self.host}:{self.port}/{self.stage}"

    @property
    def endpoint(self) -> str:
        """Of `@connections`: what SDKs call the endpoint URL."""
        return f"{self.url}/{self.stage}"

    def queue_url(self, name: str) -> str:
        """The URL by which SDKs send to a queue."""
        return self._services.queue_url(name)

    @property
    def connections(self) -> list[str]:
        """The ids of the connections that the gateway knows."""
        return list(self._websockets.connections)

    @property
    def faults(self) -> Faults:
        return self._runtime.faults

    @property
    def log(self) -> Log:
        return self._runtime.log

    @property
    def usage(self) -> Usage:
        return self._runtime.usage

    def time(self) -> float:
        """Emulated seconds since 1970: a clock for handlers that measure ages of connections."""
        return self._runtime.timeline.time()

    # --- start and stop ---------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` if the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._http = GatewayHttp(
            self._serve, request_factory=_request_factory(loop), access_log=None
        )
        try:
            self._listener = await loop.create_server(
                self._http, self.host, self.port, backlog=_BACKLOG
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self.host} port {self.port}: {error.strerror or error}"
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        self._runtime.start(f"{self.host}:{self.port}")
        for schedule in self._schedules:
            self._schedule(schedule)

    async def stop(self) -> None:
        """End connections (1001, without `$disconnect`) and functions, and let go of the port."""
        if self._listener is None or self._http is None:
            return
        runtime = self._runtime
        runtime.stopping = True
        open_now = list(self._websockets.connections.values())
        for connection in open_now:
            self._websockets.close(connection, *GOING_AWAY)
        await runtime.end(_GRACE)
        self._listener.close()  # only now: functions that ended may have needed it
        if lost := [connection.lost for connection in open_now]:
            await asyncio.wait(lost, timeout=CLOSE_SECONDS + 1)
        self._http.pre_shutdown()
        await self._http.shutdown(_HTTP_GRACE)
        await self._listener.wait_closed()
        runtime.stop()
        self._listener = self._http = None

    # --- for tests --------------------------------------------------------------------------

    def settle(self, deadline: float = 10.0) -> None:
        """Wait until no function runs and no message is under way to one. Raises `TimeoutError`
        after `deadline` real seconds."""
        self._in_loop(self._runtime.settle(deadline))

    def advance(self, seconds: float, *, deadline: float = 10.0) -> None:
        """Let emulated seconds pass: what is due happens in order, each thing to its end."""
        self._in_loop(self._advance(seconds, deadline))

    def cut(self, connection_id: str) -> None:
        """The client's network is gone: no close frame, `$disconnect` with 1006."""
        self._in_loop(self._with(connection_id, self._websockets.cut))

    def vanish(self, connection_id: str) -> None:
        """The client is gone and the gateway does not notice: 200 for what is posted to it, until
        a limit ends it."""
        self._in_loop(self._with(connection_id, self._websockets.vanish))

    def kill(self, function: str) -> None:
        """Kill what runs of the function of this name."""
        self._runtime.kill(function)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._runtime.loop).result()

    async def _with(self, connection_id: str, act: Callable[[Connection], object]) -> None:
        act(self._websockets.connections[connection_id])

    async def _advance(self, seconds: float, deadline: float) -> None:
        timeline = self._runtime.timeline
        end = timeline.time() + seconds
        await self._runtime.settle(deadline)
        while (due := timeline.next_due) is not None and due <= end:
            timeline.jump(due)
            timeline.run_due()
            await self._runtime.settle(deadline)
        timeline.jump(end)

    # --- requests and schedules -------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, query = split_path(request)
        if self._management.serves(path):
            return await self._management.serve(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websockets.serve(request, path, query)
        if self._services.serves(request):
            return await self._services.serve(request)
        return await self._http_api.serve(request)

    def _schedule(self, schedule: Schedule) -> None:
        def run() -> None:
            self._schedule(schedule)
            self._invoke_scheduled(schedule)

        self._runtime.timeline.call_later(schedule.every, run)

    def _invoke_scheduled(self, schedule: Schedule) -> None:
        runtime = self._runtime
        event = documents.scheduled_event(
            rule=schedule.name,
            event_id=runtime.ids.uuid(),
            region=runtime.region,
            now=runtime.timeline.time(),
        )
        runtime.invoke_async(schedule.function, event)


def _request_factory(loop: asyncio.AbstractEventLoop) -> Any:
    def make(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY
        )

    return make
