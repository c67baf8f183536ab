"""The fake provider: what it remembers, and assertions that say what was sent when they fail."""

from __future__ import annotations

import pytest

from realtime_kit import Event, Member, PayloadTooLarge, ProviderUnavailable, Realtime
from realtime_kit.testing import FakeProvider


@pytest.fixture
def fake(realtime: Realtime) -> FakeProvider:
    assert isinstance(realtime.provider, FakeProvider)
    return realtime.provider


def test_it_remembers_one_entry_for_each_channel(realtime, fake):
    realtime.trigger(["a", "b"], "shipped", {"n": 1}, exclude="1.2", mutation="m")
    assert [(s.channel, s.name, s.data, s.exclude, s.mutation) for s in fake.sent] == [
        ("a", "shipped", {"n": 1}, "1.2", "m"),
        ("b", "shipped", {"n": 1}, "1.2", "m"),
    ]
    assert fake.on("a") == fake.sent[:1]
    assert fake.on("a", "other") == []


def test_assert_triggered_passes_for_what_was_sent(realtime, fake):
    realtime.trigger("orders", "shipped", {"n": 1}, exclude="1.2")
    fake.assert_triggered("orders", "shipped")
    fake.assert_triggered("orders", "shipped", {"n": 1}, count=1, exclude="1.2")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("orders", "packed"), {}),
        (("other", "shipped"), {}),
        (("orders", "shipped", {"n": 2}), {}),
        (("orders", "shipped"), {"count": 2}),
        (("orders", "shipped"), {"count": 0}),
        (("orders", "shipped"), {"exclude": None}),
    ],
)
def test_a_failure_lists_what_was_sent(realtime, fake, arguments, options):
    realtime.trigger("orders", "shipped", {"n": 1}, exclude="1.2")
    with pytest.raises(AssertionError, match=r"orders: shipped \{'n': 1\}, exclude='1\.2'"):
        fake.assert_triggered(*arguments, **options)


def test_a_failure_says_that_nothing_was_sent(fake):
    with pytest.raises(AssertionError, match="Nothing was sent"):
        fake.assert_triggered("orders", "shipped")


def test_assert_not_triggered(realtime, fake):
    fake.assert_not_triggered()
    realtime.trigger("orders", "shipped", 1)
    fake.assert_not_triggered("other")
    fake.assert_not_triggered("orders", "packed")
    for arguments in ((), ("orders",), ("orders", "shipped"), (None, "shipped")):
        with pytest.raises(AssertionError, match="orders: shipped 1"):
            fake.assert_not_triggered(*arguments)


def test_blocks_look_only_at_what_they_sent(realtime, fake):
    realtime.trigger("orders", "shipped", 1)
    with fake.assert_triggers_nothing():
        pass
    with fake.assert_triggers("orders", "shipped", 2, count=1) as sent:
        realtime.trigger("orders", "shipped", 2)
    assert [s.data for s in sent] == [2]
    with fake.capture() as captured:
        realtime.trigger_batch([Event("a", "x", 1), Event("b", "y", 2)])
    assert [(s.channel, s.name) for s in captured] == [("a", "x"), ("b", "y")]
    with pytest.raises(AssertionError, match="found 0"), fake.assert_triggers("orders", "shipped"):
        pass
    with pytest.raises(AssertionError, match="expected no event"), fake.assert_triggers_nothing():
        realtime.trigger("a", "x", 1)


def test_a_failing_block_keeps_its_own_error(realtime, fake):
    with pytest.raises(ZeroDivisionError), fake.assert_triggers("orders", "shipped"):
        raise ZeroDivisionError


def test_events_are_checked_like_a_real_provider_checks_them(realtime, fake):
    with pytest.raises(PayloadTooLarge):
        realtime.trigger("orders", "shipped", "x" * 10_241)
    fake.assert_not_triggered()


def test_a_failure_can_be_ordered(realtime, fake):
    fake.failure = ProviderUnavailable("down", provider="fake", retryable=True)
    with pytest.raises(ProviderUnavailable):
        realtime.trigger("orders", "shipped", 1)
    fake.assert_not_triggered()
    fake.failure = None
    realtime.trigger("orders", "shipped", 1)
    fake.assert_triggered("orders", "shipped")


def test_it_answers_what_it_was_told_of_presence(realtime, fake):
    fake.present["presence-room-1"] = ["7", "7", "8"]
    assert realtime.members("presence-room-1") == ["7", "8"]
    [channel] = realtime.channels(prefix="presence-", info=["user_count"])
    assert (channel.name, channel.occupied, channel.user_count) == ("presence-room-1", True, 2)
    assert not realtime.channel("presence-room-2").occupied


def test_users_and_authorization(realtime, fake):
    @realtime.channel_rule("presence-room-{room}")
    def may_join(user, room):
        return Member(user["sub"])

    realtime.send_to_user("7", "notice", {"n": 1})
    assert [s.name for s in fake.to_user("7")] == ["notice"]
    realtime.disconnect_user("7")
    realtime.revoke("7", "presence-room-1")
    assert (fake.disconnected, fake.revoked) == (["7"], [("7", "presence-room-1")])
    answer = realtime.authorize({"sub": "7"}, "1.2", "presence-room-1")
    assert answer["channels"]["presence-room-1"]["channel_data"] == '{"user_id": "7"}'
