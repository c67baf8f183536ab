"""FlaskRealtime: apps, factories, settings, failures, templates, commands."""

from __future__ import annotations

import io
import json
import logging
from html.parser import HTMLParser

import pytest
from flask import Flask, render_template_string, request

from realtime_kit import ConfigurationError, Denied, Member, ProviderUnavailable, Realtime
from realtime_kit.flask import FlaskRealtime, realtime_failed
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web import flask as adapter
from realtime_kit.web.http import MAX_BODY, HttpResponse

FORM = {"socket_id": "1.2", "channel_name": "private-orders-1"}
DOWN = ProviderUnavailable("no answer", provider="fake", retryable=True)


def make_app(extension=None, *, testing=True, **config):
    app = Flask("shop")
    app.config.update(REALTIME_PROVIDER=FakeProvider(), **config)
    app.testing = testing
    if extension is not None:
        extension.init_app(app)
    return app


def fake(app):
    return app.extensions["realtime"].provider


@pytest.fixture
def rt():
    rt = FlaskRealtime()

    @rt.channel_rule("private-orders-{order:int}")
    def may_see(user, order):
        return order == 1

    @rt.channel_rule("presence-room-{room}", guests=True, history=100)
    def may_join(user, room):
        return Member(user or "guest")

    rt.user_loader(lambda: request.headers.get("X-User"))
    return rt


@pytest.fixture
def app(rt):
    return make_app(rt)


def auth(app, fields=FORM, path="/realtime/auth", **options):
    return app.test_client().post(path, data=fields, headers={"X-User": "7"}, **options)


class TestApps:
    def test_in_one_go(self):
        app = Flask(__name__)
        rt = FlaskRealtime(app)
        rt.channel_rule("private-late")(lambda user: True)
        rt.user_loader(lambda: "7")
        rt.user_loader(lambda: type("User", (), {"id": "7"})())
        app.testing = True
        assert auth(app, {"socket_id": "1.2", "channel_name": "private-late"}).status_code == 200

    def test_its_realtime_is_in_the_extensions(self, app, rt):
        with app.app_context():
            assert rt.realtime is app.extensions["realtime"]
            assert isinstance(rt.realtime, Realtime)
            assert rt.settings is rt.realtime.settings

    def test_several_apps_share_rules_and_nothing_else(self, rt):
        one = make_app(rt)
        two = make_app(rt, REALTIME_WEB__PREFIX="/broadcasting")
        with one.app_context():
            rt.trigger("a", "e", {})
        fake(one).assert_triggered("a", "e", count=1)
        fake(two).assert_not_triggered()
        assert one.extensions["realtime"] is not two.extensions["realtime"]
        assert one.extensions["realtime"].rules is two.extensions["realtime"].rules
        rt.user_loader(lambda: type("User", (), {"id": "7"})())
        assert auth(one).json == auth(two, path="/broadcasting/auth").json
        assert auth(one, path="/broadcasting/auth").status_code == 404

    def test_handlers_are_shared_too(self, rt):
        heard = []
        app = make_app(rt)
        rt.on("member_added")(heard.append)
        app.extensions["realtime"].provider.parse_webhook = lambda headers, body: [
            type("Event", (), {"kind": "member_added"})
        ]
        assert app.test_client().post("/realtime/webhook").status_code == 200
        assert len(heard) == 1

    def test_a_realtime_of_one_s_own(self):
        realtime = Realtime(FakeProvider())
        app = Flask(__name__)
        rt = FlaskRealtime(app, realtime)
        assert app.extensions["realtime"] is realtime
        rt.channel_rule("private-a")(lambda user: True)
        with app.app_context():
            assert rt.realtime is realtime
            assert (
                "auth"
                in realtime.authorize(type("User", (), {"id": 1}), "1.2", "private-a")["channels"][
                    "private-a"
                ]
            )
        with pytest.raises(ConfigurationError, match="belong to the Realtime that is given"):
            FlaskRealtime(realtime=realtime, on_error="log")

    def test_twice_is_a_mistake(self, rt, app):
        with pytest.raises(ConfigurationError, match="already"):
            rt.init_app(app)

    def test_without_init_app(self, rt):
        with Flask("other").app_context(), pytest.raises(ConfigurationError, match="'other' needs"):
            rt.trigger("a", "e", {})

    def test_outside_of_an_app(self, rt):
        with pytest.raises(RuntimeError, match="application context"):
            rt.trigger("a", "e", {})


