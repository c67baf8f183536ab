"""What the page says and does while servers and networks come and go; through the official SDK,
because then the embedded server is a process of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CREDENTIALS = ("7", "some-key", "some-secret")
EVENTS = re.compile(r"/realtime/events")


@dataclass
class Pair:
    """A demo with provider pusher, and the server that it takes for Pusher's."""

    demo: Any
    server: Any

    @property
    def base(self) -> str:
        return self.demo.urls["App"]


def by_url(port: int) -> dict[str, str]:
    """The demo pointed at a port by the vendor's own names."""
    app_id, key, secret = CREDENTIALS
    address = f"http://{key}:{secret}@127.0.0.1:{port}/apps/{app_id}"
    return {"PUSHER_URL": address, "PUSHER_CLUSTER": "eu"}


@pytest.fixture(scope="module")
def started(run, free_port, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """On ports of their own, to be found there again after a restart."""
    port = free_port()
    server = run("serve", "--port", str(port), "--app", ":".join(CREDENTIALS))
    database = str(tmp_path_factory.mktemp("demo") / "demo.sqlite3")
    environ = {"DEMO_DB": database, "REALTIME_PROVIDER": "pusher", **by_url(port)}
    return Pair(run("demo", "--port", str(free_port()), **environ), server)


@pytest.fixture
def pair(started: Pair) -> Pair:
    """Both running, whatever the last test did to them."""
    for command in (started.server, started.demo):
        if not command.is_running:
            command.start()
    return started


@pytest.fixture
def both(pair: Pair, meet):
    """Ada and Grace in a room of that demo."""
    return meet(pair.base)


def shows(window, state: str) -> None:
    expect(window.state).to_have_attribute("data-state", re.compile(f"^(?:{state})$"))


def test_the_same_demo_runs_through_the_official_sdk(both, pair) -> None:
    ada, grace = both
    expect(ada.locator(".facts")).to_contain_text("pusher")
    ada.say("Hello Grace")
    grace.sees("Hello Grace")
    grace.box.press_sequentially(f"Hello @{ada.handle}")
    expect(ada.typing).to_have_text(f"{grace.name} is typing")
    grace.box.press("Enter")
    ada.sees(f"Hello @{ada.handle}")
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    config = ada.page.request.get(f"{pair.base}/realtime/config").text()
    assert CREDENTIALS[1] in config
    assert CREDENTIALS[2] not in ada.page.content() + config


def test_a_restart_of_the_server_is_shown_and_nothing_is_missed(both, pair) -> None:
    ada, grace = both
    ada.say("Before")
    grace.sees("Before")
    for each in both:  # no stream takes over, however long this takes
        each.page.route(EVENTS, lambda route: route.abort())
    pair.server.stop()
    for each in both:
        shows(each, "reconnecting")
    expect(ada.notice).to_contain_text("Nothing arrives live just now")
    grace.say("While it was away")
    grace.sees("While it was away")
    expect(grace.locator(".message.pending, .message.failed")).to_have_count(0)
    expect(ada.words("While it was away")).to_have_count(0)
    pair.server.start()
    for each in both:
        shows(each, "connected")
        each.page.unroute(EVENTS)
    ada.sees("While it was away")
    expect(ada.notice).to_be_empty()
    for each in both:
        expect(each.people).to_have_count(2)
    ada.say("Back again")
    grace.sees("Back again")
    assert ada.locator("#messages .words").all_text_contents() == [
        "Before",
        "While it was away",
        "Back again",
    ]


def test_offline_and_online_again(both) -> None:
    ada, grace = both
    ada.page.clock.install()
    ada.context.set_offline(True)
    ada.page.wait_for_function("!navigator.onLine")
    ada.page.clock.fast_forward("00:11")  # an open socket is given ten seconds to answer
    shows(ada, "offline")
    question = f"Can you hear me, @{ada.handle}?"
    grace.say(question)
    grace.sees(question)
    ada.say("Into the void")
    expect(ada.locator(".message.failed")).to_contain_text("Not sent")
    ada.context.set_offline(False)
    shows(ada, "connected")
    ada.sees(question)
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    expect(ada.locator(".message.pending, .message.failed")).to_have_count(0)
    grace.sees("Into the void")


def test_a_message_that_the_application_did_not_take_can_be_sent_again(both, pair) -> None:
    ada, grace = both
    pair.demo.stop()
    ada.say("Anybody there?")
    failed = ada.locator(".message.failed")
    expect(failed).to_contain_text("Not sent. The server does not answer.")
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_contain_text("Not sent")
    pair.demo.start()
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_have_count(0)
    grace.sees("Anybody there?")
    ada.reload()
    ada.ready().sees("Anybody there?")


def test_an_answer_that_got_lost_makes_no_second_message(both) -> None:
    ada, grace = both

    def lose(route) -> None:
        route.fetch()
        route.abort()

    ada.page.route("**/messages", lose)
    ada.say("Once")
    grace.sees("Once")
    expect(ada.locator(".message.failed")).to_have_count(1)
    ada.page.unroute("**/messages")
    ada.get_by_role("button", name="Retry").click()
    expect(ada.locator(".message.failed, .message.pending")).to_have_count(0)
    for each in both:
        each.reload()
        each.ready().sees("Once")


def test_a_refused_message_goes_back_into_the_box(both) -> None:
    ada, _grace = both
    refusal = {"status": 400, "json": {"error": "A message needs manners."}}
    ada.page.route("**/messages", lambda route: route.fulfill(**refusal))
    ada.say("Rude")
    failed = ada.locator(".message.failed")
    expect(failed).to_contain_text("A message needs manners.")
    assert failed.get_by_role("button").all_text_contents() == ["Discard"]
    failed.get_by_role("button", name="Discard").click()
    expect(failed).to_have_count(0)
    expect(ada.box).to_have_value("Rude")
    expect(ada.box).to_be_focused()


def test_leaving_in_one_window_is_said_in_the_other(both, window) -> None:
    ada, _grace = both
    second = window(ada.context)
    second.goto(ada.url)
    second.ready()
    second.get_by_role("button", name=f"{ada.name}: your menu").click()
    second.get_by_role("button", name="Leave").click()
    expect(second.get_by_label("Your name")).to_be_visible()
    ada.say("Still me?")
    expect(ada.locator(".message.failed")).to_contain_text("Pick a name again")


def test_without_a_socket_messages_come_by_stream(house, window) -> None:
    demo = house("log")
    ada, grace = window(), window()
    for each, name in ((ada, "Ada"), (grace, "Grace")):
        each.sit(demo.urls["App"], name)
        each.page.goto(f"{demo.urls['App']}/chat")
        shows(each, "connected")
    ada.say("Hello Grace")
    grace.sees("Hello Grace")
    grace.say("Hello Ada")
    ada.sees("Hello Ada")


def test_without_anything_to_connect_to_the_page_says_so(house, window) -> None:
    demo = house("log")
    ada = window()
    ada.sit(demo.urls["App"], "Ada")
    config = ada.page.request.get(f"{demo.urls['App']}/realtime/config").json()
    alone = {**config, "transports": ["log"]}
    ada.page.route("**/realtime/config", lambda route: route.fulfill(json=alone))
    ada.page.goto(f"{demo.urls['App']}/chat")
    shows(ada, "failed")
    expect(ada.notice).to_contain_text("nothing that a browser can connect to")
    ada.say("To whom it may concern")
    expect(ada.locator(".message.pending, .message.failed")).to_have_count(0)
    ada.reload()
    ada.sees("To whom it may concern")
