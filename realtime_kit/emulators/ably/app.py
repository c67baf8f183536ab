"""An app: its keys, namespaces, channels and connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably.access import Access, Revocation
from realtime_kit.emulators.ably.channel import Channel
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.publishing import Published, publish
from realtime_kit.emulators.ably.revisions import change, is_change
from realtime_kit.emulators.ably.timers import Timers
from realtime_kit.emulators.ably.tokens import Tokens
from realtime_kit.emulators.ably.wire import Flag

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.connection import Connection

ALL = '{"*":["*"]}'
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_GONE = 10_000  # ids of connections that were, so that they are told "expired" and not "unknown"


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is `appId.keyId`; `capability` JSON text as it was given."""

    name: str
    secret: str = field(repr=False)
    capability: str = ALL
    revocable_tokens: bool = False

    @classmethod
    def parse(cls, text: str, capability: str = ALL) -> Key:
        """Of `appId.keyId:secret`. Raises `ValueError`."""
        name, colon, secret = text.partition(":")
        app_id, dot, key_id = name.partition(".")
        if not (colon and dot and app_id and key_id and secret):
            raise ValueError("an Ably key is APPID.KEYID:SECRET")
        return cls(name, secret, capability)

    @property
    def app_id(self) -> str:
        return self.name.partition(".")[0]

    @property
    def text(self) -> str:
        """The whole key, secret and all."""
        return f"{self.name}:{self.secret}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """Rules of the channels whose names begin with `id:`."""

    id: str
    persisted: bool = False
    mutable_messages: bool = False


class App:
    """`keys` are by name, `channels` by base name, `connections` by id: those with a client, and
    those whose client may still come back."""

    def __init__(
        self,
        id: str,
        keys: Iterable[Key] = (),
        namespaces: Iterable[Namespace] = (),
        *,
        timers: Timers,
        random: Random,
        limits: Limits | None = None,
    ) -> None:
        self.id = id
        self.keys = {key.name: key for key in keys}
        self.namespaces = {namespace.id: namespace for namespace in namespaces}
        self.limits = limits or Limits()
        self.timers = timers
        self.random = random
        self.tokens = Tokens()
        self.channels: dict[str, Channel] = {}
        self.connections: dict[str, Connection] = {}
        self.gone: dict[str, None] = {}

    def channel(self, base: str) -> Channel:
        """The channel of this name, without qualifiers; made if it is not there."""
        channel = self.channels.get(base)
        if channel is None:
            channel = self.channels[base] = Channel(
                base,
                namespace=self.namespace(base),
                timers=self.timers,
                series=self.token(10),
                limits=self.limits,
            )
        return channel

    def publish(
        self,
        channel: str,
        messages: Sequence[object],
        *,
        access: Access,
        connection: Connection | None = None,
        message_id: str | None = None,
        modes: Flag | None = None,
    ) -> Published:
        """See `publishing.publish`, and for what changes messages `revisions.change`."""
        if any(is_change(message) for message in messages):
            return change(
                self, channel, messages, access=access, connection=connection, message_id=message_id
            )
        return publish(
            self,
            channel,
            messages,
            access=access,
            connection=connection,
            message_id=message_id,
            modes=modes,
        )

    def namespace(self, base: str) -> Namespace:
        id = base.partition(":")[0]
        return self.namespaces.get(id) or Namespace(id)

    def token(self, length: int) -> str:
        """Letters and digits that nobody else has."""
        return "".join(self.random.choices(_BASE62, k=length))

    def now(self) -> int:
        return self.timers.clock()

    def connection_of(self, key: str) -> Connection | None:
        """The connection that has, or had before it last resumed, this connection key."""
        connection = self.connections.get(key.partition("!")[0])
        return connection if connection is not None and connection.has_key(key) else None

    def forget(self, connection: Connection) -> None:
        """It can no longer be resumed."""
        self.connections.pop(connection.id, None)
        self.gone[connection.id] = None
        if len(self.gone) > _GONE:
            del self.gone[next(iter(self.gone))]

    def revoked(self, revocation: Revocation) -> None:
        """End connections of tokens that are void now, and prompt those whose will soon be."""
        if revocation.applies_at_ms > self.now():
            for connection in self._of(revocation):
                connection.prompt()
            self.timers.at(revocation.applies_at_ms, lambda: self._end_revoked(revocation))
        else:
            self._end_revoked(revocation)

    def _end_revoked(self, revocation: Revocation) -> None:
        for connection in self._of(revocation):
            connection.disconnect(AblyError(40141, 401, "Token revoked"))

    def _of(self, revocation: Revocation) -> list[Connection]:
        return [
            connection
            for connection in self.connections.values()
            if connection.socket is not None and revocation.matches(connection.access)
        ]

    def publisher_of(self, connection_key: str) -> Connection:
        """Raises `AblyError` 40006 for a key that is unknown or of a connection that is gone."""
        connection = self.connection_of(connection_key)
        if connection is None:
            raise AblyError(40006, 400, "Malformed message; invalid connectionKey")
        return connection
