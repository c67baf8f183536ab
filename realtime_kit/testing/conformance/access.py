"""Who may: proofs of subscriptions and of users, and their end."""

from __future__ import annotations

import json

import pytest

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.channels import user_channel
from realtime_kit.errors import AuthError
from realtime_kit.providers.base import AuthAnswer, AuthRequest, Capability, Provider
from realtime_kit.testing.conformance.publishing import publish
from realtime_kit.testing.conformance.suite import Connect, Suite, join, prove, sign_in
from realtime_kit.testing.conformance.wire import Refused


class ClientSuite(Suite):
    """`client_config()`: a browser connects with it, and it gives nothing away."""

    covers = frozenset({Capability.CLIENT})

    def test_a_browser_connects_with_it(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        page.subscribe("news")
        publish(provider, "news", "hello")
        assert page.receive().data == "hello"

    def test_it_is_json_without_a_secret(self, provider: Provider, secrets: list[str]) -> None:
        """Fixture `secrets`: the texts that must never leave the server."""
        text = json.dumps(provider.client_config()) + repr(provider)
        assert secrets
        assert not [secret for secret in secrets if secret in text]


class ChannelAuthSuite(Suite):
    """`authorize`: the proof opens its channel, for its connection, and nothing else."""

    covers = frozenset({Capability.AUTHORIZE})

    def test_a_private_channel_opens_with_proof(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        join(provider, page, "private-orders-42")
        publish(provider, "private-orders-42", "shipped")
        assert page.receive().data == "shipped"

    def test_without_proof_it_stays_closed(self, connect: Connect) -> None:
        page = connect()
        for channel in ("private-orders-42", "presence-room"):
            with pytest.raises(Refused):
                page.subscribe(channel)

    def test_the_proof_is_for_one_connection(self, provider: Provider, connect: Connect) -> None:
        page, thief = connect(), connect()
        answer = prove(provider, page, "private-orders-42")
        with pytest.raises(Refused):
            thief.subscribe("private-orders-42", answer)

    def test_the_proof_is_for_one_channel(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        stolen = prove(provider, page, "private-orders-42").channels["private-orders-42"]
        with pytest.raises(Refused):
            page.subscribe("private-orders-43", AuthAnswer({"private-orders-43": stolen}))

    def test_a_presence_channel_knows_its_members(
        self, provider: Provider, connect: Connect
    ) -> None:
        page = connect()
        answer = prove(provider, page, "presence-room", Member("7", {"name": "Zoë ☃"}))
        page.subscribe("presence-room", answer)
        publish(provider, "presence-room", "hello")
        assert page.receive().data == "hello"

    def test_several_channels_are_answered_at_once(
        self, provider: Provider, connect: Connect
    ) -> None:
        page = connect()
        grants = (
            Grant(channel="private-a"),
            Grant(channel="private-b"),
            Grant(Member("7"), channel="presence-c"),
        )
        answer = provider.authorize(AuthRequest("7", page.socket_id, grants))
        assert list(answer.channels) == ["private-a", "private-b", "presence-c"]
        for name in answer.channels:
            page.subscribe(name, answer)

    @pytest.mark.parametrize("socket_id", [None, "", "1", "1.2.3", "1.1:private-x", "٣.1", "1.1\n"])
    def test_a_socket_id_that_cannot_be_one(
        self, provider: Provider, socket_id: str | None
    ) -> None:
        with pytest.raises(AuthError):
            provider.authorize(AuthRequest("7", socket_id, (Grant(channel="private-a"),)))

    def test_the_proof_is_not_shown(self, provider: Provider, connect: Connect) -> None:
        answer = prove(provider, connect(), "private-a")
        assert answer.channels["private-a"]["auth"] not in repr(answer)


class UserAuthSuite(Suite):
    """`sign_in`: whose connection it is."""

    covers = frozenset({Capability.SIGN_IN})

    def test_a_connection_signs_in(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        identity = SignIn("7", {"name": "Zoë"}, ("8", "9"))
        page.sign_in(provider.sign_in(page.socket_id, identity))

    def test_the_proof_is_for_one_connection(self, provider: Provider, connect: Connect) -> None:
        page, thief = connect(), connect()
        proof = provider.sign_in(page.socket_id, SignIn("7"))
        with pytest.raises(Refused):
            thief.sign_in(proof)

    def test_a_socket_id_that_cannot_be_one(self, provider: Provider) -> None:
        for socket_id in ("1.1::user", "", "1.1\n"):
            with pytest.raises(AuthError):
                provider.sign_in(socket_id, SignIn("7"))


class SendToUserSuite(Suite):
    """Events for one signed-in user, on all of that user's connections."""

    covers = frozenset({Capability.SEND_TO_USER})

    def test_all_pages_of_the_user_receive_it_and_no_other(
        self, provider: Provider, connect: Connect
    ) -> None:
        pages, other = [connect(), connect()], connect()
        for page in pages:
            sign_in(provider, page, "7")
            page.subscribe(user_channel("7"))
        sign_in(provider, other, "8")
        other.subscribe(user_channel("8"))
        publish(provider, user_channel("7"), "for 7")
        publish(provider, user_channel("8"), "for 8")
        assert [page.receive().data for page in pages] == ["for 7"] * 2
        assert other.receive().data == "for 8"

    def test_nobody_else_can_listen(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        sign_in(provider, page, "8")
        with pytest.raises(Refused):
            page.subscribe(user_channel("7"))


class DisconnectSuite(Suite):
    """`disconnect_user`: all connections of one user end."""

    covers = frozenset({Capability.DISCONNECT_USER})

    def test_the_users_connections_end_and_no_others(
        self, provider: Provider, connect: Connect
    ) -> None:
        pages, other = [connect(), connect()], connect()
        for page in pages:
            sign_in(provider, page, "7")
        sign_in(provider, other, "8")
        other.subscribe("news")
        provider.disconnect_user("7")
        for page in pages:
            page.wait_closed()
        publish(provider, "news", "still here")
        assert other.receive().data == "still here"

    def test_a_user_who_is_not_there(self, provider: Provider) -> None:
        provider.disconnect_user("nobody")


class RevokeSuite(Suite):
    """`revoke`: what a user's connections were granted has to be proven again."""

    covers = frozenset({Capability.REVOKE})

    @pytest.mark.parametrize("channel", [None, "presence-room"])
    def test_the_users_connections_end_and_no_others(
        self, provider: Provider, connect: Connect, channel: str | None
    ) -> None:
        page, other = connect(), connect()
        for user_id, who in (("7", page), ("8", other)):
            sign_in(provider, who, user_id)
            join(provider, who, "presence-room", Member(user_id))
        provider.revoke("7", channel=channel)
        page.wait_closed()
        publish(provider, "presence-room", "still here")
        assert other.receive().data == "still here"

    def test_a_user_who_is_not_there(self, provider: Provider) -> None:
        provider.revoke("nobody")
