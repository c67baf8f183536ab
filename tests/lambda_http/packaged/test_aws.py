"""A service of one's own: its template, and its zips as Lambda runs them, behind the emulator."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from urllib.parse import urlencode

import pusher
import pytest
from websocket import create_connection

from realtime_kit.deployment.build import FUNCTIONS
from realtime_kit.emulators.deployment import deployed
from realtime_kit.hosting.apigateway import rows
from realtime_kit.protocol.frames import PONG
from realtime_kit.providers._aws_deployment import bucket_of
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.dynamodb import MemoryDynamoDB

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

KEY, SECRET = "key-of-the-app", "secret-of-the-app"
TABLE_ACTIONS = (
    *("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
    *("BatchWriteItem", "ConditionCheckItem"),
)
ORIGIN = "http://localhost:8000"  # the parameter's default


# --- the template ---------------------------------------------------------------------------


def test_the_functions_and_what_they_are_given(aws):
    functions = aws.of_type("AWS::Lambda::Function")
    assert {one["Handler"] for one in functions.values()} == {
        f"lambdas/{name}.handler" for name in FUNCTIONS["aws"]
    }
    for one in functions.values():
        variables = one["Environment"]["Variables"]
        assert variables["REALTIME_PROVIDER"] == "aws"
        assert variables["DEPLOYMENT_SECRET"] == "ssm:/realtime-kit/dev"
        assert not [name for name in variables if name.endswith(("KEYS", "TOKENS", "JWT_SECRET"))]
    assert "{{resolve:" not in json.dumps(aws.template), "nothing secret gets into the template"
    reserved = {
        name: one["ReservedConcurrentExecutions"]
        for name, one in functions.items()
        if "ReservedConcurrentExecutions" in one
    }
    assert reserved == {
        "TriggerLambdaFunction": 10,
        "WebsocketLambdaFunction": 40,
        "FanoutLambdaFunction": 10,
        "SweepLambdaFunction": 1,
    }


def test_the_socket_s_routes(aws):
    apis = aws.of_type("AWS::ApiGatewayV2::Api")
    assert apis["SocketApi"]["RouteSelectionExpression"] == "$request.body.event"
    routes = {
        route["RouteKey"]: (
            route["Target"]["Fn::Sub"],
            route.get("RouteResponseSelectionExpression"),
        )
        for route in aws.of_type("AWS::ApiGatewayV2::Route").values()
        if route["ApiId"] == {"Ref": "SocketApi"}
    }
    assert routes == {
        **dict.fromkeys(
            ("$connect", "$disconnect", "$default"), ("integrations/${SocketFunction}", None)
        ),
        "pusher:ping": ("integrations/${Pong}", "$default"),
    }
    integrations = aws.of_type("AWS::ApiGatewayV2::Integration")
    assert integrations["Pong"]["IntegrationType"] == "MOCK"
    (answer,) = aws.of_type("AWS::ApiGatewayV2::IntegrationResponse").values()
    assert list(answer["ResponseTemplates"].values()) == [PONG]
    stage = aws.of_type("AWS::ApiGatewayV2::Stage")["SocketStage"]
    assert stage["AutoDeploy"] is True
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 2000
    after = aws.template["Resources"]["SocketStage"]["DependsOn"]
    assert {"ConnectRoute", "DisconnectRoute", "DefaultRoute", "PingRouteResponse"} <= set(after)


def test_the_http_routes(aws):
    routes = {
        route["RouteKey"]
        for route in aws.of_type("AWS::ApiGatewayV2::Route").values()
        if route["ApiId"] != {"Ref": "SocketApi"}
    }
    assert {"GET /apps/{proxy+}", "POST /apps/{proxy+}", "POST /realtime/trigger"} <= routes
    assert {"POST /realtime/auth", "GET /realtime/config", "GET /realtime/events"} <= routes
    assert "POST /realtime/webhook" not in routes, "its webhooks are its own"


def test_the_table_is_what_the_registry_reads(aws):
    (table,) = aws.of_type("AWS::DynamoDB::Table").values()
    assert {name: table[name] for name in rows.TABLE} == rows.TABLE
    assert table["TimeToLiveSpecification"] == {
        "AttributeName": rows.TTL_ATTRIBUTE,
        "Enabled": True,
    }


def test_the_queue_of_the_fan_out_keeps_what_fails(aws):
    queues = aws.of_type("AWS::SQS::Queue")
    fanout = queues["FanoutQueue"]
    assert fanout["VisibilityTimeout"] >= 6 * 60
    assert fanout["RedrivePolicy"]["deadLetterTargetArn"] == {
        "Fn::GetAtt": ["FanoutFailures", "Arn"]
    }
    mapping = aws.of_type("AWS::Lambda::EventSourceMapping")
    (reads,) = [one for one in mapping.values() if "FanoutQueue" in json.dumps(one)]
    assert reads["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert reads["ScalingConfig"] == {"MaximumConcurrency": 10}
    (rule,) = [
        one for one in aws.of_type("AWS::Events::Rule").values() if "ScheduleExpression" in one
    ]
    assert rule["ScheduleExpression"] == "rate(1 minute)"


# What each may do beside writing its own log and reading its secret.
POSTS = {"execute-api:ManageConnections", *(f"dynamodb:{name}" for name in TABLE_ACTIONS)}
READS_A_QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
MAY = {
    "auth": {"dynamodb:BatchGetItem", "dynamodb:Query"},  # of the event log
    "trigger": {*POSTS, *READS_A_QUEUE, "sqs:SendMessage"},
    "websocket": {*POSTS, "sqs:SendMessage", "lambda:InvokeFunction"},
    "fanout": {*POSTS, *READS_A_QUEUE, "sqs:SendMessage"},
    "sweep": {*POSTS, "sqs:SendMessage"},
}


@pytest.mark.parametrize("function", MAY)
def test_least_privilege(aws, function):
    allowed = aws.allowed(function)
    always = {"logs:CreateLogStream", "logs:PutLogEvents", "ssm:GetParameter"}
    assert allowed.keys() == MAY[function] | always
    assert allowed["logs:PutLogEvents"] == [
        {"Fn::GetAtt": [f"{function.capitalize()}LogGroup", "Arn"]}
    ]
    (secret,) = allowed["ssm:GetParameter"]
    assert secret["Fn::Sub"].endswith(":parameter/realtime-kit/dev")
    for action in POSTS & MAY[function]:
        (resource,) = allowed[action]
        if action.startswith("dynamodb"):
            assert resource == {"Fn::GetAtt": ["Table", "Arn"]}
        else:
            assert resource["Fn::Sub"].endswith(":${SocketApi}/dev/*/@connections/*")


def test_of_the_table_auth_reads_the_event_log_alone(aws):
    role = aws.of_type("AWS::IAM::Role")["AuthRole"]
    (policy,) = role["Policies"]
    (reads,) = [
        one for one in policy["PolicyDocument"]["Statement"] if "dynamodb:Query" in one["Action"]
    ]
    assert reads["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["L#*"]}}


def test_whose_queue_and_whose_function(aws):
    queues = {
        (function, action): {resource["Fn::GetAtt"][0] for resource in resources}
        for function in MAY
        for action, resources in aws.allowed(function).items()
        if action in ("sqs:ReceiveMessage", "sqs:SendMessage")
    }
    assert queues == {
        ("trigger", "sqs:ReceiveMessage"): {"TriggerQueue"},
        ("trigger", "sqs:SendMessage"): {"TriggerFailures", "FanoutQueue"},
        ("websocket", "sqs:SendMessage"): {"FanoutQueue"},
        ("fanout", "sqs:ReceiveMessage"): {"FanoutQueue"},
        ("fanout", "sqs:SendMessage"): {"FanoutQueue"},
        ("sweep", "sqs:SendMessage"): {"FanoutQueue"},
    }
    (itself,) = aws.allowed("websocket")["lambda:InvokeFunction"]
    assert itself["Fn::Sub"].endswith(":function:realtime-kit-dev-websocket")


def test_all_that_post_stay_under_their_share_of_the_quota(aws):
    """Every instance that there may be, at its bucket's rate, all at the same time."""
    rates, bursts = {}, {}
    for one in aws.of_type("AWS::Lambda::Function").values():
        name = one["Handler"].removeprefix("lambdas/").removesuffix(".handler")
        if "execute-api:ManageConnections" not in aws.allowed(name):
            continue
        variables = one["Environment"]["Variables"]
        given = {k: v for k, v in variables.items() if k.startswith("REALTIME_AWS__")}
        keys = {"REALTIME_AWS__KEYS": f"{KEY}:{SECRET}"}
        texts = {k: v for k, v in given.items() if isinstance(v, str)}
        settings = RealtimeSettings(environ={**texts, **keys}).aws
        instances = one["ReservedConcurrentExecutions"]
        assert settings.concurrency == instances
        bucket = bucket_of(settings)
        rates[name], bursts[name] = instances * bucket.rate, instances * bucket.burst
        share, quota, burst = settings.share, settings.quota, settings.burst
    assert rates.keys() == {"trigger", "websocket", "fanout", "sweep"}
    assert (share, quota, burst) == (0.5, 10_000, 5_000)
    # All of it is given away, and not more.
    assert sum(rates.values()) == pytest.approx(share * quota)
    assert sum(bursts.values()) == pytest.approx(share * burst)


