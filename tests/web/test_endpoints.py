"""The endpoints where a list of cases does not reach: providers that fail, tokens, debug, bytes."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pusher
import pytest

from realtime_kit import (
    BadSignature,
    ConfigurationError,
    Denied,
    Event,
    Expired,
    Member,
    PartiallySent,
    ProviderUnavailable,
    RateLimited,
    Realtime,
    RealtimeSettings,
    Receipt,
    Rejected,
    SignIn,
    Unsupported,
)
from realtime_kit.providers.base import AuthAnswer
from realtime_kit.testing.conformance.http_adapter import TOKEN, application, user_of
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web import endpoints, triggering
from realtime_kit.web.http import HttpRequest, HttpResponse

NOTE = {"name": "note", "channels": ["a", "b"], "data": 1, "id": "e1"}
ENVIRON = {
    "REALTIME_PROVIDER": "pusher",
    "REALTIME_PUSHER__APP_ID": "42",
    "REALTIME_PUSHER__KEYS": "key:secret",
    "REALTIME_PUSHER__CLUSTER": "eu",
    "REALTIME_PUSHER__ENCRYPTION_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


def post(realtime, path, value, *, user="7", debug=False, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    given = {"content-type": "application/json", "x-user": user, **named}
    request = HttpRequest("POST", path, given, body=json.dumps(value).encode())
    answer = endpoints.dispatch(realtime, request, lambda: user_of(given), debug=debug)
    return answer.status, json.loads(answer.body), answer.headers


def trigger(realtime, value=NOTE):
    return post(realtime, "/trigger", value, authorization=f"Bearer {TOKEN}")


class TestOracle:
    """The official SDK's `authenticate` and `authenticate_user` answer the same bytes."""

    @pytest.fixture
    def sdk(self):
        return pusher.Pusher(
            app_id="42",
            key="key",
            secret="secret",
            cluster="eu",
            encryption_master_key_base64=ENVIRON["REALTIME_PUSHER__ENCRYPTION_MASTER_KEY"],
        )

    @pytest.fixture
    def realtime(self):
        realtime = Realtime(settings=RealtimeSettings(environ=ENVIRON))
        realtime.channel_rule("private-{x:any}")(lambda user, x: True)
        realtime.channel_rule("private-cache-{x:any}")(lambda user, x: True)
        realtime.channel_rule("private-encrypted-{x:any}")(lambda user, x: True)
        member = Member("7", {"name": "Ånn", "tags": ["a", None, 1.5], "nested": {"é": "\u2028"}})
        realtime.channel_rule("presence-{x:any}")(lambda user, x: member)
        realtime.sign_in(lambda user: SignIn("7", {"name": "Ånn"}))
        return realtime

    @pytest.mark.parametrize(
        "channel",
        ["private-a", "private-a=b@c,d.e;f_G-9", "private-cache-a", "presence-a", "presence-a.b"],
    )
    def test_channels(self, realtime, sdk, channel):
        member = None
        if channel.startswith("presence-"):
            info = {"name": "Ånn", "tags": ["a", None, 1.5], "nested": {"é": "\u2028"}}
            member = {"user_id": "7", "user_info": info}
        expected = json.dumps(sdk.authenticate(channel, "123.456", member))
        body = {"socket_id": "123.456", "channel_name": channel}
        _, single, _ = post(realtime, "/auth", body)
        _, batch, _ = post(realtime, "/auth", {"socket_id": "123.456", "channels": [channel]})
        assert json.dumps(single) == json.dumps(batch["channels"][channel]) == expected

    def test_encrypted_channels(self, realtime, sdk):
        # The SDK's answer holds bytes here, which no JSON encoder takes.
        expected = sdk.authenticate("private-encrypted-a", "123.456")
        expected["shared_secret"] = expected["shared_secret"].decode()
        body = {"socket_id": "123.456", "channel_name": "private-encrypted-a"}
        _, answer, _ = post(realtime, "/auth", body)
        assert answer == expected

    def test_users(self, realtime, sdk):
        expected = sdk.authenticate_user("123.456", {"id": "7", "user_info": {"name": "Ånn"}})
        _, answer, _ = post(realtime, "/user-auth", {"socket_id": "123.456"})
        assert json.dumps(answer) == json.dumps(expected)


