"""All pages at once, on each provider: two people, and what happens to networks, servers and
sessions. `pair` has every page open for both of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from realtime_kit.demo.store import Store

pytestmark = pytest.mark.browser

Seen = Callable[[Any], None]
QUEUED = ("chat", "todos", "likes")  # where something can be done without a network
WATCH = """() => {
    window.fates = [];
    const see = (node) => node.className === "fate" && window.fates.push(node.textContent);
    new MutationObserver((changes) => changes.forEach((each) => each.addedNodes.forEach(see)))
        .observe(document.getElementById("messages"), { childList: true, subtree: true });
}"""
OTHER = {"local": "aws", "aws": "ably", "ably": "local"}
ASK = """async ([names, order]) => {
    const { client, config, seat } = JSON.parse(document.getElementById("page").textContent);
    const { connect } = await import(client);
    const mine = connect({ configUrl: config, headers: () => ({ "X-Seat": String(seat) }), order });
    const told = names.map((name) => mine.subscribe(name).ready()
        .then(() => "heard", ({ code, status }) => `${code} ${status}`));
    return Promise.all(told).finally(() => mine.close());
}"""


def act(doers: dict[str, Any], others: dict[str, Any], names: Any = None) -> dict[str, Seen]:
    """On each page at the same time."""
    return {name: doers[name].act(others[name]) for name in names or doers}


def saw(person: dict[str, Any], seen: dict[str, Seen]) -> None:
    for name, check in seen.items():
        check(person[name])


def test_what_one_does_the_other_sees_once(pair) -> None:
    for doer, other in ((pair.grace, pair.ada), (pair.ada, pair.grace)):
        seen = act(doer, other)
        saw(other, seen)
        saw(doer, seen)


def test_offline_and_online_again(pair) -> None:
    ada, grace = pair.ada, pair.grace
    ada["chat"].go_offline()
    theirs = act(grace, ada)
    hers = act(ada, grace, QUEUED)
    expect(ada["chat"].locator(".message.failed")).to_have_count(1)
    saw(ada, {name: hers[name] for name in ("todos", "likes")})
    ada["chat"].context.set_offline(False)
    pair.ready()
    for person in (ada, grace):
        saw(person, theirs)
        saw(person, hers)
    expect(ada["chat"].locator(".message.pending, .message.failed")).to_have_count(0)


def test_a_restart_with_another_provider_and_back(pair, provider) -> None:
    """Application and emulator, on the same ports; rows are written meanwhile."""
    ada, grace, demo = pair.ada, pair.grace, pair.demo
    for now in (OTHER[provider], provider):
        demo.stop()
        for place in pair.places:
            place.is_in("reconnecting")
        for place in ada.values():
            expect(place.notice).to_contain_text("Nothing arrives live")
        check = write_meanwhile(demo, ada, grace, now)
        demo.environ["REALTIME_PROVIDER"] = now
        demo.start()
        pair.ready()
        config = ada["chat"].page.request.get(f"{pair.base}/realtime/config").json()
        assert config["provider"] == now
        for place in pair.places:
            expect(place.notice).to_be_empty()
        check()
        seen = act(grace, ada)
        saw(ada, seen)


def write_meanwhile(demo: Any, ada: Any, grace: Any, mark: str) -> Callable[[], None]:
    """A message and two notes, by somebody else than the application."""
    store = Store(Path(demo.environ["DEMO_DB"]))
    author = store.find_person(grace["chat"].name)
    texts = [f"Before {mark}: {n}." for n in ("first", "second")]
    store.add_message(ada["chat"].room, author, texts[0], f"{mark} of {author.id}")
    for text in texts:
        store.notify("note", author, ada["chat"].handle, None, text)

    def check() -> None:
        ada["chat"].sees(texts[0])
        for text in texts:
            expect(ada["notifications"].notice_of(text)).to_have_count(1)

    return check


def test_a_slow_network(pair) -> None:
    """400 ms and 50 kB/s: what is sent says so until it is; a reconnection takes its time."""
    ada, grace = pair.ada, pair.grace
    ada["chat"].evaluate(WATCH)
    lines = [slow_down(place.page) for place in ada.values()]
    hers = act(ada, grace, QUEUED)
    saw(grace, hers)
    fates = lambda: ada["chat"].evaluate("fates")  # noqa: E731
    ada["chat"].until(lambda: fates() == ["Sending…", "Sent"], fates)
    expect(ada["likes"].locator(".like.pending")).to_have_count(0)
    ada["chat"].go_offline()
    theirs = act(grace, ada)
    ada["chat"].context.set_offline(False)
    for line in lines:
        limit(line)
    for place in ada.values():
        place.is_in("reconnecting")
    pair.ready()
    for person in (ada, grace):
        saw(person, hers)
        saw(person, theirs)
    for line in lines:
        line.send("Network.disable")
        line.detach()


def slow_down(page: Any) -> Any:
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    limit(line)
    return line


def limit(line: Any) -> None:
    speed = {"latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    line.send("Network.emulateNetworkConditions", {"offline": False, **speed})


def test_tabs_in_the_background(pair) -> None:
    """Not a line of their scripts runs, then all of it at once, then somebody looks again."""
    ada, grace = pair.ada, pair.grace
    socket_id = ada["chat"].locator("#socket-id").text_content()
    for place in ada.values():
        place.evaluate(SHOW, "hidden")
    page = ada["chat"].page
    line = page.context.new_cdp_session(page)  # the tabs of one profile have one process
    line.send("Debugger.enable")
    line.send("Debugger.pause")
    seen = act(grace, ada)
    line.send("Debugger.resume")
    line.detach()
    saw(ada, seen)
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    for place in ada.values():
        place.evaluate(SHOW, "visible")
    expect(page).not_to_have_title(re.compile(r"^\("))
    pair.ready()
    assert ada["chat"].locator("#socket-id").text_content() == socket_id


SHOW = """(state) => {
    for (const [name, value] of [["visibilityState", state], ["hidden", state === "hidden"]]) {
        Object.defineProperty(document, name, { configurable: true, get: () => value });
    }
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_what_is_not_for_one_is_denied(pair) -> None:
    """Somebody else's notifications, a private room, what no rule is for: on each transport."""
    ada, grace = pair.ada, pair.grace
    base, page = pair.base, ada["chat"].page
    token = page.locator("meta[name=csrf-token]").get_attribute("content")
    form = {"name": f"Board of {ada['chat'].name}", "private": "on", "csrf_token": token}
    room = page.request.post(f"{base}/u/0/rooms", form=form).url.rpartition("/")[2]
    names = [
        f"private-notifications-{ada['chat'].handle}",
        f"private-room-{room}",
        "private-unheard-of",
    ]
    for order in (None, ["sse"], ["poll"]):
        told = grace["likes"].evaluate(ASK, [names, order])
        assert (order, told) == (order, ["denied 403"] * 3)
    told = ada["likes"].evaluate(ASK, [names, None])
    assert told == ["heard", "heard", "denied 403"]


def test_a_session_that_ends_while_the_pages_are_open(pair) -> None:
    """They say so, ask no more, and go on when she has come in again. The likes are public: there
    it is said of the next one."""
    ada = pair.ada
    profile = ada["chat"].context
    asked: list[str] = []
    profile.clock.install()
    ada["chat"].go_offline()
    profile.clear_cookies()
    profile.on("request", lambda request: asked.append(urlsplit(request.url).path))
    profile.set_offline(False)
    for name in ada.keys() - {"likes"}:
        expect(ada[name].notice).to_contain_text("Nobody sits here any more.")
    for place in ada.values():
        place.page.clock.fast_forward("10:00")  # whatever waits to be asked again is asked now
    if ada["likes"].button(0).is_enabled():
        ada["likes"].button(0).click()
        expect(ada["likes"].post(0).locator(".fate")).to_contain_text("Reload it and try again")
    else:  # it had to ask for the counts
        expect(ada["likes"].notice).to_contain_text("Nobody sits here any more.")
    of_a_page = {path: times for path, times in Counter(asked).items() if "/u/" in path}
    assert max(of_a_page.values()) <= 3, of_a_page
    assert max(Counter(asked).values()) <= 3 * len(ada), asked
    ada["chat"].sit(pair.base, ada["chat"].name)
    for place in ada.values():
        place.reload()
    pair.ready()
    seen = act(pair.grace, ada)
    saw(ada, seen)
