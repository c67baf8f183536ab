"""Accepts everything, delivers nothing: for tests, and for a deployment with real time off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from realtime_kit.authorization import SignIn
from realtime_kit.events import Event, Limits, Receipt
from realtime_kit.providers.base import AuthAnswer, AuthRequest, Capability, ChannelInfo, Provider


class NullProvider(Provider):
    """Nobody can connect, so every answer is that of an empty house: no channels, no members,
    nobody to disconnect. Events are checked like those of a provider that sends them. The rules
    decide as ever; what they grant is answered without a proof, because nothing asks for one.
    """

    name: ClassVar[str] = "null"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability) - {
        Capability.CLIENT,
        Capability.WEBHOOKS,
    }

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()

    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        counts = self._nobody(info)
        texts = [self.validate(event) for event in events]
        for event, text in zip(events, texts, strict=True):
            self._accept(event, text)
        return [
            Receipt(name, event.id, event.epoch, event.offset, counts)
            for event in events
            for name in event.channels
        ]

    def _accept(self, event: Event, text: str) -> None:
        """What is done with an event: nothing."""

    def authorize(self, request: AuthRequest) -> AuthAnswer:
        return AuthAnswer({grant.channel: {} for grant in request.grants})

    def sign_in(self, socket_id: str, identity: SignIn) -> Mapping[str, str]:
        return {}

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        self._nobody(info)
        return []

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        return ChannelInfo(name, False, **self._nobody(info))

    def members(self, channel: str) -> list[str]:
        return []

    def disconnect_user(self, user_id: str) -> None:
        """Nobody is connected."""

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        """Nobody is connected."""

    def _nobody(self, info: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(self._wanted(info), 0)
