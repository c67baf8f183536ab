"""Two people in two browsers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.demo.store import Store

pytestmark = pytest.mark.browser


def run_in_terminal(command: str, checkout) -> str:
    """As pasted from the page into a terminal in the folder in which the demo was started."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=checkout, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_talk_both_ways(two) -> None:
    ada, grace = two
    ada.say("Hello Grace")
    grace.sees("Hello Grace")
    grace.say("Hello Ada")
    ada.sees("Hello Ada")
    ada.sees("Hello Grace")
    assert ada.locator(".message.own").count() == 1
    expect(ada.locator(".message.pending, .message.failed")).to_have_count(0)


def test_history_is_there_after_a_reload(two) -> None:
    ada, grace = two
    ada.say("First")
    grace.sees("First")
    grace.say("Second")
    ada.sees("Second")
    ada.reload()
    ada.ready()
    assert ada.locator("#messages .words").all_text_contents() == ["First", "Second"]


def test_earlier_messages_come_when_one_scrolls_there(two, demo) -> None:
    ada, grace = two
    store = Store(Path(demo.environ["DEMO_DB"]))
    author = store.find_person(ada.name)
    room = urlsplit(ada.url).path.rpartition("/")[2]
    for number in range(56):
        store.add_message(room, author, f"Number {number}.", f"nonce-{number}")
    grace.reload()
    grace.ready()
    expect(grace.locator("#messages > li")).to_have_count(50)
    grace.locator("#log").evaluate("(log) => (log.scrollTop = 0)")
    expect(grace.locator("#messages > li")).to_have_count(56)
    assert grace.locator("#messages .words").first.text_content() == "Number 0."
    expect(grace.locator("#earlier")).to_be_hidden()


def test_presence_counts_people_not_windows(two, window, names) -> None:
    ada, grace = two
    second = window(ada.context)
    second.goto(ada.url)
    second.ready()
    expect(second.people).to_have_count(2)
    expect(ada.people).to_have_count(2)
    expect(grace.people).to_have_count(2)
    ada.close()
    expect(second.people).to_have_count(2)
    second.close()
    expect(grace.people).to_have_count(1)
    expect(grace.locator("#alone")).to_be_visible()


def test_both_windows_of_one_person_show_what_one_of_them_sends(two, window) -> None:
    ada, grace = two
    second = window(ada.context)
    second.goto(ada.url)
    second.ready()
    ada.say("From my first window")
    for each in (ada, second, grace):
        each.sees("From my first window")
    expect(second.locator(".message.own")).to_have_count(1)


def test_typing_shows_and_goes(two) -> None:
    ada, grace = two
    grace.box.press_sequentially("I am")
    expect(ada.typing).to_have_text(f"{grace.name} is typing")
    grace.box.fill("")
    expect(ada.typing).to_have_text("")
    grace.box.press_sequentially("I was")
    expect(ada.typing).to_have_text(f"{grace.name} is typing")
    grace.box.press("Enter")
    ada.sees("I was")
    expect(ada.typing).to_have_text("")


def test_typing_ends_when_the_window_goes(two) -> None:
    ada, grace = two
    grace.box.press_sequentially("I am")
    expect(ada.typing).to_have_text(f"{grace.name} is typing")
    grace.close()
    expect(ada.typing).to_have_text("")


def test_a_mention_rings_the_bell_in_another_room(two) -> None:
    ada, grace = two
    ada.enter("Lobby")
    grace.say(f"Where are you, @{ada.handle}?")
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    ada.bell.click()
    item = ada.locator("#notifications li")
    expect(item).to_contain_text(f"{grace.name} mentioned you")
    item.get_by_role("link").click()
    ada.ready()
    ada.sees(f"Where are you, @{ada.handle}?")
    expect(ada.bell).to_have_accessible_name("Notifications, none unread")


def test_a_wave_rings_in_all_windows_and_is_read_in_all(two, window) -> None:
    ada, grace = two
    second = window(ada.context)
    second.goto(ada.url)
    second.ready()
    for _ in range(2):
        grace.get_by_role("button", name=f"Wave at {ada.name}").click()
    for each in (ada, second):
        expect(each.bell).to_have_accessible_name("Notifications, 2 unread")
    second.bell.click()
    second.get_by_role("button", name="Mark all read").click()
    for each in (ada, second):
        expect(each.bell).to_have_accessible_name("Notifications, none unread")
    ada.reload()
    expect(ada.bell).to_have_accessible_name("Notifications, none unread")


def test_what_is_unread_elsewhere_is_counted(two, names) -> None:
    ada, grace = two
    ada.enter("Lobby")
    grace.say("One")
    grace.say("Two")
    room = ada.locator("#rooms li", has_text=names("Room"))
    expect(room.locator(".count")).to_have_text("2")
    expect(ada.page).to_have_title("(2) Lobby · realtime-kit")
    ada.enter(names("Room"))
    ada.sees("Two")
    ada.enter("Lobby")
    expect(room.locator(".count")).to_be_hidden()


def test_a_new_room_appears_at_once(two, names) -> None:
    ada, grace = two
    ada.create(names("Fresh"))
    grace.enter(names("Fresh"))
    expect(grace.get_by_text("Nothing said yet")).to_be_visible()


