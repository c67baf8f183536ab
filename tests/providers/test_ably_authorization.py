"""What Ably's provider answers browsers: what the rules granted, and nothing beside it."""

from __future__ import annotations

import json

import jwt
import pytest

from realtime_kit import (
    AuthError,
    ConfigurationError,
    Grant,
    InvalidChannel,
    Member,
    PayloadTooLarge,
    Realtime,
    RealtimeSettings,
    SignIn,
    Unsupported,
)
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.providers.ably_names import ably_name, logical_name
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import AblySettings
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest

SECRET = "a-secret-of-thirty-two-characters"
KEY = f"abcdef.new:{SECRET}"
OLD = "abcdef.old:the-older-secret-which-is-as-long"
NOW = 1_800_000_000
PUBLIC = {"public:*": ["subscribe"]}
USER = {"user:7": ["subscribe"]}


@pytest.fixture
def provider():
    settings = AblySettings(key=KEY, old_keys=OLD)
    return AblyProvider(settings, clock=lambda: NOW + 0.5)


def claims_of(token):
    found = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})
    return {**found, "x-ably-capability": json.loads(found["x-ably-capability"])}


def capability_of(token):
    return claims_of(token)["x-ably-capability"]


def ask(provider, *grants, user_id="7", form="jwt"):
    return provider.authorize(AuthRequest(user_id, None, grants, None, form))


class TestNames:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            ("orders", "public:orders"),
            ("cache-orders", "public:cache-orders"),
            ("private", "public:private"),
            ("privateer-a", "public:privateer-a"),
            ("private-orders-1", "private:orders-1"),
            ("private-cache-a", "private:cache-a"),
            ("private-encrypted-a", "private:encrypted-a"),
            ("private-private-a", "private:private-a"),
            ("presence-room", "presence:room"),
            ("presence-cache-room", "presence:cache-room"),
            ("private-a;b", "private:a:b"),
            ("#server-to-user-7", "user:7"),
            ("#server-to-user-a:b*[é] /%\n", "user:a%3Ab%2A%5B%C3%A9%5D%20%2F%25%0A"),
        ],
    )
    def test_there_and_back(self, ours, theirs):
        assert ably_name(ours) == theirs
        assert logical_name(theirs) == ours

    @pytest.mark.parametrize("name", ["orders", "", "chat:a", "public:private-a", "[meta]log"])
    def test_what_is_none_of_ours(self, name):
        with pytest.raises(InvalidChannel):
            logical_name(name)


class TestGrants:
    @pytest.mark.parametrize(
        ("grant", "operations"),
        [
            (Grant(channel="private-a"), ["subscribe"]),
            (Grant(publish=True, channel="private-a"), ["subscribe", "publish"]),
            (Grant(Member("7"), channel="presence-a"), ["subscribe", "presence"]),
            (
                Grant(Member("7"), publish=True, channel="presence-a"),
                ["subscribe", "publish", "presence"],
            ),
        ],
    )
    def test_exactly_what_was_granted(self, provider, grant, operations):
        token = ask(provider, grant).token
        assert capability_of(token) == {**PUBLIC, **USER, ably_name(grant.channel): operations}

    def test_a_public_channel_is_one_of_all(self, provider):
        answer = ask(provider, Grant(channel="orders"))
        assert answer.channels == {"orders": {}}
        assert capability_of(answer.token) == {**PUBLIC, **USER}

    def test_for_a_guest_what_a_guest_was_granted(self, provider):
        answer = ask(provider, Grant(channel="private-open"), user_id=None)
        claims = claims_of(answer.token)
        assert claims["x-ably-capability"] == {**PUBLIC, "private:open": ["subscribe"]}
        assert "x-ably-clientId" not in claims

    def test_nothing_granted_is_a_token_too(self, provider):
        assert capability_of(ask(provider, user_id=None).token) == PUBLIC

    def test_whose_and_how_long(self, provider):
        claims = claims_of(ask(provider, Grant(channel="private-a")).token)
        assert claims["x-ably-clientId"] == "7"
        assert (claims["iat"], claims["exp"]) == (NOW + 0.5, NOW + 3_600)

    def test_the_life_is_a_setting(self):
        settings = AblySettings(key=OLD, token_ttl=90)
        token = ask(AblyProvider(settings, clock=lambda: NOW)).token
        assert jwt.decode(token, options={"verify_signature": False})["exp"] == NOW + 90

    def test_the_proof_is_not_shown(self, provider):
        answer = ask(provider, Grant(Member("7", {"name": "Zoë"}), channel="presence-a"))
        assert answer.token not in repr(answer)
        assert "Zoë" not in repr(answer)