class TestSettings:
    def test_the_config_goes_before_the_environment(self, monkeypatch):
        monkeypatch.setenv("REALTIME_PROVIDER", "log")
        monkeypatch.setenv("REALTIME_LOCAL__TIMEOUT", "1.5")
        app = Flask(__name__)
        app.config.update(REALTIME_PROVIDER="null", OTHER="x")
        FlaskRealtime(app)
        realtime = app.extensions["realtime"]
        assert realtime.provider.name == "null"
        assert realtime.settings.local.timeout == 1.5

    def test_a_wrong_name_is_refused_when_the_app_is_set_up(self):
        app = Flask(__name__)
        app.config["REALTIME_PROVDER"] = "local"
        with pytest.raises(ConfigurationError, match="nearest is REALTIME_PROVIDER"):
            FlaskRealtime(app)

    @pytest.mark.parametrize(("debug", "testing"), [(True, False), (False, True)])
    def test_the_development_credentials_in_development(self, debug, testing):
        app = Flask(__name__)
        FlaskRealtime(app)
        app.debug, app.testing = debug, testing
        assert app.extensions["realtime"].provider.name == "local"

    def test_and_never_in_production(self):
        app = Flask(__name__)
        rt = FlaskRealtime(app, on_error="log")
        app.testing = app.debug = False
        with app.app_context(), pytest.raises(ConfigurationError, match="REALTIME_LOCAL__KEYS"):
            rt.trigger("a", "e", {})
        app.config["PROPAGATE_EXCEPTIONS"] = False
        assert app.test_client().get("/realtime/config").status_code == 500

    def test_nor_with_a_realtime_of_one_s_own(self):
        app = Flask(__name__)
        rt = FlaskRealtime(app, Realtime())
        app.testing = app.debug = False
        with app.app_context(), pytest.raises(ConfigurationError, match="REALTIME_LOCAL__KEYS"):
            rt.trigger("a", "e", {})
        app.debug = True
        assert app.test_client().get("/realtime/config").status_code == 200

    def test_one_s_own_credentials_in_production(self):
        app = Flask(__name__)
        app.config["REALTIME_LOCAL__KEYS"] = "own-key:own-secret"
        FlaskRealtime(app)
        config = app.test_client().get("/realtime/config")
        assert config.json["client"]["socket"]["key"] == "own-key"
        assert "own-secret" not in config.text


class TestFailure:
    def test_outside_of_tests_it_is_logged_counted_and_signalled(self, rt, caplog):
        app = make_app(rt, testing=False)
        fake(app).failure = DOWN
        heard = []

        @app.post("/order")
        def order():
            rt.trigger("a", "shipped", {})
            return "done"

        def listen(sender, error, events):
            heard.append((sender, error, events[0].name))

        logged = caplog.at_level(logging.ERROR, logger="realtime_kit")
        with realtime_failed.connected_to(listen, sender=app), logged:
            answer = app.test_client().post("/order")
        assert (answer.status_code, answer.text) == (200, "done")
        assert heard == [(app, DOWN, "shipped")]
        assert app.extensions["realtime"].failures == 1
        assert [record.name for record in caplog.records] == ["realtime_kit"]

    def test_in_tests_it_is_raised(self, rt, app):
        fake(app).failure = DOWN
        with app.app_context(), pytest.raises(ProviderUnavailable):
            rt.trigger("a", "e", {})

    def test_testing_may_be_set_after_the_extension(self, rt):
        app = make_app(rt, testing=False)
        fake(app).failure = DOWN
        with app.app_context():
            assert rt.trigger("a", "e", {}) == []
            app.config["TESTING"] = True
            with pytest.raises(ProviderUnavailable):
                rt.trigger("a", "e", {})

    @pytest.mark.parametrize("how", ["constructor", "config"])
    def test_what_is_said_goes_before_the_mode(self, how):
        rt = FlaskRealtime(on_error="raise" if how == "constructor" else None)
        config = {"REALTIME_ON_ERROR": "raise"} if how == "config" else {}
        app = make_app(rt, testing=False, **config)
        fake(app).failure = DOWN
        with app.app_context():
            with pytest.raises(ProviderUnavailable):
                rt.trigger("a", "e", {})
            assert rt.trigger("a", "e", {}, on_error="log") == []


