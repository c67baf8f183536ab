"""Flask-WTF's CSRFProtect: what exempts itself, and what does not."""

from __future__ import annotations

import json
import time

import pytest
from flask import Flask, session
from flask_wtf.csrf import CSRFProtect, generate_csrf

from realtime_kit import SignIn
from realtime_kit.flask import FlaskRealtime
from realtime_kit.protocol import signing
from realtime_kit.testing.fakes import FakeProvider

NOTE = {"name": "note", "channels": ["private-a"], "data": 1}
SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(params=["before", "after"])
def app(request):
    """CSRFProtect set up before the extension, and after it."""
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "of a test"
    app.config["REALTIME_PROVIDER"] = FakeProvider()
    app.config["REALTIME_WEB__TRIGGER_TOKENS"] = "a-token"
    csrf = CSRFProtect()
    if request.param == "before":
        csrf.init_app(app)
    rt = FlaskRealtime(app)
    if request.param == "after":
        csrf.init_app(app)
    rt.user_loader(lambda: {"sub": session["user"]} if "user" in session else None)
    rt.channel_rule("private-a", history=5)(lambda user: True)
    rt.trigger_rule("private-a")(lambda user: True)
    rt.sign_in(lambda user: SignIn(user["sub"]))
    csrf.exempt(app.get("/login")(_login))
    app.post("/order")(lambda: "done")
    return app


def _login():
    session["user"] = "7"
    return generate_csrf()


@pytest.fixture
def client(app):
    return app.test_client()


def test_it_is_on_for_the_rest_of_the_app(client):
    assert client.post("/order").status_code == 400


def test_proofs_need_no_token(client):
    client.get("/login")
    form = {"socket_id": "1.2", "channel_name": "private-a"}
    assert client.post("/realtime/auth", data=form).status_code == 200
    body = {"socket_id": "1.2", "channels": ["private-a"]}
    assert client.post("/realtime/auth", json=body).status_code == 200
    assert client.post("/realtime/user-auth", data=form).status_code == 200
    assert client.post("/realtime/events", json={"channels": ["private-a"]}).status_code == 200


def test_webhooks_need_no_token(client):
    body = json.dumps({"time_ms": int(time.time() * 1000), "events": []}).encode()
    signature = signing.webhook_signature("test-secret", body)
    headers = {"X-Pusher-Key": "test-key", "X-Pusher-Signature": signature}
    assert client.post("/realtime/webhook", data=body, headers=headers).status_code == 200


def test_a_user_s_trigger_needs_one(client, app):
    token = client.get("/login").text
    answer = client.post("/realtime/trigger", json=NOTE, headers=SAME)
    assert answer.status_code == 400
    assert "CSRF" in answer.text
    headers = {**SAME, "X-CSRF-Token": token}
    assert client.post("/realtime/trigger", json=NOTE, headers=headers).status_code == 200
    app.extensions["realtime"].provider.assert_triggered("private-a", "note", count=1)


def test_and_all_that_is_asked_without_it(client):
    token = client.get("/login").text
    headers = {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/realtime/trigger", json=NOTE, headers=headers).status_code == 403


def test_a_service_s_trigger_needs_none(client):
    headers = {"Authorization": "Bearer a-token"}
    assert client.post("/realtime/trigger", json=NOTE, headers=headers).status_code == 200
    headers = {"Authorization": "Bearer wrong"}
    assert client.post("/realtime/trigger", json=NOTE, headers=headers).status_code == 401


@pytest.mark.parametrize("setting", ["WTF_CSRF_ENABLED", "WTF_CSRF_CHECK_DEFAULT"])
def test_switched_off_it_is_off(client, app, setting):
    app.config[setting] = False
    client.get("/login")
    assert client.post("/realtime/trigger", json=NOTE, headers=SAME).status_code == 200