class TestDebug:
    BODY = {"socket_id": "1.2", "channel_name": "private-orders-100"}  # noqa: RUF012

    def test_one_channel(self):
        status, answer, _ = post(application(), "/auth", self.BODY, debug=True)
        assert status == 403
        assert "may_see" in answer["explain"]
        assert "returned False" in answer["explain"]

    def test_many_channels(self):
        body = {"socket_id": "1.2", "channels": ["private-orders-1", "private-nothing"]}
        _, answer, _ = post(application(), "/auth", body, debug=True)
        assert list(answer["channels"]["private-orders-1"]) == ["auth"]
        denied = answer["channels"]["private-nothing"]
        assert (denied["status"], denied["error"]) == (403, "denied")
        assert "none of these patterns matches" in denied["explain"]

    def test_never_in_production(self):
        _, answer, _ = post(application(), "/auth", self.BODY)
        assert answer == {"error": "denied"}


class TestTokens:
    """A provider that issues tokens, as Ably's does."""

    @pytest.fixture
    def realtime(self):
        class Issuing(FakeProvider):
            def authorize(self, request):
                names = ",".join(grant.channel for grant in request.grants)
                token = f"{request.user_id}:{names}:{request.token}"
                return AuthAnswer({grant.channel: {} for grant in request.grants}, token)

        realtime = application()
        realtime._provider = Issuing()
        realtime.grants(lambda user: ["private-orders-1", "private-orders-100", "orders"])
        return realtime

    def ask(self, realtime, body, accept="application/jwt", user="7"):
        headers = {"content-type": "application/json", "accept": accept, "x-user": user}
        request = HttpRequest("POST", "/auth", headers, body=json.dumps(body).encode())
        return endpoints.dispatch(realtime, request, lambda: user_of(headers))

    def test_the_bare_token_of_the_standing_channels(self, realtime):
        answer = self.ask(realtime, {})
        assert answer == HttpResponse(
            200,
            b"7:private-orders-1,orders:None",
            {"Content-Type": "application/jwt", "Cache-Control": "no-store"},
        )

    @pytest.mark.parametrize(
        "named", [{"channels": ["private-orders-2"]}, {"channel_name": "private-orders-2"}]
    )
    def test_and_of_those_that_are_named(self, realtime, named):
        answer = self.ask(realtime, {**named, "token": "old"})
        assert answer.body == b"7:private-orders-1,orders,private-orders-2:old"

    def test_as_json(self, realtime):
        body = {"channels": ["private-orders-2", "private-no"], "token": "old"}
        answer = json.loads(self.ask(realtime, body, "application/json").body)
        assert answer == {
            "channels": {"private-orders-2": {}, "private-no": {"status": 403, "error": "denied"}},
            "token": "7:private-orders-2:old",
        }

    def test_the_standing_channels_as_json(self, realtime):
        answer = json.loads(self.ask(realtime, {}, "*/*").body)
        assert list(answer["channels"]) == ["private-orders-1", "private-orders-100", "orders"]
        assert answer["token"] == "7:private-orders-1,orders:None"

    def test_nothing_granted_no_token(self, realtime):
        answer = self.ask(realtime, {"channels": ["private-orders-1"]}, user="nobody")
        assert (answer.status, json.loads(answer.body)) == (403, {"error": "denied"})

    def test_one_or_many(self, realtime):
        answer = self.ask(realtime, {"channels": [], "channel_name": "a"})
        assert answer.status == 400


