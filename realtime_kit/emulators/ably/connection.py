"""A connection: what outlives its transports, for as long as its client may come back.

Source: specification, RTN15 and RTN16 (resume, recover), RTN23 (heartbeats), CD (details); docs,
"Connection state".
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from realtime_kit.emulators.ably import presence
from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.limits import Allowance
from realtime_kit.emulators.ably.publishing import denied
from realtime_kit.emulators.ably.timers import Timer
from realtime_kit.emulators.ably.wire import Action, Frame

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App
    from realtime_kit.emulators.ably.attachment import Attachment

_RESULTS = 1_000
_IDLE = (5_000, 1_800_000)
_GC_GRACE = 86_400_000


class Socket(Protocol):
    """A transport: what is given to it goes out in order."""

    def send(self, frame: Frame) -> None: ...

    def ping(self) -> None:
        """A heartbeat of the transport's own."""

    def close(self) -> None:
        """End it, after what was sent before."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asks for when it connects (RTN2). Times are in milliseconds.

    `heartbeats`: as protocol messages; else pings of the transport do. `remain_present`: how long
    members stay when the connection is lost.
    """

    echo: bool = True
    heartbeats: bool = True
    idle_interval: int | None = None
    remain_present: int | None = None

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Options:
        """Raises `AblyError` 40003 for a number that is none."""
        idle = _milliseconds(params, "heartbeatInterval")
        remain = _milliseconds(params, "remainPresentFor")
        return cls(
            echo=params.get("echo", "true").lower() != "false",
            heartbeats=params.get("heartbeats", "true").lower() != "false",
            idle_interval=None if idle is None else min(max(idle, _IDLE[0]), _IDLE[1]),
            remain_present=None if remain is None else max(remain, 1_000),
        )