class TestPresence:
    def test_the_info_is_vouched_for_and_told_to_the_client(self, provider):
        member = Member("7", {"name": "Zoë ☃"})
        answer = ask(provider, Grant(member, channel="presence-room"))
        data = answer.channels["presence-room"]["channel_data"]
        assert json.loads(data) == {"user_id": "7", "user_info": {"name": "Zoë ☃"}}
        assert claims_of(answer.token)["ably.channel.presence:room"] == data

    def test_without_info(self, provider):
        answer = ask(provider, Grant(Member("7"), channel="presence-room"))
        assert answer.channels["presence-room"] == {"channel_data": '{"user_id":"7"}'}

    def test_a_guest_has_no_identity_to_be_present_with(self, provider):
        grants = Grant(Member("g1"), channel="presence-room"), Grant(channel="private-open")
        answer = ask(provider, *grants, user_id=None)
        assert answer.channels == {"private-open": {}}
        assert list(answer.refused) == ["presence-room"]
        assert "presence:room" not in capability_of(answer.token)

    def test_nobody_is_present_as_another(self, provider):
        answer = ask(provider, Grant(Member("8"), channel="presence-room"))
        assert list(answer.refused) == ["presence-room"]
        assert capability_of(answer.token) == {**PUBLIC, **USER}

    @pytest.mark.parametrize("info", [{"a": object()}, {"a": float("nan")}, {"a": "\ud800"}])
    def test_info_that_cannot_travel(self, provider, info):
        with pytest.raises(ConfigurationError, match="presence-room is not JSON"):
            ask(provider, Grant(Member("7", info), channel="presence-room"))


class TestSenders:
    """Who may publish on Ably may publish any name: the claim says that it was a client."""

    def test_what_a_client_publishes_is_marked(self, provider):
        claims = claims_of(ask(provider, Grant(publish=True, channel="private-a")).token)
        assert claims["ably.channel.private:a"] == '{"user_id":"7"}'

    def test_a_guests_too(self, provider):
        answer = ask(provider, Grant(publish=True, channel="private-a"), user_id=None)
        assert claims_of(answer.token)["ably.channel.private:a"] == "{}"

    def test_who_only_listens_needs_no_mark(self, provider):
        token = ask(provider, Grant(channel="private-a")).token
        assert not [name for name in claims_of(token) if name.startswith("ably.channel.")]


class TestUserIds:
    @pytest.mark.parametrize("user_id", ["*", "", "7\n8", "7\x00", "\ud800", "\x7f"])
    def test_that_would_be_somebody_else(self, provider, user_id):
        with pytest.raises(AuthError, match="cannot be the id"):
            ask(provider, user_id=user_id)
        with pytest.raises(AuthError, match="cannot be the id"):
            ask(provider, user_id=user_id, form="token_request")

    @pytest.mark.parametrize("user_id", ["a:b", "a*", "**", "[x]", "é ☃", "a@b.c"])
    def test_no_id_is_a_pattern(self, provider, user_id):
        claims = claims_of(ask(provider, user_id=user_id).token)
        assert claims["x-ably-clientId"] == user_id
        (own,) = set(claims["x-ably-capability"]) - {"public:*"}
        assert set(own.removeprefix("user:")).isdisjoint(":*[]")


class TestSignIn:
    def test_who_the_client_is(self, provider):
        answer = provider.sign_in("socket", SignIn("7", {"name": "Zoë"}))
        assert json.loads(answer["user_data"]) == {"id": "7", "user_info": {"name": "Zoë"}}
        assert answer["channel"] == "user:7"
        assert capability_of(answer["auth"]) == {**PUBLIC, **USER}
        assert claims_of(answer["auth"])["x-ably-clientId"] == "7"

    def test_there_are_no_watchlists(self, provider):
        with pytest.raises(Unsupported, match="watchlist"):
            provider.sign_in("socket", SignIn("7", watchlist=["8"]))

    def test_an_id_that_would_be_everybody(self, provider):
        with pytest.raises(AuthError):
            provider.sign_in("socket", SignIn("*"))