class TestCalls:
    def test_each_is_realtime_s(self, rt, app):
        provider = fake(app)
        provider.present["presence-a"] = ["7"]
        with app.app_context():
            rt.trigger(["a", "b"], "e", 1, exclude="1.2", id="x", mutation="m")
            rt.trigger_batch([])
            rt.send_to_user("7", "n", 2)
            rt.disconnect_user("7")
            rt.revoke("8", "private-a")
            assert [found.name for found in rt.channels("presence-")] == ["presence-a"]
            assert rt.channel("presence-a", info=["user_count"]).user_count == 1
            assert rt.members("presence-a") == ["7"]
        assert [(s.channel, s.exclude, s.id, s.mutation) for s in provider.sent[:2]] == [
            ("a", "1.2", "x", "m"),
            ("b", "1.2", "x", "m"),
        ]
        provider.assert_triggered("#server-to-user-7", "n", 2)
        assert (provider.disconnected, provider.revoked) == (["7"], [("8", "private-a")])

    @pytest.mark.parametrize(
        ("header", "excluded"),
        [("123.456", "123.456"), (None, None), ("", None), ("1.2 or so", None), ("a.b", None)],
    )
    def test_to_others(self, rt, app, header, excluded):
        @app.post("/order")
        def order():
            rt.trigger("a", "shipped", {}, to_others=True)
            return {"socket": rt.socket_id}

        headers = {} if header is None else {"X-Socket-ID": header}
        answer = app.test_client().post("/order", headers=headers)
        assert answer.json == {"socket": excluded}
        fake(app).assert_triggered("a", "shipped", exclude=excluded, count=1)

    def test_to_others_outside_of_a_request_is_to_all(self, rt, app):
        with app.app_context():
            rt.trigger("a", "e", {}, to_others=True)
            fake(app).assert_triggered("a", "e", exclude=None)
            with pytest.raises(ValueError, match="not both"):
                rt.trigger("a", "e", {}, to_others=True, exclude="1.2")

    def test_in_the_background(self, rt, app):
        with app.app_context():
            assert rt.trigger("a", "e", {}, background=True) == []
        assert app.extensions["realtime"].flush(10)
        fake(app).assert_triggered("a", "e", count=1)


class TestRequests:
    @pytest.fixture(autouse=True)
    def users(self, rt):
        rt.user_loader(lambda: {"sub": "7"})

    def test_prefixes_add_up(self, rt):
        app = make_app(rt, REALTIME_WEB__PREFIX="/rt/", APPLICATION_ROOT="/elsewhere")
        environ = {"SCRIPT_NAME": "/shop"}
        config = app.test_client().get("/rt/config", environ_overrides=environ)
        assert config.json["prefix"] == "/shop/rt"
        assert config.json["auth"] == "/shop/rt/auth"
        with app.test_request_context("/", environ_overrides=environ):
            script = render_template_string("{{ realtime_script() }}")
        assert '"/shop/rt/client/realtime.js"' in script
        assert '"/shop/rt/config"' in script

    def test_at_the_root_the_rest_is_the_app_s(self, rt):
        app = make_app(rt, REALTIME_WEB__PREFIX="/")
        app.add_url_rule("/<page>", "page", lambda page: page)
        client = app.test_client()
        assert client.get("/config").json["auth"] == "/auth"
        assert client.get("/about").text == "about"

    def test_a_form_that_was_read_before(self, app):
        @app.before_request
        def read():
            assert request.form["channel_name"]

        assert auth(app).status_code == 200

    def test_a_body_that_was_read_before(self, app):
        @app.before_request
        def read():
            assert request.get_data()

        assert auth(app).status_code == 200

    @pytest.mark.parametrize("length", ["none", "true"])
    def test_no_more_is_read_than_is_taken(self, app, length):
        class Counted(io.BytesIO):
            taken = 0

            def read(self, size=-1):
                found = super().read(size)
                self.taken += len(found)
                return found

        body = Counted(b" " * (MAX_BODY * 3))
        environ = {"wsgi.input": body, "CONTENT_TYPE": "application/json"}
        if length == "none":  # chunked: the server says where it ends
            environ["wsgi.input_terminated"] = True
        else:
            environ["CONTENT_LENGTH"] = str(MAX_BODY * 3)
        answer = app.test_client().post("/realtime/auth", environ_overrides=environ)
        assert answer.status_code == 413
        assert body.taken <= MAX_BODY + 1

    def test_chunks(self, app):
        environ = {
            "wsgi.input": io.BytesIO(b"socket_id=1.2&channel_name=private-orders-1"),
            "wsgi.input_terminated": True,
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
        }
        answer = app.test_client().post("/realtime/auth", environ_overrides=environ)
        assert answer.status_code == 200

    def test_the_last_of_a_repeated_query_name_counts(self, app, monkeypatch):
        asked = []

        def dispatch(realtime, request, load_user, debug):
            asked.append(request)
            return HttpResponse(204)

        monkeypatch.setattr("realtime_kit.web.flask.endpoints.dispatch", dispatch)
        app.test_client().get("/realtime/events?channel=a&channel=b&after=")
        assert asked[0].query == {"channel": "b", "after": ""}

    def test_debug_explains(self, app):
        body = {"socket_id": "1.2", "channel_name": "private-orders-2"}
        assert auth(app, body).json == {"error": "denied"}
        app.debug = True
        assert "may_see" in auth(app, body).json["explain"]

    def test_the_default_user_is_nobody(self):
        rt = FlaskRealtime()
        rt.channel_rule("private-a")(lambda user: True)
        answer = auth(make_app(rt), {"socket_id": "1.2", "channel_name": "private-a"})
        assert answer.status_code == 403


