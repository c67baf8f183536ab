"""The views of the pages, and what is never to be inherited from samples."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from realtime_kit.demo import create_app, excerpts
from realtime_kit.demo.common import ENDPOINTS
from realtime_kit.demo.models import Order, now

MUTATION = {"X-Mutation-Id": "a-mutation-of-the-page"}


def page_of(answer) -> dict:
    assert answer.status_code == 200
    found = re.search(r'id="page">(.*?)</script>', answer.get_data(as_text=True), re.S)
    assert found
    return json.loads(found[1])


def call(visitor, method: str, path: str, data: dict | None = None, **headers: str):
    own = {"X-CSRF-Token": visitor.token, "Accept": "application/json", **headers}
    address = f"/u/{visitor.seat}{path}"
    return visitor.http.open(address, method=method, json=data, headers=own)


def note(visitor, to: str, text: str = "hello"):
    return visitor.post("/notes", {"to": to, "text": text})


def events_of(visitor, person: str, position: str = ""):
    asked = {"channel": f"private-notifications-{person}", "position": position}
    headers = {"Accept": "application/json"}
    return visitor.http.get("/realtime/events", query_string=asked, headers=headers)


# --- where they are -------------------------------------------------------------------------


@pytest.mark.parametrize("page", ENDPOINTS)
def test_a_page_asks_for_a_name_and_then_is_there(visit, page: str) -> None:
    ada = visit()
    assert ada.http.get(f"/{page}").location == f"/join?next={page}"
    form = ada.http.get(f"/join?next={page}").get_data(as_text=True)
    assert f'name="next" value="{page}"' in form
    data = {"name": "Ada", "next": page, "csrf_token": ada.token}
    where = ada.http.post("/join", data=data).location
    assert ada.http.get(f"/{page}").location == where
    told = page_of(ada.http.get(where))
    assert told["me"] == {"id": "ada", "name": "Ada"}
    assert told["optimistic"] == "/realtime/client/optimistic.js"
    assert f'href="/{page}"' in ada.http.get("/").get_data(as_text=True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/likes/dog"),
        ("DELETE", "/likes/dog"),
        ("PATCH", "/todos/line-0001"),
        ("POST", "/orders"),
        ("POST", "/notes"),
    ],
)
def test_nothing_changes_without_the_token(visit, provider, method: str, path: str) -> None:
    ada = visit("Ada")
    data = {"text": "x", "to": "ada"}
    answer = ada.http.open(f"/u/0{path}", method=method, json=data)
    assert answer.status_code == 403
    answer = ada.http.open(
        f"/u/1{path}", method=method, json=data, headers={"X-CSRF-Token": ada.token}
    )
    assert answer.status_code == 401
    provider.assert_not_triggered()


def test_after_the_name_it_goes_nowhere_else(visit) -> None:
    data = {
        "name": "Ada",
        "next": "https://elsewhere.example",
        "csrf_token": (ada := visit()).token,
    }
    assert ada.http.post("/join", data=data).location == "/u/0/rooms/lobby"


def test_the_first_page_says_how_each_provider_is_switched_to(tmp_path: Path) -> None:
    app = create_app({"DEMO_DB": tmp_path / "demo.sqlite3", "REALTIME_PROVIDER": "aws"})
    page = app.test_client().get("/").get_data(as_text=True)
    assert "here it is <b>aws</b>" in page
    rows = re.findall(
        r"<li(?: class=\"(on)\")?>\s*<p><b>(\w+)</b>.*?REALTIME_PROVIDER=(\w+)", page, re.S
    )
    names = ["local", "aws", "ably", "pusher"]
    assert rows == [("on" if name == "aws" else "", name, name) for name in names]


# --- how it works ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", ENDPOINTS)
def test_how_it_works_is_the_source_itself(visit, checkout: Path, page: str) -> None:
    found = excerpts.of(page)
    assert {Path(each.path).suffix for each in found} == {".js", ".py"}
    for each in found:
        source = [line.strip() for line in (checkout / each.path).read_text().splitlines()]
        for part in each.code.split("\n\n"):
            wanted = [line.strip() for line in part.splitlines() if line.strip()]
            at = [n for n in range(len(source)) if source[n : n + len(wanted)] == wanted]
            assert at, part
    lines = [line for each in found for line in each.code.splitlines() if line.strip()]
    assert 10 <= len(lines) <= 25
    assert max(map(len, lines)) <= 80  # what the panel has room for
    assert any("rt.trigger(" in line or "@rt.source(" in line for line in lines)
    ada = visit("Ada")
    shown = ada.http.get(f"/{page}", follow_redirects=True).get_data(as_text=True)
    assert "How it works" in shown
    assert all(each.path in shown for each in found)


def test_an_excerpt_is_of_its_page_alone() -> None:
    assert excerpts.of("nothing") == ()
    assert not set(excerpts.of("likes")) & set(excerpts.of("todos"))
    assert all("how: " not in each.code for page in ENDPOINTS for each in excerpts.of(page))


def test_code_is_painted_and_stays_the_same_text() -> None:
    code = 'x = f("<b>", `a`)  # it\'s "one" comment\nif x: return None'
    painted = excerpts.paint(code)
    assert painted.striptags() == " ".join(code.split())
    assert painted == (
        'x = f(<span class="string">&#34;&lt;b&gt;&#34;</span>,'
        ' <span class="string">`a`</span>)'
        '  <span class="comment"># it&#39;s &#34;one&#34; comment</span>\n'
        '<span class="word">if</span> x: <span class="word">return</span>'
        ' <span class="word">None</span>'
    )


# --- likes ----------------------------------------------------------------------------------


def test_a_like_is_counted_once_and_told_with_the_mutation(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    for _ in range(2):
        told = call(ada, "PUT", "/likes/dog", **MUTATION).json
        assert (told["count"], told["liked"], told["by"]) == (1, True, "ada")
    sent = provider.sent[-1]
    assert (sent.channel, sent.name) == ("likes", "counted")
    assert (sent.data, sent.mutation) == (told, MUTATION["X-Mutation-Id"])
    assert call(grace, "PUT", "/likes/dog").json["count"] == 2
    posts = grace.get("/likes/now").json["state"]
    assert (posts["dog"]["count"], posts["dog"]["mine"]) == (2, True)
    assert call(ada, "DELETE", "/likes/dog").json["count"] == 1
    assert grace.get("/likes/now").json["state"]["dog"]["mine"] is True
    assert ada.get("/likes/now").json["state"]["dog"]["mine"] is False
    assert call(ada, "PUT", "/likes/nothing").status_code == 404


def test_likes_at_the_same_time_are_all_counted_in_one_order(app, visit, provider) -> None:
    people = [visit(f"P{n}") for n in range(6)]
    tokens = [each.token for each in people]
    start = threading.Barrier(len(people))

    def like(visitor, token: str) -> None:
        start.wait(10)
        for method in ("PUT", "DELETE", "PUT"):
            headers = {"X-CSRF-Token": token}
            assert (
                visitor.http.open("/u/0/likes/bread", method=method, headers=headers).status_code
                == 200
            )

    threads = [
        threading.Thread(target=like, args=each) for each in zip(people, tokens, strict=True)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    told = sorted((sent.data for sent in provider.sent), key=lambda data: data["version"])
    assert [data["version"] for data in told] == list(range(1, 19))
    assert told[-1]["count"] == people[0].get("/likes/now").json["state"]["bread"]["count"] == 6


def test_a_refusal_on_request_changes_nothing(visit, provider) -> None:
    ada = visit("Ada")
    for method, path, data in (
        ("PUT", "/likes/dog", None),
        ("PATCH", "/todos/12345678", {"text": "x"}),
    ):
        answer = call(ada, method, path, data, **{"X-Demo-Answer": "refused"})
        assert (answer.status_code, answer.json["error"]) == (409, "Refused, as you asked for.")
    provider.assert_not_triggered()
    assert ada.get("/likes/now").json["state"]["dog"]["count"] == 0
    assert ada.get("/todos/now").json["state"] == {}


# --- todos ----------------------------------------------------------------------------------


def test_a_line_is_made_changed_and_removed_by_what_is_given(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    made = call(ada, "PATCH", "/todos/line-0001", {"text": " Water  plants "}, **MUTATION).json
    assert (made["text"], made["done"], made["author"], made["version"]) == (
        "Water plants",
        False,
        "ada",
        1,
    )
    provider.assert_triggered("private-todos", "saved", made, count=1)
    assert provider.sent[-1].mutation == MUTATION["X-Mutation-Id"]
    done = call(grace, "PATCH", "/todos/line-0001", {"done": True}).json
    assert done == {**made, "done": True, "version": 2}
    assert ada.get("/todos/now").json["state"] == {"line-0001": done}
    assert call(grace, "PATCH", "/todos/line-0001", {"removed": True}).json["removed"] is True
    assert ada.get("/todos/now").json["state"] == {}


@pytest.mark.parametrize(
    ("id", "data"),
    [
        ("line-0001", {}), ("line-0001", {"text": " "}), ("line-0001", {"text": "x" * 121}),
        ("line-0001", {"text": "x", "done": 1}), ("line-0001", {"text": "x", "author": "eve"}),
        ("short", {"text": "x"}), ("line_0001", {"text": "x"}),
    ],
)  # fmt: skip
def test_a_line_out_of_bounds_is_refused(visit, provider, id: str, data: dict) -> None:
    assert call(visit("Ada"), "PATCH", f"/todos/{id}", data).status_code == 400
    provider.assert_not_triggered()


def test_a_line_that_is_not_there_cannot_be_done(visit) -> None:
    assert call(visit("Ada"), "PATCH", "/todos/line-0001", {"done": True}).status_code == 404


def test_the_list_has_an_end(visit) -> None:
    ada = visit("Ada")
    headers = {"X-CSRF-Token": ada.token}
    for n in range(100):
        answer = ada.http.patch(f"/u/0/todos/line-{n:04}", json={"text": "x"}, headers=headers)
        assert answer.status_code == 200
    assert call(ada, "PATCH", "/todos/line-0100", {"text": "x"}).status_code == 409
    assert call(ada, "PATCH", "/todos/line-0000", {"removed": True}).status_code == 200
    assert call(ada, "PATCH", "/todos/line-0100", {"text": "x"}).status_code == 200


def test_the_list_and_its_place_in_the_history(visit) -> None:
    ada = visit("Ada")
    before = page_of(ada.get("/todos"))["position"]
    call(ada, "PATCH", "/todos/line-0001", {"text": "x"})
    asked = {"channel": "private-todos", "position": before}
    headers = {"Accept": "application/json"}
    found = ada.http.get("/realtime/events", query_string=asked, headers=headers).json
    assert [event["data"]["id"] for event in found["events"]] == ["line-0001"]
    assert found["position"] == page_of(ada.get("/todos"))["position"]
    guest = visit()
    assert (
        guest.http.get("/realtime/events", query_string=asked, headers=headers).status_code == 403
    )


# --- dashboard ------------------------------------------------------------------------------


def test_an_order_is_a_row_and_an_event(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    placed = call(ada, "POST", "/orders")
    assert placed.status_code == 201
    provider.assert_triggered("private-dashboard", "ordered", placed.json, count=1)
    found = grace.get("/orders?after=0").json
    assert (found["orders"], found["more"]) == ([placed.json], False)
    assert abs(found["now"] - placed.json["at"]) < 60_000
    asked = {"socket_id": "1.2", "channels": ["private-dashboard"]}
    answers = [each.http.post("/realtime/auth", json=asked).json for each in (grace, visit())]
    assert ["auth" in each["channels"]["private-dashboard"] for each in answers] == [True, False]


def test_no_order_is_lost_between_two_polls(app, visit) -> None:
    ada = visit("Ada")
    with app.extensions["demo_store"].sessions.begin() as session:
        session.add_all(Order(item="x", cents=1, person="eve", at=7) for _ in range(250))
    seen, more = [], True
    while more:
        found = ada.get(f"/orders?after={seen[-1] if seen else 0}").json
        seen += [order["id"] for order in found["orders"]]
        more = found["more"]
    assert seen == list(range(1, 251))


def test_nobody_buys_all_of_the_shop(app, visit) -> None:
    ada = visit("Ada")
    with app.extensions["demo_store"].sessions.begin() as session:
        mine = {"item": "x", "cents": 1, "person": "ada", "at": now()}
        session.add_all(Order(**mine) for _ in range(59))
    assert call(ada, "POST", "/orders").status_code == 201
    assert call(ada, "POST", "/orders").status_code == 429


# --- notifications --------------------------------------------------------------------------


def test_notifications_are_for_their_owner_alone(visit, provider) -> None:
    """Never a public `user-ID` channel: of what is private nothing is sent where all may listen."""
    ada, eve = visit("Ada"), visit("Eve")
    assert note(eve, "ada", "for Ada").status_code == 204
    assert [event["data"]["text"] for event in events_of(ada, "ada").json["events"]] == ["for Ada"]
    assert events_of(eve, "ada").status_code == 403
    assert events_of(visit(), "ada").status_code == 403
    asked = {"socket_id": "1.2", "channels": ["private-notifications-ada"]}
    answer = eve.http.post("/realtime/auth", json=asked).json["channels"]
    assert answer["private-notifications-ada"]["status"] == 403
    call(eve, "PATCH", "/todos/line-0001", {"text": "x"})
    eve.say("lobby", "@ada hello")
    public = {sent.channel for sent in provider.sent}
    public -= {each for each in public if each.startswith(("private-", "#server-to-user-"))}
    assert public <= {"likes", "news", "rooms"}


def test_a_room_is_joined_by_its_members_alone(visit) -> None:
    """By the rule for the messages and for being seen there, and by both ways to listen."""
    ada, eve = visit("Ada"), visit("Eve")
    ada.create("Plans", private=True)
    names = ["private-room-plans", "presence-room-plans"]
    for visitor, expected in ((ada, 200), (eve, 403)):
        answers = visitor.http.post("/realtime/auth", json={"socket_id": "1.2", "channels": names})
        assert {each.get("status", 200) for each in answers.json["channels"].values()} == {expected}
        headers = {"Accept": "application/json"}
        events = visitor.http.get("/realtime/events?channel=private-room-plans", headers=headers)
        assert events.status_code == expected


def test_no_row_is_lost_between_two_polls(app, visit) -> None:
    """Many at the same moment, more than a page has, and some that change between two looks."""
    ada, _eve = visit("Ada"), visit("Eve")
    position, seen = events_of(ada, "ada").json["position"], []
    store = app.extensions["demo_store"]
    sender = store.person("eve")
    for round in range(5):
        for n in range(6):
            store.notify("note", sender, "ada", None, f"{round}.{n}")
            store.notify("note", sender, "eve", None, "for somebody else")
        more = True
        while more:
            answer = events_of(ada, "ada", position).json
            position = answer["position"]
            more = answer["channels"]["private-notifications-ada"]["more"]
            seen += [event["data"]["text"] for event in answer["events"]]
    assert seen == [f"{round}.{n}" for round in range(5) for n in range(6)]
    ada.post("/notifications/read", {})
    changed = []
    while not changed or answer["channels"]["private-notifications-ada"]["more"]:
        answer = events_of(ada, "ada", position).json
        position = answer["position"]
        changed += [(event["data"]["id"], event["data"]["read"]) for event in answer["events"]]
    assert changed == [(id, True) for id in sorted({id for id, _read in changed})]
    assert len(changed) == 30
    store.notify("note", sender, "ada", None, "after it")
    (last,) = events_of(ada, "ada", position).json["events"]
    assert last["data"]["text"] == "after it"


def test_writers_at_the_same_time_hide_no_row_behind_the_cursor(app, visit) -> None:
    ada = visit("Ada")
    store = app.extensions["demo_store"]
    sender, start, over = store.person("ada"), threading.Barrier(4), threading.Event()

    def write(who: int) -> None:
        start.wait(10)
        for n in range(7):
            store.notify("note", sender, "ada", None, f"{who}.{n}")

    threads = [threading.Thread(target=write, args=(who,)) for who in range(3)]
    for each in threads:
        each.start()
    threading.Thread(target=lambda: [each.join(20) for each in threads] and over.set()).start()
    start.wait(10)
    position, seen, is_last = "", [], False
    while not is_last:
        is_last = over.is_set()
        answer = events_of(ada, "ada", position).json
        position = answer["position"]
        seen += [event["data"]["text"] for event in answer["events"]]
    assert sorted(seen) == sorted(f"{who}.{n}" for who in range(3) for n in range(7))


def test_a_stream_that_is_closed_is_cleaned_up(app, visit) -> None:
    """What waits for news on its behalf is gone with it, whether or not it has sent anything."""
    ada = visit("Ada")
    cookie = "; ".join(f"{each.key}={each.value}" for each in ada.http._cookies.values())
    following = app.extensions["realtime"].following
    for reads in (0, 1):
        environ = EnvironBuilder(
            "/realtime/events?channel=private-notifications-ada", headers={"Cookie": cookie}
        ).get_environ()
        environ["wsgi.multithread"] = True
        body, status, _headers = run_wsgi_app(app, environ)
        assert status.startswith("200")
        for _ in range(reads):
            assert next(body)
        assert following.waiting == 1
        body.close()
        assert following.waiting == 0


def test_a_note_is_for_somebody_who_is_there(visit) -> None:
    ada = visit("Ada")
    assert note(ada, "nobody").status_code == 404
    assert note(ada, "ada", " ").status_code == 400
    assert note(ada, "ada").status_code == 204
    assert 'aria-label="Notifications, 1 unread"' in ada.get("/likes").get_data(as_text=True)
