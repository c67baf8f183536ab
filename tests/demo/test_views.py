"""The views: who may do what, what is kept, and what is triggered."""

from __future__ import annotations

import json
import re

import pytest

from realtime_kit.demo import common, create_app
from realtime_kit.errors import ProviderUnavailable


def page_of(answer) -> dict:
    assert answer.status_code == 200
    found = re.search(r'id="page">(.*?)</script>', answer.get_data(as_text=True), re.S)
    assert found
    return json.loads(found[1])


def test_the_front_page_asks_for_a_name_and_then_leads_to_the_lobby(visit) -> None:
    ada = visit()
    assert b"Your name" in ada.http.get("/").data
    answer = ada.join("Ada")
    assert answer.location == "/u/0/rooms/lobby"
    assert b"You are <b><bdi>Ada</bdi></b>" in ada.http.get("/").data
    assert ada.http.get("/chat").location == "/u/0/rooms/lobby"
    page = page_of(ada.get("/rooms/lobby"))
    assert page["me"] == {"id": "ada", "name": "Ada"}
    assert page["client"] == "/realtime/client/realtime.js"


def test_one_browser_seats_several_people_each_once(visit) -> None:
    browser = visit("Ada")
    assert browser.join("Grace").location == "/u/1/rooms/lobby"
    assert browser.join("ADA").location == "/u/0/rooms/lobby"
    browser.seat = 0
    assert browser.post("/leave", Accept="text/html").status_code == 303
    assert browser.http.get("/chat").location == "/u/1/rooms/lobby"
    assert browser.get("/rooms/lobby").location == "/join?next=lobby"
    assert browser.join("Linus").location == "/u/0/rooms/lobby"


def test_a_browser_has_eight_seats(visit) -> None:
    browser = visit()
    for n in range(8):
        assert browser.join(f"P{n}").status_code == 303
    assert browser.join("P9").status_code == 409


@pytest.mark.parametrize("name", ["", "   ", "x" * 25, "\u202e"])
def test_a_bad_name_is_asked_for_again(visit, name: str) -> None:
    answer = visit().join(name)
    assert answer.status_code == 400
    assert b'role="alert"' in answer.data


@pytest.mark.parametrize(
    "path", ["/rooms/lobby/messages", "/rooms", "/waves", "/notifications/read", "/leave"]
)
def test_nothing_changes_without_the_token(visit, provider, path: str) -> None:
    ada = visit("Ada")
    for headers in ({}, {"X-CSRF-Token": "made-up"}, {"X-CSRF-Token": "ü"}):
        answer = ada.http.post(f"/u/0{path}", json={"text": "x", "to": "ada"}, headers=headers)
        assert answer.status_code == 403
    assert ada.http.post("/join", data={"name": "Eve"}).status_code == 403
    provider.assert_not_triggered()
    assert ada.get("/rooms/lobby").status_code == 200


def test_a_message_is_kept_and_sent_to_the_others(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    answer = ada.say("lobby", " hello ", **{"X-Socket-ID": "1.2"})
    assert answer.status_code == 201
    message = answer.json["message"]
    assert message["text"] == "hello"
    assert message["author"] == {"id": "ada", "name": "Ada"}
    provider.assert_triggered("private-room-lobby", "message", message, count=1, exclude="1.2")
    page = page_of(grace.get("/rooms/lobby"))
    assert page["messages"] == [message]


def test_a_repeated_message_is_the_same_one(visit) -> None:
    ada = visit("Ada")
    body = {"text": "hello", "nonce": "the-same-nonce"}
    first, second = (ada.post("/rooms/lobby/messages", body) for _ in range(2))
    assert first.json == second.json
    assert len(page_of(ada.get("/rooms/lobby"))["messages"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"text": "", "nonce": "12345678"},
        {"text": "x" * 2001, "nonce": "12345678"},
        {"text": 7, "nonce": "12345678"},
        {"text": "x"},
        {"text": "x", "nonce": "short"},
        {"text": "x", "nonce": "x" * 65},
    ],
)
def test_a_message_out_of_bounds_is_refused_with_a_reason(visit, provider, body: dict) -> None:
    answer = visit("Ada").post("/rooms/lobby/messages", body)
    assert answer.status_code == 400
    assert answer.json["error"]
    provider.assert_not_triggered()


def test_bodies_have_a_limit_and_a_shape(visit) -> None:
    ada = visit("Ada")
    assert ada.post("/rooms/lobby/messages", {"text": "x" * 40_000}).status_code == 413
    headers = {"X-CSRF-Token": ada.token, "Accept": "application/json"}
    for body in (b"[]", b"{", b"\xff"):
        answer = ada.http.post(
            "/u/0/waves", data=body, headers={**headers, "Content-Type": "application/json"}
        )
        assert answer.status_code == 400


