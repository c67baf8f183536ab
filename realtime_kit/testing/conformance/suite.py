"""What every suite stands on, and the one that holds a provider to what it declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.errors import Unsupported
from realtime_kit.events import Event
from realtime_kit.providers.base import AuthAnswer, AuthRequest, Capability, Provider
from realtime_kit.testing.conformance.wire import Observer, Wire

Connect = Callable[[], Observer]


class Suite:
    """Base of the suites. `covers`: the capabilities that a suite's tests are about.

    A provider's test file gives the fixtures `provider` and `wire`.
    """

    covers: ClassVar[frozenset[Capability]] = frozenset()

    @pytest.fixture
    def connect(self, provider: Provider, wire: Wire) -> Iterator[Connect]:
        """Each call is one more browser."""
        observers: list[Observer] = []

        def connect() -> Observer:
            observer = wire.connect(provider.client_config())
            observers.append(observer)
            return observer

        yield connect
        for observer in observers:
            observer.close()


def prove(
    provider: Provider,
    observer: Observer,
    channel: str,
    member: Member | None = None,
    *,
    publish: bool = False,
) -> AuthAnswer:
    """The provider's answer for a subscription that the rules granted."""
    grant = Grant(member, channel=channel, publish=publish)
    user_id = None if member is None else member.id
    return provider.authorize(AuthRequest(user_id, observer.socket_id, (grant,)))


def join(
    provider: Provider,
    observer: Observer,
    channel: str,
    member: Member | None = None,
    *,
    publish: bool = False,
) -> None:
    """Subscribe with proof; `publish`: with leave to send client events."""
    observer.subscribe(channel, prove(provider, observer, channel, member, publish=publish))


def sign_in(provider: Provider, observer: Observer, user_id: str) -> None:
    """Sign the browser in."""
    observer.sign_in(provider.sign_in(observer.socket_id, SignIn(user_id)))


def _publish(channel: str, exclude: str | None = None) -> Callable[[Provider], Any]:
    return lambda provider: provider.publish([Event((channel,), "update", {}, exclude=exclude)])


_USES: dict[Capability, Callable[[Provider], Any]] = {
    Capability.AUTHORIZE: lambda provider: provider.authorize(
        AuthRequest("7", "1.1", (Grant(channel="private-room"),))
    ),
    Capability.SIGN_IN: lambda provider: provider.sign_in("1.1", SignIn("7")),
    Capability.CHANNELS: lambda provider: (provider.channels(), provider.channel("news")),
    Capability.MEMBERS: lambda provider: provider.members("presence-room"),
    Capability.SEND_TO_USER: _publish("#server-to-user-7"),
    Capability.DISCONNECT_USER: lambda provider: provider.disconnect_user("7"),
    Capability.REVOKE: lambda provider: provider.revoke("7"),
    Capability.WEBHOOKS: lambda provider: provider.parse_webhook({}, b"{}"),
    Capability.ENCRYPTED: _publish("private-encrypted-room"),
    Capability.CACHE: _publish("cache-room"),
    Capability.INFO: lambda provider: provider.publish(
        [Event(("news",), "update", {})], info=["subscription_count"]
    ),
    Capability.EXCLUDE: _publish("news", exclude="1.1"),
}


class DeclaredSuite:
    """What a provider declares is tested, what is tested is declared, and the rest says so.

    It looks at the module that it is subclassed in.
    """

    def test_all_that_is_declared_is_tested(
        self, request: pytest.FixtureRequest, provider: Provider
    ) -> None:
        untested = provider.capabilities - _covered(request)
        assert not untested, f"declared by {provider.name}, and no suite here covers it: {untested}"

    def test_all_that_is_tested_is_declared(
        self, request: pytest.FixtureRequest, provider: Provider
    ) -> None:
        undeclared = _covered(request) - provider.capabilities
        assert not undeclared, f"tested here, and {provider.name} does not declare: {undeclared}"

    @pytest.mark.parametrize("capability", Capability)
    def test_what_is_not_declared_is_unsupported(
        self, provider: Provider, capability: Capability
    ) -> None:
        if capability is Capability.CLIENT:
            transports = provider.client_config()["transports"]
            assert bool(transports) is (capability in provider.capabilities)
        elif capability not in provider.capabilities:
            with pytest.raises(Unsupported, match=provider.name):
                _USES[capability](provider)

    def test_it_has_a_name_and_limits(self, provider: Provider) -> None:
        assert provider.name
        assert provider.limits.data > 0


def _covered(request: pytest.FixtureRequest) -> frozenset[Capability]:
    suites = [
        value
        for name, value in vars(request.module).items()
        if name.startswith("Test") and isinstance(value, type) and issubclass(value, Suite)
    ]
    return frozenset[Capability]().union(*(suite.covers for suite in suites))
