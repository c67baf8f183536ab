"""Apps, the connection value, and `run`."""

from __future__ import annotations

import json
import logging

import pytest

from realtime_kit.errors import ConfigurationError
from realtime_kit.protocol import effects
from realtime_kit.protocol.app import App, Apps, Key
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import run

A = App("1", (Key("new", "s1"), Key("old", "s2")))
B = App("2", (Key("other", "s3"),))


def test_apps_are_found_by_id_and_by_any_key():
    apps = Apps([A, B])
    assert apps.by_id("1") is A
    assert apps.by_id("3") is None
    assert (apps.by_key("new"), apps.by_key("old"), apps.by_key("other")) == (A, A, B)
    assert apps.by_key("nope") is None
    assert list(apps) == [A, B]


def test_the_newest_key_signs_and_all_verify():
    assert A.key == Key("new", "s1")
    assert (A.secret_of("new"), A.secret_of("old"), A.secret_of("other")) == ("s1", "s2", None)


def test_what_cannot_be_an_app():
    with pytest.raises(ConfigurationError, match="'1' has no key"):
        App("1", ())
    with pytest.raises(ConfigurationError, match="app id '1' is there twice"):
        Apps([A, App("1", (Key("x", "y"),))])
    with pytest.raises(ConfigurationError, match="app key 'old' is there twice"):
        Apps([A, App("3", (Key("old", "y"),))])


def test_a_connection_survives_json():
    connection = Connection("1", "1.2", 6, "7", '{"name":"é"}')
    stored = json.loads(json.dumps(connection.to_json()))
    assert Connection.from_json(stored) == connection
    bare = Connection("1", "1.2")
    assert bare.to_json() == {"app_id": "1", "socket_id": "1.2", "protocol": 7, "schema": 1}
    assert Connection.from_json({**bare.to_json(), "of a later schema": 1}) == bare


def test_a_failed_effect_is_logged_and_thrown_into_the_step(caplog):
    thrown = []

    def step():
        try:
            yield effects.Send("secret frame")
        except effects.EffectFailed as failed:
            thrown.append(failed)
        return (yield effects.Drop())

    def perform(effect):
        if isinstance(effect, effects.Send):
            raise OSError("broken pipe")
        return effects.Dropped()

    with caplog.at_level(logging.ERROR):
        assert run(step(), perform) == effects.Dropped()
    assert str(thrown[0]) == "Send"
    assert isinstance(thrown[0].__cause__, OSError)
    (record,) = caplog.records
    assert record.getMessage() == "the driver could not perform Send"
    assert "secret frame" not in caplog.text


def test_attempt_lets_a_failure_be(caplog):
    def perform(effect):
        raise OSError("broken pipe")

    assert run(effects.attempt(effects.Send("x")), perform) is None
    assert caplog.records
