"""Two Flask applications that answer the same question, called as WSGI applications.

Ours is the extension's `/auth`. The peer is the view that the SDK's documentation has one write by
hand. Both find the user in Flask's session, and hold them to the same rule.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pusher
from flask import Flask, abort, jsonify, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.test import create_environ

from realtime_kit import Member
from realtime_kit.flask import FlaskRealtime

SOCKET_ID = "123.456"
# A page's channels: one in ten shows who else is there.
CHANNELS = [f"{'private' if n % 10 else 'presence'}-orders-{n}" for n in range(40)]


@dataclass(frozen=True)
class User:
    id: str
    name: str
    orders: frozenset[int]


USERS = {"7": User("7", "Ada", frozenset(range(1_000)))}


def current_user() -> User | None:
    return USERS.get(session.get("user_id", ""))


def application(name: str) -> Flask:
    app = Flask(name)
    app.secret_key = "of both, so that one cookie is good for both"
    return app


def ours() -> Flask:
    app = application("ours")
    app.config["REALTIME_LOCAL__KEYS"] = "key:secret"
    realtime = FlaskRealtime(app)
    realtime.user_loader(current_user)

    @realtime.channel_rule("private-orders-{order:int}")
    def may_see(user: User, order: int) -> bool:
        return order in user.orders

    @realtime.channel_rule("presence-orders-{order:int}")
    def may_join(user: User, order: int) -> Member | None:
        return Member(user.id, {"name": user.name}) if order in user.orders else None

    return app


def by_hand() -> Flask:
    app = application("by hand")
    client = pusher.Pusher(app_id="1", key="key", secret="secret", host="127.0.0.1", port=1)
    order_of = re.compile(r"(private|presence)-orders-(0|[1-9][0-9]*)")

    @app.post("/realtime/auth")
    def auth() -> Any:
        user = current_user()
        channel, socket_id = request.form["channel_name"], request.form["socket_id"]
        found = order_of.fullmatch(channel)
        if user is None or found is None or int(found[2]) not in user.orders:
            abort(403)
        if found[1] == "presence":
            member = {"user_id": user.id, "user_info": {"name": user.name}}
            return jsonify(client.authenticate(channel, socket_id, member))
        return jsonify(client.authenticate(channel, socket_id))

    return app


def form(channel: str) -> dict[str, Any]:
    """The environ of the request that pusher-js sends for one channel."""
    body = urlencode({"socket_id": SOCKET_ID, "channel_name": channel}).encode()
    return _environ(body, "application/x-www-form-urlencoded")


def batch(body: bytes) -> dict[str, Any]:
    """The environ of a request for many channels."""
    return _environ(body, "application/json")


def _environ(body: bytes, content_type: str) -> dict[str, Any]:
    environ = create_environ(
        "/realtime/auth",
        method="POST",
        content_type=content_type,
        input_stream=io.BytesIO(body),
        headers={
            "Cookie": f"session={_cookie()}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate, br",
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Origin": "http://localhost",
            "Sec-Fetch-Site": "same-origin",
        },
    )
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["bench.body"] = body
    return environ


def _cookie() -> str:
    signer = SecureCookieSessionInterface().get_signing_serializer(application("any"))
    assert signer is not None
    return str(signer.dumps({"user_id": "7"}))


def call(app: Flask, environ: dict[str, Any]) -> bytes:
    """One request, straight into the application; its answer must be 200."""
    status = ""

    def start_response(given: str, _headers: object, _exc: object = None) -> Any:
        nonlocal status
        status = given

    answer = app.wsgi_app(
        {**environ, "wsgi.input": io.BytesIO(environ["bench.body"])}, start_response
    )
    body = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]
    assert status == "200 OK", (status, body)
    return body


def seconds(app: Flask, environs: Sequence[dict[str, Any]], rounds: int) -> float:
    """CPU seconds of `rounds` times all the requests."""
    started = time.process_time()
    for _ in range(rounds):
        for environ in environs:
            call(app, environ)
    return time.process_time() - started
