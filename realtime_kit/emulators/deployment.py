"""A whole deployment of provider `aws` on this machine: the functions that are passed in, between
the API Gateway emulator, a queue, a schedule, and DynamoDB."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from realtime_kit.emulators.apigateway import (
    ApiGateway,
    Function,
    Mock,
    Queue,
    Route,
    Schedule,
    running,
)
from realtime_kit.hosting.apigateway.dynamodb import DynamoDB
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.protocol.frames import PONG

FUNCTIONS = ("trigger", "websocket", "fanout", "sweep")
API = {"trigger": ("GET /apps/{proxy+}", "POST /apps/{proxy+}")}
# What clients and other services call; the application has it where it is not deployed.
ENDPOINTS = {
    "auth": (
        "POST /realtime/auth",
        "POST /realtime/user-auth",
        "GET /realtime/config",
        "GET /realtime/events",
        "POST /realtime/events",
        "GET /realtime/client/{file+}",
    ),
    "trigger": ("POST /realtime/trigger",),
}
REGION = "us-east-1"

_numbers = itertools.count(1)  # moto's tables are the process's

Handlers = Mapping[str, Callable[..., Any]]
Load = Callable[[Mapping[str, str], Callable[[], float]], Handlers]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running one. `environ` is for an application that uses it, `function_environ` for its own
    functions."""

    gateway: ApiGateway
    queue: Queue
    environ: Mapping[str, str] = field(repr=False)  # with secrets
    function_environ: Mapping[str, str] = field(repr=False)

    @property
    def port(self) -> int:
        """Of the WebSocket API and of the HTTP API."""
        return self.gateway.port

    @property
    def ws_path(self) -> str:
        """What pusher-js calls `wsPath`."""
        return f"/{self.gateway.stage}?p="


@contextmanager
def deployed(
    db: DynamoDB,
    load: Load,
    *,
    environ: Mapping[str, str],
    endpoints: bool = False,
    visibility_timeout: float = 60.0,
    **options: Any,
) -> Iterator[Deployment]:
    """Run a deployment until the block ends.

    `load(environ, clock)` makes the handlers, by the names of `FUNCTIONS`, for this environment,
    which is `environ` (with `REALTIME_AWS__KEYS` at least) and the addresses; `clock` is emulated
    time, in seconds since 1970, for who needs it. With `endpoints` there is a handler `auth`, too,
    and what is below `/realtime` is served. `visibility_timeout` is the queue's; `options` are
    `ApiGateway`'s.
    """
    # Of this run alone: whoever has them may do to it what its functions may.
    credentials = Credentials("AKIAEMULATOR", secrets.token_hex(20))
    table = f"realtime-{next(_numbers)}"
    db.call("CreateTable", {"TableName": table, **TABLE})
    names = (*FUNCTIONS, "auth") if endpoints else FUNCTIONS
    functions = {name: Function(name, _nobody, timeout=29.0) for name in names}
    queue = Queue(
        "fanout", functions["fanout"], batch_size=1, visibility_timeout=visibility_timeout
    )
    gateway = _gateway(functions, queue, endpoints, db=db, credentials=credentials, **options)
    with running(gateway):
        outside = {
            **environ,
            "REALTIME_PROVIDER": "aws",
            "REALTIME_AWS__URL": gateway.url,
            "REALTIME_AWS__SOCKET": gateway.websocket_url,
        }
        inside = {**outside, **_inside(gateway, queue, table, credentials)}
        handlers = load(inside, gateway.time)
        for name, function in functions.items():
            function.handler = handlers[name]
        yield Deployment(gateway, queue, outside, inside)


def _gateway(
    functions: Mapping[str, Function], queue: Queue, endpoints: bool, **options: Any
) -> ApiGateway:
    """The routes, the queue and the schedule of `lambdas/packaging/aws.yml`."""
    served = [*API.items(), *(ENDPOINTS.items() if endpoints else ())]
    websocket = functions["websocket"]
    return ApiGateway(
        {
            "$connect": websocket,
            "$disconnect": websocket,
            "$default": websocket,
            "pusher:ping": Route(Mock(PONG), two_way=True),
        },
        http={route: functions[name] for name, routes in served for route in routes},
        queues=[queue],
        schedules=[Schedule(60.0, functions["sweep"])],
        region=REGION,
        **options,
    )


def _inside(
    gateway: ApiGateway, queue: Queue, table: str, credentials: Credentials
) -> dict[str, str]:
    """What functions are told beside what the application is."""
    return {
        "REALTIME_AWS__TABLE": table,
        "REALTIME_HISTORY__URL": "dynamodb:",
        "REALTIME_AWS__QUEUE": gateway.queue_url(queue.name),
        "REALTIME_AWS__SERVICES": gateway.url,
        "REALTIME_AWS__FUNCTION": "websocket",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
    }


def _nobody(event: Any, context: Any) -> NoReturn:
    raise RuntimeError("the function is not loaded yet")