class TestTokenRequest:
    def test_the_same_capability_and_no_claims(self, provider):
        grant = Grant(Member("7", {"name": "Zoë"}), channel="presence-room")
        request = ask(provider, grant, form="token_request").token
        assert json.loads(request.pop("capability")) == {
            **PUBLIC,
            **USER,
            "presence:room": ["subscribe", "presence"],
        }
        assert len(request.pop("nonce")) >= 16
        assert request.pop("mac")
        assert request == {
            "keyName": "abcdef.new",
            "ttl": 3_600_000,
            "clientId": "7",
            "timestamp": NOW * 1_000 + 500,
        }

    def test_none_to_publish_with(self, provider):
        # It would go out unmarked, as only the application's events may.
        grants = (Grant(publish=True, channel="private-a"), Grant(channel="private-b"))
        answer = ask(provider, *grants, form="token_request")
        capability = json.loads(answer.token["capability"])
        assert capability == {**PUBLIC, **USER, "private:b": ["subscribe"]}
        assert "TokenRequest" in answer.refused["private-a"]

    def test_each_is_another(self, provider):
        nonces = {ask(provider, form="token_request").token["nonce"] for _ in range(10)}
        assert len(nonces) == 10

    def test_what_is_too_much_for_a_jwt(self, provider):
        grants = [Grant(channel=f"private-orders-{number}") for number in range(200)]
        with pytest.raises(PayloadTooLarge, match=r"202 channels.*ask for a TokenRequest"):
            ask(provider, *grants)
        request = ask(provider, *grants, form="token_request").token
        assert len(json.loads(request["capability"])) == 202

    def test_who_one_is_everywhere_is_said_once(self, provider):
        info = {"name": "Ada Lovelace"}
        same = [Grant(Member("7", info), channel=f"presence-room-{n}") for n in range(40)]
        grants = [*same, Grant(Member("7", {"vip": True}), channel="presence-box")]
        claims = claims_of(ask(provider, *grants).token)
        told = {name: json.loads(text) for name, text in claims.items() if "channel" in name}
        assert told == {
            "ably.channel.*": {"user_id": "7", "user_info": info},
            "ably.channel.presence:box": {"user_id": "7", "user_info": {"vip": True}},
        }

    def test_a_page_of_channels_fits(self, provider):
        ask(provider, *[Grant(channel=f"private-orders-{number}") for number in range(100)])


class TestNamesInAToken:
    def test_the_guarded_ones(self, provider):
        grants = (
            Grant(channel="orders"),
            Grant(channel="private-a;b"),
            Grant(Member("7"), channel="presence-room"),
        )
        token = ask(provider, *grants).token
        assert list(provider.names_in(token, "7")) == ["private-a;b", "presence-room"]

    def test_another_users_are_not_inherited(self, provider):
        token = ask(provider, Grant(channel="private-a")).token
        assert list(provider.names_in(token, "8")) == []
        assert list(provider.names_in(token, None)) == []

    def test_a_guests_are_not_a_users(self, provider):
        token = ask(provider, Grant(channel="private-a"), user_id=None).token
        assert list(provider.names_in(token, "7")) == []
        assert list(provider.names_in(token, None)) == ["private-a"]

    def test_a_key_that_is_being_replaced(self, provider):
        before = AblyProvider(AblySettings(key=OLD), clock=lambda: NOW)
        token = ask(before, Grant(channel="private-a")).token
        assert list(provider.names_in(token, "7")) == ["private-a"]
        after = AblyProvider(AblySettings(key=KEY))
        assert list(after.names_in(token, "7")) == []

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "abcdef.new:opaque"])
    def test_what_is_none(self, provider, token):
        assert list(provider.names_in(token, "7")) == []


class TestClientConfig:
    def test_of_ably_itself(self, provider):
        assert provider.client_config() == {
            "transports": ["ably"],
            "ably": {
                "script": "https://cdn.ably.com/lib/ably.min-2.js",
                "endpoint": None,
                "port": None,
                "tls": True,
            },
        }

    def test_of_another_place(self):
        inside = {"endpoint": "ably", "port": 8787, "tls": False, "script": "/ably.js"}
        outside = {
            "public_endpoint": "live.example.com",
            "public_port": 443,
            "public_tls": True,
        }
        near = AblyProvider(AblySettings(key=OLD, **inside)).client_config()["ably"]
        assert near == inside
        far = AblyProvider(AblySettings(key=OLD, **inside, **outside)).client_config()["ably"]
        assert far == {
            "script": "/ably.js",
            "endpoint": "live.example.com",
            "port": 443,
            "tls": True,
        }


