"""A client of Ably that only listens, for `realtime-kit listen`: the official SDK, with the key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from realtime_kit.channels import kind_of, validate
from realtime_kit.cli._listener import Received
from realtime_kit.errors import ProviderUnavailable, Rejected, Unsupported, missing_extra
from realtime_kit.providers.ably_names import ably_name

try:
    from ably import AblyException, AblyRealtime
except ModuleNotFoundError as error:
    raise missing_extra("ably", "`realtime-kit listen` on Ably") from error

if TYPE_CHECKING:
    from realtime_kit.settings import AblySettings

HANDSHAKE = 15.0  # seconds until the first connection must be there
PROVIDER = "ably"
_TOLD = {2: "pusher:member_added", 1: "pusher:member_added", 3: "pusher:member_removed"}


class AblyListener:
    """Listens to channels until it is cancelled; the SDK comes back from lost connections.

    `on_event` is called with each event, `notice` with lines for a person. `user_id` is who it is
    on presence channels.
    """

    def __init__(
        self,
        settings: AblySettings,
        channels: Iterable[str],
        *,
        user_id: str,
        on_event: Callable[[Received], object],
        notice: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._channels = tuple(dict.fromkeys(map(validate, channels)))
        self._user_id = user_id
        self._on_event = on_event
        self._notice = notice
        for name in self._channels:
            if kind_of(name).is_encrypted:
                raise Unsupported(f"{name}: `listen` cannot open what is encrypted on Ably")

    async def run(self) -> None:
        """Raises `ProviderUnavailable` if the first connection fails, and `Rejected` if Ably
        refuses the key or a channel."""
        logging.getLogger("ably").setLevel(logging.CRITICAL)  # what it has to say is raised here
        client = AblyRealtime(client_id=self._user_id, **self._options())
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await self._connected(client)
            client.connection.on(lambda change: self._changed(over, change))
            for name in self._channels:
                await self._join(client, name)
                self._notice(f"listening to {name}")
            await over
        except AblyException as error:
            raise self._rejected(error) from error
        finally:
            await client.close()

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        key = settings.keys[0]
        options: dict[str, Any] = {
            "key": f"{key.key}:{key.secret.get_secret_value()}",
            "tls": settings.tls,
        }
        if settings.endpoint:
            # Its realtime client has no other ear for a port.
            port = f":{settings.port}" if settings.port else ""
            options["endpoint"] = f"{settings.endpoint}{port}"
        return options

    async def _connected(self, client: AblyRealtime) -> None:
        states: asyncio.Queue[Any] = asyncio.Queue()
        client.connection.on(states.put_nowait)
        try:
            async with asyncio.timeout(HANDSHAKE):
                while client.connection.state != "connected":
                    change = await states.get()
                    if change.current == "failed":
                        raise self._rejected(change.reason)
                    if change.current in ("disconnected", "suspended"):
                        raise self._unavailable(change.reason)
        except TimeoutError as error:
            raise self._unavailable("no answer in time") from error
        finally:
            client.connection.off(states.put_nowait)

    async def _join(self, client: AblyRealtime, name: str) -> None:
        kind = kind_of(name)
        params = {"rewind": "1"} if kind.is_cache else {}
        channel = client.channels.get(ably_name(name), params=params)
        if kind.is_presence:
            await channel.presence.subscribe(lambda member: self._presence(name, member))
            await channel.presence.enter({"name": self._user_id})
        await channel.subscribe(lambda message: self._message(name, message))

    def _message(self, name: str, message: Any) -> None:
        event = str(message.name)
        is_whisper = event.startswith("client-")
        user_id = message.client_id if is_whisper else None
        self._on_event(Received(name, event, message.data, user_id))

    def _presence(self, name: str, member: Any) -> None:
        event = _TOLD.get(int(member.action))
        if event is not None and member.client_id != self._user_id:
            self._on_event(Received(name, event, {"user_id": member.client_id}))

    def _changed(self, over: asyncio.Future[None], change: Any) -> None:
        if change.current == "failed" and not over.done():
            over.set_exception(self._rejected(change.reason))
        elif change.current in ("disconnected", "suspended", "connected"):
            why = "" if change.reason is None else f": {change.reason}"
            self._notice(f"{change.current}{why}")

    def _rejected(self, error: Any) -> Rejected:
        return Rejected(str(error), provider=PROVIDER, code=getattr(error, "code", None))

    def _unavailable(self, why: object) -> ProviderUnavailable:
        place = self._settings.endpoint or "Ably"
        return ProviderUnavailable(
            f"no connection to {place}: {why}", provider=PROVIDER, retryable=True
        )
