"""The pages beside the chat, each by what it alone does. What all do is in `pages/`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

WORDS = {
    "notifications": "Notifications",
    "dashboard": "Dashboard",
    "todos": "Todos",
    "likes": "Likes",
}
CONNECTED = re.compile("^connected$")


def connected(*windows) -> None:
    for each in windows:
        expect(each.state).to_have_attribute("data-state", CONNECTED)


@pytest.fixture
def visit(window, names) -> Callable[..., tuple]:
    """`visit(base, "likes")`: Ada and Grace, each in a profile of her own, on that page."""

    def visit(base: str, page: str) -> tuple:
        both = window(), window()
        for each, name in zip(both, ("Ada", "Grace"), strict=True):
            each.sit(base, names(name))
            each.page.goto(f"{base}/{page}")
        connected(*both)
        return both

    return visit


@pytest.fixture
def likes(visit, demo):
    return visit(demo.urls["App"], "likes")


@pytest.fixture
def todos(visit, demo):
    return visit(demo.urls["App"], "todos")


@pytest.fixture
def notes(visit, demo):
    return visit(demo.urls["App"], "notifications")


def refuse(**answer) -> Callable[..., None]:
    return lambda route: route.fulfill(**answer)


def post(window, number: int) -> Locator:
    return window.locator(".post").nth(number)


def count(window, number: int) -> int:
    return int(post(window, number).locator(".likes").text_content())


def shows(window, number: int, likes: int, *, mine: bool) -> None:
    expect(post(window, number).locator(".likes")).to_have_text(str(likes))
    pressed = "true" if mine else "false"
    expect(post(window, number).locator(".like")).to_have_attribute("aria-pressed", pressed)


def lines(window) -> Locator:
    return window.locator("#todos li")


def add(window, text: str) -> None:
    box = window.get_by_label("What is to be done?")
    box.fill(text)
    box.press("Enter")
    expect(lines(window).filter(has_text=text)).to_have_count(1)


def write(window, to, text: str) -> None:
    """A note, by the list of people: it is as old as the page."""
    window.reload()
    connected(window)
    window.get_by_label("Write somebody a note").select_option(to.handle)
    window.get_by_label("Text of the note").fill(text)
    window.get_by_role("button", name="Write").click()
    expect(window.get_by_label("Text of the note")).to_have_value("")


def notice(window, text: str) -> Locator:
    return window.locator("#notifications li").filter(has_text=text)


# --- likes ----------------------------------------------------------------------------------


def test_a_like_counts_for_both_and_is_taken_back_by_its_owner_alone(likes) -> None:
    ada, grace = likes
    before = count(ada, 0)
    post(ada, 0).locator(".like").click()
    shows(ada, 0, before + 1, mine=True)
    shows(grace, 0, before + 1, mine=False)
    post(grace, 0).locator(".like").click()
    shows(ada, 0, before + 2, mine=True)
    post(ada, 0).locator(".like").click()
    shows(grace, 0, before + 1, mine=True)
    shows(ada, 0, before + 1, mine=False)
    ada.reload()
    shows(ada, 0, before + 1, mine=False)


def test_a_like_is_shown_before_the_answer(likes) -> None:
    ada, grace = likes
    before = count(ada, 1)
    held = []
    ada.page.route("**/likes/*", lambda route: held.append(route))
    post(ada, 1).locator(".like").click()
    shows(ada, 1, before + 1, mine=True)
    expect(post(ada, 1).locator(".like")).to_have_class(re.compile("pending"))
    shows(grace, 1, before, mine=False)
    held[0].continue_()
    shows(grace, 1, before + 1, mine=False)
    expect(post(ada, 1).locator(".like")).not_to_have_class(re.compile("pending"))
    shows(ada, 1, before + 1, mine=True)


def test_a_like_that_the_server_refuses_is_taken_back_with_the_reason(likes) -> None:
    ada, _grace = likes
    before = count(ada, 2)
    fate = post(ada, 2).locator(".fate")
    for status in (403, 500):
        refusal = {"status": status, "json": {"error": f"Not this one: {status}."}}
        ada.page.route("**/likes/*", refuse(**refusal))
        post(ada, 2).locator(".like").click()
        expect(fate).to_have_text(f"Taken back. Not this one: {status}.")
        shows(ada, 2, before, mine=False)
        ada.page.unroute("**/likes/*")
    ada.get_by_text("with a refusal").click()
    post(ada, 2).locator(".like").click()
    expect(fate).to_contain_text("Refused, as you asked for")
    ada.reload()
    shows(ada, 2, before, mine=False)


def test_likes_made_offline_are_sent_once_afterwards(likes) -> None:
    ada, grace = likes
    before = count(ada, 0), count(ada, 1)
    ada.go_offline()
    post(ada, 0).locator(".like").click()
    shows(ada, 0, before[0] + 1, mine=True)
    expect(post(ada, 0).locator(".fate")).to_have_text("Waits for the network")
    post(grace, 1).locator(".like").click()
    shows(grace, 1, before[1] + 1, mine=True)
    ada.context.set_offline(False)
    connected(ada)
    shows(grace, 0, before[0] + 1, mine=False)
    shows(ada, 1, before[1] + 1, mine=False)
    expect(post(ada, 0).locator(".fate")).to_have_text("")
    shows(ada, 0, before[0] + 1, mine=True)


# --- todos ----------------------------------------------------------------------------------


def test_a_list_for_two(todos) -> None:
    ada, grace = todos
    add(ada, f"Plants of {ada.name}")
    line = lines(grace).filter(has_text=f"Plants of {ada.name}")
    line.get_by_role("checkbox").check()
    mine = lines(ada).filter(has_text=f"Plants of {ada.name}")
    expect(mine.get_by_role("checkbox")).to_be_checked()
    mine.get_by_role("button", name="Remove").click()
    expect(line).to_have_count(0)
    ada.reload()
    expect(mine).to_have_count(0)


def test_a_refused_line_is_taken_back(todos) -> None:
    ada, grace = todos
    ada.get_by_text("with a refusal").click()
    text = f"Never of {ada.name}"
    box = ada.get_by_label("What is to be done?")
    box.fill(text)
    box.press("Enter")
    expect(ada.locator("#fate")).to_contain_text("Refused, as you asked for")
    expect(lines(ada).filter(has_text=text)).to_have_count(0)
    assert lines(grace).filter(has_text=text).count() == 0


def test_what_is_done_offline_outlives_a_reload_and_is_sent_in_order(todos) -> None:
    ada, grace = todos
    ada.go_offline()
    text = f"Written offline by {ada.name}"
    add(ada, text)
    expect(lines(ada).filter(has_text=text)).to_contain_text("waits")
    lines(ada).filter(has_text=text).get_by_role("checkbox").check()
    other = f"Meanwhile by {grace.name}"
    add(grace, other)
    ada.context.set_offline(False)
    ada.reload()
    connected(ada)
    for each in (ada, grace):
        expect(lines(each).filter(has_text=text).get_by_role("checkbox")).to_be_checked()
        expect(lines(each).filter(has_text=other)).to_have_count(1)
        expect(each.locator(".todo-fate:not(:empty)")).to_have_count(0)


def test_who_left_in_another_tab_may_not_hear_the_list_any_more(todos, window) -> None:
    ada, grace = todos
    second = window(ada.context)
    second.goto(ada.url)
    connected(second)
    second.get_by_role("button", name=f"{ada.name}: your menu").click()
    second.get_by_role("button", name="Leave").click()
    expect(second.get_by_label("Your name")).to_be_visible()
    second.close()
    ada.go_offline()
    ada.context.set_offline(False)
    expect(ada.notice).to_contain_text("Nobody sits here any more")
    add(grace, f"In private of {grace.name}")
    assert lines(ada).filter(has_text=f"In private of {grace.name}").count() == 0


# --- notifications --------------------------------------------------------------------------


def test_a_note_rings_in_all_tabs_and_is_read_in_all(notes, window) -> None:
    ada, grace = notes
    second = window(ada.context)
    second.goto(ada.url)
    connected(second)
    write(grace, ada, "Bring bread")
    for each in (ada, second):
        expect(notice(each, "Bring bread")).to_be_visible()
        expect(each.bell).to_have_accessible_name("Notifications, 1 unread")
    second.get_by_role("button", name="Mark all read").click()
    for each in (ada, second):
        expect(each.bell).to_have_accessible_name("Notifications, none unread")
    assert notice(grace, "Bring bread").count() == 0


def test_the_bell_of_other_pages_counts_too(notes, demo) -> None:
    ada, grace = notes
    ada.goto(f"{demo.urls['App']}/likes")
    connected(ada)
    expect(ada.bell).to_have_accessible_name("Notifications, none unread")
    # The connection is signed in a moment after it is there.
    ada.page.wait_for_function(
        "performance.getEntriesByType('resource').some(({name}) => name.includes('user-auth'))"
    )
    write(grace, ada, "Come over")
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    ada.bell.click()
    expect(notice(ada, "Come over")).to_be_visible()


def test_somebody_else_s_notifications_are_denied(notes) -> None:
    ada, grace = notes
    told = grace.page.evaluate(
        """async (name) => {
            const page = JSON.parse(document.getElementById("page").textContent);
            const { client, config, seat } = page;
            const { connect } = await import(client);
            const options = { configUrl: config, headers: () => ({ "X-Seat": String(seat) }) };
            const ask = async (more) => {
                const mine = connect({ ...options, ...more });
                const channel = mine.subscribe(name);
                const told = await channel.ready().then(() => "heard", ({ code }) => code);
                mine.close();
                return told;
            };
            return [await ask({}), await ask({ order: ["sse"] }), await ask({ order: ["poll"] })];
        }""",
        f"private-notifications-{ada.handle}",
    )
    assert told == ["denied"] * 3


# --- dashboard ------------------------------------------------------------------------------


def number(window, id: str) -> int:
    return int(window.locator(f"#{id}").text_content())


def test_orders_by_socket_and_by_polling_and_none_is_lost_or_counted_twice(visit, demo) -> None:
    ada, grace = visit(demo.urls["App"], "dashboard")
    place = grace.get_by_role("button", name="Place an order")
    expect(ada.locator("#socket-requests")).to_have_text("1")
    place.click()
    expect(ada.locator("#socket-seen")).to_have_text("1")
    expect(ada.locator("#socket-delay")).to_contain_text("ms")
    ada.get_by_text("polling, every 2 s").click()
    expect(ada.locator("#polling-requests")).not_to_have_text("0")
    for _ in range(3):
        place.click()
    expect(ada.locator("#polling-seen")).to_have_text("3")
    assert number(ada, "socket-seen") == 1
    ada.get_by_text("socket", exact=True).click()
    place.click()
    expect(ada.locator("#socket-seen")).to_have_text("2")
    requests = number(ada, "polling-requests")
    expect(grace.locator("#socket-seen")).to_have_text("5")
    assert number(grace, "socket-requests") == 1
    assert number(ada, "orders") == number(grace, "orders") >= 5
    label = re.compile("orders in the last minute")
    expect(ada.page.get_by_role("img", name=label)).to_be_visible()
    assert number(ada, "polling-requests") == requests


def test_notifications_need_no_provider(house, visit) -> None:
    ada, grace = visit(house("log").urls["App"], "notifications")
    write(grace, ada, "Without any provider")
    expect(notice(ada, "Without any provider")).to_be_visible()


# --- looks ----------------------------------------------------------------------------------


def test_the_first_page_says_what_it_is_and_leads_everywhere(demo, window, names) -> None:
    ada = window()
    ada.goto(demo.urls["App"])
    expect(ada.get_by_role("main")).to_contain_text("here it is local")
    for word in ("Chat", *WORDS.values()):
        expect(ada.get_by_role("main").get_by_role("link", name=re.compile(word))).to_be_visible()
    ada.get_by_role("main").get_by_role("link", name=re.compile("Likes")).click()
    ada.get_by_label("Your name").fill(names("Ada"))
    ada.get_by_role("button", name="Come in").click()
    expect(ada.get_by_role("heading", level=1)).to_have_text("Likes")
    for word in WORDS.values():
        ada.get_by_role("navigation", name="Pages").get_by_role("link", name=word).click()
        expect(ada.get_by_role("heading", level=1)).to_have_text(word)
    ada.get_by_role("navigation", name="Pages").get_by_role("link", name="Chat").click()
    ada.name = names("Ada")
    ada.ready()
    ada.get_by_role("button", name="How it works").click()
    expect(ada.locator("#how-panel")).to_contain_text("rt.trigger(live.messages_of(found.id)")
    ada.page.keyboard.press("Escape")
    ada.get_by_role("link", name="realtime-kit").click()
    expect(ada.get_by_role("main")).to_contain_text(f"You are {names('Ada')}")


@pytest.mark.parametrize("name", WORDS)
def test_axe_finds_nothing_and_nothing_is_too_wide(
    demo, window, names, violations, name: str
) -> None:
    ada = window()
    base = demo.urls["App"]
    ada.sit(base, names("Ada"))
    ada.goto(f"{base}/{name}")
    connected(ada)
    if name == "todos":
        add(ada, "W" * 100)
    elif name == "likes":
        ada.get_by_text("with a refusal").click()
        post(ada, 0).locator(".like").click()
        expect(post(ada, 0).locator(".fate")).to_contain_text("Taken back")
        post(ada, 1).locator(".like").focus()
    for width in (1320, 834, 390, 320):
        ada.page.set_viewport_size({"width": width, "height": 800})
        assert ada.evaluate("document.documentElement.scrollWidth") <= width
        wide = ada.evaluate(
            """() => [...document.querySelectorAll(".page *, .top *")]
                .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
                .map((node) => node.outerHTML.slice(0, 80))"""
        )
        assert (width, wide) == (width, [])
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)
        assert violations(ada.page) == []


def test_without_a_mouse(todos) -> None:
    ada, grace = todos
    keys = ada.page.keyboard
    text = f"Keys of {ada.name}"
    ada.get_by_label("What is to be done?").focus()
    keys.type(text)
    keys.press("Enter")
    line = lines(grace).filter(has_text=text)
    expect(line).to_have_count(1)
    lines(ada).filter(has_text=text).get_by_role("checkbox").focus()
    keys.press("Space")
    expect(line.get_by_role("checkbox")).to_be_checked()
    keys.press("Tab")
    expect(ada.page.get_by_role("button", name=f"Remove: {text}")).to_be_focused()
    keys.press("Enter")
    expect(line).to_have_count(0)
    assert ada.evaluate("document.activeElement.tagName") == "INPUT"
