"""A provider that delivers nowhere and remembers everything, with assertions to read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from realtime_kit.channels import user_channel
from realtime_kit.events import Event, Limits, Receipt, check
from realtime_kit.protocol.app import Key
from realtime_kit.providers.base import Capability, ChannelInfo
from realtime_kit.providers.channels_protocol import ChannelsProtocolProvider
from realtime_kit.settings import RealtimeSettings

ANY: Any = type("Any", (), {"__repr__": lambda _self: "ANY"})()
"""Matches whatever was sent."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One event on one channel, as the application triggered it."""

    channel: str
    name: str
    data: Any
    exclude: str | None = None
    id: str | None = None
    mutation: str | None = None

    def __str__(self) -> str:
        extra = f", exclude={self.exclude!r}" if self.exclude else ""
        return f"{self.channel}: {self.name} {self.data!r}{extra}"


class FakeProvider(ChannelsProtocolProvider):
    """For tests: `Realtime(FakeProvider())`, or the `realtime` fixture.

    Events are checked against production's limits, like a real provider would. `authorize`,
    `sign_in` and `parse_webhook` work, with the key `test-key:test-secret`. `present` is what
    `channels` and `members` answer: channel name to user ids. `failure`, when set, is raised by
    the next calls. `disconnected` and `revoked` list the users whose connections were ended.
    """

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(self, *, limits: Limits | None = None) -> None:
        super().__init__(keys=(Key("test-key", "test-secret"),), limits=limits or Limits())
        self.sent: list[Sent] = []
        self.present: dict[str, list[str]] = {}
        self.disconnected: list[str] = []
        self.revoked: list[tuple[str, str | None]] = []
        self.failure: Exception | None = None

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        return cls()

    # --- the provider -----------------------------------------------------------------------

    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        for event in events:
            check(event, self.limits)
        self._fail()
        wanted = tuple(info)
        receipts = []
        for event in events:
            for channel in event.channels:
                self.sent.append(
                    Sent(channel, event.name, event.data, event.exclude, event.id, event.mutation)
                )
                receipts.append(
                    Receipt(
                        channel, event.id, event.epoch, event.offset, self._info(channel, wanted)
                    )
                )
        return receipts

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        self._fail()
        return [
            self.channel(name, info=info)
            for name in sorted(self.present)
            if name.startswith(prefix)
        ]

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        self._fail()
        return ChannelInfo(name, bool(self.present.get(name)), **self._info(name, tuple(info)))

    def members(self, channel: str) -> list[str]:
        self._fail()
        return list(dict.fromkeys(self.present.get(channel, ())))

    def disconnect_user(self, user_id: str) -> None:
        self._fail()
        self.disconnected.append(user_id)

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        self._fail()
        self.revoked.append((user_id, channel))

    def _info(self, channel: str, wanted: tuple[str, ...]) -> dict[str, int]:
        users = self.present.get(channel, [])
        values = {"subscription_count": len(users), "user_count": len(set(users))}
        return {name: values[name] for name in wanted}

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    # --- what was sent ----------------------------------------------------------------------

    def on(self, channel: str, name: str | None = None) -> list[Sent]:
        """What was sent to `channel`, oldest first; only events called `name`, if given."""
        return [s for s in self.sent if s.channel == channel and name in (None, s.name)]

    def to_user(self, user_id: str) -> list[Sent]:
        """What was sent to one user."""
        return self.on(user_channel(str(user_id)))

    def clear(self) -> None:
        """Forget what was sent."""
        self.sent.clear()

    @contextmanager
    def capture(self) -> Iterator[list[Sent]]:
        """The list that it gives holds, when the block ends, what was sent inside it."""
        start = len(self.sent)
        captured: list[Sent] = []
        try:
            yield captured
        finally:
            captured += self.sent[start:]

    def assert_triggered(
        self,
        channel: str,
        name: str,
        data: Any = ANY,
        *,
        count: int | None = None,
        exclude: Any = ANY,
    ) -> None:
        """At least one such event was sent, or exactly `count`. A failure lists what was."""
        _assert_triggered(self.sent, channel, name, data, count, exclude)

    def assert_not_triggered(self, channel: str | None = None, name: str | None = None) -> None:
        """Nothing was sent; with `channel` or `name`, nothing like it."""
        _assert_none(self.sent, channel, name)

    @contextmanager
    def assert_triggers(
        self,
        channel: str,
        name: str,
        data: Any = ANY,
        *,
        count: int | None = None,
        exclude: Any = ANY,
    ) -> Iterator[list[Sent]]:
        """Like `assert_triggered`, for what the block sends."""
        with self.capture() as captured:
            yield captured
        _assert_triggered(captured, channel, name, data, count, exclude)

    @contextmanager
    def assert_triggers_nothing(
        self, channel: str | None = None, name: str | None = None
    ) -> Iterator[None]:
        """Like `assert_not_triggered`, for what the block sends."""
        with self.capture() as captured:
            yield
        _assert_none(captured, channel, name)


def _assert_triggered(
    sent: Sequence[Sent], channel: str, name: str, data: Any, count: int | None, exclude: Any
) -> None:
    found = [
        s
        for s in sent
        if (s.channel, s.name) == (channel, name)
        and (data is ANY or s.data == data)
        and (exclude is ANY or s.exclude == exclude)
    ]
    if len(found) == count or (count is None and found):
        return
    wanted = "at least one" if count is None else f"exactly {count}"
    what = f"{name} on {channel}" + ("" if data is ANY else f" with {data!r}")
    what += "" if exclude is ANY else f" excluding {exclude!r}"
    raise AssertionError(f"expected {wanted} of {what}, found {len(found)}.\n{_listing(sent)}")


def _assert_none(sent: Sequence[Sent], channel: str | None, name: str | None) -> None:
    found = [s for s in sent if channel in (None, s.channel) and name in (None, s.name)]
    if found:
        what = " ".join(filter(None, (name, channel and f"on {channel}"))) or "event"
        raise AssertionError(f"expected no {what}, found {len(found)}.\n{_listing(sent)}")


def _listing(sent: Sequence[Sent]) -> str:
    if not sent:
        return "Nothing was sent."
    return "\n".join(["What was sent:", *(f"  {s}" for s in sent)])