class User(dict):
    """Who is asking, and which orders are theirs."""


@pytest.fixture
def realtime(provider):
    settings = RealtimeSettings(environ={"REALTIME_ABLY__KEY": KEY})
    realtime = Realtime(provider, settings=settings)
    realtime.channel_rule("private-orders-{order_id:int}")(
        lambda user, order_id: order_id in user["orders"]
    )
    realtime.channel_rule("presence-room-{room}", guests=True)(
        lambda user, room: Member(user["sub"] if user else "guest", {"room": room})
    )
    realtime.grants(lambda user: [f"private-orders-{user['orders'][0]}"])
    return realtime


ANN = {"sub": "7", "orders": [1, 2, 3]}


def http(realtime, body=None, *, user=ANN, query=None, form=None, **headers):
    method = "POST" if query is None else "GET"
    if form is not None:
        content, kind = form.encode(), "application/x-www-form-urlencoded"
    else:
        content, kind = json.dumps(body or {}).encode(), "application/json"
    headers = {"accept": "application/json, text/plain", **headers}
    if method == "POST":
        headers["content-type"] = kind
    request = HttpRequest(method, "/auth", headers, query or {}, content if query is None else b"")
    return endpoints.dispatch(realtime, request, lambda: user)


def channels_in(token):
    return sorted(set(capability_of(token)) - {"public:*", "user:7"})


class TestRenewal:
    """The token that a client hands back names channels, on which the rules decide again."""

    def token(self, realtime, *names, user=ANN, token=None):
        return realtime.authorize(user, None, names, token)["token"]

    def test_one_channel_after_the_other(self, realtime):
        first = self.token(realtime, "private-orders-1")
        second = self.token(realtime, "private-orders-2", token=first)
        assert channels_in(second) == ["private:orders-1", "private:orders-2"]

    def test_one_request_renews_all_of_an_expired_one(self, realtime, provider):
        old = self.token(realtime, "private-orders-1", "presence-room-a")
        provider._clock = lambda: NOW + 1e6
        new = realtime.authorize(ANN, None, [], old)
        assert new["channels"] == {}
        assert channels_in(new["token"]) == ["presence:room-a", "private:orders-1"]
        assert claims_of(new["token"])["exp"] > NOW + 1e6

    def test_what_the_rules_grant_no_more_is_gone(self, realtime):
        old = self.token(realtime, "private-orders-1", "private-orders-2")
        new = self.token(realtime, token=old, user={**ANN, "orders": [2]})
        assert channels_in(new) == ["private:orders-2"]

    def test_the_info_is_new(self, realtime, provider):
        old = self.token(realtime, "presence-room-a")
        claims = claims_of(self.token(realtime, token=old))
        assert json.loads(claims["ably.channel.presence:room-a"])["user_info"] == {"room": "a"}

    def test_another_users_token_gives_nothing(self, realtime):
        theirs = self.token(realtime, "private-orders-1", user={"sub": "8", "orders": [1]})
        assert channels_in(self.token(realtime, token=theirs)) == []

    def test_garbage_is_no_token(self, realtime):
        assert channels_in(self.token(realtime, "private-orders-1", token="a.b.c")) == [
            "private:orders-1"
        ]

    def test_each_rule_is_asked_once(self, realtime):
        old = self.token(realtime, "private-orders-1", "private-orders-2")
        asked = []
        grant = realtime.rules.grant
        realtime.rules.grant = lambda user, name: asked.append(name) or grant(user, name)
        self.token(realtime, "private-orders-1", token=old)
        assert sorted(asked) == ["private-orders-1", "private-orders-2"]

    def test_denied_leaves_the_rest(self, realtime):
        old = self.token(realtime, "private-orders-1")
        answer = realtime.authorize(ANN, None, ["private-orders-9"], old)
        assert answer["channels"] == {"private-orders-9": {"status": 403, "error": "denied"}}
        assert channels_in(answer["token"]) == ["private:orders-1"]

    def test_what_ably_cannot_is_denied_and_logged(self, realtime, caplog):
        answer = realtime.authorize(None, None, ["presence-room-a"])
        assert answer["channels"]["presence-room-a"] == {
            "status": 403,
            "error": "a presence channel is for signed-in users",
        }
        assert "presence-room-a was granted and cannot be" in caplog.text


