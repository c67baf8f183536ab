"""The facade over a provider that remembers."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import MappingProxyType

import pytest

from realtime_kit import (
    ConfigurationError,
    Denied,
    Event,
    Grant,
    InvalidChannel,
    InvalidEvent,
    Member,
    PartiallySent,
    PayloadTooLarge,
    ProviderUnavailable,
    Realtime,
    RealtimeSettings,
    Receipt,
    Rejected,
    SignIn,
    Unsupported,
)
from realtime_kit.history.base import History
from realtime_kit.providers.base import Capability
from realtime_kit.testing.fakes import FakeProvider

DOWN = ProviderUnavailable("no answer", provider="fake", retryable=True)


class Person:
    def __init__(self, id, orders=()):
        self.id = id
        self.orders = orders


ANN = Person("7", orders=(1, 2))


class TestTrigger:
    def test_one_channel(self, realtime):
        (receipt,) = realtime.trigger("orders", "shipped", {"n": 1})
        realtime.provider.assert_triggered("orders", "shipped", {"n": 1}, count=1, exclude=None)
        assert receipt.channel == "orders"
        assert receipt.id == realtime.provider.sent[0].id

    def test_any_number_of_channels_in_one_event(self, realtime):
        names = [f"orders-{n}" for n in range(250)]
        receipts = realtime.trigger(names, "shipped", {})
        assert [receipt.channel for receipt in receipts] == names
        assert len({receipt.id for receipt in receipts}) == 1

    def test_ids_are_new_unless_given(self, realtime):
        ids = {realtime.trigger("a", "e", {})[0].id for _ in range(100)}
        assert len(ids) == 100
        assert realtime.trigger("a", "e", {}, id="order-7")[0].id == "order-7"

    def test_what_is_said_of_the_event_reaches_the_provider(self, realtime):
        realtime.trigger("a", "e", {}, exclude="1.2", mutation="m1", id="e1")
        (sent,) = realtime.provider.sent
        assert (sent.exclude, sent.mutation, sent.id) == ("1.2", "m1", "e1")

    def test_info(self, realtime):
        realtime.provider.present["presence-a"] = ["7", "7", "8"]
        (receipt,) = realtime.trigger("presence-a", "e", {}, info=["user_count"])
        assert receipt.info == {"user_count": 2}

    @pytest.mark.parametrize(
        ("channels", "name", "data", "error"),
        [
            ("a b", "e", {}, InvalidChannel),
            ([], "e", {}, InvalidEvent),
            ("a", "", {}, InvalidEvent),
            ("a", "e", {1, 2}, InvalidEvent),
            ("a", "e", "x" * 10_241, PayloadTooLarge),
        ],
    )
    @pytest.mark.parametrize("options", [{}, {"on_error": "log"}, {"background": True}])
    def test_what_is_wrong_in_the_call_is_raised(
        self, realtime, channels, name, data, error, options
    ):
        with pytest.raises(error):
            realtime.trigger(channels, name, data, **options)
        assert realtime.provider.sent == []

    def test_a_batch(self, realtime):
        events = [Event(("a", "b"), "e", 1), Event("c", "f", 2, id="mine")]
        receipts = realtime.trigger_batch(events)
        assert [receipt.channel for receipt in receipts] == ["a", "b", "c"]
        assert receipts[0].id == receipts[1].id != receipts[2].id == "mine"
        assert events[0].id is None, "the caller's events are the caller's"

    def test_an_empty_batch_asks_nobody(self):
        assert Realtime("no such provider").trigger_batch([]) == []

    def test_to_a_user(self, realtime):
        (receipt,) = realtime.send_to_user(7, "notice", {"n": 1})  # ids of databases are numbers
        realtime.provider.assert_triggered("#server-to-user-7", "notice", {"n": 1}, count=1)
        assert receipt.channel == "#server-to-user-7"

    def test_to_a_user_where_there_are_none(self):
        class WithoutUsers(FakeProvider):
            capabilities = FakeProvider.capabilities - {Capability.SEND_TO_USER}

        realtime = Realtime(WithoutUsers())
        with pytest.raises(Unsupported, match="cannot send to a user"):
            realtime.send_to_user("7", "notice", {})
        assert realtime.provider.sent == []


class TestFailure:
    def test_it_is_raised_by_default(self, realtime):
        realtime.provider.failure = DOWN
        with pytest.raises(ProviderUnavailable):
            realtime.trigger("a", "e", {})
        assert realtime.failures == 0

    @pytest.mark.parametrize("how", ["argument", "constructor", "settings"])
    def test_it_can_be_logged_and_counted(self, how, caplog):
        provider = FakeProvider()
        provider.failure = DOWN
        environ = {"REALTIME_ON_ERROR": "log"} if how == "settings" else {}
        realtime = Realtime(
            provider,
            settings=RealtimeSettings(environ=environ),
            on_error="log" if how == "constructor" else None,
        )
        heard = []
        realtime.on_failure(lambda error, events: heard.append((error, events[0].name)))
        options = {"on_error": "log"} if how == "argument" else {}
        with caplog.at_level(logging.ERROR, logger="realtime_kit"):
            assert realtime.trigger("a", "shipped", {"secret": "in the data"}, **options) == []
        assert realtime.failures == 1
        assert heard == [(DOWN, "shipped")]
        (record,) = caplog.records
        assert record.getMessage() == "not sent: shipped to a: no answer (fake)"

    def test_the_call_goes_before_the_rest(self):
        realtime = Realtime(FakeProvider(), on_error="log")
        realtime.provider.failure = DOWN
        with pytest.raises(ProviderUnavailable):
            realtime.trigger("a", "e", {}, on_error="raise")

    def test_what_was_sent_all_the_same(self):
        realtime = Realtime(FakeProvider(), on_error="log")
        accepted = [Receipt("a", "e1")]
        realtime.provider.failure = PartiallySent(
            "half", provider="fake", accepted=accepted, unsent=[Event("b", "e", 1)], unknown=[]
        )
        assert realtime.trigger(["a", "b"], "e", {}) == accepted

    def test_what_is_wrong_with_the_settings_is_never_hidden(self):
        settings = RealtimeSettings(environ={"REALTIME_PROVIDER": "pusher"})
        with pytest.raises(ConfigurationError, match="REALTIME_PUSHER__APP_ID"):
            Realtime(settings=settings, on_error="log").trigger("a", "e", {})

    @pytest.mark.parametrize("policy", ["ignore", "", True])
    def test_another_word_is_refused(self, realtime, policy):
        with pytest.raises(ConfigurationError, match="on_error is 'raise' or 'log'"):
            Realtime(on_error=policy)
        with pytest.raises(ConfigurationError, match="on_error is 'raise' or 'log'"):
            realtime.trigger("a", "e", {}, on_error=policy)


class TestAsking:
    def test_channels_and_members(self, realtime):
        realtime.provider.present |= {"presence-b": ["7", "8", "7"], "a": ["1"]}
        assert [found.name for found in realtime.channels()] == ["a", "presence-b"]
        (found,) = realtime.channels("presence-", info=["user_count"])
        assert (found.name, found.user_count) == ("presence-b", 2)
        assert realtime.channels(prefix="x") == []
        assert realtime.channel("presence-b").occupied
        assert not realtime.channel("nobody").occupied
        assert realtime.members("presence-b") == ["7", "8"]

    @pytest.mark.parametrize("name", ["a", "private-a", "private-encrypted-a", ""])
    def test_only_presence_channels_have_members(self, realtime, name):
        with pytest.raises(InvalidChannel, match="no presence channel"):
            realtime.members(name)

    def test_ending_connections(self, realtime):
        realtime.disconnect_user(7)
        realtime.revoke("8")
        realtime.revoke("8", channel="private-a")
        assert realtime.provider.disconnected == ["7"]
        assert realtime.provider.revoked == [("8", None), ("8", "private-a")]


class TestAuthorize:
    @pytest.fixture
    def realtime(self, realtime):
        @realtime.channel_rule("private-orders-{order_id:int}")
        def may_see_order(user, order_id):
            return order_id in user.orders

        @realtime.channel_rule("presence-room-{room}")
        def may_join(user, room):
            return Grant(Member(user.id, {"name": "Ann"}), publish=True)

        @realtime.channel_rule("private-open", guests=True)
        def anybody(user):
            return True

        return realtime

    def test_each_channel_by_its_own_rule(self, realtime):
        names = ["private-orders-1", "private-orders-3", "presence-room-a", "no good"]
        answer = realtime.authorize(ANN, "1.2", names)
        assert list(answer) == ["channels"]
        assert list(answer["channels"]) == names
        assert list(answer["channels"]["private-orders-1"]) == ["auth"]
        assert list(answer["channels"]["presence-room-a"]) == ["auth", "channel_data"]
        for denied in ("private-orders-3", "no good"):
            assert answer["channels"][denied] == {"status": 403, "error": "denied"}

    def test_one(self, realtime):
        answer = realtime.authorize(ANN, "1.2", "private-orders-1")
        assert answer == realtime.authorize(ANN, "1.2", ["private-orders-1"])

    def test_guests(self, realtime):
        answer = realtime.authorize(None, "1.2", ["private-open", "private-orders-1"])["channels"]
        assert "auth" in answer["private-open"]
        assert answer["private-orders-1"]["status"] == 403

    def test_standing_channels(self, realtime):
        assert Realtime("null").authorize(ANN, "1.2") == {"channels": {}}
        realtime.grants(lambda user: [f"private-orders-{n}" for n in (1, 3)])
        answer = realtime.authorize(ANN, "1.2")["channels"]
        assert "auth" in answer["private-orders-1"]
        assert answer["private-orders-3"]["status"] == 403

    def test_no_answer_of_the_rules_no_question_to_the_provider(self, realtime):
        realtime.provider.authorize = None
        assert (
            realtime.authorize(ANN, "1.2", "private-no")["channels"]["private-no"]["status"] == 403
        )

    def test_the_null_provider_grants_without_proof(self, realtime):
        null = Realtime("null")
        null.rules = realtime.rules
        assert null.authorize(ANN, None, "private-orders-1") == {
            "channels": {"private-orders-1": {}}
        }

    def test_user_ids(self, realtime):
        asked = []
        real = realtime.provider.authorize
        realtime.provider.authorize = lambda request: asked.append(request) or real(request)
        realtime.authorize(ANN, "1.2", "private-open", token="old")
        realtime.authorize(None, "1.2", "private-open")
        realtime.user_id = lambda user: f"tenant:{user.id}" if user else None
        realtime.authorize(ANN, "1.2", "private-open")
        assert [request.user_id for request in asked] == ["7", None, "tenant:7"]
        assert (asked[0].token, asked[0].socket_id) == ("old", "1.2")
        assert "old" not in repr(asked[0])

    def test_explain(self, realtime):
        assert "may_see_order" in realtime.explain(ANN, "private-orders-3")
        assert realtime.explain(ANN, "private-orders-1").startswith("private-orders-1: allowed")
        assert "guests=False" in realtime.explain(None, "private-orders-1")

    def test_rules_freeze_at_the_first_request(self, realtime):
        realtime.explain(ANN, "private-a")
        realtime.channel_rule("private-a")(lambda user: True)
        realtime.authorize(ANN, "1.2", "private-a")
        for register in (
            realtime.channel_rule("private-b"),
            realtime.trigger_rule("private-b"),
            realtime.sign_in,
            realtime.grants,
        ):
            with pytest.raises(ConfigurationError, match="too late"):
                register(lambda user: True)

    def test_converters(self):
        orders = {"1": "the order"}
        realtime = Realtime(FakeProvider(), converters={"Order": orders.get})
        seen = []

        @realtime.channel_rule("private-orders-{order:Order}")
        def may_see(user, order):
            seen.append(order)
            return True

        answer = realtime.authorize(ANN, "1.2", ["private-orders-1", "private-orders-2"])[
            "channels"
        ]
        assert seen == ["the order"]
        assert "auth" in answer["private-orders-1"]
        assert "status" in answer["private-orders-2"]

    def test_decorators_give_the_function_back(self, realtime):
        def rule(user):
            return True

        assert realtime.channel_rule("private-x")(rule) is rule
        assert realtime.trigger_rule("private-x")(rule) is rule
        assert realtime.sign_in(rule) is rule
        assert realtime.grants(rule) is rule
        assert realtime.on("*")(rule) is rule
        assert realtime.on_failure(rule) is rule


class TestSignIn:
    def test_without_a_sign_in_nobody_is(self, realtime):
        with pytest.raises(Denied):
            realtime.authenticate_user(ANN, "1.2")

    def test_who_it_is(self, realtime):
        realtime.sign_in(lambda user: SignIn(user.id, {"name": "Ann"}, watchlist=["8"]))
        answer = realtime.authenticate_user(ANN, "1.2")
        assert list(answer) == ["auth", "user_data"]
        assert (
            answer["user_data"] == '{"id": "7", "user_info": {"name": "Ann"}, "watchlist": ["8"]}'
        )

    def test_a_guest_and_a_no(self, realtime):
        realtime.sign_in(lambda user: None)
        for user in (None, ANN):
            with pytest.raises(Denied):
                realtime.authenticate_user(user, "1.2")


class TestConfig:
    def realtime(self, **environ):
        return Realtime(settings=RealtimeSettings(environ=environ))

    def test_what_a_browser_needs(self):
        realtime = self.realtime(REALTIME_LOCAL__KEYS="k:s3cr3t", REALTIME_PORT="6100")
        assert realtime.client_config() == {
            "provider": "local",
            "transports": ["socket"],
            "prefix": "/realtime",
            "auth": "/realtime/auth",
            "userAuth": None,
            "trigger": None,
            "events": None,
            "client": {
                "socket": {
                    "key": "k",
                    "cluster": None,
                    "host": "127.0.0.1",
                    "port": 6100,
                    "tls": False,
                    "path": "",
                    "activityTimeout": 120,
                }
            },
        }

    def test_what_there_is_is_offered(self):
        realtime = self.realtime(REALTIME_PROVIDER="null")
        realtime.sign_in(lambda user: None)
        realtime.trigger_rule("private-a")(lambda user: True)
        config = realtime.client_config("/app/rt")
        assert config["userAuth"] == "/app/rt/user-auth"
        assert config["trigger"] == "/app/rt/trigger"
        assert config["transports"] == []

    def test_where_there_is_history_it_is_read_over_http_too(self):
        realtime = self.realtime()
        realtime.channel_rule("news", history=History())(lambda user: True)
        config = realtime.client_config()
        assert config["transports"] == ["socket", "sse", "poll"]
        assert config["events"] == "/realtime/events"

    def test_a_source_needs_no_provider(self):
        realtime = self.realtime(REALTIME_PROVIDER="null")
        realtime.source("notes")(lambda after, limit: ())
        assert realtime.client_config()["transports"] == ["sse", "poll"]

    @pytest.mark.parametrize(
        "environ",
        [
            {"REALTIME_LOCAL__KEYS": "s3cr3t-text:s3cr3t-text"},
            {
                "REALTIME_LOCAL__PUBLIC_HOST": "old-s3cr3t.test",
                "REALTIME_LOCAL__KEYS": "a:b3,c:old-s3cr3t",
            },
            {"REALTIME_LOCAL__PUBLIC_HOST": "token", "REALTIME_WEB__TRIGGER_TOKENS": "x1,token"},
            {"REALTIME_LOCAL__PUBLIC_HOST": "tail", "REALTIME_ABLY__KEY": "app.id:tail"},
        ],
    )
    def test_a_secret_is_never_published(self, environ):
        with pytest.raises(ConfigurationError, match="a secret stands where") as caught:
            self.realtime(**{"REALTIME_LOCAL__KEYS": "k:s3cr3t"} | environ).client_config()
        assert "s3cr3t" not in str(caught.value)

    def test_a_short_secret_may_be_part_of_a_word(self):
        config = self.realtime(REALTIME_LOCAL__KEYS="k:o").client_config()
        assert config["client"]["socket"]["key"] == "k"


class TestProvider:
    def test_it_is_made_on_first_use(self):
        realtime = Realtime("pusher", settings=RealtimeSettings(environ={}))
        realtime.rules.freeze()
        with pytest.raises(ConfigurationError, match="PUSHER_APP_ID"):
            realtime.provider  # noqa: B018

    def test_a_name_goes_before_the_settings(self):
        settings = RealtimeSettings(environ={"REALTIME_PROVIDER": "log"})
        assert Realtime(settings=settings).provider.name == "log"
        assert Realtime("null", settings=settings).provider.name == "null"

    def test_the_environment_is_read_when_needed(self, monkeypatch):
        realtime = Realtime()
        monkeypatch.setenv("REALTIME_PROVIDER", "null")
        assert realtime.provider.name == "null"
        assert realtime.provider is realtime.provider

    def test_on_lambda_nothing_is_assumed(self):
        settings = RealtimeSettings(environ={"AWS_LAMBDA_FUNCTION_NAME": "f"})
        with pytest.raises(ConfigurationError, match="REALTIME_PROVIDER"):
            Realtime(settings=settings).trigger("a", "e", {})

    def test_published_credentials_where_others_can_reach(self):
        settings = RealtimeSettings(environ={"REALTIME_LOCAL__HOST": "192.0.2.1"})
        with pytest.raises(ConfigurationError, match="are published and refused"):
            Realtime(settings=settings).trigger("a", "e", {})

    def test_no_embedded_server(self, unused_port):
        settings = RealtimeSettings(environ={"REALTIME_PORT": str(unused_port)})
        with pytest.raises(ProviderUnavailable, match="realtime-kit dev app:app"):
            Realtime(settings=settings).trigger("a", "e", {})

    def test_close_lets_go_and_can_be_used_again(self, realtime):
        closed = []
        realtime.provider.close = lambda: closed.append(True)
        realtime.close()
        assert closed == [True]
        realtime.trigger("a", "e", {})

    def test_closing_what_was_never_used_makes_nothing(self):
        Realtime("no such provider").close()


class TestEvents:
    """Values that pass through are not changed."""

    def test_data_is_not_touched(self, realtime):
        data = MappingProxyType({"n": 1})
        with pytest.raises(InvalidEvent):
            realtime.trigger("a", "e", data)
        nested = {"n": [1, {"m": 2}]}
        realtime.trigger("a", "e", nested)
        assert realtime.provider.sent[0].data is nested

    def test_rejected_is_a_provider_error(self, realtime):
        realtime.provider.failure = Rejected("no", provider="fake", status=403)
        with pytest.raises(Rejected, match="status 403"):
            realtime.trigger_batch([replace(Event("a", "e", 1), id="x")])
