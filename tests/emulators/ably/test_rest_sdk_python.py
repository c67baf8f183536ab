"""Ably's own Python SDK over REST, unmodified: sync and async, JSON and msgpack."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from ably import AblyException, AblyRest
from ably.sync import AblyRestSync
from ably.sync.util.exceptions import AblyException as SyncException

from realtime_kit.emulators.ably import AblyEmulator, options_for, running

KEY = "local0.dev:a-secret-of-thirty-two-characters"
REVOCABLE = "local0.rev:a-secret-of-thirty-two-characters"


@pytest.fixture(scope="module")
def emulator() -> Iterator[AblyEmulator]:
    with running(AblyEmulator([KEY])) as emulator:

        def add(world: Any) -> None:
            key = type(world.apps["local0"].keys["local0.dev"])
            name, _, secret = REVOCABLE.partition(":")
            world.apps["local0"].keys[name] = key(name, secret, revocable_tokens=True)

        emulator.call(add)
        yield emulator


@pytest.fixture(params=[True, False], ids=["msgpack", "json"])
def options(emulator: AblyEmulator, request: pytest.FixtureRequest) -> dict[str, Any]:
    own = options_for("ably-python", emulator.url, key=KEY)
    return {**own, "use_binary_protocol": request.param}


@pytest.fixture
def rest(options: dict[str, Any]) -> Iterator[AblyRestSync]:
    rest = AblyRestSync(**options)
    yield rest
    rest.close()


def call(options: dict[str, Any], work: Callable[[AblyRest], Awaitable[Any]]) -> Any:
    """What the work comes to, with an async client of these options."""

    async def run() -> Any:
        async with AblyRest(**options) as rest:
            return await work(rest)

    return asyncio.run(run())


def name_of(request: pytest.FixtureRequest) -> str:
    return f"persisted:{request.node.name}"


def test_time(rest: AblyRestSync) -> None:
    """RSC16"""
    assert abs(rest.time() - time.time() * 1000) < 60_000


@pytest.mark.parametrize(
    "data", ["text", {"a": [1, None]}, [1, 2], bytearray(b"\x00\xff"), None, "ключ"]
)
def test_what_is_published_comes_back(
    rest: AblyRestSync, request: pytest.FixtureRequest, data: Any
) -> None:
    """RSL1, RSL2, RSL4, RSL6"""
    channel = rest.channels.get(name_of(request))
    channel.publish("n", data)
    [message] = channel.history().items
    assert (message.name, message.data) == ("n", data)
    assert message.id
    assert message.timestamp


def test_pages_of_history(rest: AblyRestSync, request: pytest.FixtureRequest) -> None:
    """RSL2, TG"""
    channel = rest.channels.get(name_of(request))
    for number in range(5):
        channel.publish(str(number), "x")
    page = channel.history(limit=2, direction="forwards")
    names = [[message.name for message in page.items]]
    while page.has_next():
        page = page.next()
        names.append([message.name for message in page.items])
    assert names == [["0", "1"], ["2", "3"], ["4"]]
    assert page.is_last()
    assert [message.name for message in page.first().items] == ["0", "1"]


def test_async_publish_status_and_presence(
    options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """RSL1, RSL8, RSP3, RSP4"""

    async def work(rest: AblyRest) -> Any:
        channel = rest.channels.get(name_of(request))
        await channel.publish("n", "d")
        status = await channel.status()
        members = await channel.presence.get()
        events = await channel.presence.history()
        return status, members.items, events.items

    status, members, events = call(options, work)
    assert (status.channel_id, status.status.is_active) == (name_of(request), True)
    assert status.status.occupancy.metrics.presence_members == 0
    assert members == events == []


def test_a_publish_that_is_retried_is_one(
    rest: AblyRestSync, request: pytest.FixtureRequest
) -> None:
    """RSL1k5"""
    path = f"/channels/{name_of(request)}/messages"
    body = {"id": "own-id", "name": "n"}
    first = rest.request("POST", path, version="5", body=body)
    again = rest.request("POST", path, version="5", body=body)
    assert (first.status_code, first.items) == (201, again.items)
    assert len(rest.channels.get(name_of(request)).history().items) == 1


def test_requests_of_ones_own(rest: AblyRestSync, request: pytest.FixtureRequest) -> None:
    """RSC19, HP: batches, enumeration, errors"""
    names = [f"{request.node.name}-{n}" for n in range(2)]
    spec = {"channels": [*names, ""], "messages": {"name": "n"}}
    published = rest.request("POST", "/messages", version="5", body=spec)
    [batch] = published.items
    assert (batch["successCount"], batch["failureCount"]) == (2, 1)
    listed = rest.request("GET", "/channels", version="5", params={"prefix": request.node.name})
    assert listed.items == names
    members = rest.request("GET", "/presence", version="5", params={"channels": ",".join(names)})
    assert members.items[0]["successCount"] == 2
    missing = rest.request("GET", "/nowhere", version="5")
    assert (missing.success, missing.status_code, int(missing.error_code)) == (False, 404, 40400)
    assert missing.error_message


def test_errors_are_ablys(rest: AblyRestSync) -> None:
    """TI"""
    with pytest.raises(SyncException) as raised:
        rest.channels.get(":none").publish("n", "d")
    assert (raised.value.code, raised.value.status_code) == (40010, 400)


# --- tokens ---------------------------------------------------------------------------------


def test_a_token_is_requested(options: dict[str, Any]) -> None:
    """RSA8, TD"""

    async def work(rest: AblyRest) -> Any:
        params = {"client_id": "me", "ttl": 5000, "capability": {"foo": ["publish"]}}
        return await rest.auth.request_token(params)

    details = call(options, work)
    assert (details.client_id, details.expires - details.issued) == ("me", 5000)
    assert str(details.capability) == '{"foo": ["publish"]}'


def test_a_token_grants_what_it_says(options: dict[str, Any], emulator: AblyEmulator) -> None:
    """RSA1, 40160"""

    async def request(rest: AblyRest) -> Any:
        return await rest.auth.request_token({"capability": {"foo": ["publish"]}})

    own = options_for("ably-python", emulator.url, key=None)
    own["use_binary_protocol"] = options["use_binary_protocol"]
    limited = AblyRestSync(**own, token=call(options, request).token)
    limited.channels.get("foo").publish("n", "d")
    with pytest.raises(SyncException) as raised:
        limited.channels.get("foo").history()
    assert (raised.value.code, raised.value.status_code) == (40160, 401)
    limited.close()


def test_a_token_request_is_honoured_once(options: dict[str, Any], emulator: AblyEmulator) -> None:
    """RSA9, RSA8d: made by a server, sent by a client"""

    async def create(rest: AblyRest) -> Any:
        return await rest.auth.create_token_request({"client_id": "me"})

    request = call(options, create)

    async def callback(_params: Any) -> Any:
        return request

    async def authorize(rest: AblyRest) -> Any:
        first = await rest.auth.authorize()
        with pytest.raises(AblyException) as raised:
            await rest.auth.authorize()
        return first, raised.value

    own = options_for("ably-python", emulator.url, key=None)
    first, second = call({**own, "auth_callback": callback}, authorize)
    assert first.client_id == "me"
    assert (second.code, second.status_code) == (40105, 401)


def test_an_expired_token_is_renewed(emulator: AblyEmulator) -> None:
    """RSC10, RSA4b: by a JWT, which takes no request to make"""
    name, _, secret = KEY.partition(":")
    made: list[int] = []

    async def callback(_params: Any) -> str:
        made.append(1)
        now = time.time() - (7200 if len(made) == 1 else 0)
        claims = {"iat": now, "exp": now + 3600, "x-ably-capability": '{"foo":["*"]}'}
        return jwt.encode(claims, secret, headers={"kid": name})

    async def work(rest: AblyRest) -> Any:
        return (await rest.channels.get("foo").history()).items

    own = options_for("ably-python", emulator.url, key=None)
    call({**own, "auth_callback": callback}, work)
    assert len(made) == 2


class _AuthServer(BaseHTTPRequestHandler):
    """What an application has: it signs TokenRequests for its users."""

    def do_GET(self) -> None:
        name, _, secret = KEY.partition(":")
        now = str(int(time.time() * 1000))
        fields = [name, "", "", "of-a-url", now, f"nonce-{now}-{id(self)}"]
        text = "".join(f"{field}\n" for field in fields)
        mac = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
        body = json.dumps(
            {
                "keyName": name,
                "clientId": "of-a-url",
                "timestamp": now,
                "nonce": fields[-1],
                "mac": base64.b64encode(mac).decode(),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def auth_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _AuthServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/auth"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_auth_url(emulator: AblyEmulator, auth_url: str) -> None:
    """RSA8c: what it answers may be a TokenRequest, whose numbers are text"""

    async def work(rest: AblyRest) -> Any:
        return await rest.auth.authorize()

    own = options_for("ably-python", emulator.url, key=None)
    assert call({**own, "auth_url": auth_url}, work).client_id == "of-a-url"


def test_tokens_are_revoked(
    options: dict[str, Any], emulator: AblyEmulator, request: pytest.FixtureRequest
) -> None:
    """RSA17, through a request of one's own: the SDK has no call for it"""
    name, _, secret = REVOCABLE.partition(":")
    now = time.time() - 1
    claims = {"iat": now, "exp": now + 60, "x-ably-clientId": request.node.name}
    token = jwt.encode(claims, secret, headers={"kid": name})
    own = options_for("ably-python", emulator.url, key=None)
    theirs = AblyRestSync(**own, token=token)
    theirs.channels.get("foo").history()

    async def revoke(rest: AblyRest) -> Any:
        body = {"targets": [f"clientId:{request.node.name}"]}
        basic = "Basic " + base64.b64encode(REVOCABLE.encode()).decode()
        return await rest.request(
            "POST",
            f"/keys/{name}/revokeTokens",
            version="5",
            body=body,
            headers={"Authorization": basic},
        )

    answer = call(options, revoke)
    assert answer.items[0]["successCount"] == 1
    with pytest.raises(SyncException) as raised:
        theirs.channels.get("foo").history()
    assert raised.value.code in (40141, 40171)
    theirs.close()