class TestUsers:
    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            (Expired("over"), 401, "expired"),
            (BadSignature("forged by so-and-so"), 401, "bad signature"),
            (Denied("blocked"), 403, "denied"),
            (ProviderUnavailable("no keys", provider="jwks"), 503, "the provider is not available"),
        ],
    )
    @pytest.mark.parametrize("path", ["/auth", "/user-auth", "/trigger"])
    def test_a_loader_that_refuses(self, error, status, reason, path):
        def load():
            raise error

        body = {"socket_id": "1.2", "channel_name": "private-orders-1"}
        headers = {"content-type": "application/json", "authorization": "Bearer user's own"}
        request = HttpRequest("POST", path, headers, body=json.dumps(body).encode())
        answer = endpoints.dispatch(application(), request, load)
        assert (answer.status, json.loads(answer.body)) == (status, {"error": reason})

    def test_nobody_is_loaded_where_it_does_not_matter(self):
        def load():
            raise AssertionError("loaded")

        realtime = application()
        for request in (
            HttpRequest("GET", "/config"),
            HttpRequest("GET", "/client/realtime.js"),
            HttpRequest("POST", "/webhook"),
            HttpRequest(
                "POST",
                "/trigger",
                {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
                body=json.dumps(NOTE).encode(),
            ),
        ):
            assert endpoints.dispatch(realtime, request, load).status in (200, 401)

    def test_what_breaks_in_the_application_is_the_application_s(self):
        realtime = application()
        realtime.channel_rule("private-broken")(lambda user: user.nothing)
        with pytest.raises(AttributeError):
            post(realtime, "/auth", {"socket_id": "1.2", "channel_name": "private-broken"})

    def test_wrong_settings_are_nobody_s_request(self):
        realtime = Realtime(settings=RealtimeSettings(environ={"REALTIME_PROVIDER": "pusher"}))
        realtime.channel_rule("private-a")(lambda user: True)
        with pytest.raises(ConfigurationError, match="PUSHER_APP_ID"):
            post(realtime, "/auth", {"socket_id": "1.2", "channel_name": "private-a"})


class TestTrigger:
    def test_off_until_a_token_or_a_rule_exists(self):
        realtime = Realtime(FakeProvider(), settings=RealtimeSettings(environ={}))
        request = HttpRequest("OPTIONS", "/trigger")
        assert endpoints.dispatch(realtime, request, lambda: None).status == 404
        assert trigger(realtime)[0] == 404
        again = Realtime(FakeProvider(), settings=RealtimeSettings(environ={}))
        again.trigger_rule("a")(lambda user: True)
        assert trigger(again, {**NOTE, "channels": ["a"]})[0] == 200

    def test_receipts_with_their_place_in_history(self):
        receipts = [Receipt("a", "e1", "x", 7), Receipt("b", "e1")]
        assert endpoints.receipts_json(receipts) == {
            "events": [
                {"id": "e1", "channel": "a", "epoch": "x", "offset": 7},
                {"id": "e1", "channel": "b"},
            ]
        }

    def test_everything_reaches_the_provider(self):
        realtime = application()
        trigger(realtime, {**NOTE, "channels": ["a"], "exclude": "1.2", "mutation": "m"})
        (sent,) = realtime.provider.sent
        assert (sent.data, sent.id, sent.exclude, sent.mutation) == (1, "e1", "1.2", "m")

    @pytest.mark.parametrize(
        ("error", "status", "body", "headers"),
        [
            (
                RateLimited("slow", provider="fake", retry_after=2.4),
                429,
                {"error": "rate limited"},
                {"Retry-After": "3"},
            ),
            (RateLimited("slow", provider="fake"), 429, {"error": "rate limited"}, {}),
            (
                ProviderUnavailable("refused by 10.0.0.7", provider="fake"),
                503,
                {"error": "the provider is not available"},
                {},
            ),
            (
                Rejected("app 42 over quota", provider="fake", status=403),
                502,
                {"error": "the provider refused it"},
                {},
            ),
            (
                PartiallySent(
                    "half",
                    provider="fake",
                    accepted=[Receipt("a", "e1")],
                    unsent=[Event("b", "note", 1)],
                    unknown=[],
                ),
                502,
                {"error": "partially sent", "events": [{"id": "e1", "channel": "a"}]},
                {},
            ),
            (Unsupported("it cannot"), 501, {"error": "it cannot"}, {}),
        ],
    )
    @pytest.mark.parametrize("policy", ["raise", "log"])
    def test_what_the_provider_does_not_take(self, error, status, body, headers, policy, caplog):
        realtime = application()
        realtime._on_error = policy
        realtime.provider.failure = error
        with caplog.at_level(logging.ERROR, logger="realtime_kit"):
            answer = trigger(realtime)
        assert answer[:2] == (status, body)
        assert {name: answer[2][name] for name in headers} == headers
        logged = [] if isinstance(error, Unsupported) else [f"POST /trigger: {error}"]
        assert [record.getMessage() for record in caplog.records] == logged
        assert TOKEN not in caplog.text

    def test_every_token_is_compared_in_constant_time(self, monkeypatch):
        compared = []
        real = triggering.hmac.compare_digest

        def compare(given, known):
            compared.append(known)
            return real(given, known)

        monkeypatch.setattr(triggering.hmac, "compare_digest", compare)
        post(application(), "/trigger", NOTE, authorization="Bearer old-token")
        assert compared == [b"old-token", TOKEN.encode()]


class TestWebhook:
    def test_a_failing_handler_makes_the_vendor_try_again(self, monkeypatch, caplog):
        realtime = application()

        def fail(headers, body):
            raise ExceptionGroup("webhook handlers failed", [LookupError("internal matters")])

        monkeypatch.setattr(realtime, "handle_webhook", fail)
        status, answer, _ = post(realtime, "/webhook", {})
        assert (status, answer) == (500, {"error": "a handler failed"})
        assert "internal matters" in caplog.text

    def test_a_provider_that_sends_none(self):
        realtime = Realtime("null", settings=RealtimeSettings(environ={}))
        assert post(realtime, "/webhook", {})[0] == 501


class TestBytes:
    @pytest.mark.parametrize(
        "body",
        [b"\xff", b"socket_id=%ff&channel_name=private-a", b"&" * 200, b"a=1&" * 101],
    )
    def test_a_form_that_cannot_be_read(self, body):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        request = HttpRequest("POST", "/auth", headers, body=body)
        assert endpoints.dispatch(application(), request, lambda: None).status == 400

    def test_a_form_without_a_type(self):
        request = HttpRequest("POST", "/auth", {}, body=b"socket_id=1.2&channel_name=private-open")
        assert endpoints.dispatch(application(), request, lambda: None).status == 200

    def test_json_in_another_encoding_than_utf_8(self):
        body = '{"socket_id": "1.2", "channel_name": "privé"}'.encode("latin-1")
        request = HttpRequest("POST", "/auth", {"content-type": "application/json"}, body=body)
        assert endpoints.dispatch(application(), request, lambda: None).status == 400


class TestClientFiles:
    def get(self, path, **headers):
        request = HttpRequest("GET", f"/client/{path}", headers)
        return endpoints.dispatch(application(), request, lambda: None)

    def test_every_module_of_the_client_is_served(self, checkout):
        root = checkout / "realtime_kit" / "client"
        modules = [path.relative_to(root).as_posix() for path in root.rglob("*.js")]
        assert "realtime.js" in modules
        assert any("/" in module for module in modules)
        for module in modules:
            answer = self.get(module)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert answer.body == (root / module).read_bytes()

    def test_types_are_text(self):
        assert self.get("realtime.d.ts").headers["Content-Type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "transports",
            "transports/",
            "package.json",
            "../__init__.py",
            "../client/realtime.js",
            "transports/../realtime.js",
            "./realtime.js",
            "//etc/hosts.js",
            "/realtime.js",
            "realtime.js/",
            "realtime.js/x.js",
            "realtime.js\x00.js",
            "realtime.js\n",
            "..\\realtime.js",
            "REALTIME.JSON",
            "nothing.js",
            "a" * 5_000 + ".js",
        ],
    )
    def test_nothing_else_is(self, path):
        answer = self.get(path)
        assert (answer.status, json.loads(answer.body)) == (404, {"error": "not found"})

    def test_a_tag_for_a_content(self):
        first, second = self.get("realtime.js"), self.get("channel.js")
        assert first.headers["ETag"] != second.headers["ETag"]
        assert first.headers["Cache-Control"] == "no-cache"
        known = {"if-none-match": "*"}
        assert self.get("realtime.js", **known).status == 304
        other = {"if-none-match": second.headers["ETag"]}
        assert self.get("realtime.js", **other).status == 200

    def test_a_head_has_the_length(self):
        request = HttpRequest("HEAD", "/client/realtime.js")
        head = endpoints.dispatch(application(), request, lambda: None)
        full = endpoints.dispatch(application(), replace(request, method="GET"), lambda: None)
        assert head.body == b""
        assert head.headers == {**full.headers, "Content-Length": str(len(full.body))}