class TestEndpoint:
    def test_many_as_json(self, realtime):
        answer = json.loads(
            http(realtime, {"channels": ["private-orders-2", "presence-room-a"]}).body
        )
        assert list(answer["channels"]) == ["private-orders-2", "presence-room-a"]
        assert channels_in(answer["token"]) == ["presence:room-a", "private:orders-2"]

    def test_one_as_a_form(self, realtime):
        answer = json.loads(http(realtime, form="channel_name=presence-room-a").body)
        assert json.loads(answer["channel_data"])["user_id"] == "7"
        assert channels_in(answer["token"]) == ["presence:room-a"]
        assert http(realtime, form="channel_name=private-orders-9").status == 403

    @pytest.mark.parametrize(
        "asked",
        [
            {"query": {}},
            {"query": {"clientId": "7", "timestamp": "1", "ttl": "5", "capability": "{}"}},
            {"form": ""},
            {"form": "clientId=7"},
            {"body": {}, "accept": "application/jwt"},
        ],
    )
    def test_as_an_sdk_asks(self, realtime, asked):
        """RSA8c: authUrl by GET and by POST; what the SDK wishes for decides nothing."""
        answer = http(realtime, **asked)
        assert answer.status == 200
        assert answer.headers == {"Content-Type": "application/jwt", "Cache-Control": "no-store"}
        assert channels_in(answer.body.decode()) == ["private:orders-1"]

    @pytest.mark.parametrize(
        "asked",
        [
            {"query": {"channels": '["private-orders-2","private-orders-9"]'}},
            {"query": {"channel_name": "private-orders-2"}},
            {"form": "channels=%5B%22private-orders-2%22%5D"},
        ],
    )
    def test_with_further_channels(self, realtime, asked):
        token = http(realtime, **asked).body.decode()
        assert channels_in(token) == ["private:orders-1", "private:orders-2"]

    def test_with_the_last_token(self, realtime):
        last = realtime.authorize(ANN, None, ["private-orders-3"])["token"]
        token = http(realtime, query={"token": last}).body.decode()
        assert channels_in(token) == ["private:orders-1", "private:orders-3"]

    def test_a_guest_listens_to_public_channels(self, realtime):
        token = http(realtime, user=None, query={}).body.decode()
        assert capability_of(token) == PUBLIC

    @pytest.mark.parametrize(("user", "client_id"), [(ANN, "8"), (ANN, "*"), (None, "7")])
    @pytest.mark.parametrize("name", ["clientId", "client_id"])
    def test_a_client_that_takes_itself_for_another(self, realtime, user, client_id, name):
        assert http(realtime, user=user, query={name: client_id}).status == 403

    @pytest.mark.parametrize(
        "asked",
        [
            {"query": {"format": "token_request"}},
            {"form": "format=token_request"},
            {"body": {"format": "token_request"}, "accept": "application/jwt"},
        ],
    )
    def test_a_token_request(self, realtime, asked):
        answer = http(realtime, **asked)
        assert answer.headers["Content-Type"] == "application/json"
        request = json.loads(answer.body)
        assert request["keyName"] == "abcdef.new"
        assert "private:orders-1" in json.loads(request["capability"])

    def test_a_token_request_for_many(self, realtime):
        body = {"channels": ["private-orders-2"], "format": "token_request"}
        answer = json.loads(http(realtime, body).body)
        assert answer["channels"] == {"private-orders-2": {}}
        assert answer["token"]["mac"]

    @pytest.mark.parametrize(
        "query", [{"format": "pem"}, {"channels": "private-a"}, {"channels": "[1]"}]
    )
    def test_what_cannot_be_read(self, realtime, query):
        assert http(realtime, query=query).status == 400

    def test_other_providers_have_no_token_requests(self):
        realtime = Realtime("null", settings=RealtimeSettings(environ={}))
        assert http(realtime, {"channels": ["a"], "format": "token_request"}).status == 400
        assert http(realtime, query={}).status == 405

    def test_too_many(self, realtime):
        orders = [*range(10**18, 10**18 + 100)]
        names = [f"private-orders-{order}" for order in orders]
        answer = http(realtime, {"channels": names}, user={**ANN, "orders": orders})
        assert answer.status == 413

    def test_config(self, realtime):
        config = realtime.client_config()
        assert (config["provider"], config["transports"]) == ("ably", ["ably"])
        assert SECRET not in json.dumps(config)
