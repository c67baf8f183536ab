"""The suite of whatever brings HTTP to the endpoints: Flask, Lambda, or an adapter of one's own.

    class TestMine(HttpAdapterSuite):
        @pytest.fixture
        def ask(self, realtime):
            return ...        # HttpRequest -> HttpResponse

`realtime` is an application over a `FakeProvider`. The adapter serves it under `/realtime`, at
the origin `ORIGIN`, with `user_of(headers)` to load users. Requests have the path that a client
asked for, and header names in lower case; those of answers are found in lower case too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import pytest

from realtime_kit.authorization import Member, SignIn
from realtime_kit.realtime import Realtime
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.conformance.http_cases import CASES, ORIGIN, TOKEN, Case
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web.http import HttpRequest, HttpResponse

__all__ = ["ORIGIN", "TOKEN", "Ask", "HttpAdapterSuite", "User", "application", "user_of"]

Ask = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True)
class User:
    id: str
    name: str


USERS = {"7": User("7", "Ann")}


def user_of(headers: Mapping[str, str]) -> User | None:
    """The user whose id is in the header `x-user`, or in the cookie `user`."""
    cookie = (headers.get("cookie") or "").removeprefix("user=")
    return USERS.get(headers.get("x-user") or cookie)


def application() -> Realtime:
    """Rules of each kind, a trigger token, nothing of the environment."""
    settings = RealtimeSettings(environ={"REALTIME_WEB__TRIGGER_TOKENS": f"old-token,{TOKEN}"})
    realtime = Realtime(FakeProvider(), settings=settings)

    @realtime.channel_rule("private-orders-{order:int}")
    def may_see(user: User, order: int) -> bool:
        return order < 100

    @realtime.channel_rule("presence-room-{room}")
    def may_join(user: User, room: str) -> Member:
        return Member(user.id, {"name": user.name})

    @realtime.channel_rule("private-open", guests=True)
    def anybody(user: User | None) -> bool:
        return True

    @realtime.sign_in
    def identity(user: User) -> SignIn:
        return SignIn(user.id, {"name": user.name})

    @realtime.trigger_rule("private-orders-{order:int}", events=["note"])
    def may_note(user: User, order: int) -> bool:
        return order < 100

    return realtime


class HttpAdapterSuite:
    """Every case through one adapter; `ask` is the adapter's fixture."""

    @pytest.fixture
    def realtime(self) -> Realtime:
        return application()

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_answer(self, realtime: Realtime, ask: Ask, case: Case) -> None:
        answer = ask(case.request)
        assert answer.status == case.status, answer.body
        if case.body is not None:
            found = answer.body if isinstance(case.body, bytes) else json.loads(answer.body)
            assert found == case.body
        assert {name: _header(answer, name) for name in case.headers} == case.headers
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
        assert len(cast(FakeProvider, realtime.provider).sent) == case.sends

    def test_config_has_the_paths_and_no_secret(self, ask: Ask) -> None:
        answer = ask(HttpRequest("GET", "/realtime/config"))
        assert answer.status == 200
        config = json.loads(answer.body)
        assert config["auth"].endswith("/realtime/auth")
        assert config["userAuth"] == config["prefix"] + "/user-auth"
        assert config["trigger"] == config["prefix"] + "/trigger"
        assert TOKEN not in answer.body.decode()

    def test_what_a_client_has_is_not_sent_again(self, ask: Ask) -> None:
        request = HttpRequest("GET", "/realtime/client/realtime.js")
        tag = _header(ask(request), "etag")
        again = ask(replace(request, headers={"if-none-match": f'"other", W/{tag}'}))
        assert (again.status, again.body, _header(again, "etag")) == (304, b"", tag)


def _header(answer: HttpResponse, name: str) -> str | None:
    found = {given.lower(): value for given, value in answer.headers.items()}
    return found.get(name)
