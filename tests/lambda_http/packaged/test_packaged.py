"""What is deployed: the template, the zip, and the functions as Lambda runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jwt
import pusher
import pytest
from websocket import create_connection

from realtime_kit.deployment.build import FUNCTIONS, foreign
from realtime_kit.hosting.apigateway import rows

from .conftest import ARCHITECTURE, OTHER, RUNTIME, make_package, run_osls

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

PUSHER = {
    "REALTIME_PROVIDER": "pusher",
    "REALTIME_PUSHER__APP_ID": "42",
    "REALTIME_PUSHER__KEYS": "key-of-the-app:secret-of-the-app",
    "REALTIME_PUSHER__CLUSTER": "eu",
}
LOGIN = "the secret with which the login signs"


# --- the template ---------------------------------------------------------------------------


def test_the_functions(package):
    functions = package.of_type("AWS::Lambda::Function")
    assert {one["Handler"] for one in functions.values()} == {
        "lambdas/auth.handler",
        "lambdas/trigger.handler",
        "lambdas/webhook.handler",
    }
    for one in functions.values():
        assert (one["Runtime"], one["Architectures"]) == (RUNTIME, [ARCHITECTURE])
        assert one["Timeout"] == 10
        assert one["Environment"]["Variables"]["REALTIME_PROVIDER"] == "pusher"


def test_the_routes(package):
    routes = {
        route["RouteKey"]: json.dumps(route["Target"])
        for route in package.of_type("AWS::ApiGatewayV2::Route").values()
    }
    expected = {
        "POST /realtime/auth": "Auth",
        "GET /realtime/auth": "Auth",
        "POST /realtime/user-auth": "Auth",
        "GET /realtime/config": "Auth",
        "GET /realtime/client/{file+}": "Auth",
        "GET /realtime/events": "Auth",
        "POST /realtime/events": "Auth",
        "POST /realtime/trigger": "Trigger",
        "POST /realtime/webhook": "Webhook",
    }
    assert routes.keys() == expected.keys()
    for route, function in expected.items():
        assert f"HttpApiIntegration{function}" in routes[route]


def test_no_origin_is_let_in_but_the_one_that_was_named(package):
    (api,) = package.of_type("AWS::ApiGatewayV2::Api").values()
    assert api["CorsConfiguration"]["AllowOrigins"] == ["http://localhost:8000"]


def test_the_queue_reports_single_failures_and_keeps_what_cannot_be_sent(package):
    (mapping,) = package.of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queues = package.of_type("AWS::SQS::Queue")
    queue = queues[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
    assert queue["VisibilityTimeout"] >= 6 * 10
    dead = queues[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]
    assert queue["FifoQueue"] is dead["FifoQueue"] is True
    (rule,) = package.of_type("AWS::Events::Rule").values()
    assert rule["EventPattern"] == {"source": ["realtime"]}
    (target,) = rule["Targets"]
    assert target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0] in queues


@pytest.mark.parametrize("function", ["auth", "trigger", "webhook"])
def test_the_functions_may_log_read_their_secret_and_use_their_queues(package, function):
    allowed = package.allowed(function)
    queue = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"}
    always = {"logs:CreateLogStream", "logs:PutLogEvents", "ssm:GetParameter"}
    assert allowed.keys() == always | (queue if function == "trigger" else set())
    (secret,) = allowed["ssm:GetParameter"]
    assert secret["Fn::Sub"].endswith(":parameter/realtime-kit/dev")
    if function == "trigger":
        assert allowed["sqs:ReceiveMessage"] == [{"Fn::GetAtt": ["TriggerQueue", "Arn"]}]
        assert allowed["sqs:SendMessage"] == [{"Fn::GetAtt": ["TriggerFailures", "Arn"]}]


@pytest.mark.parametrize("provider", ["package", "ably"])
def test_nothing_secret_is_in_the_configuration(request, provider):
    """Not as text, and not as what CloudFormation would put there."""
    template = request.getfixturevalue(provider)
    for function in template.of_type("AWS::Lambda::Function").values():
        variables = function["Environment"]["Variables"]
        assert variables.keys() == {
            "REALTIME_PROVIDER",
            "DEPLOYMENT_SECRET",
            "PYDANTIC_DISABLE_PLUGINS",
        }
        assert variables["DEPLOYMENT_SECRET"] == "ssm:/realtime-kit/dev"
    assert "{{resolve:" not in json.dumps(template.template)


def test_logs_are_not_kept_for_ever(package):
    groups = package.of_type("AWS::Logs::LogGroup")
    assert len(groups) == 3
    assert {group["RetentionInDays"] for group in groups.values()} == {30}


def test_what_it_is_without_parameters_and_for_ably(clone, checkout, ably):
    plain = json.loads(run_osls(clone, checkout, "print", "--format", "json"))
    assert plain["provider"]["runtime"] == "python3.12"
    assert plain["provider"]["architecture"] == "arm64"
    assert plain["provider"]["environment"]["REALTIME_PROVIDER"] == "pusher"
    arguments = ("print", "--format", "json", "--param", "provider=ably", "--stage", "prod")
    environment = json.loads(run_osls(clone, checkout, *arguments))["provider"]["environment"]
    assert environment["REALTIME_PROVIDER"] == "ably"
    assert environment["DEPLOYMENT_SECRET"] == "ssm:/realtime-kit/prod"
    arguments += ("--param", "secrets=secretsmanager")
    printed = json.loads(run_osls(clone, checkout, *arguments))
    place = printed["provider"]["environment"]["DEPLOYMENT_SECRET"]
    assert place == "secretsmanager:realtime-kit/prod"
    role = json.dumps(printed["resources"]["Resources"]["AuthRole"])
    assert "secretsmanager:GetSecretValue" in role
    assert ":secret:realtime-kit/prod-??????" in role
    assert "ssm:" not in role
    assert not {name for name in ably.template["Resources"] if "Socket" in name or name == "Table"}


def test_a_table_for_the_event_log(clone, checkout, tmp_path):
    package = make_package(clone, checkout, tmp_path, "pusher", more=("history=yes",))
    (table,) = package.of_type("AWS::DynamoDB::Table").values()
    assert {name: table[name] for name in rows.TABLE} == rows.TABLE
    assert table["TimeToLiveSpecification"] == {
        "AttributeName": rows.TTL_ATTRIBUTE,
        "Enabled": True,
    }
    for function in package.of_type("AWS::Lambda::Function").values():
        url = function["Environment"]["Variables"]["REALTIME_HISTORY__URL"]
        assert url == {"Fn::Sub": "dynamodb://${HistoryTable}"}
    may = {
        policy["Roles"][0]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in package.of_type("AWS::IAM::Policy").values()
    }
    assert {role: set(one["Action"]) for role, (one,) in may.items()} == {
        "AuthRole": {"dynamodb:BatchGetItem", "dynamodb:Query"},
        "TriggerRole": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
    }
    assert {one["Resource"]["Fn::GetAtt"][0] for (one,) in may.values()} == {"HistoryTable"}
    lint(package)


@pytest.mark.parametrize("provider", ["pusher", "aws"])
def test_a_relay_where_there_is_an_outbox(clone, checkout, provider):
    arguments = ("print", "--format", "json", "--param", f"provider={provider}")
    plain = json.loads(run_osls(clone, checkout, *arguments))
    printed = json.loads(run_osls(clone, checkout, *arguments, "--param", "outbox=yes"))
    assert printed["functions"].keys() - plain["functions"].keys() == {"relay"}
    relay = printed["functions"]["relay"]
    assert relay["handler"] == "lambdas/relay.handler"
    assert relay["events"] == [{"schedule": "rate(1 minute)"}]
    added = printed["resources"]["Resources"].keys() - plain["resources"]["Resources"].keys()
    assert added == {"RelayRole"}
    (policy,) = printed["resources"]["Resources"]["RelayRole"]["Properties"]["Policies"]
    actions = [statement["Action"] for statement in policy["PolicyDocument"]["Statement"]]
    assert actions == [["logs:CreateLogStream", "logs:PutLogEvents"], "ssm:GetParameter"]


@pytest.mark.parametrize("provider", ["package", "aws", "ably"])
def test_cfn_lint_finds_no_error(request, provider):
    lint(request.getfixturevalue(provider))


def lint(package):
    template = package.folder / "cloudformation-template-update-stack.json"
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [str(linter), "--ignore-checks", "W", "--", str(template)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the zip --------------------------------------------------------------------------------


def test_the_zips_hold_what_runs_and_nothing_of_the_project(package):
    for function in ("auth", "trigger", "webhook"):
        names = package.names(function)
        tops = {name.partition("/")[0] for name in names}
        assert {"lambdas", "realtime_kit", "pydantic_settings"} <= tops
        assert not tops & {"tests", "node_modules", ".git", ".env", "serverless.yml", "templates"}
        assert not tops & {"bin", "click", "boto3", "botocore"}
        own = sorted(name for name in names if name.startswith("lambdas/"))
        assert [name for name in own if name.endswith(".py")] == sorted(
            ["lambdas/__init__.py", "lambdas/app.py", f"lambdas/{function}.py"]
        )
        assert {name.split(".")[0] for name in own if name.endswith(".pyc")} == {
            f"lambdas/__pycache__/{module}" for module in ("__init__", "app", function)
        }
        assert not {name.split("/")[1] for name in names if name.startswith("realtime_kit/")} & {
            "_assets",
            "cli",
            "demo",
            "testing",
            "deployment",
        }


def test_only_what_publishes_has_the_vendor_s_package(package, ably, aws):
    for one, vendor, several in ((package, "pusher", True), (ably, "ably", True), (aws, "", False)):
        assert one.archive("auth").stat().st_size < 5_500_000
        assert not [name for name in one.names("auth") if name.startswith(("pusher/", "ably/"))]
        found = [name for name in one.names("trigger") if vendor and name.startswith(f"{vendor}/")]
        assert bool(found) is several


def test_what_is_compiled_is_for_the_processor(package, ably, aws, foreign_aws):
    for one, name, arch, other in (
        (package, "pusher", ARCHITECTURE, OTHER),
        (aws, "aws", ARCHITECTURE, OTHER),
        (ably, "ably", OTHER, ARCHITECTURE),
        (foreign_aws, "aws", OTHER, ARCHITECTURE),
    ):
        archives = {archive.stem for archive in one.folder.glob("*.zip")}
        assert archives == set(FUNCTIONS[name])
        for function in archives:
            root = one.root(function)
            assert foreign(root, arch) == []
            # It is there, and would be found.
            assert [found for found in foreign(root, other) if found.endswith(f".so ({arch})")]


def test_what_an_application_adds_is_in_it(package):
    for function in ("auth", "trigger"):
        names = package.names(function)
        assert {"shop/orders.py", "itsdangerous/__init__.py"} <= set(names)
        assert not [name for name in names if name.startswith("lambdas/packaging")]


def test_what_goes_wrong_is_said_in_a_line(clone, checkout, tmp_path):
    copy = tmp_path / "clone"
    shutil.copytree(clone, copy)
    missing = run_osls(copy, checkout, "package", python="/no/such/python", fails=True)
    assert "could not be packaged: /no/such/python" in missing
    (copy / "lambdas" / "requirements.txt").write_text("realtime-kit @ file:///no/such/file\n")
    broken = run_osls(copy, checkout, "package", fails=True)
    assert "could not be packaged: pip install failed" in broken


def test_it_is_precompiled_and_says_how_big_it_is(package):
    cache = package.root("auth") / "realtime_kit" / "web" / "__pycache__"
    (compiled,) = cache.glob(f"aws_lambda.cpython-{RUNTIME[6:].replace('.', '')}.pyc")
    # PEP 552: bit 0 says that the source's hash is in it, bit 1 that it is to be checked.
    assert compiled.read_bytes()[4:8] == b"\x01\0\0\0"
    sizes = r"auth\.zip: \d\.\d MB, \d+\.\d MB unzipped, for "
    assert re.search(sizes + f"{RUNTIME} on {ARCHITECTURE}\n", package.output)


# --- the functions --------------------------------------------------------------------------


def test_auth_answers_what_the_sdk_agrees_with(start, document):
    function = start("lambdas/auth.handler", **PUSHER)
    sdk = pusher.Pusher(app_id="42", key="key-of-the-app", secret="secret-of-the-app", cluster="eu")
    for name in ("http_api_jwt_authorizer", "rest_api_cognito"):
        answer = function.invoke(document(name))
        assert answer["statusCode"] == 200
        proof = json.loads(answer["body"])
        member = json.loads(proof["channel_data"])
        assert member == {"user_id": "7", "user_info": {"name": "Ann"}}
        assert sdk.authenticate("presence-room-lobby", "123.456", member) == proof


def test_auth_reads_its_secret_itself(start, package, store, document):
    """With the configuration that is in the template, and nothing else."""
    given = package.of_type("AWS::Lambda::Function")["AuthLambdaFunction"]["Environment"]
    settings = {name: value for name, value in PUSHER.items() if name != "REALTIME_PROVIDER"}
    store.values = {**settings, "JWT_SECRET": LOGIN}
    function = start("lambdas/auth.handler", **given["Variables"], **store.environ)
    event = document("http_api")
    event["headers"]["authorization"] = (
        f"Bearer {jwt.encode({'sub': '7', 'exp': 4_102_444_800}, LOGIN)}"
    )
    answer = function.invoke(event)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["auth"].startswith("key-of-the-app:")
    (asked,) = store.asked
    assert asked == {"Name": "/realtime-kit/dev", "WithDecryption": True, "signed": True}


def test_auth_takes_the_token_of_your_login(start, document):
    function = start("lambdas/auth.handler", **PUSHER, JWT_SECRET=LOGIN)
    for name, answer_status in (("http_api", 200), ("function_url", 200), ("rest_api", 200)):
        event = document(name)
        token = jwt.encode({"sub": "7", "exp": 4_102_444_800}, LOGIN)
        event["headers"]["authorization"] = f"Bearer {token}"
        assert function.invoke(event)["statusCode"] == answer_status
        event["headers"]["authorization"] = f"Bearer {token[:-3]}abc"
        assert function.invoke(event)["statusCode"] == 401
        del event["headers"]["authorization"]
        assert function.invoke(event)["statusCode"] == 403


def test_trigger_reaches_a_subscriber_through_the_official_sdk(start, document, realtime_server):
    pair = realtime_server.app.key
    url = f"ws://127.0.0.1:{realtime_server.port}/app/{pair.key}?protocol=7&client=test&version=1"
    socket = create_connection(url, timeout=10)
    try:
        assert json.loads(socket.recv())["event"] == "pusher:connection_established"
        socket.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": "orders"}}))
        assert json.loads(socket.recv())["event"] == "pusher_internal:subscription_succeeded"
        function = start(
            "lambdas/trigger.handler",
            REALTIME_PROVIDER="pusher",
            REALTIME_PUSHER__APP_ID=realtime_server.app.id,
            REALTIME_PUSHER__KEYS=f"{pair.key}:{pair.secret}",
            REALTIME_PUSHER__HOST="127.0.0.1",
            REALTIME_PUSHER__PORT=str(realtime_server.port),
            REALTIME_PUSHER__TLS="false",
        )
        for name in ("direct", "eventbridge"):
            answer = function.invoke(document(name))
            assert [one["channel"] for one in answer["events"]] == ["orders"]
            frame = json.loads(socket.recv())
            assert (frame["event"], json.loads(frame["data"])) == ("shipped", {"order": 42})
        assert len(function.invoke(document("sqs"))["batchItemFailures"]) == 1
        assert [json.loads(json.loads(socket.recv())["data"])["order"] for _ in "13"] == [1, 3]
        function.api.invocations.put(document("eventbridge_foreign"))
        assert function.answer("error")["errorType"] == "InvalidEvent"
    finally:
        socket.close()


def test_webhook_refuses_what_is_not_signed(start, document):
    function = start("lambdas/webhook.handler", **PUSHER)
    event = document("http_api")
    event["rawPath"] = "/realtime/webhook"
    assert function.invoke(event)["statusCode"] == 401


def test_a_missing_setting_fails_the_start_and_says_which(start):
    report = start("lambdas/auth.handler").answer("init/error")
    assert report["errorType"] == "ConfigurationError"
    assert "REALTIME_PROVIDER" in report["errorMessage"]
