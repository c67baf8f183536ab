"""The demo's pages, each by what a person does there and what others see of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

PATIENCE_S = 20
_acts = count(1)
Seen = Callable[[Any], None]


class Place:
    """One page in a window. `act` is what it is for: it returns what each page is to show then,
    once. `number` is the person's: what two do at the same time does not meet."""

    path: ClassVar[str]

    def __init__(self, window: Any, number: int = 0) -> None:
        self.window = window
        self.number = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self.window, name)

    def ready(self) -> None:
        self.window.is_in("connected")

    def act(self, other: Any) -> Seen:
        raise NotImplementedError

    def until(self, condition: Callable[[], bool], what: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, what()
            self.page.wait_for_timeout(20)


class Chat(Place):
    path = "chat"

    def ready(self) -> None:
        self.window.ready()

    def act(self, other: Any) -> Seen:
        text = f"Message {next(_acts)}"
        self.say(text)
        return lambda each: each.sees(text)

    @property
    def room(self) -> str:
        return urlsplit(self.page.url).path.rpartition("/")[2]


class Notifications(Place):
    path = "notifications"

    def act(self, other: Any) -> Seen:
        text = f"Note {next(_acts)}."
        self.write(other, text)
        to = other.handle
        return lambda each: expect(each.notice_of(text)).to_have_count(int(each.handle == to))

    def write(self, to: Any, text: str) -> None:
        """By the list of people, which is as old as the page."""
        if self.locator(f"#note-to option[value={to.handle}]").count() == 0:
            self.reload()
            self.ready()
        self.get_by_label("Write somebody a note").select_option(to.handle)
        self.get_by_label("Text of the note").fill(text)
        self.get_by_role("button", name="Write").click()
        expect(self.get_by_label("Text of the note")).to_have_value("")

    def notice_of(self, text: str) -> Locator:
        return self.locator("#notifications li").filter(has_text=text)


class Dashboard(Place):
    path = "dashboard"

    def act(self, other: Any) -> Seen:
        heard = self.figure("socket-seen")
        self.place()
        self.until(lambda: self.figure("socket-seen") > heard, lambda: "the order is not heard of")
        return lambda each: each.until(
            lambda: 0 < each.figure("orders") == self.figure("orders"),
            lambda: (each.figure("orders"), self.figure("orders")),
        )

    def place(self) -> None:
        self.get_by_role("button", name="Place an order").click()

    def figure(self, id: str) -> int:
        return int(self.locator(f"#{id}").text_content())


class Todos(Place):
    path = "todos"

    def act(self, other: Any) -> Seen:
        text = f"Line {next(_acts)}."
        self.add(text)
        return lambda each: expect(each.line(text)).to_have_count(1)

    def add(self, text: str) -> None:
        box = self.get_by_label("What is to be done?")
        box.fill(text)
        box.press("Enter")
        expect(self.line(text)).to_have_count(1)

    def line(self, text: str) -> Locator:
        return self.locator("#todos li").filter(has_text=text)


class Likes(Place):
    path = "likes"

    def act(self, other: Any) -> Seen:
        before = self.count(self.number)
        is_mine = self.button(self.number).get_attribute("aria-pressed") == "true"
        self.button(self.number).click()
        after = before - 1 if is_mine else before + 1
        number = self.number
        return lambda each: expect(each.post(number).locator(".likes")).to_have_text(str(after))

    def post(self, number: int) -> Locator:
        return self.locator(".post").nth(number)

    def button(self, number: int) -> Locator:
        return self.post(number).locator(".like")

    def count(self, number: int) -> int:
        return int(self.post(number).locator(".likes").text_content() or 0)

    def shows(self, number: int, likes: int, *, mine: bool) -> None:
        expect(self.post(number).locator(".likes")).to_have_text(str(likes))
        expect(self.button(number)).to_have_attribute("aria-pressed", "true" if mine else "false")


PLACES: dict[str, type[Place]] = {
    place.path: place for place in (Chat, Notifications, Dashboard, Todos, Likes)
}


@pytest.fixture
def visit(window, names) -> Callable[..., tuple[Any, Any]]:
    """`visit(base, "likes")`: Ada and Grace, each in a profile of her own, on that page."""

    def visit(base: str, page: str) -> tuple[Any, Any]:
        both = [PLACES[page](window(), number) for number in range(2)]
        for each, name in zip(both, ("Ada", "Grace"), strict=True):
            each.sit(base, names(name))
        for each in both:
            each.goto(f"{base}/{page}", wait_until="commit")
        for each in both:
            each.ready()
        return both[0], both[1]

    return visit


@pytest.fixture
def again(window) -> Callable[[Any], Any]:
    """`again(ada)`: a second window of hers, at the same place."""

    def again(first: Any) -> Any:
        second = type(first)(window(first.context), first.number)
        second.window.name = first.window.name
        second.goto(first.url)
        second.ready()
        return second

    return again


class Pair:
    """Ada and Grace in the house, each with all of its pages open: `ada["likes"]`."""

    def __init__(self, demo: Any, profile: Any, window_in: Any, number: int) -> None:
        self.demo = demo
        self._profiles: list[BrowserContext] = [profile(), profile()]
        self.ada, self.grace = (
            {name: place(window_in(one), at) for name, place in PLACES.items()}
            for at, one in enumerate(self._profiles)
        )
        token = self.ada["chat"].sit(self.base, f"Ada P{number:02}")
        self.grace["chat"].sit(self.base, f"Grace P{number:02}")
        form = {"name": f"Room P{number:02}", "csrf_token": token}
        room = self.ada["chat"].page.request.post(f"{self.base}/u/0/rooms", form=form).url
        for person in (self.ada, self.grace):
            for name, place in person.items():
                place.window.name = person["chat"].window.name
                place.goto(room if name == "chat" else f"{self.base}/{name}", wait_until="commit")
        self.ready()

    @property
    def base(self) -> str:
        return str(self.demo.urls["App"])

    @property
    def places(self) -> list[Any]:
        return [*self.ada.values(), *self.grace.values()]

    def ready(self) -> None:
        for place in self.places:
            place.ready()

    def close(self) -> None:
        for each in self._profiles:
            each.close()


@pytest.fixture(scope="module", params=["local", "aws", "ably"])
def provider(request: pytest.FixtureRequest) -> str:
    if request.param == "ably":
        pytest.importorskip("ably")
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(provider: str, house, profile, window_in) -> Iterator[list[Pair]]:
    """At most one, which its tests use one after the other: ten pages are dear to open."""
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        pair.close()


_pairs = count(1)


@pytest.fixture
def pair(provider: str, pairs, house, profile, window_in, request) -> Iterator[Pair]:
    """Ada and Grace, with all pages open and connected. None of them may throw."""
    demo = house(provider)
    if not pairs:
        pairs.append(Pair(demo, profile, window_in, next(_pairs)))
    yield pairs[0]
    errors = [error for each in pairs[0].places for error in each.errors]
    if getattr(request.node, "failed", False) or errors:
        pairs.pop().close()
    assert errors == []
