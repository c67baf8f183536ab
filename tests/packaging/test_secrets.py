"""The secret of a deployment: where it is read, how long it is kept, what a rotation does."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from realtime_kit import ConfigurationError, ProviderUnavailable
from realtime_kit.hosting.apigateway.secrets import RETRY, Secret, SecretKeys
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.protocol.signing import Key
from realtime_kit.web.deployed import Secrets

PLACES = ("ssm:/realtime-kit/test", "secretsmanager:realtime-kit/test")


@dataclass
class Answer:
    status: int
    body: bytes


@dataclass
class Moto:
    """An HTTP client whose requests moto answers: the operation in the header, JSON in the body."""

    client: Any
    status: int | None = None
    asked: list[dict[str, str]] = field(default_factory=list)

    def request(self, method, target, *, headers, body=b""):
        assert (method, target) == ("POST", "/")
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
        self.asked.append(dict(headers))
        if self.status is not None:
            return Answer(self.status, b"")
        operation = headers["X-Amz-Target"].partition(".")[2]
        call = {"GetParameter": "get_parameter", "GetSecretValue": "get_secret_value"}[operation]
        try:
            answer = getattr(self.client, call)(**json.loads(body))
        except ClientError as error:
            kind = f"com.amazonaws#{error.response['Error']['Code']}"
            return Answer(400, json.dumps({"__type": kind}).encode())
        return Answer(200, json.dumps(answer, default=str).encode())


class World:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.http: Moto | None = None
        self.client = cache(lambda service: boto3.client(service, "eu-west-1"))

    def secret(self, place: str) -> Secret:
        def connect(service: str):
            self.http = Moto(self.client(service))
            return self.http, f"{service}.eu-west-1.amazonaws.com"

        return Secret(
            place,
            connect,
            region="eu-west-1",
            credentials=lambda: Credentials("AKID", "a-secret"),
            ttl=60,
            clock=lambda: self.now,
        )

    def store(self, place: str, text: str) -> None:
        service, _, name = place.partition(":")
        client = self.client(service)
        if service == "ssm":
            client.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
            return
        try:
            client.create_secret(Name=name, SecretString=text)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=text)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield World()


@pytest.mark.parametrize("place", PLACES)
def test_it_is_read_once_and_again_when_it_is_old(world, place):
    world.store(place, '{"REALTIME_AWS__KEYS": "one:s1"}')
    secret = world.secret(place)
    assert not world.http.asked, "nothing is read before it is needed"
    keys = SecretKeys(secret, "REALTIME_AWS__KEYS")
    assert list(keys) == [Key("one", "s1")]
    world.store(place, '{"REALTIME_AWS__KEYS": "two:s2, one:s1"}')
    assert keys[0] == Key("one", "s1")
    assert len(world.http.asked) == 1
    world.now += 61
    assert keys[0] == Key("two", "s2")
    assert (len(keys), keys[1:]) == (2, (Key("one", "s1"),))
    assert len(world.http.asked) == 2


@pytest.mark.parametrize("place", PLACES)
def test_one_that_is_not_there_says_so(world, place):
    with pytest.raises(ConfigurationError, match=r"NotFound.*realtime-kit init"):
        world.secret(place).values()


@pytest.mark.parametrize("text", ["key:secret", '["a-secret"]', '{"KEYS": 7}', "{"])
def test_another_form_is_refused_without_a_word_of_it(world, text):
    world.store(PLACES[0], text)
    with pytest.raises(ConfigurationError, match="not one JSON object of texts") as caught:
        world.secret(PLACES[0]).values()
    assert "secret" not in str(caught.value).replace("secrets", "").replace(PLACES[0], "")
    assert caught.value.__context__ is None


def test_what_is_known_is_used_while_it_cannot_be_read(world, caplog):
    world.store(PLACES[0], '{"A": "1"}')
    secret = world.secret(PLACES[0])
    assert secret.values() == {"A": "1"}
    world.http.status = 500
    world.now += 61
    with caplog.at_level(logging.ERROR):
        assert secret.values() == {"A": "1"}
    assert "could not be read" in caplog.text
    world.http.status = None
    world.store(PLACES[0], '{"A": "2"}')
    assert secret.values() == {"A": "1"}, "it is not asked for again at once"
    world.now += RETRY
    assert secret.values() == {"A": "2"}


def test_a_service_that_is_not_there_at_first_is_said(world):
    secret = world.secret(PLACES[0])
    world.http.status = 503
    with pytest.raises(ProviderUnavailable):
        secret.values()


def test_a_place_of_another_kind_is_refused(world):
    for place in ("s3:bucket", "ssm:", "/realtime-kit/test"):
        with pytest.raises(ConfigurationError, match="ssm:NAME"):
            world.secret(place)


def test_without_a_secret_it_is_the_environment():
    secrets = Secrets({"REALTIME_PROVIDER": "null", "JWT_SECRET": "x"})
    assert secrets.realtime().settings.provider == "null"
    assert (secrets.get("JWT_SECRET"), secrets.get("OTHER")) == ("x", None)


def test_keys_without_a_value_are_an_error_that_names_them(world):
    world.store(PLACES[0], '{"A": "1"}')
    with pytest.raises(ConfigurationError, match="REALTIME_AWS__KEYS"):
        list(SecretKeys(world.secret(PLACES[0]), "REALTIME_AWS__KEYS"))