def test_markup_stays_text_in_the_page(visit) -> None:
    ada = visit("<b>Ada</b>")
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    assert ada.say("lobby", attack).status_code == 201
    html = ada.get("/rooms/lobby").get_data(as_text=True)
    assert "<img src=x" not in html
    assert "<script>alert" not in html
    assert "<b>Ada" not in html
    assert page_of(ada.get("/rooms/lobby"))["messages"][0]["text"] == attack


def test_a_page_lets_in_no_script_from_elsewhere(visit) -> None:
    headers = visit("Ada").get("/rooms/lobby").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_on_ably_may_ask_where_its_sdk_does(tmp_path) -> None:
    own = {"DEMO_DB": tmp_path / "demo.sqlite3", "REALTIME_PROVIDER": "ably"}
    own["REALTIME_ABLY__KEY"] = "mine00.key:not-published"
    emulator = {"ENDPOINT": "127.0.0.1", "PORT": "8765", "TLS": "false"}
    emulated = {f"REALTIME_ABLY__{name}": value for name, value in emulator.items()}
    for more, hosts in (({}, "wss: https:;"), (emulated, "wss: https: http://127.0.0.1:8765;")):
        answer = create_app({**own, **more}).test_client().get("/")
        policy = answer.headers["Content-Security-Policy"]
        assert f"connect-src 'self' ws: {hosts}" in policy


def test_a_mention_rings_whoever_may_read_it(visit, provider) -> None:
    ada, grace, _linus = visit("Ada"), visit("Grace Hopper"), visit("Linus")
    ada.create("Plans", private=True)
    ada.post("/rooms/plans/members", {"name": "Grace Hopper"})
    provider.clear()
    ada.say("plans", "@grace-hopper @linus @ada @nobody look")
    (rung,) = provider.to_user("grace-hopper")
    assert rung.name == "notification"
    assert rung.data["kind"] == "mention"
    assert rung.data["room"]["id"] == "plans"
    assert provider.to_user("linus") == provider.to_user("ada") == []
    kept = page_of(grace.get("/rooms/lobby"))["notifications"]
    assert [each["kind"] for each in kept] == ["mention", "invitation"]


