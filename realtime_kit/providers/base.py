"""The seam to what delivers: what a provider is asked, and what it answers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from realtime_kit.authorization import Grant, SignIn
from realtime_kit.errors import Unsupported
from realtime_kit.events import Event, Limits, Receipt, check
from realtime_kit.webhooks import WebhookEvent

if TYPE_CHECKING:
    from realtime_kit.protocol.app import Key
    from realtime_kit.settings import RealtimeSettings

SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")
INFO = ("subscription_count", "user_count")  # of a channel


class Capability(StrEnum):
    """What a provider can do beyond `publish`. The conformance suites read these: what is declared
    is tested, and what is not declared must raise `Unsupported`."""

    AUTHORIZE = "authorize"  # authorize(): private and presence channels
    SIGN_IN = "sign_in"  # sign_in(): whose connection it is
    CHANNELS = "channels"  # channels() and channel()
    MEMBERS = "members"  # members()
    SEND_TO_USER = "send_to_user"  # publish() to #server-to-user-…
    DISCONNECT_USER = "disconnect_user"  # disconnect_user()
    REVOKE = "revoke"  # revoke()
    WEBHOOKS = "webhooks"  # parse_webhook()
    ENCRYPTED = "encrypted"  # publish() to private-encrypted-…
    CACHE = "cache"  # publish() to …cache-…: the last event for who subscribes later
    INFO = "info"  # publish(info=…)
    EXCLUDE = "exclude"  # publish() of an event with `exclude`
    CLIENT = "client"  # a browser can connect: client_config() says how


TokenForm = Literal["jwt", "token_request"]
"""The token itself, or what a client exchanges for one at the provider."""
Token = str | Mapping[str, Any]


# Made at each cold start, where a frozen class costs twice as much as one that is not.
@dataclass(slots=True)
class AuthRequest:
    """A subscription (or several) that the rules granted; the provider turns it into proof.

    `socket_id` is the connection's id where the provider has one. On providers that use tokens
    `token` is the one that the client holds already, and `form` the form of the new one.
    """

    user_id: str | None
    socket_id: str | None
    grants: tuple[Grant, ...]
    token: str | None = field(default=None, repr=False)
    form: TokenForm = "jwt"


@dataclass(slots=True)
class AuthAnswer:
    """Proof for the client: by channel what the client sends on, and the token if there is one.

    `refused` says why, by channel, where the rules granted what the provider cannot express.
    """

    channels: Mapping[str, Mapping[str, str]] = field(repr=False)
    token: Token | None = field(default=None, repr=False)
    refused: Mapping[str, str] = field(default_factory=dict)


class ChannelInfo(NamedTuple):
    """A channel as the provider sees it now. None: not asked for, or the provider does not say."""

    name: str
    occupied: bool
    subscription_count: int | None = None
    user_count: int | None = None


class Provider(ABC):
    """One thing that delivers. Thread-safe; makes its connections on first use.

    Channel names are logical. Every error is of `realtime_kit.errors`, the vendor's own kept as
    `__cause__`. What cannot be expressed raises `Unsupported`; nothing is dropped silently.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    limits: Limits
    keys: Sequence[Key] = ()
    """What it signs with for clients, newest first: that signs, all verify."""
    tokens: ClassVar[bool] = False
    """Whether clients hold one token for all channels, which `authorize` always answers."""

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        """Make it from its section. Raises `ConfigurationError`, naming what is missing."""
        return cls()

    @abstractmethod
    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        """Send events, any number, each to any number of channels; one receipt per event and
        channel, in order. Everything is checked before the first byte is sent.

        `info`: "subscription_count" and "user_count" of the channels, returned in the receipts.
        Raises `InvalidEvent`, `InvalidChannel`, `PayloadTooLarge`, `ProviderError`.
        """

    def validate(self, event: Event) -> str:
        """The event's data as the text that travels. Raises what `publish` would raise of the event
        and of the settings that it needs, without sending anything."""
        return check(event, self.limits)

    def is_socket_id(self, text: str) -> bool:
        """Whether `text`, which a browser sent, can be the socket id of a connection, to exclude.

        Here: two numbers joined by a dot, as in the Pusher protocol.
        """
        return SOCKET_ID.fullmatch(text) is not None

    def sealed(self, event: Event) -> str:
        """The text that an event log keeps of an event on an encrypted channel: ciphertext, and all
        that the browser client needs to open it. Raises what `validate` raises."""
        return self.validate(event)

    def authorize(self, request: AuthRequest) -> AuthAnswer:
        """Prove the grants to the client. No network, no vendor import.

        Raises `AuthError` for a socket id that cannot be one.
        """
        raise self._unsupported("authorize channels")

    def names_in(self, token: str, user_id: str | None) -> Sequence[str]:
        """The channels of a token that the client hands back, which may have expired, for the
        rules to decide on again: none, unless it is ours and that user's."""
        return ()

    def sign_in(self, socket_id: str, identity: SignIn) -> Mapping[str, str]:
        """Prove a connection's identity: `{"auth", "user_data"}`. No network, no vendor import."""
        raise self._unsupported("sign users in")

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        """The occupied channels whose logical name starts with `prefix`, sorted by name."""
        raise self._unsupported("list channels")

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        """One channel; `occupied=False` if nobody is there."""
        raise self._unsupported("describe a channel")

    def members(self, channel: str) -> list[str]:
        """Ids of the users on a presence channel, each once."""
        raise self._unsupported("list members")

    def disconnect_user(self, user_id: str) -> None:
        """End all connections of a signed-in user; they do not come back by themselves."""
        raise self._unsupported("disconnect a user")

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        """Make a user's connections (with `channel`: those on it) prove their grants again.

        What the rules still grant is subscribed again by the client; what they do not is over.
        """
        raise self._unsupported("revoke grants")

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Verify, then read. `headers` are found in any case.

        Raises `BadSignature` before anything of the body is parsed, `Expired` for one that is
        signed and too old, `InvalidEvent` for one that is signed and cannot be read.
        """
        raise self._unsupported("send webhooks")

    def client_config(self) -> Mapping[str, Any]:
        """The member `client` of `GET /config` with the transports that a browser can use:
        `{"transports": [...], "socket": {...}}`. No secrets."""
        return {"transports": []}

    def close(self) -> None:  # noqa: B027 - most providers hold nothing
        """Let go of connections. The provider is usable again afterwards."""

    def _wanted(self, info: Iterable[str]) -> tuple[str, ...]:
        """`info` as it was asked for. Raises `Unsupported` for what nobody can tell."""
        wanted = tuple(info)
        for name in wanted:
            if name not in INFO:
                raise Unsupported(
                    f"provider {self.name!r} cannot tell {name!r} of a channel; it can tell "
                    + " and ".join(INFO)
                )
        return wanted

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"provider {self.name!r} cannot {what}")
