"""A Flask app and the embedded server: what it proves is believed, what it triggers arrives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, login_user, logout_user

from realtime_kit import Member, ProviderUnavailable, SignIn
from realtime_kit.flask import FlaskRealtime
from realtime_kit.protocol.app import App, Key
from realtime_kit.providers.base import AuthAnswer
from realtime_kit.testing.conformance.channels_wire import ChannelsWire


class User(UserMixin):
    def __init__(self, id):
        self.id = id


@pytest.fixture
def wire():
    with ChannelsWire(App("1", (Key("test-key", "test-secret"),))) as wire:
        yield wire


@pytest.fixture
def app(wire):
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "of a test"
    app.config["REALTIME_PORT"] = wire.port
    app.config["REALTIME_LOCAL__KEYS"] = "test-key:test-secret"
    LoginManager(app).user_loader(User)
    rt = FlaskRealtime(app)
    app.heard = []

    @rt.channel_rule("presence-room-{room}")
    def may_join(user, room):
        return Member(user.id, {"name": f"user {user.id}"}) if app.may_join else None

    app.may_join = True
    rt.sign_in(lambda user: SignIn(user.id))
    rt.on("member_added")(app.heard.append)

    @app.post("/login/<user_id>")
    def login(user_id):
        login_user(User(user_id))
        return "in"

    @app.post("/logout")
    def logout():
        logout_user()
        return "out"

    @app.post("/say")
    def say():
        rt.trigger("presence-room-a", "said", {"text": "hi"}, to_others=True)
        rt.send_to_user("7", "notice", {"n": 1})
        return {"members": rt.members("presence-room-a")}

    @app.post("/revoke/<user_id>")
    def revoke(user_id):
        rt.revoke(user_id)
        return "done"

    yield app
    app.extensions["realtime"].close()


@pytest.fixture
def page(app, wire):
    """`page("7")`: a browser of user 7, logged in, connected, signed in, in the room."""

    def open_page(user_id):
        http = app.test_client()
        http.post(f"/login/{user_id}")
        socket = wire.connect(http.get("/realtime/config").json["client"])
        proof = http.post("/realtime/user-auth", data={"socket_id": socket.socket_id})
        socket.sign_in(proof.json)
        socket.subscribe(f"#server-to-user-{user_id}")
        asked = {"socket_id": socket.socket_id, "channels": ["presence-room-a"]}
        answers = http.post("/realtime/auth", json=asked).json["channels"]
        socket.subscribe("presence-room-a", AuthAnswer(answers))
        pages.append(socket)
        return SimpleNamespace(http=http, socket=socket)

    pages = []
    yield open_page
    for socket in pages:
        socket.close()


def test_a_view_reaches_the_others(page):
    ann, ben = page("7"), page("8")
    answer = ann.http.post("/say", headers={"X-Socket-ID": ann.socket.socket_id})
    assert answer.json == {"members": ["7", "8"]}
    said = ben.socket.receive()
    assert (said.channel, said.name, said.data) == ("presence-room-a", "said", {"text": "hi"})
    notice = ann.socket.receive()
    assert (notice.channel, notice.name) == ("#server-to-user-7", "notice")


def test_an_event_carries_the_id_of_its_receipt(app, page):
    ann = page("7")
    (receipt,) = app.extensions["realtime"].trigger("presence-room-a", "e", [1, "é"])
    delivery = ann.socket.receive()
    assert (delivery.data, delivery.ids["id"]) == ([1, "é"], receipt.id)


def test_logging_out_ends_the_connections(page):
    ann, ben = page("7"), page("8")
    ann.http.post("/logout")
    ann.socket.wait_closed()
    assert ann.socket.close_code == 4009
    assert ben.http.post("/say").json == {"members": ["8"]}


def test_revoking_asks_the_rules_again(app, page):
    ann, ben = page("7"), page("8")
    app.may_join = False
    ben.http.post("/revoke/7")
    ann.socket.wait_closed()
    asked = {"socket_id": "1.2", "channels": ["presence-room-a"]}
    answers = ann.http.post("/realtime/auth", json=asked).json["channels"]
    assert answers == {"presence-room-a": {"status": 403, "error": "denied"}}


def test_the_server_s_webhooks_verify(app, page, wire):
    page("7")
    client = app.test_client()
    while not app.heard:
        headers, body = wire.webhook()
        answer = client.post("/realtime/webhook", data=body, headers=dict(headers))
        assert answer.status_code == 200
    assert (app.heard[0].channel, app.heard[0].user_id) == ("presence-room-a", "7")


def test_without_a_server_the_error_says_what_to_do(app, wire):
    wire.__exit__(None, None, None)
    with pytest.raises(ProviderUnavailable, match="realtime-kit dev app:app"):
        app.extensions["realtime"].trigger("a", "e", {})
