"""The demo over a provider that remembers what was sent; people who talk to its views."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from realtime_kit.demo import create_app
from realtime_kit.demo.store import Store
from realtime_kit.testing.fakes import FakeProvider


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Visitor:
    """A browser: its cookies, and the token that its pages carry."""

    http: FlaskClient
    seat: int = 0
    nonces: Any = field(default_factory=count)

    @property
    def token(self) -> str:
        page = self.http.get("/join").get_data(as_text=True)
        found = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert found
        return found[1]

    def join(self, name: str) -> TestResponse:
        answer = self.http.post("/join", data={"name": name, "csrf_token": self.token})
        if answer.status_code == 303:
            self.seat = int(answer.location.split("/")[2])
        return answer

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.http.get(f"/u/{self.seat}{path}", headers=headers)

    def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> TestResponse:
        own = {"X-CSRF-Token": self.token, "Accept": "application/json", **headers}
        return self.http.post(f"/u/{self.seat}{path}", json=data or {}, headers=own)

    def say(self, room: str, text: str, **headers: str) -> TestResponse:
        body = {"text": text, "nonce": f"nonce-{next(self.nonces):04}"}
        return self.post(f"/rooms/{room}/messages", body, **headers)

    def create(self, name: str, *, private: bool = False) -> TestResponse:
        form = {"name": name, "csrf_token": self.token} | ({"private": "on"} if private else {})
        return self.http.post(f"/u/{self.seat}/rooms", data=form)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / "store.sqlite3", clock)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def app(tmp_path: Path, provider: FakeProvider) -> Flask:
    return create_app(
        {"DEMO_DB": tmp_path / "demo.sqlite3", "REALTIME_PROVIDER": provider, "TESTING": True}
    )


@pytest.fixture
def visit(app: Flask, provider: FakeProvider):
    """`visit("Ada")`: a browser of her own, with Ada in it; the news of it is old already."""

    def visit(name: str | None = None) -> Visitor:
        visitor = Visitor(app.test_client())
        if name:
            assert visitor.join(name).status_code == 303
            provider.sent.clear()
        return visitor

    return visit