def test_a_wave_rings_until_it_is_read(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    assert ada.post("/waves", {"to": "grace"}).status_code == 204
    assert ada.post("/waves", {"to": "nobody"}).status_code == 404
    (sent,) = provider.to_user("grace")
    assert sent.data["sender"] == {"id": "ada", "name": "Ada"}
    assert grace.post("/notifications/read", {"id": sent.data["id"]}).status_code == 204
    assert page_of(grace.get("/rooms/lobby"))["notifications"][0]["read"] is True
    provider.assert_triggered(
        "#server-to-user-grace", "notifications-read", {"id": sent.data["id"]}, count=1
    )
    assert grace.post("/notifications/read", {"id": "all"}).status_code == 400


def test_a_new_public_room_is_told_to_all_and_a_private_one_to_nobody(visit, provider) -> None:
    ada = visit("Ada")
    assert ada.create("Big Plans").location == "/u/0/rooms/big-plans"
    provider.assert_triggered("rooms", "created", {"id": "big-plans", "name": "Big Plans"})
    provider.clear()
    assert ada.create("Secret", private=True).status_code == 303
    provider.assert_not_triggered()
    assert ada.create("SECRET").status_code == 409
    assert ada.create("").status_code == 400


def test_a_private_room_is_closed_to_others(visit, provider) -> None:
    ada, eve = visit("Ada"), visit("Eve")
    ada.create("Plans", private=True)
    for answer in (
        eve.get("/rooms/plans"),
        eve.get("/rooms/plans/messages"),
        eve.get("/catch-up?room=plans"),
        eve.say("plans", "let me in"),
        eve.post("/rooms/plans/read", {"up_to": 1}),
        eve.post("/rooms/plans/members", {"name": "Eve"}),
        eve.post("/rooms/plans/members/ada/remove"),
    ):
        assert answer.status_code == 403
    assert eve.get("/rooms/nowhere").status_code == 404
    asked = {"socket_id": "1.2", "channels": ["private-room-plans", "private-room-lobby"]}
    answers = eve.http.post("/realtime/auth", json=asked).json["channels"]
    assert answers["private-room-plans"] == {"status": 403, "error": "denied"}
    assert "auth" in answers["private-room-lobby"]


def test_removing_somebody_ends_what_they_hear(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    ada.create("Plans", private=True)
    assert ada.post("/rooms/plans/members", {"name": "grace"}).status_code == 200
    assert grace.get("/rooms/plans").status_code == 200
    assert grace.post("/rooms/plans/members/ada/remove").status_code == 403
    assert ada.post("/rooms/plans/members/grace/remove").json == {
        "members": [{"id": "ada", "name": "Ada"}]
    }
    assert provider.revoked == [("grace", None)]
    assert provider.to_user("grace")[-1].data["kind"] == "removal"
    assert grace.get("/rooms/plans").status_code == 403
    assert ada.post("/rooms/lobby/members", {"name": "grace"}).status_code == 409


def test_a_failed_revoke_is_said_and_the_rules_hold_all_the_same(visit, provider) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    ada.create("Plans", private=True)
    ada.post("/rooms/plans/members", {"name": "grace"})
    provider.failure = ProviderUnavailable("down", provider="fake")
    assert ada.post("/rooms/plans/members/grace/remove").status_code == 503
    assert grace.get("/rooms/plans").status_code == 403


def test_the_seat_in_a_header_says_who_asks_the_endpoints(visit) -> None:
    browser = visit("Ada")
    browser.join("Grace")
    asked = {"socket_id": "1.2", "channels": ["presence-room-lobby"]}

    def member(**headers: str) -> str:
        answer = browser.http.post("/realtime/auth", json=asked, headers=headers).json
        return json.loads(answer["channels"]["presence-room-lobby"]["channel_data"])["user_id"]

    assert member(**{"X-Seat": "1"}) == "grace"
    assert member(**{"X-Seat": "0"}) == member() == "ada"
    for seat in ("2", "-1", "x", "9" * 30, "²"):
        answer = browser.http.post("/realtime/auth", json=asked, headers={"X-Seat": seat}).json
        assert answer["channels"]["presence-room-lobby"]["status"] == 403


def test_catching_up_brings_what_was_missed(visit) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    first = ada.say("lobby", "one").json["message"]["id"]
    ada.say("lobby", "two")
    ada.say("ideas", "three")
    missed = grace.get(f"/catch-up?room=lobby&after={first}", Accept="application/json").json
    assert [message["text"] for message in missed["messages"]] == ["two"]
    unread = {room["id"]: room["unread"] for room in missed["rooms"]}
    assert unread == {"lobby": 2, "ideas": 1}
    grace.post("/rooms/ideas/read", {"up_to": first + 2})
    now = grace.get("/catch-up?room=lobby&after=0", Accept="application/json").json
    assert {room["id"]: room["unread"] for room in now["rooms"]}["ideas"] == 0


def test_a_room_says_once_what_is_unread_in_it(visit) -> None:
    ada, grace = visit("Ada"), visit("Grace")
    ada.say("lobby", "one")
    ada.say("lobby", "two")
    for expected in (2, 0):
        rooms = page_of(grace.get("/rooms/lobby"))["rooms"]
        assert next(room["unread"] for room in rooms if room["id"] == "lobby") == expected


def test_nobody_floods_the_rooms(visit, provider) -> None:
    ada = visit("Ada")
    for _ in range(common.BURST):
        assert ada.say("lobby", "x").status_code == 201
    for answer in (ada.say("lobby", "x"), ada.post("/waves", {"to": "ada"})):
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "10"
    provider.assert_triggered("private-room-lobby", "message", count=common.BURST)


def test_whoever_left_is_told_to_sit_down_again(visit) -> None:
    nobody = visit()
    assert nobody.get("/rooms/lobby").location == "/join?next=lobby"
    assert nobody.get("/catch-up?room=lobby", Accept="application/json").status_code == 401
    assert nobody.say("lobby", "x").status_code == 401


def test_problems_are_pages_for_people_and_json_for_scripts(visit) -> None:
    ada = visit("Ada")
    page = ada.get("/rooms/nowhere", Accept="text/html")
    assert b"There is no such room" in page.data
    assert b"<html" in page.data
    assert ada.get("/rooms/nowhere", Accept="application/json").json == {
        "error": "There is no such room."
    }


def test_the_news_over_plain_http(visit) -> None:
    guest = visit()
    asked = {"channel": "news"}
    headers = {"Accept": "application/json"}
    before = guest.http.get("/realtime/events", query_string=asked, headers=headers).get_json()
    ada = visit("Ada")
    ada.create("Garden")
    ada.create("Cellar", private=True)
    asked["position"] = before["position"]
    found = guest.http.get("/realtime/events", query_string=asked, headers=headers).get_json()
    assert [(event["name"], event["data"]["text"]) for event in found["events"]] == [
        ("joined", "Ada came in"), ("opened", "A new room: Garden"),
    ]  # fmt: skip
    assert "curl -N &#39;http://localhost/realtime/events?channel=news&#39;" in ada.get(
        "/rooms/lobby"
    ).get_data(as_text=True)