def test_somebody_else_in_the_same_browser(demo, window, names) -> None:
    ada = window().join(demo.urls["App"], names("Ada"))
    ada.create(names("Room"))
    with ada.context.expect_page() as opened:
        ada.locator("#people-panel").get_by_role("link", name="Chat as somebody else").click()
    grace = type(ada)(opened.value, names("Grace"))
    grace.get_by_label("Your name").fill(grace.name)
    grace.get_by_role("button", name="Come in").click()
    grace.ready().enter(names("Room"))
    expect(ada.people).to_have_count(2)
    grace.say("Same browser, other person")
    ada.sees("Same browser, other person")
    assert ada.locator(".message.own").count() == 0
    assert grace.errors == []


def test_a_private_room_opens_by_invitation_and_closes_by_removal(two, names) -> None:
    ada, grace = two
    room = names("Secret")
    ada.create(room, private=True)
    expect(grace.locator("#rooms", has_text=room)).to_have_count(0)
    answer = grace.goto(ada.url)
    assert answer.status == 403
    expect(grace.get_by_role("main")).to_contain_text(f"“{room}” is private")
    grace.go_back()
    grace.ready()
    denied = grace.evaluate(
        """async (name) => {
            const { connect } = await import("/realtime/client/realtime.js");
            const client = connect();
            return client.subscribe(name).ready().then(() => "joined", ({ code }) => code)
                .finally(() => client.close());
        }""",
        f"private-room-{room.lower().replace(' ', '-')}",
    )
    assert denied == "denied"
    ada.get_by_role("textbox", name="Invite").fill(grace.name)
    ada.get_by_role("button", name="Invite", exact=True).click()
    expect(grace.bell).to_have_accessible_name("Notifications, 1 unread")
    grace.enter(room)
    ada.say("Between us")
    grace.sees("Between us")
    ada.get_by_role("button", name=f"Remove {grace.name}").click()
    expect(grace.notice).to_contain_text("You are no longer a member")
    expect(grace.box).to_be_disabled()
    ada.say("She is gone")
    ada.sees("She is gone")
    expect(ada.people).to_have_count(1)
    expect(grace.words("She is gone")).to_have_count(0)


def test_markup_is_shown_as_it_was_written(demo, window, names) -> None:
    attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    base = demo.urls["App"]
    eve = window().join(base, names("<b>Eve</b>"))
    eve.create(names("<i>Room</i>"))
    ada = window().join(base, names("Ada")).enter(names("<i>Room</i>"))
    eve.say(attack)
    ada.sees(attack)
    expect(ada.locator("#messages .who b")).to_have_text(eve.name)
    eve.get_by_role("button", name=f"Wave at {ada.name}").click()
    ada.bell.click()
    expect(ada.locator("#notifications")).to_contain_text(f"{eve.name} waves at you")
    ada.reload()
    ada.ready().sees(attack)
    for each in (ada, eve):
        assert each.evaluate("window.hit") is None
        assert each.locator("#messages :is(img, script, i)").count() == 0


def test_a_link_is_a_link_and_nothing_else_is(two) -> None:
    ada, grace = two
    ada.say("See https://example.com/a?b=1, or javascript:alert(1).")
    link = grace.locator("#messages .words a")
    expect(link).to_have_attribute("href", "https://example.com/a?b=1")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


@pytest.mark.parametrize("command", ["trigger", "sdk"])
def test_the_suggested_command_reaches_the_open_page(two, checkout, command: str) -> None:
    ada = two[0]
    line = ada.locator(f"#command-{command}").text_content()
    run_in_terminal(line, checkout)
    words = {"trigger": "Hello from a terminal", "sdk": "Hello from the SDK"}[command]
    for each in two:
        each.sees(words)
        expect(each.locator(".message.foreign")).to_contain_text("not in the history")


def test_anything_triggered_by_hand_is_shown_and_breaks_nothing(two, demo) -> None:
    ada, _grace = two
    port = urlsplit(demo.urls["HTTP API"]).port
    realtime = Realtime(settings=RealtimeSettings(port=port))
    room = urlsplit(ada.url).path.rpartition("/")[2]
    for data in ("only a text", {"text": "<u>named</u>", "author": "Deploy"}, [1, 2], None):
        realtime.trigger(f"private-room-{room}", "message", data)
    for words in ("only a text", "<u>named</u>", "[1,2]", "null"):
        ada.sees(words)
    for data in ({"text": "ring"}, {"kind": "constructor"}, "plain", None):
        realtime.send_to_user(ada.handle, "notification", data)
    expect(ada.bell).to_have_accessible_name("Notifications, 4 unread")
    for data in ({"kind": "invitation", "sender": {"id": "x", "name": "x"}}, {"kind": "wave"}):
        realtime.send_to_user(ada.handle, "notification", data)
    realtime.trigger("rooms", "created", {"id": 7})
    realtime.trigger(f"presence-room-{room}", "client-typing", None)
    realtime.trigger(f"private-room-{room}", "members", None)
    realtime.trigger(f"private-room-{room}", "message", {"text": "still alive"})
    ada.sees("still alive")
    expect(ada.bell).to_have_accessible_name("Notifications, 6 unread")
    realtime.close()


def test_copying_a_command(demo, window, context, names) -> None:
    profile = context(permissions=["clipboard-read", "clipboard-write"])
    ada = window(profile).join(demo.urls["App"], names("Ada"))
    ada.locator("[data-copy=command-trigger]").click()
    expect(ada.locator("#announce")).to_have_text("Copied")
    copied = ada.evaluate("navigator.clipboard.readText()")
    assert copied == ada.locator("#command-trigger").text_content()