class Scripts(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


class TestTemplate:
    @pytest.mark.parametrize("nonce", ["r4nd0m", 'a"b>c'])
    def test_a_script_that_connects(self, app, nonce):
        with app.test_request_context():
            page = render_template_string("{{ realtime_script(nonce) }}", nonce=nonce)
        assert Scripts(page).found == [("script", {"type": "module", "nonce": nonce})]

    def test_without_a_nonce(self, app):
        with app.test_request_context():
            page = render_template_string("{{ realtime_script() }}")
        assert page == (
            '<script type="module">import { connect } from "/realtime/client/realtime.js"; '
            'window.realtime = connect({ configUrl: "/realtime/config" });</script>'
        )

    def test_a_prefix_cannot_break_out(self, rt):
        environ = {"SCRIPT_NAME": '/"</script><b>'}
        with make_app(rt).test_request_context("/", environ_overrides=environ):
            page = render_template_string("{{ realtime_script() }}")
        assert [tag for tag, _ in Scripts(page).found] == ["script"]


class TestCommands:
    def run(self, app, *arguments):
        result = app.test_cli_runner().invoke(args=["realtime", "channels", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    def test_channels(self, app):
        lines = self.run(app).splitlines()
        assert [line.split() for line in lines] == [
            ["pattern", "kind", "rule", "guests", "options"],
            ["private-orders-{order:int}", "private", f"{__name__}.rt.<locals>.may_see", "no", "-"],
            [
                "presence-room-{room}",
                "presence",
                f"{__name__}.rt.<locals>.may_join",
                "yes",
                "history=100/120s",
            ],
        ]
        assert (
            lines[0].index("kind") == lines[1].index("private", 10) == lines[2].index("presence ")
        )

    def test_as_json(self, app):
        first, second = map(json.loads, self.run(app, "--json").splitlines())
        assert (first["pattern"], first["guests"]) == ("private-orders-{order:int}", False)
        assert second["options"] == {"history": "100/120s"}

    def test_none(self):
        assert "nobody may subscribe" in self.run(make_app(FlaskRealtime()))


# --- history --------------------------------------------------------------------------------


def test_positions_in_a_page(rt):
    app = make_app(rt)
    rt.channel_rule("news", history=5)(lambda user: True)
    with app.test_request_context():
        rt.trigger("news", "moved", {"x": 0})
        at = rt.position("news")
        assert rt.positions(["news"]) == {"news": at}
        tag = render_template_string("<p data-at=\"{{ realtime_positions(['news']) }}\">")
        rt.trigger("news", "moved", {"x": 1})
    found = {}
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: found.update(attributes)
    parser.feed(tag)
    assert json.loads(found["data-at"]) == {"news": at}
    query = {"channel": "news", "position": at}
    headers = {"Accept": "application/json"}
    answer = app.test_client().get("/realtime/events", query_string=query, headers=headers)
    assert [event["data"] for event in answer.get_json()["events"]] == [{"x": 1}]


def test_sources_alone_need_no_log_also_with_many_workers():
    app = make_app(rt := FlaskRealtime())
    rt.source("news")(lambda after, limit: [])
    answer = app.test_client().get(
        "/realtime/events?channel=news",
        headers={"Accept": "application/json"},
        environ_overrides={"wsgi.multiprocess": True},
    )
    assert (answer.status_code, answer.get_json()["events"]) == (200, [])


def test_a_log_in_memory_with_many_workers_is_refused_in_one_line(rt, caplog):
    app = make_app(rt)
    rt.channel_rule("news", history=5)(lambda user: True)
    many = {"wsgi.multiprocess": True}
    answer = app.test_client().get("/realtime/events?channel=news", environ_overrides=many)
    assert answer.status_code == 503
    assert answer.get_json() == {"error": "the event log is not set up"}
    (record,) = caplog.records
    assert "REALTIME_HISTORY__URL" in record.getMessage()
    assert record.exc_info is None


def test_an_application_that_answers_by_itself_ends_a_stream(rt):
    """As a new request would hear: nobody gets in any more."""
    app = make_app(rt)
    rt.user_loader(lambda: {"sub": "7"})
    rt.channel_rule("private-a", history=5)(lambda user: True)
    closed = []
    app.before_request(lambda: "closed for today" if closed else None)
    with app.test_request_context("/realtime/events?channel=private-a"):
        asked = adapter.http_request(app, request, "/events", "/realtime")
    with asked.anew():
        assert request.path == "/realtime/events"
    closed.append(True)
    with pytest.raises(Denied, match="by itself"), asked.anew():
        pass
