"""Who is there: queries, and the webhooks that tell it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import ClassVar

import pytest

from realtime_kit.authorization import Member
from realtime_kit.errors import BadSignature, Expired, InvalidChannel, Unsupported
from realtime_kit.providers.base import Capability, ChannelInfo, Provider
from realtime_kit.testing.conformance.suite import Connect, Suite, join
from realtime_kit.testing.conformance.wire import Wire
from realtime_kit.webhooks import WebhookEvent, WebhookKind


class ChannelsSuite(Suite):
    """`channels` and `channel`."""

    covers = frozenset({Capability.CHANNELS})

    def test_occupied_channels_by_prefix(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        for name in ("sport", "news-2", "news-1"):
            page.subscribe(name)
        assert [info.name for info in provider.channels()] == ["news-1", "news-2", "sport"]
        assert provider.channels(prefix="news-") == [
            ChannelInfo("news-1", True),
            ChannelInfo("news-2", True),
        ]
        assert provider.channels(prefix="none&info=user_count#") == []

    def test_user_counts(self, provider: Provider, connect: Connect) -> None:
        for user_id in ("7", "7", "8"):
            join(provider, connect(), "presence-room", Member(user_id))
        wanted = ChannelInfo("presence-room", True, user_count=2)
        assert provider.channels(prefix="presence-", info=["user_count"]) == [wanted]
        assert provider.channel("presence-room", info=["user_count"]) == wanted

    def test_one_channel(self, provider: Provider, connect: Connect) -> None:
        assert provider.channel("news") == ChannelInfo("news", False)
        connect().subscribe("news")
        assert provider.channel("news") == ChannelInfo("news", True)

    def test_what_cannot_be_asked(self, provider: Provider) -> None:
        with pytest.raises(Unsupported, match="colour"):
            provider.channels(info=["colour"])
        with pytest.raises(Unsupported, match="colour"):
            provider.channel("news", info=["colour"])
        with pytest.raises(InvalidChannel):
            provider.channel("../users/7")


class MembersSuite(Suite):
    """`members`."""

    covers = frozenset({Capability.MEMBERS})

    def test_each_user_once(self, provider: Provider, connect: Connect) -> None:
        assert provider.members("presence-room") == []
        for user_id in ("7", "7", "8"):
            join(provider, connect(), "presence-room", Member(user_id))
        assert sorted(provider.members("presence-room")) == ["7", "8"]

    def test_a_name_that_cannot_be_one(self, provider: Provider) -> None:
        with pytest.raises(InvalidChannel):
            provider.members("presence room")


class WebhookSuite(Suite):
    """`parse_webhook`, on the webhooks that the provider really sends.

    Fixture `stale_webhook`: one (headers, body), signed as it should be, hours old.
    `names_sender`: the webhook of a client event says by which socket id it was sent.
    """

    covers = frozenset({Capability.WEBHOOKS})
    names_sender: ClassVar[bool] = True

    def test_members_come_and_speak(self, provider: Provider, wire: Wire, connect: Connect) -> None:
        page = connect()
        join(provider, page, "presence-room", Member("7", {"name": "Zoë"}), publish=True)
        page.send("presence-room", "client-typing", {"on": True, "text": "☃"})
        wanted = {
            WebhookKind.CHANNEL_OCCUPIED,
            WebhookKind.MEMBER_ADDED,
            WebhookKind.CLIENT_EVENT,
        }
        found: dict[WebhookKind, WebhookEvent] = {}
        while set(found) < wanted:
            found |= {event.kind: event for event in provider.parse_webhook(*wire.webhook())}
        for event in found.values():
            assert (event.channel, event.provider) == ("presence-room", provider.name)
            assert event.time.tzinfo is UTC
            assert event.raw
        assert found[WebhookKind.MEMBER_ADDED].user_id == "7"
        typing = found[WebhookKind.CLIENT_EVENT]
        assert (typing.event, typing.data) == ("client-typing", {"on": True, "text": "☃"})
        assert typing.user_id == "7"
        assert typing.socket_id == (page.socket_id if self.names_sender else None)

    def test_header_names_are_found_in_any_case(
        self, provider: Provider, wire: Wire, connect: Connect
    ) -> None:
        connect().subscribe("news")
        headers, body = wire.webhook()
        for change in (str.upper, str.lower):
            assert provider.parse_webhook({change(k): v for k, v in headers.items()}, body)

    def test_what_was_changed_is_refused(
        self, provider: Provider, wire: Wire, connect: Connect
    ) -> None:
        connect().subscribe("news")
        headers, body = wire.webhook()
        assert provider.parse_webhook(headers, body)
        for changed in (body.replace(b"news", b"nows"), body + b" ", b"", b"\xff", b"["):
            with pytest.raises(BadSignature):
                provider.parse_webhook(headers, changed)
        for name in headers:
            others = {key: value for key, value in headers.items() if key != name}
            for broken in ({**others, name: "ünknown"}, others):
                if name.lower().startswith("x-"):
                    with pytest.raises(BadSignature):
                        provider.parse_webhook(broken, body)

    def test_what_is_old_is_refused(
        self, provider: Provider, stale_webhook: tuple[Mapping[str, str], bytes]
    ) -> None:
        with pytest.raises(Expired):
            provider.parse_webhook(*stale_webhook)
