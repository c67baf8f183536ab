"""The demo on Ably: the emulator that `realtime-kit demo` starts, and ably-js in the page."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

KEY = "mine00.key:not-published"
ASK = """async (room) => {
  const { config, client } = JSON.parse(document.getElementById("page").textContent);
  const { connect } = await import(client);
  const mine = connect({ configUrl: config, headers: () => ({ "X-Seat": "0" }) });
  const channel = mine.subscribe(`private-room-${room}`);
  const told = await channel.ready().then(() => null, (error) => error);
  mine.close();
  return told && [told.code, told.status];
}"""


@pytest.fixture
def demo(house):
    """`realtime-kit demo` on Ably, the emulator within."""
    pytest.importorskip("ably")
    return house("ably")


def test_two_people_chat_see_each_other_and_each_other_s_typing(two) -> None:
    ada, grace = two
    expect(ada.locator(".facts")).to_contain_text("ably")
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    panel = ada.locator("#people-panel").bounding_box()
    assert panel
    assert panel["x"] + panel["width"] <= ada.page.viewport_size["width"]
    ada.say("Hello Grace")
    grace.sees("Hello Grace")
    grace.box.press_sequentially(f"Hello @{ada.handle}")
    expect(ada.typing).to_have_text(f"{grace.name} is typing")
    grace.box.press("Enter")
    ada.sees(f"Hello @{ada.handle}")
    expect(ada.typing).to_be_empty()
    expect(ada.bell).to_have_accessible_name("Notifications, 1 unread")
    ada.reload()
    ada.ready().sees("Hello Grace")
    expect(ada.people).to_have_count(2)
    assert ada.locator("#messages .words").all_text_contents() == [
        "Hello Grace",
        f"Hello @{ada.handle}",
    ]


def test_a_message_comes_once_to_all_windows_but_the_one_that_wrote_it(two, window) -> None:
    ada, grace = two
    second = window(ada.context)
    second.goto(ada.url)
    second.ready()
    expect(grace.people).to_have_count(2)
    ada.say("Only once")
    for each in (ada, second, grace):
        each.sees("Only once")
    second.close()
    expect(grace.people).to_have_count(2)
    grace.say("Still there?")
    ada.sees("Still there?")


def test_a_page_without_ably_js_says_so_and_gets_it_later(demo, window) -> None:
    ada = window()
    ada.sit(demo.urls["App"], "Ada Late")
    ada.page.route("**/ably.min.js", lambda route: route.abort())
    ada.page.goto(f"{demo.urls['App']}/chat")
    expect(ada.state).to_have_attribute("title", re.compile(r"ably\.min\.js does not load"))
    expect(ada.state).to_have_attribute("data-state", "connected")  # by stream
    expect(ada.people).to_have_count(0)
    ada.page.unroute("**/ably.min.js")
    ada.page.evaluate("dispatchEvent(new Event('online'))")  # or else in some seconds
    expect(ada.locator("#socket-id")).to_have_text(re.compile("^eyJ"))  # Ably's
    ada.ready()  # nobody is present by stream
    ada.say("By Ably")
    ada.sees("By Ably")
    expect(ada.notice).to_be_empty()


def test_what_the_page_suggests_for_a_terminal_reaches_it(two, checkout) -> None:
    ada, _grace = two
    command = ada.locator("#command-trigger").text_content()
    done = subprocess.run(
        ["bash", "-c", command], cwd=checkout, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    ada.sees("Hello from a terminal")


def test_a_private_room_is_denied_to_others_and_to_who_was_put_out_of_it(two) -> None:
    ada, grace = two
    ada.create(f"Board {ada.handle}", private=True)
    room = urlsplit(ada.url).path.rpartition("/")[2]
    assert ada.page.evaluate(ASK, room) is None
    assert grace.page.evaluate(ASK, room) == ["denied", 403]
    ada.locator("#invite input").fill(grace.name)
    ada.locator("#invite button").click()
    expect(grace.bell).to_have_accessible_name("Notifications, 1 unread")
    grace.enter(f"Board {ada.handle}")
    expect(ada.people).to_have_count(2)
    ada.get_by_role("button", name=f"Remove {grace.name}").click()
    expect(grace.notice).to_contain_text("no longer a member")
    ada.say("In private")
    ada.sees("In private")
    expect(grace.words("In private")).to_have_count(0)


def test_a_restart_of_ably_is_shown_and_nothing_is_missed(
    run, free_port, tmp_path: Path, meet
) -> None:
    """The emulator on its own, which forgets everything when it is ended."""
    port = str(free_port())
    emulator = run("emulate", "ably", "--port", port, "--key", KEY)
    settings = {
        "REALTIME_PROVIDER": "ably",
        "REALTIME_ABLY__KEY": KEY,
        "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
        "REALTIME_ABLY__PORT": port,
        "REALTIME_ABLY__TLS": "false",
        "REALTIME_ABLY__SCRIPT": f"{emulator.urls['REST']}/ably.min.js",
    }
    demo = run("demo", DEMO_DB=str(tmp_path / "demo.sqlite3"), PORT="0", **settings)
    both = ada, grace = meet(demo.urls["App"])
    emulator.stop()
    for each in both:
        expect(each.state).to_have_attribute("data-state", "reconnecting")
    grace.say("While it was away")
    grace.sees("While it was away")
    emulator.start()
    for each in both:
        expect(each.state).to_have_attribute("data-state", "connected")
    ada.sees("While it was away")
    for each in both:
        expect(each.people).to_have_count(2)
    ada.say("Back again")
    grace.sees("Back again")
    assert KEY.partition(":")[2] not in ada.page.content()