def test_alarms_and_logs(aws):
    alarms = aws.of_type("AWS::CloudWatch::Alarm")
    assert {"ErrorAlarm", "ThrottleAlarm", "DeadLetterAlarm", "CostAlarm"} == alarms.keys()
    assert all(alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}] for alarm in alarms.values())
    groups = aws.of_type("AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS["aws"])
    assert {group["RetentionInDays"] for group in groups.values()} == {30}


def test_the_outputs_are_what_a_client_needs(aws):
    outputs = aws.template["Outputs"]
    assert {"WsHost", "WsPath", "HttpHost", "AppId", "ConfigUrl", "SecretName"} <= outputs.keys()
    assert outputs["WsPath"]["Value"] == "/dev?p="
    assert outputs["UnmodifiedHost"]["Condition"] == "Unmodified"
    resources = aws.template["Resources"]
    assert resources["Distribution"]["Condition"] == "Unmodified"


# --- the functions --------------------------------------------------------------------------


@pytest.fixture
def store(store):
    store.values = {"REALTIME_AWS__KEYS": f"{KEY}:{SECRET}"}
    return store


@pytest.fixture
def handlers():
    """The functions of `service`, by name."""
    return {}


@pytest.fixture
def service(aws, start, store, handlers):
    """The deployment: each function is its zip, in a process of its own."""
    static = {
        name: value
        for name, value in aws.of_type("AWS::Lambda::Function")["WebsocketLambdaFunction"][
            "Environment"
        ]["Variables"].items()
        if isinstance(value, str) and value
    }

    def load(inside, clock):
        environ = {name: value for name, value in inside.items() if not name.endswith("KEYS")}
        environ["REALTIME_HISTORY__DEFAULT"] = "100/120s"
        environ |= static | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}"}
        for name in set(FUNCTIONS["aws"]) - {"auth"}:
            handlers[name] = one_by_one(start(f"lambdas/{name}.handler", of=aws, **environ))
        return handlers

    with deployed(MemoryDynamoDB(), load, environ={"REALTIME_AWS__KEYS": f"{KEY}:{SECRET}"}) as it:
        yield it


