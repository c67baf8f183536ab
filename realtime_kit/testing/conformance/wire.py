"""What the suites see of the far end: browsers, and the webhooks that the provider sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime_kit.providers.base import AuthAnswer

DEADLINE = 5.0
"""Seconds for which anything that must happen is waited for."""


class Refused(Exception):
    """The provider did not take a browser's proof."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as a page's handler gets it: `data` decoded and decrypted, without our own ids.

    Those are in `ids` under their names of the wire protocol: id, offset, epoch, mutation.
    """

    channel: str
    name: str
    data: Any
    ids: Mapping[str, Any] = field(default_factory=dict)


class Observer(Protocol):
    """One browser that really is connected."""

    @property
    def socket_id(self) -> str:
        """Its id, for `AuthRequest` and `exclude`."""

    def subscribe(self, channel: str, answer: AuthAnswer | None = None) -> None:
        """Return when the provider has confirmed it. Raises `Refused`."""

    def sign_in(self, proof: Mapping[str, str]) -> None:
        """Return when the provider has confirmed it. Raises `Refused`."""

    def send(self, channel: str, name: str, data: Any) -> None:
        """Send a client event; `name` has its prefix."""

    def receive(self) -> Delivery:
        """The next event; `AssertionError` if none comes before the deadline."""

    def wait_closed(self) -> None:
        """Until the provider closed the connection; `AssertionError` at the deadline."""

    def close(self) -> None:
        """Leave."""


class Wire(Protocol):
    """The far end of the provider under test."""

    def connect(self, config: Mapping[str, Any]) -> Observer:
        """A browser that connects as `Provider.client_config()` says."""

    def webhook(self) -> tuple[Mapping[str, str], bytes]:
        """The next webhook, headers and body; `AssertionError` at the deadline."""
