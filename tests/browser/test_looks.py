"""For eyes, fingers, keys and screen readers: contrast, widths, colours, a way without a mouse."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

SIZES = {"desktop": (1320, 860), "tablet": (834, 1112), "phone": (390, 844), "small": (320, 568)}


@pytest.fixture
def lively(two):
    """A window in which there is something of everything."""
    ada, grace = two
    grace.say("A word from Grace, with a link: https://example.com, and @nobody")
    expect(ada.locator("#messages")).to_contain_text("with a link: https://example.com, and")
    grace.say(f"@{ada.handle} look")
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    ada.say("W" * 200)
    grace.sees("W" * 200)
    ada.page.route("**/messages", lambda route: route.abort())
    ada.say("Not sent")
    expect(ada.locator(".message.failed")).to_have_count(1)
    grace.box.press_sequentially("more")
    expect(ada.typing).not_to_be_empty()
    return ada


def test_axe_finds_nothing_in_the_chat(lively, violations) -> None:
    ada = lively
    for scheme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=scheme)
        assert violations(ada.page) == []
        for opener, panel in (
            (ada.bell, "#bell-panel"),
            (ada.locator(".me"), "#me-panel"),
            (ada.locator("#new-room"), "#new-room-panel"),
        ):
            opener.click()
            expect(ada.locator(panel)).to_be_visible()
            assert violations(ada.page) == []
            ada.page.keyboard.press("Escape")
            expect(ada.locator(panel)).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_pages_around_it(demo, window, violations, scheme: str) -> None:
    page = window(color_scheme=scheme).page
    page.goto(demo.urls["App"])
    assert violations(page) == []
    page.get_by_label("Your name").fill("---")
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_role("alert")).to_contain_text("at least one letter")
    expect(page.get_by_label("Your name")).to_have_value("---")
    assert violations(page) == []
    page.goto(f"{demo.urls['App']}/nowhere")
    assert violations(page) == []


def test_nothing_is_cut_off_at_any_width(lively) -> None:
    ada = lively
    for name, (width, height) in SIZES.items():
        ada.page.set_viewport_size({"width": width, "height": height})
        for selector in ("#state", "#bell", ".me", "#text", ".send", "h1"):
            box = ada.locator(selector).first.bounding_box()
            assert box, (name, selector)
            assert box["x"] >= 0, (name, selector)
            assert box["x"] + box["width"] <= width, (name, selector)
            assert box["y"] + box["height"] <= height, (name, selector)
        assert ada.evaluate("document.documentElement.scrollWidth") <= width
        overflowing = ada.evaluate(
            """() => [...document.querySelectorAll("#log, #log *")]
                .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 2)
                .filter((node) => getComputedStyle(node).display !== "inline")
                .map((node) => node.className)"""
        )
        assert (name, overflowing) == (name, [])


def test_on_a_phone_rooms_and_people_are_drawers(lively, names) -> None:
    ada = lively
    ada.page.set_viewport_size({"width": 390, "height": 844})
    rooms, people = ada.locator("#rooms-panel"), ada.locator("#people-panel")
    expect(rooms).to_be_hidden()
    expect(people).to_be_hidden()
    ada.get_by_role("button", name="People").click()
    expect(people).to_be_visible()
    grace = names("Grace")
    people.get_by_role("button", name=f"Mention {grace}").click()
    expect(people).to_be_hidden()
    expect(ada.box).to_be_focused()
    expect(ada.box).to_have_value(f"@{grace.lower().replace(' ', '-')} ")
    ada.get_by_role("button", name="Rooms").click()
    rooms.get_by_role("link", name="Lobby").click()
    expect(ada.page.get_by_role("heading", level=1)).to_have_text("Lobby")


def test_the_colours_can_be_chosen_and_stay_chosen(demo, window) -> None:
    page = window(color_scheme="light").page
    page.goto(demo.urls["App"])
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    toggle = page.locator("[data-theme-toggle]")
    expect(toggle).to_have_accessible_name("Colours: as the system")
    toggle.click()
    expect(toggle).to_have_accessible_name("Colours: light")
    toggle.click()
    expect(toggle).to_have_accessible_name("Colours: dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    toggle.click()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == dark


def focused(page: Page) -> str:
    """What has the focus, by its name; it must be seen to have it."""
    outline = page.evaluate(
        "(({outlineStyle, outlineWidth}) => `${outlineStyle} ${outlineWidth}`)"
        "(getComputedStyle(document.activeElement))"
    )
    assert outline == "solid 2px"
    return page.evaluate(
        """() => {
            const { activeElement: { id, textContent, ariaLabel } } = document;
            return ariaLabel ?? (id || textContent.trim());
        }"""
    )


def test_all_of_it_without_a_mouse(demo, window, names) -> None:
    ada = window()
    page, keys = ada.page, ada.page.keyboard
    page.goto(demo.urls["App"])
    keys.type(names("Ada"))
    keys.press("Enter")
    ada.ready()
    assert focused(page) == "text"
    keys.type("Typed")
    keys.press("Shift+Enter")
    keys.type("in two lines")
    keys.press("Enter")
    ada.sees("Typed\nin two lines")
    page.reload()
    ada.ready()
    passed = []
    while "Skip to writing" not in passed:
        keys.press("Shift+Tab")
        passed.append(focused(page))
        assert len(passed) < 60, passed
    expect(ada.locator(".skip")).to_be_in_viewport()
    keys.press("Enter")
    assert focused(page) == "text"
    page.locator(".skip").focus()
    passed = []
    while "New room" not in passed:
        keys.press("Tab")
        passed.append(focused(page))
        assert len(passed) < 17, passed
    assert passed[:2] == ["realtime-kit", "Chat"]
    assert passed[-4:-2] == ["Notifications, none unread", "Colours: as the system"]
    keys.press("Enter")
    assert focused(page) == "room-name"
    keys.press("Escape")
    assert focused(page) == "New room"
    keys.press("Enter")
    keys.type(names("Keys"))
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(names("Keys"))
    ada.ready()
    ada.bell.focus()
    keys.press("Enter")
    expect(ada.locator("#bell-panel")).to_be_visible()
    keys.press("Escape")
    expect(ada.locator("#bell-panel")).to_be_hidden()
    assert focused(page) == "Notifications, none unread"


def test_a_screen_reader_hears_of_it(lively) -> None:
    ada = lively
    expect(ada.page.get_by_role("log")).to_have_accessible_name(
        "Messages in " + ada.locator("h1").text_content().strip()
    )
    expect(ada.locator("#typing")).to_have_attribute("aria-live", "polite")
    expect(ada.state).to_have_attribute("role", "status")
    expect(ada.locator("#announce")).to_contain_text("mentioned you")