class Connection:
    """`attachments` are by the channel's name as the client wrote it. `results` are the answers to
    what it sent, by msgSerial, for when it sends it again (RTN19a)."""

    def __init__(self, app: App, access: Access, options: Options) -> None:
        self.app = app
        self.id = app.token(10)
        self.access = access
        self.options = options
        self.attachments: dict[str, Attachment] = {}
        self.present_on: set[str] = set()
        self.results: OrderedDict[int, Frame] = OrderedDict()
        self.socket: Socket | None = None
        self._allowance = _allowance(app)
        self._secret = app.token(16)
        self._generation = 0
        self._sent_at = 0
        self._timers: dict[str, Timer] = {}

    @property
    def echo(self) -> bool:
        return self.options.echo

    # --- its key ----------------------------------------------------------------------------

    @property
    def key(self) -> str:
        return f"{self.id}!{self._secret}-{self._generation}"

    def has_key(self, key: str) -> bool:
        """Whether this is its key, or was before it last resumed."""
        secret, _, generation = key.partition("!")[2].rpartition("-")
        same = hmac.compare_digest(secret.encode(), self._secret.encode())
        return same and generation.isdigit() and int(generation) <= self._generation

    # --- transports -------------------------------------------------------------------------

    def connect(self, socket: Socket, error: AblyError | None = None) -> None:
        """A transport for it, the first or a later one: the client is told CONNECTED."""
        if self.socket is not None:
            self.lose(keep_presence=True)
        self._cancel("leave", "forget")
        self._generation += 1
        self.socket = socket
        self.send_connected(error)
        self._watch_idle()
        self._watch_expiry()

    def send_connected(self, error: AblyError | None = None) -> None:
        """Tell the client who it is (RTN4, RTN15c, RTN24)."""
        self.send(
            Frame(
                Action.CONNECTED,
                connectionId=self.id,
                connectionKey=self.key,
                connectionDetails=self._details(),
                error=error.info() if error is not None else None,
                timestamp=self.app.now(),
            )
        )

    def send(self, frame: Frame) -> None:
        """Send, if there is a transport; what is lost is had by channel serial later."""
        if self.socket is not None:
            self._sent_at = self.app.now()
            self.socket.send(frame)

    def lose(self, *, keep_presence: bool = False) -> None:
        """Its transport is gone; the client may come back for it (RTN15)."""
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.close()
        self.detach_all()
        self._cancel("idle", "warn", "expire")
        limits, timers = self.app.limits, self.app.timers
        if not keep_presence:
            grace = self.options.remain_present or limits.presence_grace
            self._timers["leave"] = timers.after(grace, lambda: presence.leave_all(self))
        self._timers["forget"] = timers.after(limits.connection_ttl, self.end)

    def disconnect(self, error: AblyError) -> None:
        """Send it away, to come back: DISCONNECTED (RTN15h)."""
        self.send(Frame(Action.DISCONNECTED, error=error.info(), timestamp=self.app.now()))
        self.lose()

    def fail(self, error: AblyError) -> None:
        """Nothing can be done for it: ERROR without a channel (RTN15j)."""
        self.send(Frame(Action.ERROR, error=error.info()))
        self.end()

    def close(self) -> None:
        """The client wants no more (RTN12)."""
        self.send(Frame(Action.CLOSED))
        self.end()

    def end(self) -> None:
        """It is over: nobody comes back for it, its members leave now."""
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.close()
        self._cancel(*self._timers)
        self.detach_all()
        presence.leave_all(self)
        self.app.forget(self)

    # --- attachments ------------------------------------------------------------------------

    def attach(self, attachment: Attachment) -> None:
        self.attachments[attachment.name] = attachment
        attachment.channel.attachments[self.id, attachment.name] = attachment

    def detach(self, attachment: Attachment) -> None:
        """Its members on that channel leave with the last attachment to it."""
        self._remove(attachment)
        channel = attachment.channel
        if all(other.channel is not channel for other in self.attachments.values()):
            presence.leave_all(self, channel.name)
        channel.tell_occupancy()

    def detach_all(self) -> None:
        channels = {attachment.channel for attachment in self.attachments.values()}
        for attachment in list(self.attachments.values()):
            self._remove(attachment)
        for channel in channels:
            channel.tell_occupancy()

    def _remove(self, attachment: Attachment) -> None:
        self.attachments.pop(attachment.name, None)
        attachment.channel.attachments.pop((self.id, attachment.name), None)

    # --- what may be answered again ---------------------------------------------------------

    def remember(self, serial: int, answer: Frame) -> None:
        self.results[serial] = answer
        if len(self.results) > _RESULTS:
            self.results.popitem(last=False)

    def take_allowance(self, messages: int, attachment: Attachment | None) -> None:
        """Raises `AblyError` if it publishes faster than it (42911), or its token on this channel
        (42913), may."""
        now = self.app.now()
        if self._allowance is not None and not self._allowance.take(messages, now):
            raise _too_fast(42911, "connection.inboundRate")
        own = attachment.allowance if attachment is not None else None
        if own is not None and not own.take(messages, now):
            raise _too_fast(42913, "channel.maxRate")

    # --- credentials ------------------------------------------------------------------------

    def reauthorize(self, access: Access) -> None:
        """New credentials of the same client (RTN22, RTC8): CONNECTED, and what it may no longer
        do is taken from it. Raises `AblyError` 40102 for another client's."""
        self.take_access(access)
        self._watch_expiry()
        self.send_connected()
        for attachment in list(self.attachments.values()):
            if not attachment.refresh():
                continue
            if attachment.modes:
                self.send(attachment.attached(attachment.channel.serial, resumed=True))
                attachment.channel.tell_occupancy()
            else:
                error = denied(attachment.channel.name)
                self.send(Frame(Action.ERROR, channel=attachment.name, error=error.info()))
                self.detach(attachment)

    def take_access(self, access: Access) -> None:
        """Raises `AblyError` 40102 unless it is the same client's: who that is stays (RSA15)."""
        client_id = self.access.client_id
        if access.client_id != client_id and (access.client_id != "*" or client_id is None):
            raise AblyError(40102, 401, "Invalid clientId for credentials")
        self.access = replace(access, client_id=client_id)

    def _watch_expiry(self) -> None:
        self._cancel("warn", "expire")
        expires = self.access.expires_ms
        if expires is None:
            return
        app, timers, limits = self.app, self.app.timers, self.app.limits
        self._timers["expire"] = timers.at(expires, self._expire)
        now, left = app.now(), expires - app.now()
        if left > limits.token_warning_least:
            # Not at once for a short one, lest its successor be asked for at once, and so on.
            warn_at = max(expires - limits.token_warning, now + left // 4)
            self._timers["warn"] = timers.at(warn_at, self.prompt)

    def prompt(self) -> None:
        """Ask the client for new credentials (RTN22)."""
        self.send(Frame(Action.AUTH))

    def _expire(self) -> None:
        self.disconnect(AblyError(40142, 401, "Token expired"))

    # --- heartbeats -------------------------------------------------------------------------

    @property
    def idle_interval(self) -> int:
        return self.options.idle_interval or self.app.limits.idle_interval

    def _watch_idle(self) -> None:
        self._cancel("idle")
        due = self._sent_at + self.idle_interval
        self._timers["idle"] = self.app.timers.at(due, self._beat)

    def _beat(self) -> None:
        """Something is sent at least every `maxIdleInterval` (RTN23)."""
        now = self.app.now()
        if self.socket is not None and now >= self._sent_at + self.idle_interval:
            if self.options.heartbeats:
                self.send(Frame(Action.HEARTBEAT))
            else:
                self._sent_at = now
                self.socket.ping()
        self._watch_idle()

    # --- parts ------------------------------------------------------------------------------

    def _details(self) -> dict[str, Any]:
        limits = self.app.limits
        details: dict[str, Any] = {
            "connectionKey": self.key,
            "maxMessageSize": limits.message_size,
            "maxFrameSize": limits.frame_size,
            "maxInboundRate": limits.inbound_rate,
            "connectionStateTtl": limits.connection_ttl,
            "maxIdleInterval": self.idle_interval,
            "serverId": "realtime-kit",
            "siteCode": "local",
            "objectsGCGracePeriod": _GC_GRACE,
        }
        if self.access.client_id is not None:
            details["clientId"] = self.access.client_id
        return details

    def _cancel(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()


def _allowance(app: App) -> Allowance | None:
    rate = app.limits.inbound_rate
    return None if rate is None else Allowance(rate, app.limits.inbound_burst, app.now())


def _too_fast(code: int, metric: str) -> AblyError:
    return AblyError(
        code, 429, f"Rate limit exceeded; request rejected (nonfatal); metric = {metric}"
    )


def _milliseconds(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise AblyError(40003, 400, f"Invalid {name}: it must be a number of milliseconds")
    return int(text)
