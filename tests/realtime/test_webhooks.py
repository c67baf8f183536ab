"""Webhooks: verified, normalised, handed to every handler."""

from __future__ import annotations

import json
import time

import pytest

from realtime_kit import BadSignature, ConfigurationError, Expired, Realtime, Unsupported
from realtime_kit.protocol import signing

SECRET = "test-secret"  # FakeProvider's


@pytest.fixture
def signed():
    def make(*events, key="test-key", secret=SECRET, age=0.0):
        body = json.dumps({"time_ms": int((time.time() - age) * 1000), "events": events}).encode()
        signature = signing.webhook_signature(secret, body)
        return {"X-Pusher-Key": key, "X-Pusher-Signature": signature}, body

    return make


OCCUPIED = {"name": "channel_occupied", "channel": "a"}
ADDED = {"name": "member_added", "channel": "presence-a", "user_id": "7"}
NEW = {"name": "something_new", "channel": "a", "more": 1}


class TestHandlers:
    def test_by_kind(self, realtime, signed):
        heard = []
        for kinds in (["member_added"], ["channel_occupied", "unknown"], ["*"]):
            realtime.on(*kinds)(lambda event, kinds=kinds: heard.append((kinds[0], event.kind)))
        events = realtime.handle_webhook(*signed(OCCUPIED, ADDED, NEW))
        assert [event.kind for event in events] == ["channel_occupied", "member_added", "unknown"]
        assert heard == [
            ("channel_occupied", "channel_occupied"),
            ("*", "channel_occupied"),
            ("member_added", "member_added"),
            ("*", "member_added"),
            ("channel_occupied", "unknown"),
            ("*", "unknown"),
        ]

    def test_the_raw_event_is_kept(self, realtime, signed):
        (event,) = realtime.handle_webhook(*signed(NEW))
        assert event.raw == NEW
        assert (event.provider, event.channel) == ("fake", "a")

    def test_one_that_fails_hides_no_other(self, realtime, signed):
        heard = []

        @realtime.on("member_added")
        def fails(event):
            raise LookupError(event.user_id)

        @realtime.on("member_added")
        def hears(event):
            heard.append(event.channel)

        two = {**ADDED, "channel": "presence-b", "user_id": "8"}
        with pytest.raises(ExceptionGroup, match="webhook handlers failed") as caught:
            realtime.handle_webhook(*signed(ADDED, two))
        assert heard == ["presence-a", "presence-b"]
        assert [str(error) for error in caught.value.exceptions] == ["7", "8"]

    @pytest.mark.parametrize("kinds", [["member_joined"], ["member_added", "Member_added"], []])
    def test_an_unknown_kind_is_refused(self, realtime, kinds):
        with pytest.raises(ConfigurationError, match="known: channel_occupied"):
            realtime.on(*kinds)


class TestVerification:
    def test_nothing_is_heard_of_what_does_not_verify(self, realtime, signed):
        realtime.on("*")(lambda event: pytest.fail("heard"))
        headers, body = signed(ADDED)
        with pytest.raises(BadSignature):
            realtime.handle_webhook(headers, body + b" ")
        with pytest.raises(BadSignature):
            realtime.handle_webhook(*signed(ADDED, secret="other"))
        with pytest.raises(BadSignature):
            realtime.handle_webhook(*signed(ADDED, key="other"))
        with pytest.raises(BadSignature):
            realtime.handle_webhook({}, body)
        with pytest.raises(Expired):
            realtime.handle_webhook(*signed(ADDED, age=301))

    def test_a_provider_that_sends_none(self):
        with pytest.raises(Unsupported, match="'null' cannot send webhooks"):
            Realtime("null").handle_webhook({}, b"")
