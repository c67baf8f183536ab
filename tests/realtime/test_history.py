"""Channels that keep history: numbered, retained, published; in that order."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from realtime_kit import (
    ConfigurationError,
    Event,
    History,
    PayloadTooLarge,
    Position,
    ProviderUnavailable,
    Realtime,
    RealtimeSettings,
    Unsupported,
)
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.testing.servers import serve


def keeping(provider: FakeProvider | None = None, **environ: str) -> Realtime:
    realtime = Realtime(provider or FakeProvider(), settings=RealtimeSettings(environ=environ))
    realtime.channel_rule("news", history=History(last=5))(lambda user: True)
    realtime.channel_rule("private-orders-{id:int}", history="500/2h")(lambda user, id: True)
    realtime.channel_rule("quiet", history=False)(lambda user: True)
    return realtime


def read(realtime: Realtime, channel: str, start: Position) -> list[tuple[int, str, str]]:
    page = realtime.recorder.read(channel, start)
    assert page.recovered
    return [(entry.offset, entry.name, entry.data) for entry in page.entries]


def test_numbered_and_retained():
    realtime = keeping()
    start = realtime.recorder.position("news")
    (first,) = realtime.trigger("news", "moved", {"x": 1})
    (second,) = realtime.trigger("news", "moved", {"x": 2}, mutation="m")
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch == second.epoch
    assert read(realtime, "news", start) == [(1, "moved", '{"x": 1}'), (2, "moved", '{"x": 2}')]


def test_a_channel_without_history_stays_as_it_was():
    realtime = keeping()
    (receipt,) = realtime.trigger("other", "moved", {})
    assert (receipt.epoch, receipt.offset) == (None, None)
    with pytest.raises(ConfigurationError, match="REALTIME_HISTORY__DEFAULT"):
        realtime.recorder.position("other")


def test_a_default_for_all_others():
    realtime = keeping(REALTIME_HISTORY__DEFAULT="3/1m")
    receipts = realtime.trigger(["other", "quiet", "news"], "moved", {})
    assert [receipt.offset for receipt in receipts] == [1, None, 1]
    assert realtime.recorder.history("other") == History(3, timedelta(minutes=1))


def test_receipts_in_the_order_of_the_call():
    realtime = keeping()
    receipts = realtime.trigger_batch(
        [
            Event(("plain", "news", "private-orders-7"), "one", {}, id="a"),
            Event(("news",), "two", {}, id="b"),
        ]
    )
    assert [(found.channel, found.id, found.offset) for found in receipts] == [
        ("plain", "a", None), ("news", "a", 1), ("private-orders-7", "a", 1), ("news", "b", 2),
    ]  # fmt: skip


def test_a_repeated_id_is_the_same_event():
    realtime = keeping()
    first = realtime.trigger("news", "moved", {}, id="once")
    assert realtime.trigger("news", "moved", {}, id="once") == first
    assert len(realtime.recorder.read("news", Position(first[0].epoch, 0)).entries) == 1


def test_what_is_wrong_is_not_recorded():
    realtime = keeping()
    start = realtime.recorder.position("news")
    with pytest.raises(PayloadTooLarge):
        realtime.trigger_batch([Event(("news",), "a", {}), Event(("x",), "b", "y" * 20_000)])
    assert read(realtime, "news", start) == []


def test_what_could_not_be_published_is_in_the_log_and_can_be_tried_again():
    provider = FakeProvider()
    realtime = keeping(provider)
    start = realtime.recorder.position("news")
    provider.failure = ProviderUnavailable("down", provider="fake", retryable=True)
    with pytest.raises(ProviderUnavailable):
        realtime.trigger("news", "moved", {}, id="a")
    provider.failure = None
    (receipt,) = realtime.trigger("news", "moved", {}, id="a")
    assert receipt.offset == 1
    assert [offset for offset, *_ in read(realtime, "news", start)] == [1]


def test_a_log_that_fails_is_a_push_that_fails(tmp_path: Path):
    broken = f"sqlite:///{tmp_path}/no/such/directory.db"
    realtime = keeping(provider := FakeProvider(), REALTIME_HISTORY__URL=broken)
    with pytest.raises(ProviderUnavailable, match="database failed") as caught:
        realtime.trigger("news", "moved", {})
    assert caught.value.provider == "history"
    assert realtime.trigger("news", "moved", {}, on_error="log") == []
    assert provider.sent == []


def test_in_a_database(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/log.db"
    (first,) = keeping(REALTIME_HISTORY__URL=url).trigger("news", "moved", {})
    (second,) = keeping(REALTIME_HISTORY__URL=url).trigger("news", "moved", {})
    assert (second.epoch, second.offset) == (first.epoch, 2)


def test_memory_is_refused_on_lambda():
    realtime = keeping(AWS_LAMBDA_FUNCTION_NAME="f")
    with pytest.raises(ConfigurationError, match="REALTIME_HISTORY__URL"):
        realtime.trigger("news", "moved", {})


def test_what_is_no_history():
    with pytest.raises(ConfigurationError, match=r"history of 'news': .*LAST/AGE"):
        Realtime().channel_rule("news", history="lots")
    realtime = keeping(REALTIME_HISTORY__DEFAULT="lots")
    with pytest.raises(ConfigurationError, match="REALTIME_HISTORY__DEFAULT"):
        realtime.trigger("news", "moved", {})


def test_on_ably_encrypted_channels_keep_none():
    """Nothing but ably-js opens what they carry, and it reads no log of ours."""
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    environ = {
        "REALTIME_PROVIDER": "ably",
        "REALTIME_ABLY__KEY": "local0.dev:secret",
        "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
        "REALTIME_ABLY__ENCRYPTION_MASTER_KEY": key,
        "REALTIME_HISTORY__DEFAULT": "5/1h",
    }
    realtime = Realtime(settings=RealtimeSettings(environ=environ))
    with pytest.raises(Unsupported, match="history=False"):
        realtime.trigger("private-encrypted-a", "moved", {})
    realtime.close()


def test_ciphertext_in_the_log():
    environ = {
        "REALTIME_LOCAL__ENCRYPTION_MASTER_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    }
    with serve() as served:
        settings = RealtimeSettings(environ={**served.environ, **environ})
        realtime = Realtime(settings=settings)
        realtime.channel_rule("private-encrypted-{x}", history="5/1h")(lambda user, x: True)
        start = realtime.recorder.position("private-encrypted-a")
        realtime.trigger("private-encrypted-a", "moved", {"secret": "word"})
        ((_, _, text),) = read(realtime, "private-encrypted-a", start)
        realtime.close()
    assert set(json.loads(text)) == {"nonce", "ciphertext"}


def test_a_position_for_a_page():
    realtime = keeping()
    realtime.trigger("news", "moved", {})
    found = realtime.positions(["news", "private-orders-7"])
    assert list(found) == ["news", "private-orders-7"]
    assert found["news"] == realtime.position("news") == realtime.positions("news")["news"]
    realtime.trigger("private-orders-7", "moved", {"x": 1})
    at = Position.parse(found["private-orders-7"])
    assert read(realtime, "private-orders-7", at) == [(1, "moved", '{"x": 1}')]
    with pytest.raises(ConfigurationError, match="other keeps no history"):
        realtime.positions(["news", "other"])


def test_closing_lets_go_of_the_log_and_it_opens_again(tmp_path: Path):
    realtime = keeping(REALTIME_HISTORY__URL=f"sqlite:///{tmp_path}/log.db")
    realtime.trigger("news", "moved", {})
    pool = realtime.recorder.log.engine.pool
    realtime.close()
    assert realtime.recorder.log.engine.pool is not pool
    (receipt,) = realtime.trigger("news", "moved", {})
    assert receipt.offset == 2
    realtime.close()
