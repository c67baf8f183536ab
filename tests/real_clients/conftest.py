"""The official clients, unmodified, against `realtime-kit serve` in a process of its own, and a
deployment in the emulator."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pusher
import pytest

from realtime_kit.emulators.deployment import Handlers, deployed
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MotoDynamoDB
from realtime_kit.web.aws_lambda import trigger_handler
from realtime_kit.web.aws_websocket import fanout_handler, sweep_handler, websocket_handler

APP_ID, KEY, SECRET = "1", "app-key", "app-secret"
SERVE = (sys.executable, "-c", "from realtime_kit.cli import main; main()", "serve")
MASTER_KEY = b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Served:
    """A running server: `realtime-kit serve`, or a deployment in the emulator, whose clients need
    a `ws_path`."""

    port: int
    process: subprocess.Popen[str] | None = None
    ws_path: str = ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The same tests against the embedded server and a deployment. Pysher knows no path, and API
    Gateway no `/app/KEY`."""
    if "served" in metafunc.fixturenames:
        pysher = "browser" in metafunc.fixturenames or "pysher" in metafunc.function.__name__
        hosts = ["embedded"] if pysher else ["embedded", "aws"]
        metafunc.parametrize("served", hosts, indirect=True, scope="module")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start `realtime-kit serve` with more arguments, on a free port."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Served:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("REALTIME_", "PUSHER_", "ABLY_"))
        }
        process = subprocess.Popen(
            [*SERVE, "--port", "0", *arguments],
            cwd=tmp_path_factory.mktemp("serve"),  # no .env of anybody's
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"ws://127\.0\.0\.1:(\d+)/app/", line):
                return Served(int(found[1]), process)
        raise AssertionError("realtime-kit serve ended before it was ready")

    yield start
    for process in started:
        process.terminate()
        with process:
            process.wait(10)


def make_sdk(agent: Any, served: Served, name: str, secret: str) -> None:
    agent(
        "sdk",
        name=name,
        appId=APP_ID,
        key=KEY,
        secret=secret,
        port=served.port,
        encryptionMasterKeyBase64=MASTER_KEY,
    )


@pytest.fixture(scope="module")
def forger(agent: Any, served: Served) -> str:
    """The name of a Node SDK that has a wrong secret."""
    make_sdk(agent, served, "forger", "wrong")
    return "forger"


@pytest.fixture(scope="module")
def sdk(served: Served) -> pusher.Pusher:
    """The Python SDK, as its documentation sets it up."""
    return make_python_sdk(served, SECRET)


@pytest.fixture(scope="module")
def forging_sdk(served: Served) -> pusher.Pusher:
    """The Python SDK with a wrong secret."""
    return make_python_sdk(served, "wrong")


def make_python_sdk(served: Served, secret: str) -> pusher.Pusher:
    return pusher.Pusher(
        app_id=APP_ID,
        key=KEY,
        secret=secret,
        host="127.0.0.1",
        port=served.port,
        ssl=False,
        encryption_master_key_base64=MASTER_KEY,
    )


@pytest.fixture(scope="module")
def served(
    start: Callable[..., Served], agent: Any, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """The server as it comes, but for where it posts webhooks and the count of subscribers."""
    webhook = f"http://127.0.0.1:{agent.port}/webhook"
    with ExitStack() as opening:
        if request.param == "aws":
            environ = {
                "REALTIME_AWS__KEYS": f"{KEY}:{SECRET}",
                "REALTIME_AWS__SUBSCRIPTION_COUNT": "true",
                "REALTIME_AWS__WEBHOOK": webhook,
                "REALTIME_AWS__METRICS": "false",
            }
            deployment = opening.enter_context(deployed(MotoDynamoDB(), _load, environ=environ))
            served = Served(deployment.port, ws_path=deployment.ws_path)
        else:
            served = start("--webhook", webhook, "--subscription-count")
        make_sdk(agent, served, "app", SECRET)
        yield served


def _load(environ: Mapping[str, str], clock: Callable[[], float]) -> Handlers:
    realtime = Realtime(settings=RealtimeSettings(environ=environ))
    return {
        "trigger": trigger_handler(realtime),
        "websocket": websocket_handler(realtime),
        "fanout": fanout_handler(realtime),
        "sweep": sweep_handler(realtime),
    }


@pytest.fixture
def names() -> Iterator[Callable[[str], str]]:
    """Names that no other test has."""
    return lambda name: f"{name}-{next(_numbers)}"


_numbers = itertools.count(1)


@pytest.fixture
def open_client(agent: Any, served: Served, names: Callable[[str], str]) -> Iterator[Any]:
    """Open a pusher-js client and wait until it is connected; its name."""
    opened: list[str] = []

    def open_client(user: str | None = None, **options: Any) -> str:
        client = names("client")
        where = {"port": served.port, "wsPath": served.ws_path}
        agent("open", client=client, key=KEY, **where, user=user, options=options)
        opened.append(client)
        agent.wait(client=client, state="connected")
        return client

    yield open_client
    for client in opened:
        agent("close", client=client)


@pytest.fixture
def subscribe(agent: Any) -> Callable[[str, str], None]:
    """Subscribe a pusher-js client and wait until it is subscribed."""

    def subscribe(client: str, channel: str) -> None:
        agent("subscribe", client=client, channel=channel)
        agent.wait(client=client, channel=channel, event="pusher:subscription_succeeded")

    return subscribe
