"""What people type: shaped, limited, and nothing in it that cannot be seen."""

from __future__ import annotations

import pytest

from realtime_kit.demo import text
from realtime_kit.events import Event, Limits, check


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("  Ada ", "Ada"),
        ("Grace\n \tHopper", "Grace Hopper"),
        ("Ze\u0308", "Zë"),
        ("evil\u202eeman", "evileman"),
        ("李", "李"),
    ],
)
def test_a_name_is_one_visible_line(given: str, expected: str) -> None:
    assert text.name(given) == expected


@pytest.mark.parametrize("given", ["", "   ", "---", "\u200b", "x" * 25, None, 7, ["Ada"]])
def test_what_is_no_name_is_refused(given: object) -> None:
    with pytest.raises(text.Refused):
        text.name(given)


def test_a_message_keeps_its_lines_and_joined_emoji() -> None:
    assert text.message(" one\r\ntwo\x00\x1b[31m ") == "one\ntwo[31m"
    assert text.message("👩\u200d💻") == "👩\u200d💻"


@pytest.mark.parametrize("given", ["", " \n ", "x" * 2001, None, {}])
def test_what_is_no_message_is_refused(given: object) -> None:
    with pytest.raises(text.Refused):
        text.message(given)


@pytest.mark.parametrize("character", ["x", '"', "\n", "\\", "€", "😀"])
def test_the_longest_message_fits_into_an_event(character: str) -> None:
    words = text.message("." + character * 1998 + ".")
    person = {"id": "x" * 40, "name": "😀" * 24}
    room, nonce = "x" * 40, "x" * 64
    message = {"id": 2**53, "room": room, "author": person, "text": words, "sent_at": 2**53}
    check(Event(("private-room-x",), "message", {**message, "nonce": nonce}), Limits())


def test_mentions_are_names_after_an_at_each_once() -> None:
    assert text.mentions("@ada and (@Grace-Hopper), @ada!") == ["ada", "grace-hopper"]
    assert text.mentions("ada@example.com @@x @-x") == []
    assert len(text.mentions(" ".join(f"@p{n}" for n in range(50)))) == text.MENTIONS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada", "ada"),
        ("  Grace  Hopper ", "grace-hopper"),
        ("Zoë Müller", "zoe-muller"),
        ("a/b_c", "a-b-c"),
        ("x" * 60, "x" * 40),
        ("李", "person-c16667ca"),
    ],
)
def test_a_name_becomes_an_id_that_channels_can_carry(name: str, expected: str) -> None:
    assert text.handle(name, "person") == expected
