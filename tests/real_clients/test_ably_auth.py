"""Ably's SDKs, unmodified, get their tokens from a Flask app and are let in by the emulator."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from ably import AblyRest
from ably.sync import AblyRestSync
from ably.sync.util.exceptions import AblyException
from flask import Flask, request
from werkzeug.serving import make_server

from realtime_kit import Grant, Member
from realtime_kit.emulators.ably import AblyEmulator, running
from realtime_kit.flask import FlaskRealtime
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.settings import AblySettings

pytestmark = pytest.mark.node

DENIED = {"code": 40160, "statusCode": 401}
KEY = "local0.dev:secret"
ORDERS = {"ann": {1, 2, 3}, "bob": {1}}


@pytest.fixture(scope="module")
def emulator():
    with running(AblyEmulator()) as emulator:
        yield emulator


@pytest.fixture
def site(emulator):
    """An application, served; `asked` are the requests for tokens, `ahead` its clock."""
    orders = {name: set(own) for name, own in ORDERS.items()}
    site = SimpleNamespace(asked=[], ahead=0.0, orders=orders)
    settings = AblySettings(
        key=KEY, endpoint="127.0.0.1", port=emulator.port, tls=False, token_ttl=600
    )
    # As far ahead as the emulator, where time passes when a test says so.
    ahead = emulator.call(lambda world: world.now()) / 1_000 - time.time()
    provider = AblyProvider(settings, clock=lambda: time.time() + ahead + site.ahead)
    app = Flask(__name__)
    app.testing = True
    app.config.update(REALTIME_PROVIDER=provider, REALTIME_ABLY__KEY=KEY)
    rt = FlaskRealtime(app, user_id=lambda user: user)
    rt.user_loader(lambda: request.headers.get("X-User"))
    rt.grants(lambda user: [f"private-orders-{number}" for number in sorted(site.orders[user])])

    @rt.channel_rule("private-orders-{number:int}")
    def may_see(user, number):
        return number in site.orders[user]

    @rt.channel_rule("private-chat-{room}")
    def may_chat(user, room):
        return Grant(publish=True)

    @rt.channel_rule("presence-room-{room}")
    def may_join(user, room):
        return Member(user, {"name": user.title()})

    @app.before_request
    def note():
        site.asked.append((request.method, request.path))

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.url = f"http://127.0.0.1:{server.port}/realtime/auth"

    def advance(seconds):
        site.ahead += seconds
        emulator.advance(seconds)

    site.advance = advance
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def process(checkout):
    arguments = ["node", "tests/real_clients/ably_auth.mjs"]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=checkout, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def node(process, emulator, site):
    """`node(command, …)`: what ably-js answers."""
    opened = []

    def node(command, **options):
        if command in ("open", "rest"):
            options |= {"endpoint": "127.0.0.1", "port": emulator.port}
        if command == "open":
            opened.append(options.setdefault("client", "page"))
        elif command != "rest":
            options.setdefault("client", "page")
        process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert "failed" not in answer, answer
        return answer["answer"]

    yield node
    for client in opened:
        node("close", client=client)


def by_url(site, user="ann", **more):
    headers = {} if user is None else {"X-User": user}
    return {"authUrl": site.url, "authHeaders": headers, **more}


def by_callback(site, user="ann"):
    return {"url": site.url, "headers": {"X-User": user}}


def refused(answer):
    assert {name: answer[name] for name in DENIED} == DENIED, answer
    return True


class TestAuthUrl:
    @pytest.mark.parametrize(
        "how",
        [
            {},
            {"authMethod": "POST"},
            {"authParams": {"format": "token_request"}},
            {"authMethod": "POST", "authParams": {"format": "token_request"}},
        ],
        ids=["GET", "POST", "TokenRequest", "TokenRequest by POST"],
    )
    def test_what_is_granted_opens_and_nothing_else(self, node, site, how):
        """RSA8c, RSA8d, RSA8g: a JWT, or a TokenRequest that is exchanged for a token."""
        opened = node("open", auth=by_url(site, **how))
        assert (opened["state"], opened["clientId"]) == ("connected", "ann")
        assert node("attach", channel="private:orders-1") == "done"
        assert node("attach", channel="public:news") == "done"
        assert node("attach", channel="user:ann") == "done"
        for channel in ("private:orders-9", "presence:room-a", "user:bob", "news", "[meta]log"):
            assert refused(node("attach", channel=channel)), channel
        for channel in ("private:orders-1", "public:news", "user:ann"):
            assert refused(node("publish", channel=channel, event="forged")), channel
        assert [method for method, _ in site.asked] == [how.get("authMethod", "GET")]

    def test_channels_are_named_in_the_parameters(self, node, site):
        named = {"channels": '["private-chat-a","presence-room-a","private-orders-9"]'}
        node("open", auth=by_url(site, authParams=named))
        assert node("attach", channel="private:chat-a") == "done"
        assert node("publish", channel="private:chat-a", event="client-typing") == "done"
        assert node("enter", channel="presence:room-a", data={"typing": True}) == "done"
        assert refused(node("attach", channel="private:orders-9"))

    def test_a_guest(self, node, site):
        opened = node("open", auth=by_url(site, user=None))
        assert opened["state"] == "connected"
        assert node("attach", channel="public:news") == "done"
        assert refused(node("attach", channel="private:orders-1"))

    def test_a_page_that_takes_its_user_for_another(self, node, site):
        """RSA4c, RSA4d: it is told why. (In browsers the SDK gives up; in Node it overlooks the
        status of a 403 whose JSON has an `error`, and would ask again.)"""
        opened = node("open", auth=by_url(site), clientId="bob")
        assert opened["state"] in ("failed", "disconnected")
        assert "clientId that is not the user's" in opened["error"]["cause"]
        assert len(site.asked) == 1

    def test_rest(self, node, site):
        assert node("rest", auth=by_url(site))["token"].count(".") == 2
        exchanged = node("rest", auth=by_url(site, authParams={"format": "token_request"}))
        assert exchanged["clientId"] == "ann"
        assert json.loads(exchanged["capability"])["private:orders-2"] == ["subscribe"]

    def test_before_a_token_expires_it_is_renewed_on_the_live_connection(self, node, site):
        """RTN22: the server asks, one request answers for all channels."""
        node("open", auth=by_url(site))
        for number in (1, 2, 3):
            node("attach", channel=f"private:orders-{number}")
        node("expectConnection", event="update")
        site.advance(580)
        assert node("expected") == "connected"
        assert len(site.asked) == 2
        site.advance(100)  # past the end of the first token
        assert node("state") == "connected"
        for number in (1, 2, 3):
            assert node("state", channel=f"private:orders-{number}") == "attached"
        assert len(site.asked) == 2

    def test_what_the_rules_grant_no_more_ends_with_the_token(self, node, site):
        node("open", auth=by_url(site))
        for number in (1, 2):
            node("attach", channel=f"private:orders-{number}")
        site.orders["ann"].remove(2)
        node("expectConnection", event="update")
        site.advance(580)
        node("expected")
        assert refused(node("attach", channel="private:orders-2"))
        assert node("state", channel="private:orders-1") == "attached"


class TestAuthCallback:
    def test_one_channel_after_the_other_on_one_connection(self, node, site):
        """RTC8a: an upgrade does not interrupt; the token that is handed back keeps its names."""
        node("open", auth=by_callback(site), names=["private-orders-1"])
        assert node("attach", channel="private:orders-1") == "done"
        assert refused(node("attach", channel="private:orders-2"))
        node("add", names=["private-orders-2"])
        assert node("attach", channel="private:orders-2") == "done"
        assert node("state", channel="private:orders-1") == "attached"
        assert len(site.asked) == 2

    def test_one_request_renews_all_of_them(self, node, site):
        node("open", auth=by_callback(site), names=["private-orders-1"])
        node("add", names=["private-orders-2", "presence-room-a"])
        for channel in ("private:orders-1", "private:orders-2", "presence:room-a"):
            assert node("attach", channel=channel) == "done"
        node("expectConnection", event="update")
        site.advance(580)
        node("expected")
        site.advance(100)
        for channel in ("private:orders-1", "private:orders-2", "presence:room-a"):
            assert node("state", channel=channel) == "attached"
        assert len(site.asked) == 3


class TestMembers:
    def test_the_info_of_a_member_is_vouched_for(self, node, site):
        named = {"channels": '["presence-room-a"]'}
        node("open", client="ann", auth=by_url(site, authParams=named))
        node("open", client="bob", auth=by_url(site, user="bob", authParams=named))
        forged = {"name": "The management"}
        assert node("enter", client="bob", channel="presence:room-a", data=forged) == "done"
        (bob,) = node("members", client="ann", channel="presence:room-a")
        assert (bob["clientId"], bob["data"]) == ("bob", forged)
        vouched = json.loads(bob["extras"]["userClaim"])
        assert vouched == {"user_id": "bob", "user_info": {"name": "Bob"}}

    def test_what_a_client_publishes_is_marked_and_what_the_application_sends_is_not(
        self, node, site
    ):
        named = {"channels": '["private-chat-a"]'}
        node("open", client="ann", auth=by_url(site, authParams=named))
        node("open", client="bob", auth=by_url(site, user="bob", authParams=named))
        node("attach", client="ann", channel="private:chat-a")
        node("expectMessage", client="ann", channel="private:chat-a")
        node("publish", client="bob", channel="private:chat-a", event="looks-official")
        seen = node("expected", client="ann")
        assert (seen["name"], seen["clientId"]) == ("looks-official", "bob")
        assert json.loads(seen["extras"]["userClaim"]) == {"user_id": "bob"}


class TestPython:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("form", ["jwt", "token_request"])
    def test_auth_url(self, emulator, site, method, form):
        how = {
            "auth_url": site.url,
            "auth_method": method,
            "auth_headers": {"X-User": "ann"},
            "auth_params": {"format": form},
        }
        with AblyRestSync(**how, **place(emulator)) as rest:
            assert rest.channels.get("private:orders-1").presence.get().items == []
            for refused in ("private:orders-9", "user:bob"):
                with pytest.raises(AblyException, match="40160"):
                    rest.channels.get(refused).presence.get()
            with pytest.raises(AblyException, match="40160"):
                rest.channels.get("private:orders-1").publish("forged", {})

    def test_auth_callback(self, emulator, site):
        async def token(params):
            return await asyncio.to_thread(fetch, site)

        async def members():
            async with AblyRest(auth_callback=token, **place(emulator)) as rest:
                return (await rest.channels.get("private:orders-1").presence.get()).items

        assert asyncio.run(members()) == []


def place(emulator):
    return {"endpoint": "127.0.0.1", "port": emulator.port, "tls": False}


def fetch(site):
    with urlopen(Request(site.url, headers={"X-User": "ann"})) as answer:
        return answer.read().decode()
