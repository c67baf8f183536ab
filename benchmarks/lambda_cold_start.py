"""A cold start of the zips that are deployed: CPU from a process' start to its first answer.

Each runs under `awslambdaric`, Lambda's own runtime client, with the content of its zip and nothing
else. Ours is `websocket` of provider aws, which answers `$connect`: it writes the connection down
and has it greeted. The peer does that with boto3, which Lambda's runtime brings: a handler of ten
lines that puts an item and invokes a function. Both find DynamoDB and Lambda on this machine.
Beside them `auth`, and a handler that does nothing: what the interpreter and the client take.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import ZipFile

from benchmarks._harness import Result, compare, main
from benchmarks.cold_start import VENDORS, event
from realtime_kit.deployment.build import Target, build, functions_of
from realtime_kit.emulators.deployment import FUNCTIONS, deployed
from realtime_kit.testing.dynamodb import MemoryDynamoDB
from realtime_kit.testing.lambda_runtime import running

CHECKOUT = Path(__file__).resolve().parent.parent
BAR = 0.9
# The cheapest of a few starts: what is dearer than that is the machine's doing.
STARTS = 3

ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BOTO3 = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")

EMPTY = "def handler(event, context):\n    return {'statusCode': 200}\n"
WITH_BOTO3 = """
import os
import boto3

items = boto3.client("dynamodb")
functions = boto3.client("lambda")

def handler(event, context):
    connection = {"pk": {"S": event["requestContext"]["connectionId"]}, "sk": {"S": "#"}}
    items.put_item(TableName=os.environ["REALTIME_AWS__TABLE"], Item=connection)
    functions.invoke(FunctionName="websocket", InvocationType="Event", Payload=b"{}")
    return {"statusCode": 200}
"""
MODULES = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
answer = module.handler(json.loads(sys.argv[2]), None)
print(json.dumps([answer, [*sys.modules], module.__file__]))
"""


@dataclass(frozen=True)
class Start:
    """What a start took: milliseconds, of CPU in all, and megabytes of memory at most."""

    cpu: float
    init: float
    first: float
    memory: float


@dataclass(frozen=True)
class Case:
    root: Path
    handler: str
    environ: Mapping[str, str]
    invocation: Any
    beside: tuple[str, ...] = ()

    def start(self) -> Start:
        with running(self.root, self.handler, self.environ, beside=self.beside) as function:
            init = function.init_seconds()
            began = perf_counter()
            answer = function.invoke(self.invocation)
            first = perf_counter() - began
            assert answer["statusCode"] == 200, answer
            cpu, memory = function.cpu_seconds(), function.peak_memory()
            return Start(cpu * 1e3, init * 1e3, first * 1e3, memory / 1e6)

    def cheapest(self) -> Start:
        return min((self.start() for _ in range(STARTS)), key=lambda one: (one.cpu, one.init))

    def check(self) -> None:
        """Nobody's package is loaded, though all of this machine's could be."""
        module = self.handler.removesuffix(".handler").replace("/", ".")
        done = subprocess.run(
            [sys.executable, "-c", MODULES, module, json.dumps(self.invocation)],
            cwd=self.root,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            check=True,
        )
        answer, modules, file = json.loads(done.stdout.splitlines()[-1])
        assert answer["statusCode"] == 200, answer
        assert Path(file).is_relative_to(self.root), file
        loaded = (VENDORS | {"botocore"}).intersection(modules)
        assert not loaded, f"a vendor's package was loaded: {loaded}"


def connect() -> dict[str, Any]:
    """`$connect` of an unmodified Pusher client."""
    path = CHECKOUT / "tests" / "emulators" / "documents" / "connect.json"
    document: dict[str, Any] = json.loads(path.read_text())
    query = {"p": "/app/key?protocol=7", "client": "js"}
    return {**document, "queryStringParameters": query}


def text(name: str, start: Start) -> tuple[str, str]:
    return name, (
        f"{start.cpu:.0f} ms of CPU; init {start.init:.0f} ms, first invocation "
        f"{start.first:.0f} ms; {start.memory:.0f} MB"
    )


def with_zips(folder: Path, environ: Mapping[str, str], pairs: int) -> Result:
    functions = [one for one in functions_of("aws") if one.name in ("auth", "websocket")]
    built = {
        one.function: one
        for one in build(CHECKOUT, folder, functions, Target(ARCHITECTURE, PYTHON))
    }

    def case(name: str, invocation: Any) -> Case:
        with ZipFile(built[name].archive) as archive:
            archive.extractall(folder / "root" / name)
        return Case(folder / "root" / name, f"lambdas/{name}.handler", environ, invocation)

    def written(name: str, source: str, *beside: str) -> Case:
        root = folder / "root" / name
        root.mkdir(parents=True)
        (root / "function.py").write_text(source)
        return Case(root, "function.handler", environ, connect(), beside)

    auth, websocket = case("auth", event("http_api_jwt_authorizer")), case("websocket", connect())
    peer, empty = written("peer", WITH_BOTO3, *BOTO3), written("empty", EMPTY)
    for one in (auth, websocket):
        one.check()
    result = compare(
        "lambda_cold_start",
        lambda: websocket.cheapest().cpu,
        lambda: peer.cheapest().cpu,
        unit="ms of CPU",
        better="lower",
        bar=BAR,
        pairs=pairs,
    )
    started = {"auth": auth, "websocket": websocket, "boto3": peer, "empty": empty}
    result.details.update(text(name, one.cheapest()) for name, one in started.items())
    for name, zipped in built.items():
        sizes = f"{zipped.size / 1e6:.1f} MB, {zipped.unzipped / 1e6:.1f} MB unzipped"
        result.details[f"{name}.zip"] = sizes
    return result


def measure(pairs: int) -> Result:
    def load(inside: Mapping[str, str], clock: object) -> dict[str, Callable[..., Any]]:
        environ.update(inside)
        return dict.fromkeys(FUNCTIONS, lambda event, context: None)

    environ: dict[str, str] = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
    keys = {"REALTIME_AWS__KEYS": "key:secret", "REALTIME_AWS__PER_ADDRESS": "0"}
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed(MemoryDynamoDB(), load, environ=keys) as deployment,
    ):
        # For boto3 alone.
        environ |= {
            "AWS_ENDPOINT_URL": deployment.gateway.url,
            "AWS_DEFAULT_REGION": environ["AWS_REGION"],
        }
        return with_zips(Path(folder), environ, pairs)


if __name__ == "__main__":
    main(measure, __doc__)
