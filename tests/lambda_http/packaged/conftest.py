"""`osls package` as on a fresh clone, and Lambda's runtime API around what it made.

The functions run under `awslambdaric`, which is what runs them on AWS: a fresh process, the content
of the zip, the environment that the template gives, and nothing else of this machine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from realtime_kit.testing.lambda_runtime import Running, running

DEADLINE = 30.0
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
OTHER = {"arm64": "x86_64", "x86_64": "arm64"}[ARCHITECTURE]
CLONED = (
    *("pyproject.toml", "README.md", "LICENSE", "serverless.yml"),
    *("realtime_kit", "lambdas", "templates"),
)


@dataclass(frozen=True)
class Package:
    """What `osls package` left: `template` for CloudFormation, and the zips in `folder`."""

    template: dict[str, Any]
    folder: Path
    output: str

    def archive(self, function: str) -> Path:
        return self.folder / f"{function}.zip"

    def names(self, function: str) -> list[str]:
        """The paths of what is in a function's zip."""
        with zipfile.ZipFile(self.archive(function)) as archive:
            return archive.namelist()

    def root(self, function: str) -> Path:
        """A folder with the content of a function's zip."""
        root = self.folder / "unzipped" / function
        if not root.is_dir():
            with zipfile.ZipFile(self.archive(function)) as archive:
                archive.extractall(root)
        return root

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of the resources of one type, by name."""
        return {
            name: resource["Properties"]
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }

    def allowed(self, function: str) -> dict[str, list[Any]]:
        """What a function's role allows: the resources, by action."""
        (found,) = [
            one
            for one in self.of_type("AWS::Lambda::Function").values()
            if one["Handler"] == f"lambdas/{function}.handler"
        ]
        role = self.of_type("AWS::IAM::Role")[found["Role"]["Fn::GetAtt"][0]]
        allowed: dict[str, list[Any]] = {}
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow"
                assert statement["Resource"] != "*"
                actions = statement["Action"]
                for action in [actions] if isinstance(actions, str) else actions:
                    assert "*" not in action
                    allowed.setdefault(action, []).append(statement["Resource"])
        return allowed


def run_osls(
    folder: Path,
    checkout: Path,
    *arguments: str,
    python: str = sys.executable,
    aws: Mapping[str, str] | None = None,
    fails: bool = False,
) -> str:
    """Run osls, without any AWS credentials but `aws`; return what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = str(folder / "no-such-file")
    environ |= {"AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CONFIG_FILE": nowhere}
    environ |= {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"}
    environ |= {"PYTHON": python, "CI": "true", **(aws or {})}
    osls = checkout / "node_modules" / "osls" / "bin" / "serverless.js"
    done = subprocess.run(
        ["node", str(osls), *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def clone(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone holds of what packaging reads."""
    folder = tmp_path_factory.mktemp("clone")
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in CLONED:
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=unwanted)
        else:
            shutil.copy(source, folder / name)
    _make_it_somebody_s(folder)
    return folder


def _make_it_somebody_s(folder: Path) -> None:
    """A package that app.py would import, and a requirement: what an application adds."""
    (folder / "shop").mkdir()
    (folder / "shop" / "orders.py").write_text("SHIPPED = 'shipped'\n")
    (folder / "lambdas" / "requirements.txt").write_text("itsdangerous\n")
    settings = folder / "serverless.yml"
    text = settings.read_text()
    assert text.count("      - lambdas\n") == 1
    settings.write_text(text.replace("      - lambdas\n", "      - lambdas\n      - shop\n"))


def make_package(
    clone: Path,
    checkout: Path,
    folder: Path,
    provider: str,
    architecture: str = ARCHITECTURE,
    *,
    more: Iterable[str] = (),
) -> Package:
    given = (f"provider={provider}", f"runtime={RUNTIME}", f"architecture={architecture}", *more)
    options = [option for one in given for option in ("--param", one)]
    output = run_osls(clone, checkout, "package", *options)
    shutil.move(clone / ".serverless", folder / "package")
    text = (folder / "package" / "cloudformation-template-update-stack.json").read_text()
    return Package(json.loads(text), folder / "package", output)


@pytest.fixture(scope="session")
def package(clone: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package for this machine over Pusher, made once."""
    return make_package(clone, checkout, tmp_path_factory.mktemp("pusher"), "pusher")


@pytest.fixture(scope="session")
def aws(clone: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package for this machine of a service of one's own, made once."""
    return make_package(clone, checkout, tmp_path_factory.mktemp("aws"), "aws")


@pytest.fixture(scope="session")
def foreign_aws(clone: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of a service of one's own for the other processor, made once."""
    return make_package(clone, checkout, tmp_path_factory.mktemp("other"), "aws", OTHER)


@pytest.fixture(scope="session")
def ably(clone: Path, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package over Ably for the other processor, made once."""
    return make_package(clone, checkout, tmp_path_factory.mktemp("ably"), "ably", OTHER)


class ParameterStore(ThreadingHTTPServer):
    """Systems Manager's GetParameter, with one parameter: the object `values`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _GetParameter)
        self.asked: list[dict[str, object]] = []
        self.values: dict[str, str] = {}

    @property
    def environ(self) -> dict[str, str]:
        """For a function that is to find it, with credentials to sign with."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "nobody",
        }


class _GetParameter(BaseHTTPRequestHandler):
    server: ParameterStore

    def do_POST(self) -> None:
        self.server.asked.append(
            json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            | {"signed": "/ssm/aws4_request" in self.headers["Authorization"]}
        )
        body = json.dumps({"Parameter": {"Value": json.dumps(self.server.values)}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[ParameterStore]:
    with ParameterStore() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Start = Callable[..., Running]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """`start("lambdas/auth.handler", NAME="value")`: that function, until the test ends; `of` is
    its package, if not the one over Pusher."""
    pytest.importorskip("awslambdaric")
    with ExitStack() as stack:

        def start(handler: str, of: Package | None = None, **environ: str) -> Running:
            package = of or request.getfixturevalue("package")
            root = package.root(handler.partition("/")[2].removesuffix(".handler"))
            return stack.enter_context(running(root, handler, environ))

        yield start
