"""MiniStack, AWS on this machine, and what `osls deploy` makes there of the package.

MiniStack runs the functions in processes of its own, from the zips, and checks every request's
signature and whether the function's role allows it (`AUTH`).
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import jwt
import pusher
import pytest

from ..conftest import ARCHITECTURE, RUNTIME, Package, run_osls

DEADLINE = 30.0
KEY, SECRET = "key-of-the-app", "secret-of-the-app"
LOGIN = "the secret with which the login signs"
REGION = "us-east-1"
OWNER = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}  # of the account
# No name of an API resolves here. This one address is the HTTP API's "custom domain"; AWS's own
# APIs are called by the other name of the same machine.
DOMAIN, SERVICES = "127.0.0.1", "localhost"

# What the template has, and MiniStack does not: see the table in `test_deployment.py`.
UNKNOWN = (
    "AWS::ApiGatewayV2::RouteResponse",
    "AWS::ApiGatewayV2::IntegrationResponse",
    "AWS::CloudWatch::Alarm",
)


@dataclass(frozen=True)
class MiniStack:
    """A running one."""

    port: int
    log: Path

    @property
    def services(self) -> str:
        return f"http://{SERVICES}:{self.port}"

    @property
    def url(self) -> str:
        """Of the HTTP API, once it is there."""
        return f"http://{DOMAIN}:{self.port}"


@dataclass(frozen=True)
class Deployment:
    """What was deployed: the stack's outputs, and the physical ids of its resources."""

    ministack: MiniStack
    outputs: Mapping[str, str]
    resources: Mapping[str, str]

    @property
    def ws_path(self) -> str:
        return f"/_aws/execute-api/{self.resources['SocketApi']}{self.outputs['WsPath']}"

    @property
    def connections(self) -> str:
        """Where `@connections` is."""
        return f"{self.ministack.services}{self.ws_path.partition('?')[0]}"


@pytest.fixture(scope="session")
def ministack(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    program = checkout / ".venv" / "ministack" / "bin" / "ministack"
    if not program.exists():
        pytest.skip("no MiniStack: run `make setup`")
    folder = tmp_path_factory.mktemp("ministack")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    running = MiniStack(port, folder / "log")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": running.services,  # what the functions are given
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",  # ports of their own
        "SFTP_ENABLED": "0",
    }
    with running.log.open("w") as log:
        process = subprocess.Popen(
            [program],
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # with the functions' processes, which end with it
        )
    try:
        _wait_until_ready(process, running)
        yield running
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(DEADLINE)


def _wait_until_ready(process: subprocess.Popen[bytes], running: MiniStack) -> None:
    ends = time.monotonic() + DEADLINE
    while True:
        try:
            with urlopen(f"{running.services}/_ministack/ready", timeout=1):
                return
        except (URLError, ConnectionError, TimeoutError):
            alive = process.poll() is None and time.monotonic() < ends
            assert alive, running.log.read_text()
            time.sleep(0.05)


def adapted(template: dict[str, Any], ministack: MiniStack, webhook: str) -> dict[str, Any]:
    """`template`, as far as MiniStack can have it. Nothing else is changed."""
    resources = {
        name: resource
        for name, resource in copy.deepcopy(template["Resources"]).items()
        if resource["Type"] not in UNKNOWN
    }
    base = f"{ministack.services}/_aws/execute-api/${{SocketApi}}/dev"
    for resource in resources.values():
        if isinstance(resource.get("DependsOn"), list):
            resource["DependsOn"] = [one for one in resource["DependsOn"] if one in resources]
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Environment"]["Variables"] |= {
                "REALTIME_AWS__ENDPOINT": {"Fn::Sub": base},
                "REALTIME_AWS__WEBHOOK": webhook,  # the parameter `webhook`
            }
        for policy in resource.get("Properties", {}).get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                if "sqs:SendMessage" in statement["Action"]:
                    statement["Action"] = ["sqs:SendMessage", "sqs:SendMessageBatch"]
    return template | {"Resources": resources}


@pytest.fixture(scope="module")
def client(ministack: MiniStack) -> Iterator[Callable[..., Any]]:
    """`client("sqs")`: boto3's, as the owner of the account; or with other credentials."""
    with ExitStack() as stack:

        def client(service: str, credentials: Mapping[str, str] = OWNER, **options: Any) -> Any:
            options = {"endpoint_url": ministack.services, "region_name": REGION, **options}
            made = boto3.client(service, **credentials, **options)
            stack.callback(made.close)
            return made

        yield client


