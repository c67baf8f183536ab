"""A secret that is rotated while a function is warm: what it signs with, whom it takes events from,
and what it tells clients are of the new one, without a new process."""

from __future__ import annotations

import json
import logging

import pytest

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.secrets import TTL, Secret
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.providers.null import NullProvider
from realtime_kit.web.aws_lambda import http_handler
from realtime_kit.web.deployed import Secrets

AWS = {
    "REALTIME_PROVIDER": "aws",
    "REALTIME_AWS__SOCKET": "wss://abc.execute-api.eu-west-1.amazonaws.com/prod",
}
PUSHER = {"REALTIME_PROVIDER": "pusher"}


class Store:
    """Parameter Store with one parameter, and time that passes when it is told to."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.now = 1_700_000_000.0
        self.asked = 0

    def request(self, method, target, *, headers, body=b""):
        self.asked += 1
        value = json.dumps({"Parameter": {"Value": json.dumps(self.values)}})
        return type("Answer", (), {"status": 200, "body": value.encode()})

    def rotate(self, **values: str) -> None:
        """Store other values; they are seen when the old ones are too old to be used."""
        self.values = values
        self.now += TTL

    def secrets(self, environ: dict[str, str]) -> Secrets:
        secrets = Secrets(environ)
        secrets.secret = Secret(
            "ssm:/realtime-kit/test",
            lambda service: (self, "ssm.eu-west-1.amazonaws.com"),
            region="eu-west-1",
            credentials=lambda: Credentials("AKID", "a-secret"),
            clock=lambda: self.now,
        )
        return secrets


def pusher_secret(key: str) -> dict[str, str]:
    return {
        "REALTIME_PUSHER__APP_ID": "42",
        "REALTIME_PUSHER__CLUSTER": "eu",
        "REALTIME_PUSHER__KEYS": f"{key}:secret-of-{key}",
    }


def aws_secret(key: str) -> dict[str, str]:
    return {"REALTIME_AWS__KEYS": f"{key}:secret-of-{key}"}


class Function:
    """A warm function: its handler is made once."""

    def __init__(self, store: Store, environ: dict[str, str], **options) -> None:
        self.realtime = store.secrets(environ).realtime(**options)

        @self.realtime.channel_rule("private-orders")
        def may_see(user):
            return True

        self.handler = http_handler(self.realtime, lambda request: {"sub": "7"})

    def ask(self, document, method: str, path: str, body: str = "", **headers: str):
        event = document("http_api")
        event["rawPath"] = f"/realtime/{path}"
        event["requestContext"]["http"]["method"] = method
        event["body"], event["isBase64Encoded"] = body, False
        event["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.handler(event)

    def config_key(self, document) -> str:
        answer = self.ask(document, "GET", "config")
        return json.loads(answer["body"])["client"]["socket"]["key"]

    def proof_key(self, document) -> str:
        body = "socket_id=1.2&channel_name=private-orders"
        answer = self.ask(
            document, "POST", "auth", body, content_type="application/x-www-form-urlencoded"
        )
        return json.loads(answer["body"])["auth"].partition(":")[0]

    def trigger(self, document, token: str) -> int:
        body = json.dumps({"channels": ["news"], "name": "update", "data": {}})
        return self.ask(
            *(document, "POST", "trigger", body),
            authorization=f"Bearer {token}",
            content_type="application/json",
        )["statusCode"]


@pytest.mark.parametrize(
    ("environ", "secret"), [(PUSHER, pusher_secret), (AWS, aws_secret)], ids=["pusher", "aws"]
)
def test_the_key_in_config_and_in_proofs(document, environ, secret):
    store = Store(**secret("one"))
    function = Function(store, environ)
    assert (function.config_key(document), function.proof_key(document)) == ("one", "one")
    store.values = secret("two")
    assert function.config_key(document) == "one", "what is known is used for a while"
    assert store.asked == 1
    store.rotate(**secret("two"))
    assert (function.config_key(document), function.proof_key(document)) == ("two", "two")
    assert store.asked == 2


def test_who_may_trigger(document):
    provider = NullProvider()
    store = Store(REALTIME_WEB__TRIGGER_TOKENS="token-1")
    function = Function(store, {"REALTIME_PROVIDER": "null"}, provider=provider)
    assert function.trigger(document, "token-1") == 200
    assert function.trigger(document, "token-2") == 403
    store.rotate(REALTIME_WEB__TRIGGER_TOKENS="token-2,token-1")
    assert [function.trigger(document, f"token-{n}") for n in (1, 2)] == [200, 200]
    store.rotate(REALTIME_WEB__TRIGGER_TOKENS="token-2")
    assert [function.trigger(document, f"token-{n}") for n in (1, 2)] == [403, 200]
    assert function.realtime.provider is provider, "a provider that was given stays"


def test_a_deployments_provider_is_the_same_one(document):
    """Its host has the instance's part of the account's quota: there must not be two."""
    store = Store(**aws_secret("one"))
    function = Function(store, AWS)
    before = function.realtime.provider
    store.rotate(**aws_secret("two"), REALTIME_WEB__TRIGGER_TOKENS="token")
    assert function.config_key(document) == "two"
    assert function.realtime.provider is before
    assert function.realtime.settings.web.trigger_tokens[0].get_secret_value() == "token"


def test_what_is_wrong_in_it_is_logged_once_and_what_was_right_stays(document, caplog):
    store = Store(**pusher_secret("one"))
    function = Function(store, PUSHER)
    assert function.proof_key(document) == "one"
    for broken in ({"REALTIME_PUSHER__KEYS": "no-colon"}, {}, {"REALTIME_PUSHR__KEYS": "x"}):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            store.rotate(**{**pusher_secret("two"), **broken} if broken else {})
            assert function.proof_key(document) == "one"
            assert function.proof_key(document) == "one"
        assert [record.name for record in caplog.records] == ["realtime_kit.web.deployed"]
        assert "no-colon" not in caplog.text
    store.rotate(**pusher_secret("three"))
    assert function.proof_key(document) == "three"


def test_the_same_text_again_changes_nothing(document):
    store = Store(**pusher_secret("one"))
    function = Function(store, PUSHER)
    before = function.realtime.provider
    store.rotate(**pusher_secret("one"))
    assert function.realtime.provider is before
    assert store.asked == 2


def test_what_stands_in_the_environment_goes_before(document):
    environ = {**AWS, "REALTIME_AWS__KEYS": "mine:secret-of-mine"}
    store = Store(**aws_secret("one"))
    function = Function(store, environ)
    assert (function.config_key(document), function.proof_key(document)) == ("mine", "mine")


def test_a_secret_without_what_the_provider_needs_fails_the_start():
    with pytest.raises(ConfigurationError, match="REALTIME_PUSHER__KEYS"):
        Function(Store(), PUSHER)