def one_by_one(function):
    """A handler: Lambda runs one invocation at a time in a process."""
    lock = threading.Lock()

    def handler(event, context):
        with lock:
            return function.invoke(event)

    return handler


@pytest.fixture
def dial(service):
    """`dial()`: a client that is greeted; and its socket id."""
    with ExitStack() as stack:

        def connect(origin=ORIGIN):
            url = f"ws://127.0.0.1:{service.port}{service.ws_path}/app/{KEY}?protocol=7&client=t"
            socket = create_connection(url, timeout=20, origin=origin)
            stack.callback(socket.shutdown)  # `close` leaves open what the server ended
            frame = json.loads(socket.recv())
            data = frame["data"]
            return socket, frame["event"], json.loads(data) if isinstance(data, str) else data

        yield connect


@pytest.fixture
def sdk(service):
    client = pusher.Pusher("1", KEY, SECRET, host="127.0.0.1", port=service.port, ssl=False)
    yield client
    client._pusher_client.http.session.close()


def said(socket):
    frame = json.loads(socket.recv())
    return frame["event"], frame.get("channel"), frame.get("data")


def test_a_client_a_proof_and_the_official_sdk(aws, start, dial, sdk, store, document):
    socket, event, data = dial()
    assert event == "pusher:connection_established"
    auth = start(
        "lambdas/auth.handler",
        of=aws,
        REALTIME_PROVIDER="aws",
        DEPLOYMENT_SECRET="ssm:/realtime-kit/dev",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{store.server_port}",
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKID",
        AWS_SECRET_ACCESS_KEY="another-secret",
    )
    event = document("http_api_jwt_authorizer")
    event["isBase64Encoded"] = False
    event["body"] = urlencode(
        {"socket_id": data["socket_id"], "channel_name": "presence-room-lobby"}
    )
    proof = json.loads(auth.invoke(event)["body"])
    subscribe = {"channel": "presence-room-lobby", **proof}
    socket.send(json.dumps({"event": "pusher:subscribe", "data": subscribe}))
    name, channel, members = said(socket)
    assert (name, channel) == ("pusher_internal:subscription_succeeded", "presence-room-lobby")
    assert json.loads(members)["presence"]["hash"] == {"7": {"name": "Ann"}}
    sdk.trigger("presence-room-lobby", "shipped", {"order": 42})
    assert said(socket) == ("shipped", "presence-room-lobby", '{"order": 42}')
    assert sdk.channel_info("presence-room-lobby", ["user_count"])["user_count"] == 1
    socket.send('{"event":"pusher:ping","data":{}}')
    assert socket.recv() == PONG
    assert all(one["signed"] and one["Name"] == "/realtime-kit/dev" for one in store.asked)


