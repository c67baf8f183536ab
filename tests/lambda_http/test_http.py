"""HTTP on Lambda: real event documents in, the gateways' answers out."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import time
from base64 import b64decode

import jwt
import pusher
import pytest

from realtime_kit import ConfigurationError, Realtime, RealtimeSettings
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App, Key
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web.aws_lambda import http_answer, http_handler, http_request, set_up
from realtime_kit.web.http import HttpRequest, HttpResponse
from realtime_kit.web.users import authorizer_user, jwt_user

KEY, SECRET = "key-of-the-app", "secret-of-the-app"
LOGIN = "the secret with which the login signs"
ABLY_SECRET = "a-secret-of-thirty-two-characters"
GATEWAYS = [
    "rest_api",
    "rest_api_base_path",
    "http_api",
    "http_api_stage",
    "http_api_base_path",
    "http_api_payload_1",
    "function_url",
]
AUTHORIZED = [
    "rest_api_lambda_authorizer",
    "rest_api_cognito",
    "http_api_jwt_authorizer",
    "http_api_lambda_authorizer",
]


def ann(request):
    return {"sub": "7", "name": "Ann"}


def sdk_agrees(answer: dict[str, str], channel: str = "presence-room-lobby") -> bool:
    """The official SDK makes the same proof of the same member."""
    sdk = pusher.Pusher(app_id="42", key=KEY, secret=SECRET, cluster="eu")
    member = json.loads(answer["channel_data"])
    return sdk.authenticate(channel, "123.456", member) == answer


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_gateway_gets_a_proof_that_the_sdk_agrees_with(app, document, name):
    answer = http_handler(app, ann)(document(name), None)
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["isBase64Encoded"] is False
    proof = json.loads(answer["body"])
    assert json.loads(proof["channel_data"]) == {"user_id": "7", "user_info": {"name": "Ann"}}
    assert sdk_agrees(proof)


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_gateway_gets_a_token_of_ably(app, document, name):
    key = f"abcdef.key:{ABLY_SECRET}"
    environ = {"REALTIME_PROVIDER": "ably", "REALTIME_ABLY__KEY": key}
    on_ably = Realtime(settings=RealtimeSettings(environ=environ))
    on_ably.rules = app.rules
    handler = http_handler(on_ably, ann)
    proof = json.loads(handler(document(name), None)["body"])
    assert json.loads(proof["channel_data"]) == {"user_id": "7", "user_info": {"name": "Ann"}}
    claims = jwt.decode(proof["token"], ABLY_SECRET, ["HS256"])
    assert "presence:room-lobby" in json.loads(claims["x-ably-capability"])


@pytest.mark.parametrize("name", AUTHORIZED)
def test_the_authorizer_says_who_it_is(app, document, name):
    answer = http_handler(app, authorizer_user())(document(name))
    proof = json.loads(answer["body"])
    assert json.loads(proof["channel_data"]) == {"user_id": "7", "user_info": {"name": "Ann"}}
    assert sdk_agrees(proof)


def test_without_an_authorizer_or_a_loader_everybody_is_a_guest(app, document):
    for handler in (http_handler(app, authorizer_user()), http_handler(app)):
        assert handler(document("http_api"))["statusCode"] == 403
        event = document("http_api")
        event["body"] = event["body"].replace("presence-room-lobby", "private-open-x")
        assert handler(event)["statusCode"] == 200


@pytest.mark.parametrize("lifetime", [600, -600])
def test_a_token_in_a_cookie(app, document, lifetime):
    now = 1_800_000_000
    token = jwt.encode({"sub": "7", "exp": now + lifetime}, LOGIN)
    event = document("http_api_cookies")
    event["cookies"] = [cookie.replace("TOKEN", token) for cookie in event["cookies"]]
    handler = http_handler(app, jwt_user(secret=LOGIN, cookie="session", now=lambda: now))
    answer = handler(event)
    assert answer["statusCode"] == (200 if lifetime > 0 else 401)
    assert lifetime > 0 or json.loads(answer["body"]) == {"error": "expired"}


def test_the_console_s_test_button_is_no_crash(app, document):
    answer = http_handler(app, ann)(document("rest_api_console_test"))
    assert answer["statusCode"] == 400


# --- requests -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prefix", "host"),
    [
        ("rest_api", "/prod/realtime", "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"),
        ("rest_api_base_path", "/live/realtime", "api.example.com"),
        ("http_api", "/realtime", "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"),
        ("http_api_stage", "/prod/realtime", "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"),
        ("http_api_base_path", "/live/realtime", "api.example.com"),
        (
            "http_api_payload_1",
            "/prod/realtime",
            "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
        ),
        (
            "function_url",
            "/realtime",
            "x7k2m9q4w1e8r5t3y6u0i2o4p.lambda-url.eu-central-1.on.aws",
        ),
    ],
)
def test_what_a_request_becomes(document, name, prefix, host):
    event = document(name)
    request = http_request(event, "/realtime")
    assert (request.method, request.path, request.prefix) == ("POST", "/auth", prefix)
    assert request.origin == f"https://{host}"
    assert request.body == b"socket_id=123.456&channel_name=presence-room-lobby"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["origin"] == "https://shop.example.com"
    assert request.event is event


@pytest.mark.parametrize(
    ("path", "stage", "prefix", "found"),
    [
        ("/realtime/client/transports/socket.js", "$default", "/realtime", "/realtime"),
        ("/a/b/realtime/client/transports/socket.js", "a", "/realtime", "/a/b/realtime"),
        (
            "/realtime/realtime/client/transports/socket.js",
            "realtime",
            "/realtime",
            "/realtime/realtime",
        ),
        ("/api/v1/rt/client/transports/socket.js", "$default", "/api/v1/rt", "/api/v1/rt"),
        ("/client/transports/socket.js", "$default", "/realtime", None),
        ("/client/transports/socket.js", "$default", "", ""),
        ("/prod/client/transports/socket.js", "prod", "", "/prod"),
    ],
)
def test_the_prefix_is_found_behind_stages_and_base_paths(document, path, stage, prefix, found):
    event = document("http_api")
    event["rawPath"] = path
    event["requestContext"]["stage"] = stage
    request = http_request(event, prefix)
    assert (request.path, request.prefix) == ("/client/transports/socket.js", found)


def test_the_prefix_is_the_settings_unless_given(app, document):
    event = document("http_api")
    event["rawPath"] = "/live/auth"
    assert http_handler(app, ann, prefix="/live/")(event)["statusCode"] == 200
    event["rawPath"] = "/realtime/nothing"
    assert http_handler(app, ann)(event)["statusCode"] == 404


@pytest.mark.parametrize("name", ["rest_api", "http_api", "function_url"])
def test_query_cookies_and_repeated_headers(as_event, name):
    sent = HttpRequest(
        "GET",
        "/realtime/events",
        {"cookie": "a=1; b=2", "x-many": "1,2"},
        {"channel": "private-ö &=+", "after": ""},
    )
    request = http_request(as_event(name, sent), "/realtime")
    assert (request.method, request.path, request.body) == ("GET", "/events", b"")
    assert request.query == sent.query
    assert request.headers["cookie"] == "a=1; b=2"
    assert request.headers["x-many"] == "1,2"


def test_rest_apis_give_repeated_headers_as_lists(document):
    event = document("rest_api")
    event["multiValueHeaders"]["Cookie"] = ["a=1", "b=2"]
    event["multiValueHeaders"]["X-Many"] = ["1", "2"]
    headers = http_request(event, "/realtime").headers
    assert (headers["cookie"], headers["x-many"]) == ("a=1; b=2", "1,2")


def test_the_last_of_a_repeated_query_name_counts(document):
    event = document("http_api")
    event["rawQueryString"] = "a=1&a=2&b=%C3%B6"
    assert http_request(event, "/realtime").query == {"a": "2", "b": "ö"}


def test_a_body_that_is_no_unicode_is_the_client_s_mistake(app, document):
    event = document("http_api")
    event["body"] = "socket_id=1.1&channel_name=private-\ud800"
    assert http_handler(app, ann)(event)["statusCode"] == 400


@pytest.mark.parametrize(
    "name", ["websocket_connect", "alb", "sns", "sqs", "eventbridge", "direct"]
)
def test_other_events_are_a_mistake_in_the_wiring(app, document, name):
    event = document(name)
    with pytest.raises(ConfigurationError, match="this is an object with") as caught:
        http_handler(app, ann)(event)
    assert "203.0.113.7" not in str(caught.value)


@pytest.mark.parametrize("event", [[], "text", None, 7, {}, {"requestContext": None}])
def test_what_is_no_event_at_all(app, event):
    with pytest.raises(ConfigurationError):
        http_handler(app, ann)(event)


# --- answers --------------------------------------------------------------------------------


def test_bytes_that_are_no_text_are_base64():
    body = gzip.compress(b"text")
    answer = http_answer(HttpResponse(200, body, {"Content-Type": "application/gzip"}))
    assert answer["isBase64Encoded"] is True
    assert b64decode(answer["body"]) == body


def test_text_stays_text():
    headers = {"Content-Type": "text/javascript; charset=utf-8", "ETag": '"1"'}
    assert http_answer(HttpResponse(201, "// ö".encode(), headers)) == {
        "statusCode": 201,
        "headers": headers,
        "body": "// ö",
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("name", GATEWAYS)
def test_config_gives_the_paths_as_browsers_see_them(app, as_event, name):
    event = as_event(name, HttpRequest("GET", "/realtime/config"))
    config = json.loads(http_handler(app, ann)(event)["body"])
    where = http_request(event, "/realtime").prefix
    assert config["auth"] == f"{where}/auth"
    assert config["client"]["socket"]["key"] == KEY
    assert SECRET not in json.dumps(config)


# --- webhooks -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize("genuine", [True, False])
def test_webhooks_are_verified_over_the_bytes_that_were_signed(app, as_event, name, genuine):
    heard = []
    app.on("member_added")(heard.append)

    def nobody(request):
        raise AssertionError("a webhook has no user")

    happened = {"name": "member_added", "channel": "presence-room-ö", "user_id": "7"}
    signer = App("42", (Key(KEY, SECRET if genuine else "another"),))
    headers, body = notices.signed(signer, happened, int(time.time() * 1000))
    headers = {name.lower(): value for name, value in headers.items()}
    event = as_event(name, HttpRequest("POST", "/realtime/webhook", headers, body=body))
    answer = http_handler(app, nobody)(event)
    assert answer["statusCode"] == (200 if genuine else 401)
    assert [(one.channel, one.user_id) for one in heard] == [("presence-room-ö", "7")] * genuine


# --- the process ----------------------------------------------------------------------------


def test_what_is_not_set_fails_the_start_and_not_a_user():
    on_lambda = {"AWS_LAMBDA_FUNCTION_NAME": "auth"}
    with pytest.raises(ConfigurationError, match="REALTIME_PROVIDER"):
        http_handler(Realtime(settings=RealtimeSettings(environ=on_lambda)))
    pusher_alone = {**on_lambda, "REALTIME_PROVIDER": "pusher"}
    with pytest.raises(ConfigurationError, match="REALTIME_PUSHER__APP_ID"):
        http_handler(Realtime(settings=RealtimeSettings(environ=pusher_alone)))
    published = {**on_lambda, "REALTIME_PROVIDER": "local"}
    with pytest.raises(ConfigurationError, match="app-key"):
        http_handler(Realtime(settings=RealtimeSettings(environ=published)))


def test_a_warm_process_keeps_what_it_has(app, document):
    handler = http_handler(app, ann)
    provider = app.provider
    answers = [handler(document("http_api")) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert app.provider is provider


def test_one_line_is_logged_and_no_secret(app, document, caplog):
    token = jwt.encode({"sub": "7", "exp": 1_800_000_000}, LOGIN)
    event = document("http_api")
    event["headers"]["authorization"] = f"Bearer {token}"
    event["rawQueryString"] = f"token={token}"
    load = jwt_user(secret=LOGIN, now=lambda: 1_700_000_000)
    with caplog.at_level(logging.DEBUG):
        answer = http_handler(app, load)(event)
    (record,) = caplog.records
    assert record.getMessage() == "POST '/auth' 200"
    proof = json.loads(answer["body"])["auth"]
    for secret in (token, LOGIN, SECRET, proof):
        assert secret not in caplog.text
        assert secret not in repr(http_request(event, "/realtime"))


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_left_as_it_was(collecting):
    gone = Realtime(settings=RealtimeSettings(environ={"AWS_LAMBDA_FUNCTION_NAME": "auth"}))
    (gc.enable if collecting else gc.disable)()
    try:
        set_up(Realtime(FakeProvider(), settings=RealtimeSettings(environ={})))
        assert gc.isenabled() is collecting
        with pytest.raises(ConfigurationError):
            set_up(gone)
        assert gc.isenabled() is collecting
    finally:
        gc.enable()


@pytest.mark.parametrize("on_lambda", [True, False])
def test_only_a_process_of_lambda_s_own_is_frozen(app, on_lambda):
    frozen = gc.get_freeze_count()
    try:
        set_up(app if on_lambda else Realtime(FakeProvider()))
        assert (gc.get_freeze_count() > frozen) is on_lambda
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_gateway_asks_for_several_channels(app, as_event, name, tmp_path):
    """Nothing can wait there: what there is, and when to come again."""
    log = {"REALTIME_HISTORY__URL": f"sqlite:///{tmp_path}/log.db"}
    logged = Realtime(
        FakeProvider(), settings=RealtimeSettings(environ={"AWS_LAMBDA_FUNCTION_NAME": "f", **log})
    )
    for channel in ("news", "sports=more"):
        logged.channel_rule(channel, history="5/1h")(lambda user: True)
    handler = http_handler(logged, ann)
    query = "channel=news&channel=sports%3Dmore"

    def ask(query: str, accept: str) -> HttpResponse:
        request = HttpRequest(
            "GET", "/realtime/events", {"accept": accept}, query_string=query, waits=True
        )
        answer = handler(as_event(name, request), None)
        assert answer["statusCode"] == 200, answer
        return answer

    position = json.loads(ask(query, "application/json")["body"])["position"]
    logged.trigger(["news", "sports=more"], "moved", {"x": "é"})
    query += f"&position={position}&wait=20"
    found = json.loads(ask(query, "application/json")["body"])
    assert [event["channel"] for event in found["events"]] == ["news", "sports=more"]
    stream = ask(query, "text/event-stream")
    assert stream["headers"]["Content-Type"].startswith("text/event-stream")
    assert stream["body"].startswith("retry: 3")
    assert stream["body"].count("data: ") == 2
    logged.recorder.log.close()
    gc.unfreeze()
