"""The official clients, unmodified, against `realtime-kit serve` in a process of its own, and a
deployment in the emulator."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pusher
import pytest

from realtime_kit.emulators.deployment import Handlers, deployed
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MotoDynamoDB
from realtime_kit.web.aws_lambda import trigger_handler
from realtime_kit.web.aws_websocket import fanout_handler, sweep_handler, websocket_handler

DEADLINE = 15.0
APP_ID, KEY, SECRET = "1", "app-key", "app-secret"
SERVE = (sys.executable, "-c", "from realtime_kit.cli import main; main()", "serve")
MASTER_KEY = b64encode(bytes(range(32))).decode()


class Agent:
    """Node with pusher-js, laravel-echo and the `pusher` SDK; see `agent.mjs`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {0: queue.Queue()}
        self._reported: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._answers[0].get(timeout=DEADLINE)["answer"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers[message["id"]].put(message)
            else:
                with self._news:
                    self._reported.append(message)
                    self._news.notify_all()

    def __call__(self, command: str, **options: Any) -> Any:
        """The command's answer. Raises `Failed` with what the client threw."""
        number = next(self._ids)
        self._answers[number] = queue.Queue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._answers[number].get(timeout=DEADLINE)
        del self._answers[number]
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["answer"]

    def saw(self, **wanted: Any) -> list[dict[str, Any]]:
        """What was reported so far and has these members."""
        with self._news:
            return [
                message
                for message in self._reported
                if all(message.get(name) == value for name, value in wanted.items())
            ]

    def wait(self, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """The `count`-th report that has these members, once it is there."""
        end = time.monotonic() + DEADLINE
        with self._news:
            while len(found := self.saw(**wanted)) < count:
                left = end - time.monotonic()
                assert left > 0, f"never saw {wanted} ×{count}; last: {self._reported[-9:]}"
                self._news.wait(left)
        return found[count - 1]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """What `condition` returns, once it is true; it is asked again after each report."""
        with self._news:
            value = self._news.wait_for(condition, DEADLINE)
        assert value, f"never saw {what}; last: {self._reported[-9:]}"
        return value

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)


class Failed(Exception):
    """What a JavaScript client threw: `details` has name, message, status and body."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__(details)
        self.details = details


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
def agent(checkout: Path) -> Iterator[Agent]:
    process = subprocess.Popen(
        ["node", "tests/real_clients/agent.mjs"],
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        agent = Agent(process)
        yield agent
        agent.end()


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


def make_sdk(agent: Agent, served: Served, name: str, secret: str) -> None:
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
def forger(agent: Agent, served: Served) -> str:
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
def failed() -> type[Failed]:
    return Failed


@pytest.fixture(scope="module")
def served(
    start: Callable[..., Served], agent: Agent, request: pytest.FixtureRequest
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
def open_client(agent: Agent, served: Served, names: Callable[[str], str]) -> Iterator[Any]:
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
def subscribe(agent: Agent) -> Callable[[str, str], None]:
    """Subscribe a pusher-js client and wait until it is subscribed."""

    def subscribe(client: str, channel: str) -> None:
        agent("subscribe", client=client, channel=channel)
        agent.wait(client=client, channel=channel, event="pusher:subscription_succeeded")

    return subscribe
