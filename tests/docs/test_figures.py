"""The defaults, deadlines and bounds that the pages give are those of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from realtime_kit.deployment.cost import prices
from realtime_kit.events import Limits
from realtime_kit.hosting.local import fanout, webhooks
from realtime_kit.hosting.local.client_socket import Bounds
from realtime_kit.protocol import http_request, notices
from realtime_kit.protocol.app import App
from realtime_kit.providers import ably_webhooks, channels_protocol
from realtime_kit.settings import RealtimeSettings
from realtime_kit.web import endpoints, event_stream, events, flask_request, http, jwks, tickets

ROOT = Path(__file__).resolve().parents[2]
WORDS = {3: "three", 5: "five", 10: "ten"}

SETTINGS = RealtimeSettings(environ={})
LIMITS = Limits()
BOUNDS = Bounds()
APP = {field.name: field.default for field in dataclasses.fields(App)}
SECONDS = SETTINGS.local.timeout

FIGURES = [
    ("SECURITY.md", f"outside ±{http_request.WINDOW} s"),
    ("SECURITY.md", f"webhooks outside ±{channels_protocol.WEBHOOK_WINDOW:g} s"),
    ("SECURITY.md", f"Ably's outside ±{ably_webhooks.WINDOW:g} s"),
    ("docs/channels.md", f"at most {LIMITS.channel_name} characters"),
    ("docs/coming-from-laravel.md", f"waits for it, at most {SECONDS:g} s"),
    ("docs/flask.md", f"`REALTIME_…__TIMEOUT` ({SECONDS:g} s)"),
    ("docs/history.md", f"at most {events.MAX_WAIT:g} seconds"),
    ("docs/history.md", f"After {event_stream.HEARTBEAT:g} s of silence"),
    ("docs/history.md", f"about {WORDS[event_stream.LIFE // 60]} minutes"),
    ("docs/history.md", f"`retry: {event_stream.POLL_MS}`"),
    ("docs/history.md", f"`REALTIME_WEB__STREAMS` ({SETTINGS.web.streams})"),
    ("docs/history.md", f"{flask_request.STUCK_MS / 1000:g} s (on Linux"),
    ("docs/history.md", f"within {tickets.LIFE} seconds"),
    ("docs/lambda.md", f"within {jwks.TIMEOUT:g} seconds and {jwks.MAX_BYTES >> 10} KiB"),
    ("docs/lambda.md", f"kept for {jwks.LIFETIME / 60:g} minutes"),
    ("docs/lambda.md", f"every {jwks.RETRY:g} seconds at most"),
    ("docs/providers/README.md", f"{LIMITS.data:,} bytes"),
    ("docs/providers/README.md", f"{LIMITS.channel_name} characters for a channel's name"),
    ("docs/providers/README.md", f"{LIMITS.event_name} for an event's"),
    ("docs/providers/README.md", f"({LIMITS.channels_per_trigger} channels"),
    ("docs/providers/README.md", f"{LIMITS.events_per_batch} events of a batch"),
    ("docs/providers/pusher.md", f"more than {channels_protocol.WEBHOOK_WINDOW:g} s off"),
    ("docs/server.md", f"(`Bounds.unread`) | {BOUNDS.unread >> 20} MiB |"),
    ("docs/server.md", f"(`Bounds.pong`) | {BOUNDS.pong:g} s |"),
    ("docs/server.md", f"(`App.activity_timeout`) | {APP['activity_timeout']} s |"),
    ("docs/server.md", f"of one connection | {APP['client_events_per_second']} a second |"),
    ("docs/server.md", f"a cache channel's last event | {APP['cache_ttl'] // 60} min |"),
    ("docs/server.md", f"wait for their receiver | {webhooks.MAX_WAITING:,} |"),
    ("docs/server.md", f"for {WORDS[webhooks.TIMEOUT]} seconds"),
    ("docs/server.md", f"wait {WORDS[notices.LEAVE_DELAY]} seconds"),
    ("docs/server.md", f"at most {fanout.MAX_WAIT * 1000:g} ms"),
    ("docs/server.md", f"fewer than {fanout.MANY} subscribers"),
    ("docs/usual-samples.md", f"after {event_stream.HEARTBEAT:g} s of silence"),
    ("docs/web-endpoints.md", f"at most {http.MAX_BODY >> 20} MiB"),
    ("docs/web-endpoints.md", f"or up to {endpoints.MAX_CHANNELS}"),
]


@pytest.mark.parametrize(("page", "figure"), FIGURES)
def test_a_figure_is_the_code_s(page: str, figure: str) -> None:
    assert figure in " ".join((ROOT / page).read_text().split())


def table(page: str, first: str) -> list[list[str]]:
    """The cells of the rows, in all tables of a page, that begin with such a cell."""
    rows = re.findall(rf"^\| ({first} \|.*) \|$", (ROOT / page).read_text(), re.MULTILINE)
    return [[cell.strip() for cell in row.split(" |")] for row in rows]


def literal(cell: str) -> str:
    """A value that stands there as it is given; empty where a default is told in words."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found[1] if found and not re.match(r"[A-Z]+_", found[1]) else ""


def test_a_setting_is_by_default_what_its_row_says() -> None:
    told = {
        row[0].strip("`"): literal(row[-2]) for row in table("docs/settings.md", r"`REALTIME_\w+`")
    }
    given = {name: value for name, value in told.items() if value}
    assert len(given) > 30
    differ = [
        name for name, value in given.items() if RealtimeSettings(environ={name: value}) != SETTINGS
    ]
    assert differ == []


def test_so_is_every_parameter_of_a_deployment() -> None:
    template = (ROOT / "serverless.yml").read_text()
    (block,) = re.findall(r"^  default:\n((?:    .*\n)+)", template, re.MULTILINE)
    told = {
        (name.strip("`"), literal(value))
        for page in ("docs/deploy.md", "docs/lambda.md")
        for parameters, defaults, *rest in table(page, r"`[a-z]\w+`(?:, `\w+`)*")
        if rest
        for name, value in zip(parameters.split(", "), defaults.split(", "), strict=True)
    }
    assert told == set(re.findall(r"^    (\w+): '?([^'\s#]*)", block, re.MULTILINE))


def test_what_request_units_cost() -> None:
    a_million = prices()["aws"]
    rows = [row for row in table("docs/cost.md", r"[a-z][^|]+") if len(row) == 4]
    assert len(rows) == 9
    for step, read, written, dollars in rows:
        price = float(read) * a_million["read_units"] + float(written) * a_million["write_units"]
        assert float(dollars) == pytest.approx(price, abs=0.0051), step