@pytest.fixture(scope="module")
def deployment(
    *,
    aws: Package,
    clone: Path,
    checkout: Path,
    ministack: MiniStack,
    client: Callable[..., Any],
    agent: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployment:
    """The package, deployed by osls; then what the documentation says is done by hand."""
    package = tmp_path_factory.mktemp("deployed") / "package"
    shutil.copytree(aws.folder, package, ignore=shutil.ignore_patterns("unzipped"))
    state_file = package / "serverless-state.json"
    state = json.loads(state_file.read_text())
    webhook = f"http://127.0.0.1:{agent.port}/webhook"
    state["service"]["provider"]["compiledCloudFormationTemplate"] = adapted(
        aws.template, ministack, webhook
    )
    state_file.write_text(json.dumps(state))
    run_osls(
        *(clone, checkout, "deploy", "--package", str(package), "--param", "provider=aws"),
        *("--param", f"runtime={RUNTIME}", "--param", f"architecture={ARCHITECTURE}"),
        # An address: buckets by name have no host here either.
        aws={name.upper(): value for name, value in OWNER.items()}
        | {"AWS_ENDPOINT_URL": ministack.url, "SLS_AWS_MONITORING_FREQUENCY": "100"},
    )
    stack = client("cloudformation").describe_stacks(StackName="realtime-kit-dev")["Stacks"][0]
    found = client("cloudformation").describe_stack_resources(StackName="realtime-kit-dev")
    made = Deployment(
        ministack,
        {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]},
        {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found["StackResources"]},
    )
    store, _, name = made.outputs["SecretName"].partition(":")
    secret = {"REALTIME_AWS__KEYS": f"{KEY}:{SECRET}", "JWT_SECRET": LOGIN}
    client(store).put_parameter(Name=name, Type="SecureString", Value=json.dumps(secret))
    _fill_in(made, aws, client("apigatewayv2"))
    agent("sdk", name="app", appId="1", key=KEY, secret=SECRET, port=ministack.port)
    return made


def _fill_in(deployment: Deployment, aws: Package, gateway: Any) -> None:
    """What CloudFormation cannot make here: the MOCK's answer, and a name for the HTTP API."""
    (answer,) = aws.of_type("AWS::ApiGatewayV2::IntegrationResponse").values()
    resolved = {
        name: deployment.resources[answer[name]["Ref"]] for name in ("ApiId", "IntegrationId")
    }
    gateway.create_integration_response(**{**answer, **resolved})
    certificate = "arn:aws:acm:us-east-1:000000000000:certificate/none"
    gateway.create_domain_name(
        DomainName=DOMAIN, DomainNameConfigurations=[{"CertificateArn": certificate}]
    )
    gateway.create_api_mapping(
        DomainName=DOMAIN, ApiId=deployment.resources["HttpApi"], Stage="$default"
    )


@pytest.fixture(scope="module")
def sdk(deployment: Deployment) -> Iterator[pusher.Pusher]:
    """The Python SDK, as its documentation sets it up."""
    client = pusher.Pusher(
        deployment.outputs["AppId"],
        *(KEY, SECRET),
        host=DOMAIN,
        port=deployment.ministack.port,
        ssl=False,
    )
    yield client
    client._pusher_client.http.session.close()


_numbers = itertools.count(1)  # names that no other test has


@pytest.fixture
def open_client(agent: Any, deployment: Deployment) -> Iterator[Callable[..., str]]:
    """Open a pusher-js client whose proofs the deployed function gives; the client's name."""
    opened: list[str] = []

    def open_client(user: str, **claims: Any) -> str:
        token = jwt.encode({"sub": user, "exp": 4_102_444_800, **claims}, LOGIN)
        login = {"headers": {"Authorization": f"Bearer {token}"}}
        base, name = f"{deployment.ministack.url}/realtime", f"{user}-{next(_numbers)}"
        options = {
            "channelAuthorization": {"endpoint": f"{base}/auth", **login},
            "userAuthentication": {"endpoint": f"{base}/user-auth", **login},
        }
        where = {"port": deployment.ministack.port, "wsPath": deployment.ws_path}
        agent("open", client=name, key=KEY, **where, options=options)
        opened.append(name)
        agent.wait(client=name, state="connected")
        return name

    yield open_client
    for name in opened:
        agent("close", client=name)


@pytest.fixture
def subscribe(agent: Any) -> Callable[..., None]:
    """Subscribe clients, and wait until they are subscribed."""

    def subscribe(channel: str, *clients: str) -> None:
        for client in clients:
            agent("subscribe", client=client, channel=channel)
            agent.wait(client=client, channel=channel, event="pusher:subscription_succeeded")

    return subscribe
