"""`access` where a proof is a token: whose it is stands in it, and not which connection's."""

from __future__ import annotations

import pytest

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.providers.base import AuthRequest, Provider
from realtime_kit.testing.conformance import access
from realtime_kit.testing.conformance.suite import Connect, prove, sign_in
from realtime_kit.testing.conformance.wire import Refused


class ChannelAuthSuite(access.ChannelAuthSuite):
    def test_the_proof_is_for_one_connection(self, provider: Provider, connect: Connect) -> None:
        """Whoever has a token of user 7 is user 7: they cannot be on a channel as somebody else."""
        page, thief = connect(), connect()
        sign_in(provider, thief, "8")
        thief.subscribe("presence-room", prove(provider, page, "presence-room", Member("7")))
        assert provider.members("presence-room") == ["7"]

    @pytest.mark.parametrize("socket_id", [None, "", "1:2"])
    def test_a_socket_id_that_cannot_be_one(
        self, provider: Provider, socket_id: str | None
    ) -> None:
        """Nobody has one yet when they fetch their first token."""
        request = AuthRequest("7", socket_id, (Grant(channel="private-a"),))
        assert provider.authorize(request).token

    def test_the_proof_is_not_shown(self, provider: Provider, connect: Connect) -> None:
        answer = prove(provider, connect(), "private-a")
        assert str(answer.token) not in repr(answer)


class UserAuthSuite(access.UserAuthSuite):
    def test_a_connection_signs_in(self, provider: Provider, connect: Connect) -> None:
        page = connect()
        page.sign_in(provider.sign_in(page.socket_id, SignIn("7", {"name": "Zoë"})))
        page.subscribe("#server-to-user-7")

    def test_the_proof_is_for_one_connection(self, provider: Provider, connect: Connect) -> None:
        """It opens the channel of the user that it is about, and no other's."""
        page, thief = connect(), connect()
        thief.sign_in(provider.sign_in(page.socket_id, SignIn("7")))
        with pytest.raises(Refused):
            thief.subscribe("#server-to-user-8")

    def test_a_socket_id_that_cannot_be_one(self, provider: Provider) -> None:
        assert provider.sign_in("", SignIn("7"))["auth"]
