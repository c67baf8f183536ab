"""The store: one file, many connections, nothing counted twice."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from realtime_kit.demo.database import default_path
from realtime_kit.demo.store import KEPT, Store


def test_the_same_name_is_the_same_person_spelled_as_last(store: Store) -> None:
    assert store.add_person("ada").id == store.add_person("ADA").id == "ada"
    assert store.find_person("Ada").as_json() == store.person("ada").as_json()
    assert store.person("ada").name == "ADA"


def test_the_file_is_for_its_owner_and_keeps_its_key(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "store.sqlite3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(store.secret_key()) >= 32
    assert Store(path).secret_key() == store.secret_key()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    db.close()


def test_the_default_place_is_the_cache_directory_or_a_temporary_one(tmp_path: Path) -> None:
    there = default_path({"XDG_CACHE_HOME": str(tmp_path)})
    assert there == tmp_path / "realtime-kit" / "demo.sqlite3"
    assert there.parent.is_dir()
    (tmp_path / "file").write_text("")
    elsewhere = default_path({"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert not elsewhere.is_relative_to(tmp_path / "file")
    assert elsewhere.parent.is_dir()
    os.rmdir(elsewhere.parent)


def test_a_repeated_nonce_is_the_same_message(store: Store, clock) -> None:
    ada, grace = store.add_person("Ada"), store.add_person("Grace")
    first = store.add_message("lobby", ada, "hello", "nonce-1")
    clock.now += 5
    again = store.add_message("lobby", ada, "hello", "nonce-1")
    assert again.as_json() == first.as_json()
    assert store.add_message("lobby", grace, "hello", "nonce-1").id != first.id
    assert first.sent_at == 1_700_000_000_000


def test_history_comes_in_pages_oldest_first(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("realtime_kit.demo.store.PAGE", 5)
    ada = store.add_person("Ada")
    ids = [store.add_message("lobby", ada, str(n), f"nonce-{n}").id for n in range(8)]
    newest, more = store.latest("lobby")
    assert more
    assert [message.id for message in newest] == ids[3:]
    oldest, more = store.latest("lobby", before=newest[0].id)
    assert not more
    assert [message.id for message in oldest] == ids[:3]
    assert [message.id for message in store.since("lobby", ids[-3])] == ids[-2:]


def test_too_much_to_catch_up_with_says_so(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("realtime_kit.demo.store.PAGE", 2)
    ada = store.add_person("Ada")
    for n in range(9):
        store.add_message("lobby", ada, str(n), f"nonce-{n}")
    assert store.since("lobby", 0) is None
    assert len(store.since("lobby", 1)) == 8


def test_unread_counts_what_others_wrote_since_one_came_and_looked(store: Store) -> None:
    ada = store.add_person("Ada")
    store.add_message("lobby", ada, "before Grace came", "nonce-0")
    grace = store.add_person("Grace")

    def unread() -> int:
        return next(room["unread"] for room in store.rooms(grace) if room["id"] == "lobby")

    assert unread() == 0
    last = [store.add_message("lobby", ada, "x", f"nonce-{n}") for n in range(1, 4)][-1]
    store.add_message("lobby", grace, "one's own", "nonce-9")
    assert unread() == 3
    store.mark_read("lobby", grace, last.id)
    store.mark_read("lobby", grace, last.id - 2)
    assert unread() == 0


def test_a_private_room_is_for_its_members(store: Store) -> None:
    ada, grace = store.add_person("Ada"), store.add_person("Grace")
    room = store.add_room("Plans", ada, private=True, limit=9)
    assert store.may_enter("ada", room.id)
    assert not store.may_enter("grace", room.id)
    assert [each["id"] for each in store.rooms(grace)] == ["lobby", "ideas"]
    assert store.add_member(room.id, grace.id)
    assert not store.add_member(room.id, grace.id)
    assert [each["id"] for each in store.rooms(grace)] == ["lobby", "ideas", "plans"]
    assert store.remove_member(room.id, grace.id)
    assert not store.remove_member(room.id, grace.id)
    assert not store.may_enter("grace", room.id)
    assert not store.may_enter("grace", "nowhere")


def test_a_room_is_made_once_and_not_without_end(store: Store) -> None:
    ada = store.add_person("Ada")
    assert store.add_room("Plans", ada, private=False, limit=3)
    assert store.add_room("PLANS", ada, private=False, limit=9) is None
    assert store.add_room("Others", ada, private=False, limit=3) is None


def test_a_bell_keeps_the_latest(store: Store) -> None:
    ada, grace = store.add_person("Ada"), store.add_person("Grace")
    for _ in range(KEPT + 2):
        last = store.notify("wave", ada, grace.id)
    kept = store.notifications(grace)
    assert len(kept) == KEPT
    assert kept[0].as_json() == last.as_json()
    store.mark_notifications_read(grace, last.id)
    assert [each.read for each in store.notifications(grace)] == [True] + [False] * (KEPT - 1)
    store.mark_notifications_read(ada)
    store.mark_notifications_read(grace)
    assert all(each.read for each in store.notifications(grace))


def test_what_one_caused_lately_is_counted_in_a_window(store: Store, clock) -> None:
    ada = store.add_person("Ada")
    store.add_message("lobby", ada, "x", "nonce-1")
    clock.now += 9
    store.notify("wave", ada, "grace")
    assert store.sent_lately(ada, 10) == 2
    clock.now += 2
    assert store.sent_lately(ada, 10) == 1


def test_threads_write_at_the_same_time(store: Store) -> None:
    ada = store.add_person("Ada")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.add_message("lobby", ada, "x", f"nonce-{n}"), range(40)))
    assert len(store.latest("lobby")[0]) == 40


def test_several_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(Store, [tmp_path / "store.sqlite3"] * 4))
    assert len({each.secret_key() for each in stores}) == 1
    ada = stores[0].add_person("Ada")
    assert [room["id"] for room in stores[1].rooms(ada)] == ["lobby", "ideas"]


def test_the_file_of_an_earlier_demo_goes_on(tmp_path: Path) -> None:
    """One whose notifications had no version yet: they are in no change, and still listed."""
    path = tmp_path / "store.sqlite3"
    store = Store(path)
    ada = store.add_person("Ada")
    old = store.notify("wave", ada, ada.id)
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE notifications DROP version")
    db.close()
    again = Store(path)
    assert [each.as_json() for each in again.notifications(ada)] == [old.as_json()]
    assert again.notify("wave", ada, ada.id).version == 1
