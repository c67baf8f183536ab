"""docs/usual-samples.md: each application as it stands there, on a server of its own, and in
Chromium what the usual sample gets wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = [pytest.mark.browser, pytest.mark.node]

EVENTS = "/realtime/events"


def until(page: Page, condition: Callable[[], Any]) -> None:
    """For what is to be seen on the server."""
    for _ in range(800):
        if condition():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it never came")


def test_every_section_of_the_table_is_an_application(checkout, sections, files_of):
    text = (checkout / "docs" / "usual-samples.md").read_text()
    listed = re.findall(r"^\| \[.+?\]\(#(.+?)\) \|", text, re.MULTILINE)
    shared, *titles = sections
    assert shared == "What the examples share"
    anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
    assert listed == anchors
    for title in titles:
        section = sections[title]
        assert re.findall(r"^\*\*(The usual sample|The trap|Here)\b", section, re.MULTILINE) == [
            "The usual sample", "The trap", "Here",
        ]  # fmt: skip
        files = files_of(section)
        assert "app.py" in files
        assert files.keys() & {"App.jsx", "index.html"}


def test_sse_what_is_lost_with_a_connection_comes_with_the_next_and_streams_end(start, visit):
    sample = start("SSE route and hook")
    page = visit(sample, "/orders/42", "ada")
    expect(page.locator("ol")).to_have_attribute("data-state", "open")
    until(page, lambda: sample.waiting == 1)
    sample.call("packed", 42, 1)
    expect(page.get_by_role("listitem")).to_have_text(["Parcel 1"])
    assert sample.line.statuses(f"GET {EVENTS}") == [200], "a render opens no other stream"

    sample.line.cuts = 1
    for parcel in (2, 3, 4):
        sample.call("packed", 42, parcel)
    expect(page.get_by_role("listitem")).to_have_text([f"Parcel {n}" for n in (1, 2, 3, 4)])
    assert sample.line.cuts == 0

    other = visit(sample, "/orders/42", "grace")
    expect(other.locator("ol")).to_have_attribute("data-state", "connecting")
    until(other, lambda: 403 in sample.line.statuses(f"GET {EVENTS}"))

    page.evaluate("root.unmount()")

    def is_let_go() -> bool:
        sample.call("packed", 42, 5)  # it is noticed when something is written
        return sample.waiting == 0 and sample.line.streams == 0

    until(page, is_let_go)
    expect(other.get_by_role("listitem")).to_have_count(0)


def test_database_no_row_is_lost_between_two_looks_or_connections(start, visit):
    sample = start("Database-driven stream")

    def write(*numbers: int, owner: str = "ada") -> None:
        rows = [{"owner": owner, "text": f"{owner} {n}"} for n in numbers]
        sample.sql("INSERT INTO notes (owner, text) VALUES (:owner, :text)", *rows)

    write(0)
    write(0, owner="grace")
    page = visit(sample, "/notes", "ada")
    expect(page.get_by_role("listitem")).to_have_text(["ada 0"])
    until(page, lambda: sample.waiting == 1)
    sample.line.cuts = 1
    write(*range(1, 120))  # more than a page, in one moment
    write(1, owner="grace")
    write(120)
    expect(page.get_by_role("listitem")).to_have_text([f"ada {n}" for n in range(121)])
    assert sample.line.cuts == 0
    answer = page.request.get(f"{sample.url}{EVENTS}?channel=private-notes-grace")
    assert answer.status == 403


def test_rooms_only_members_get_in_and_names_are_the_servers(start, visit):
    sample = start("Socket.IO rooms")
    ada, grace = visit(sample, "/rooms/1", "ada"), visit(sample, "/rooms/1", "grace")
    for page in (ada, grace):
        expect(page.get_by_text("Ada, Grace", exact=True)).to_be_visible()
    ada.get_by_role("textbox").fill("Hello")
    expect(grace.get_by_role("status")).to_have_text("ada is typing")
    ada.get_by_role("textbox").press("Enter")
    for page in (ada, grace):
        expect(page.get_by_role("listitem")).to_have_text(["Ada: Hello"])
    expect(grace.get_by_role("status")).to_be_empty()
    expect(ada.get_by_role("textbox")).to_have_value("")

    messages = f"{sample.url}/rooms/1/messages"
    grace.request.post(messages, data={"from": "Ada", "text": "Not me"})
    expect(ada.get_by_role("listitem")).to_have_text(["Ada: Hello", "Grace: Not me"])

    mallory = visit(sample, "/rooms/1", "mallory")
    expect(mallory.get_by_text("You are not in this room (denied).")).to_be_visible()
    assert mallory.request.post(messages, data={"text": "Let me in"}).status == 403
    sample.call("put_out", "grace", 1)
    expect(grace.get_by_text("You are not in this room (denied).")).to_be_visible()
    expect(ada.get_by_text("Ada", exact=True)).to_be_visible()
    ada.evaluate("root.unmount()")
    until(ada, lambda: sample.rt("channels") == [])


def test_swr_an_error_is_no_data_and_what_has_not_changed_is_not_sent_again(start, visit):
    sample = start("SWR-style polling")
    page = visit(sample, "/", "ada")
    expect(page.locator("main")).to_have_attribute("data-live", "true")
    expect(page.get_by_text("0 orders")).to_be_visible()
    sample.call("ordered", "a book")
    expect(page.get_by_text("1 orders")).to_be_visible()
    sample.line.answers.clear()
    sample.rt("trigger", "private-stats", "changed", {})
    until(page, lambda: sample.line.statuses("GET /stats"))
    assert sample.line.statuses("GET /stats") == [304]

    sample.line.broken = {"GET /stats"}
    sample.call("ordered", "a pen")
    expect(page.get_by_role("alert")).to_have_text("Not up to date: answered 500")
    expect(page.get_by_text("1 orders")).to_be_visible()
    sample.line.broken = set()
    sample.call("ordered", "a cup")
    expect(page.get_by_text("3 orders")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)

    other = visit(sample, "/", "mallory")
    expect(other.get_by_role("alert")).to_have_text("Not up to date: answered 403")
    expect(other.locator("main")).to_have_attribute("data-live", "false")


def test_polling_nothing_is_lost_or_doubled_from_rendering_on(start, visit, window):
    sample = start("Manual polling")
    sample.call("post", "one")
    page = window().page

    def post_meanwhile(route: Route) -> None:
        sample.call("post", "two")  # after the page was made, before it asks for the first time
        route.continue_()

    page.route("**/realtime/config", post_meanwhile)
    page.goto(sample.url)
    expect(page.get_by_role("listitem")).to_have_text(["one", "two"])
    until(page, lambda: sample.waiting == 1)
    page.context.set_offline(True)
    page.wait_for_function("!navigator.onLine")
    many = [f"number {n}" for n in range(40)]
    for text in many:
        sample.call("post", text)
    page.context.set_offline(False)
    expect(page.get_by_role("listitem")).to_have_text(["one", "two", *many])
    late = visit(sample, "/")
    sample.call("post", "last")
    for each in (page, late):
        expect(each.get_by_role("listitem")).to_have_text(["one", "two", *many, "last"])


def test_action_what_is_refused_comes_back_with_the_reason_and_a_repetition_adds_nothing(
    start, visit, window
):
    sample = start("Optimistic server action")
    ada = visit(sample, "/", "ada")
    tab = sample.signed_in(window(ada.context).page, "ada")
    tab.goto(sample.url)
    until(ada, lambda: sample.subscriptions("private-todos-ada") == 2)
    held: list[Route] = []
    ada.route("**/todos", lambda route: held.append(route))

    def add(text: str) -> None:
        ada.get_by_role("textbox").fill(text)
        ada.get_by_role("textbox").press("Enter")
        until(ada, lambda: held)

    add("Milk")
    item = ada.get_by_role("listitem")
    expect(item).to_have_text(["Milk"])
    expect(item).to_have_attribute("aria-busy", "true")
    assert sample.sql("SELECT text FROM todos") == []
    lost = held.pop()
    assert lost.fetch().status == 201, "the application has it"
    lost.abort()  # and the page has no answer, but the event
    expect(item).to_have_attribute("aria-busy", "false")
    again = {"X-Mutation-Id": lost.request.headers["x-mutation-id"]}
    todos = f"{sample.url}/todos"
    assert ada.request.post(todos, headers=again, data={"text": "Milk"}).status == 201
    expect(tab.get_by_role("listitem")).to_have_text(["Milk"])

    ada.unroute("**/todos")
    ada.get_by_role("textbox").fill("   ")
    ada.get_by_role("textbox").press("Enter")
    expect(ada.get_by_role("alert")).to_have_text("Say what there is to do.")
    expect(ada.get_by_role("textbox")).to_have_value("   ")
    for page in (ada, tab):
        expect(page.get_by_role("listitem")).to_have_text(["Milk"])
    assert sample.sql("SELECT owner, text FROM todos") == [("ada", "Milk")]
    assert visit(sample, "/", "grace").request.get(todos).json() == []


def test_like_is_shown_at_once_counted_once_and_taken_back_with_the_reason(start, visit):
    sample = start("Like button")
    ada, grace = visit(sample, "/posts/7", "ada"), visit(sample, "/posts/7", "grace")
    for page in (ada, grace):
        page.wait_for_function("window.realtime.channels.get('post-7')?.state === 'subscribed'")
    held: list[Route] = []
    ada.route("**/like", lambda route: held.append(route))
    button = ada.get_by_role("button")
    button.click()
    expect(button).to_have_text("♥ 1")
    expect(grace.get_by_role("button")).to_have_text("♥ 0")
    until(ada, lambda: held)
    held.pop().continue_()
    for page in (ada, grace):
        expect(page.get_by_role("button")).to_have_text("♥ 1")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(grace.get_by_role("button")).to_have_attribute("aria-pressed", "false")
    like = f"{sample.url}/posts/7/like"
    assert ada.request.put(like).json()["count"] == 1, "a person likes once"

    grace.get_by_role("button").click()
    expect(grace.get_by_role("alert")).to_have_text("Not liked: This is your own post.")
    guest = visit(sample, "/posts/7")
    guest.get_by_role("button").click()
    expect(guest.get_by_role("alert")).to_have_text("Not liked: Sign in first.")
    sample.line.broken = {"GET /posts/7/likes"}
    late = visit(sample, "/posts/7")
    until(late, lambda: sample.line.statuses("GET /posts/7/likes")[-2:] == [500, 500])
    for page in (ada, grace, guest, late):
        expect(page.get_by_role("button")).to_have_text("♥ 1")
    assert sample.sql("SELECT post, user FROM likes") == [(7, "ada")]


def test_pusher_private_data_is_on_private_channels_alone(start, visit, bundle):
    sample = start("Pusher: server, trigger, subscribe")
    ada, grace, mallory = (visit(sample, "/", user) for user in ("ada", "grace", "mallory"))
    bundle("notices.js")
    with_pusher_js = visit(sample, "/static/empty.html", "ada")
    with_pusher_js.set_content('<ul id="notices" data-user="ada"></ul>')
    with_pusher_js.add_script_tag(url="/static/main.js", type="module")
    mallory.evaluate("""async () => {
      window.heard = [];
      window.denied = "";
      const open = window.realtime.subscribe("user-ada");
      open.on("*", (data, { event }) => window.heard.push(event));
      await open.ready();
      const closed = window.realtime.subscribe("private-user-ada");
      closed.on("*", (data, { event }) => window.heard.push(event));
      await closed.ready().catch(({ status }) => { window.denied = status; });
    }""")
    assert mallory.evaluate("window.denied") == 403
    until(ada, lambda: sample.subscriptions("private-user-ada") == 2)
    ship = f"{sample.url}/orders/42/ship"
    assert mallory.request.post(ship).status == 403
    assert grace.request.post(ship).status == 204
    for page in (ada, with_pusher_js):
        expect(page.get_by_role("listitem")).to_have_text(["Order 42 is on its way"])
    sample.rt("trigger", "user-ada", "marker", {})  # what comes last
    mallory.wait_for_function("window.heard.includes('marker')")
    assert set(mallory.evaluate("window.heard")) <= {"pusher:subscription_succeeded", "marker"}
    expect(grace.get_by_role("listitem")).to_have_count(0)
