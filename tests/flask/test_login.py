"""Flask-Login: whose request it is, and that whoever logs out is off the air."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, login_user, logout_user

from realtime_kit import Member, ProviderUnavailable
from realtime_kit.flask import FlaskRealtime
from realtime_kit.testing.fakes import FakeProvider


class User(UserMixin):
    def __init__(self, id):
        self.id = id


def make_app(**options):
    app = Flask(__name__)
    app.testing = True
    app.secret_key = "of a test"
    app.config["REALTIME_PROVIDER"] = FakeProvider()
    LoginManager(app).user_loader(User)
    rt = FlaskRealtime(app, **options)

    @rt.channel_rule("presence-room")
    def may_join(user):
        return Member(user.id)

    @rt.channel_rule("private-open", guests=True)
    def anybody(user):
        return user is None

    @app.post("/login/<user_id>")
    def login(user_id):
        login_user(User(user_id))
        return "in"

    @app.post("/logout")
    def logout():
        logout_user()
        return "out"

    return app


@pytest.fixture
def app():
    return make_app()


def auth(client, channel):
    fields = {"socket_id": "1.2", "channel_name": channel}
    return client.post("/realtime/auth", data=fields)


class TestCurrentUser:
    def test_whoever_is_logged_in(self, app):
        client = app.test_client()
        assert auth(client, "presence-room").status_code == 403
        client.post("/login/7")
        assert auth(client, "presence-room").json["channel_data"] == '{"user_id": "7"}'
        client.post("/logout")
        assert auth(client, "presence-room").status_code == 403

    def test_an_anonymous_user_is_a_guest(self, app):
        assert auth(app.test_client(), "private-open").status_code == 200

    def test_the_user_is_no_proxy(self, app):
        seen = []
        app.extensions["realtime"].rules.add_channel("private-a", lambda user: seen.append(user))
        client = app.test_client()
        client.post("/login/7")
        auth(client, "private-a")
        assert type(seen[0]) is User


class TestLogout:
    def test_it_ends_that_user_s_connections(self, app):
        client = app.test_client()
        client.post("/login/7")
        client.post("/logout")
        assert app.extensions["realtime"].provider.disconnected == ["7"]

    def test_a_guest_s_logout_ends_nothing(self, app):
        assert app.test_client().post("/logout").status_code == 200
        assert app.extensions["realtime"].provider.disconnected == []

    def test_that_app_s_users_alone(self, app):
        other = make_app()
        client = app.test_client()
        client.post("/login/7")
        client.post("/logout")
        assert other.extensions["realtime"].provider.disconnected == []

    @pytest.mark.parametrize("testing", [True, False])
    def test_whoever_logs_out_is_logged_out_all_the_same(self, app, testing, caplog):
        app.testing = testing
        app.extensions["realtime"].provider.failure = ProviderUnavailable("no", provider="fake")
        client = app.test_client()
        client.post("/login/7")
        with caplog.at_level(logging.WARNING, logger="realtime_kit"):
            assert client.post("/logout").text == "out"
        assert auth(client, "presence-room").status_code == 403
        assert "were not ended: no (fake)" in caplog.text

    def test_it_can_be_left_alone(self):
        app = make_app(end_on_logout=False)
        client = app.test_client()
        client.post("/login/7")
        client.post("/logout")
        assert app.extensions["realtime"].provider.disconnected == []


class TestWithout:
    def test_an_app_without_a_login_manager_has_guests_alone(self):
        app = Flask(__name__)
        app.testing = True
        rt = FlaskRealtime(app)
        rt.channel_rule("private-open", guests=True)(lambda user: user is None)
        assert auth(app.test_client(), "private-open").status_code == 200