def test_what_happened_is_in_the_table(aws, start, service, handlers, document, store):
    """One function triggers, another one tells who was away."""
    event = {"channel": "private-user-7", "name": "shipped", "data": {"order": 7}}
    (first,) = handlers["trigger"](event, None)["events"]
    (second,) = handlers["trigger"](event, None)["events"]
    assert (first["offset"], second["offset"]) == (1, 2)
    inside = {name: value for name, value in service.function_environ.items() if "KEYS" not in name}
    auth = start(
        "lambdas/auth.handler",
        of=aws,
        **{
            **inside,
            "DEPLOYMENT_SECRET": "ssm:/realtime-kit/dev",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}",
            "REALTIME_HISTORY__DEFAULT": "100/120s",
        },
    )
    event = document("http_api_jwt_authorizer") | {"rawPath": "/realtime/events", "body": None}
    event["requestContext"]["http"] |= {"method": "GET", "path": "/realtime/events"}
    event["rawQueryString"] = f"channel=private-user-7&position={first['epoch']}:{first['offset']}"
    event["headers"] |= {"accept": "text/event-stream"}
    stream = auth.invoke(event)
    assert stream["headers"]["Content-Type"].startswith("text/event-stream")
    assert stream["body"].startswith("retry: ")
    told = [line for line in stream["body"].splitlines() if line.startswith("data: ")]
    assert [json.loads(line[6:])["id"] for line in told] == [second["id"]]
    event["headers"] |= {"accept": "application/json"}
    answer = json.loads(auth.invoke(event)["body"])
    assert [one["offset"] for one in answer["events"]] == [2]
    assert answer["position"] == f"{second['epoch']}:{second['offset']}"


def test_events_by_invocation_and_a_sweep(handlers, dial):
    socket, _, _ = dial()
    socket.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": "orders"}}))
    assert said(socket)[0] == "pusher_internal:subscription_succeeded"
    event = {"channel": "orders", "name": "shipped", "data": {"order": 7}}
    assert [one["channel"] for one in handlers["trigger"](event, None)["events"]] == ["orders"]
    assert json.loads(said(socket)[2]) == {"order": 7}
    assert set(handlers["sweep"]({}, None).values()) == {0}, "nobody is old, or gone"


def test_what_the_queue_brings(handlers, service):
    joined = {"name": "member_added", "channel": "presence-room-lobby", "user_id": "7"}
    message = {"app": "1", "do": "webhook", "event": joined, "time_ms": 1_700_000_000_000}
    records = [
        {"messageId": "one", "body": json.dumps(message)},
        {"messageId": "two", "body": json.dumps(message | {"event": None})},
    ]
    answer = handlers["fanout"]({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "two"}]}


def test_who_comes_from_elsewhere_is_told_and_closed(dial):
    socket, event, data = dial("https://evil.example")
    assert (event, data["code"]) == ("pusher:error", 4009)
    assert socket.recv() == ""


def test_a_missing_secret_fails_the_start_and_says_how_to_store_it(aws, start):
    function = start(
        "lambdas/websocket.handler",
        of=aws,
        REALTIME_PROVIDER="aws",
        DEPLOYMENT_SECRET="a-name-alone",
        AWS_REGION="eu-west-1",
    )
    report = function.answer("init/error")
    assert report["errorType"] == "ConfigurationError"
    assert "ssm:NAME" in report["errorMessage"]
