"""Providers to which nobody can connect: they accept what a real one accepts."""

from __future__ import annotations

import pytest

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.errors import InvalidChannel, PayloadTooLarge, Unsupported
from realtime_kit.events import Event
from realtime_kit.providers.base import AuthRequest, Capability, ChannelInfo, Provider
from realtime_kit.testing.conformance.suite import Suite


class SilentSuite(Suite):
    """In place of the suites that need a browser at the far end; needs no `wire`."""

    covers = frozenset(Capability) - {Capability.CLIENT, Capability.WEBHOOKS}

    def test_every_event_has_its_receipts(self, provider: Provider) -> None:
        events = [
            Event(("news", "#server-to-user-7"), "update", {"a": 1}, id="e1", exclude="1.1"),
            Event(("private-encrypted-room",), "update", 2, id="e2"),
            Event(("cache-price",), "update", 3, id="e3", epoch="x", offset=9),
        ]
        receipts = provider.publish(events, info=["subscription_count"])
        assert [(r.channel, r.id, r.epoch, r.offset) for r in receipts] == [
            ("news", "e1", None, None),
            ("#server-to-user-7", "e1", None, None),
            ("private-encrypted-room", "e2", None, None),
            ("cache-price", "e3", "x", 9),
        ]
        assert {r.info["subscription_count"] for r in receipts} == {0}

    def test_what_a_real_one_refuses_is_refused(self, provider: Provider) -> None:
        good = Event(("news",), "update", {})
        with pytest.raises(InvalidChannel):
            provider.publish([good, Event(("not a name",), "update", {})])
        with pytest.raises(PayloadTooLarge):
            provider.publish([good, Event(("news",), "update", "x" * 100_000)])
        with pytest.raises(Unsupported):
            provider.publish([good], info=["colour"])

    def test_grants_are_answered_without_a_proof(self, provider: Provider) -> None:
        grants = (Grant(channel="private-a"), Grant(Member("7"), channel="presence-b"))
        answer = provider.authorize(AuthRequest("7", None, grants))
        assert answer.channels == {"private-a": {}, "presence-b": {}}
        assert provider.sign_in("1.1", SignIn("7")) == {}

    def test_nobody_is_there(self, provider: Provider) -> None:
        assert provider.channels(info=["user_count"]) == []
        assert provider.channel("news", info=["user_count"]) == ChannelInfo(
            "news", False, user_count=0
        )
        assert provider.members("presence-room") == []
        provider.disconnect_user("7")
        provider.revoke("7", channel="presence-room")
