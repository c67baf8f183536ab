"""Sending: the provider of this process, and what an application triggers through it."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from realtime_kit.background import Worker
from realtime_kit.channels import user_channel
from realtime_kit.declaring import Converters, Declarations
from realtime_kit.errors import (
    ConfigurationError,
    InvalidEvent,
    PartiallySent,
    ProviderError,
    ProviderUnavailable,
    Unsupported,
)
from realtime_kit.events import Event, Receipt
from realtime_kit.providers.base import Capability, Provider

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session
    from typing_extensions import TypeIs

    from realtime_kit.catalog import Catalog, RealtimeEvent
    from realtime_kit.outbox import Outbox
    from realtime_kit.recording import Recorder
    from realtime_kit.settings import RealtimeSettings

OnError = Literal["raise", "log"]
Channels = str | Iterable[str]

EXIT_SECONDS = 5.0

logger = logging.getLogger("realtime_kit")


class Sending(Declarations):
    """The part of `Realtime` that sends. What it needs for that is made on first use, in each
    process anew."""

    def __init__(
        self,
        provider: str | Provider | None,
        *,
        settings: RealtimeSettings | None,
        converters: Converters | None,
        on_error: OnError | None,
        catalog: Catalog | None,
    ) -> None:
        super().__init__(converters)
        self.catalog = catalog
        self.failures = 0
        self._choice = provider
        self._settings = settings
        self._on_error = _checked(on_error)
        self._forget_process()
        _instances.add(self)

    def _forget_process(self) -> None:
        """Start anew in this process: a lock, a thread and sockets do not survive a fork."""
        self._lock = threading.RLock()
        self._worker = Worker()
        self._recorder: Recorder | None = None
        self._provider = self._choice if isinstance(self._choice, Provider) else None

    @property
    def settings(self) -> RealtimeSettings:
        """The settings; read from the environment now, if they were not given."""
        if self._settings is None:
            with self._lock:
                if self._settings is None:
                    self._settings = self._read_settings()
        return self._settings

    def _read_settings(self) -> RealtimeSettings:
        from realtime_kit.settings import RealtimeSettings

        return RealtimeSettings()

    @property
    def provider(self) -> Provider:
        """The provider; made now, if this is its first use in this process."""
        if self._provider is None:
            with self._lock:
                if self._provider is None:
                    self._provider = self._make_provider()
                return self._provider
        return self._provider

    def _make_provider(self) -> Provider:
        from realtime_kit.providers import load

        settings = self.settings
        name = self._choice if isinstance(self._choice, str) else settings.provider_name
        settings.check_credentials(provider=name, development=self.in_development())
        return load(name).from_settings(settings)

    @property
    def recorder(self) -> Recorder:
        """What numbers the events of channels with history, and reads them again."""
        if self._recorder is None:
            from realtime_kit.recording import Recorder

            with self._lock:
                if self._recorder is None:
                    self._recorder = Recorder(self.rules, self.settings)
                return self._recorder
        return self._recorder

    @property
    def keeps_history(self) -> bool:
        """Whether there are channels whose events are retained."""
        return self.rules.keeps_history or self.settings.history.default is not None

    def in_development(self) -> bool | None:
        """Whether this is known to be development, or known not to be; None: not known."""
        return None

    def trigger(
        self,
        channels: Channels | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
        info: Iterable[str] = (),
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """Send an event to any number of channels; done when it returns. A receipt per channel.

        A typed event, `trigger(OrderShipped(…))`, brings its channels, name and data with it.
        `exclude` is the socket id that must not receive it. `id` names the event (default: a new
        one): a repeat with the same id is the same event. `mutation` is the id of the client's
        optimistic update that it settles. `info` asks for counts, see `Provider.publish`.
        `background` returns at once, without receipts: a thread sends it, flushed at exit.

        Raises `InvalidChannel`, `InvalidEvent`, `PayloadTooLarge`, `Unsupported`, and
        `ProviderError` unless `on_error="log"`.
        """
        event = self.event(channels, name, data, exclude=exclude, id=id, mutation=mutation)
        return self._publish([event], info, on_error, background)

    def trigger_batch(
        self,
        events: Iterable[Event | RealtimeEvent],
        *,
        info: Iterable[str] = (),
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """Send many events, any number; like `trigger`. A receipt per event and channel."""
        return self._publish(self._made(events), info, on_error, background)

    def send_to_user(
        self,
        user_id: str,
        name: str | RealtimeEvent,
        data: Any = ...,
        *,
        id: str | None = None,
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """Send an event to the connections that are signed in as `user_id`; like `trigger`."""
        event = self.event_for_user(user_id, name, data, id=id)
        return self._publish([event], (), on_error, background)

    def event_for_user(
        self, user_id: str, name: str | RealtimeEvent, data: Any = ..., *, id: str | None = None
    ) -> Event:
        """What `send_to_user` sends. Raises `Unsupported`."""
        self._require(Capability.SEND_TO_USER, "send to a user")
        channel = user_channel(str(user_id))
        if _is_typed(name):
            return self._admitted(name, name.realtime_event(to=channel, id=id))
        return self.event(channel, name, data, id=id)

    def event(
        self,
        channels: Channels | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
    ) -> Event:
        """What `trigger` sends."""
        if _is_typed(channels):
            if name is not None or data is not ...:
                raise TypeError("a typed event has its name and data")
            made = channels.realtime_event(exclude=exclude, id=id, mutation=mutation)
            return self._admitted(channels, made)
        if name is None or data is ...:
            raise TypeError("an event has a name and data, or it is a typed event")
        names = (channels,) if isinstance(channels, str) else tuple(channels)
        return Event(names, name, data, id=id, mutation=mutation, exclude=exclude)

    def _admitted(self, typed: RealtimeEvent, event: Event) -> Event:
        if self.catalog is not None:
            self.catalog.admit(typed, event)
        return event

    def _made(self, events: Iterable[Event | RealtimeEvent]) -> list[Event]:
        return [event if isinstance(event, Event) else self.event(event) for event in events]

    def _checked(self, events: Iterable[Event]) -> list[Event]:
        """With ids, and as the catalogue has them."""
        found = _with_ids(events)
        return found if self.catalog is None else [self.catalog.checked(event) for event in found]

    def outbox(self, session: Session | scoped_session[Any]) -> Outbox:
        """Where events are triggered that are sent if the session's transaction commits; by a
        relay: `realtime-kit relay`."""
        from realtime_kit.outbox import Outbox

        return Outbox(self, session)

    def trigger_after_commit(
        self,
        session: Session | scoped_session[Any],
        channels: Channels | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
        on_error: OnError = "log",
    ) -> str:
        """Like `trigger`, done by this process once the session's transaction has committed; the
        event's id. It is lost if the process ends in between."""
        from realtime_kit.outbox import trigger_after_commit

        event = self.event(channels, name, data, exclude=exclude, id=id, mutation=mutation)
        return trigger_after_commit(self, session, event, on_error=_checked(on_error) or "log")

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all `background` calls are done, at most `timeout` seconds."""
        return self._worker.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush, then let go of the provider's and the event log's connections. Usable again
        afterwards."""
        self.flush(timeout)
        if self._provider is not None:
            self._provider.close()
        if self._recorder is not None:
            self._recorder.close()

    def _publish(
        self,
        events: list[Event],
        info: Iterable[str],
        on_error: OnError | None,
        background: bool,
    ) -> list[Receipt]:
        policy = _checked(on_error) or self.default_on_error()
        wanted = tuple(info)
        events = self._checked(events)
        if background:
            return self._publish_later(events, wanted, policy)
        return self._send(events, wanted, policy) if events else []

    def _send(
        self, events: Sequence[Event], info: tuple[str, ...], policy: OnError
    ) -> list[Receipt]:
        try:
            if self.keeps_history:
                return self.recorder.publish(self.provider, events, info)
            return self.provider.publish(events, info=info)
        except ProviderError as error:
            if policy == "raise":
                raise
            self._record(error, events)
            return list(error.accepted) if isinstance(error, PartiallySent) else []

    def _publish_later(
        self, events: list[Event], info: tuple[str, ...], policy: OnError
    ) -> list[Receipt]:
        if self.settings.on_lambda:
            raise Unsupported(
                "background=True: Lambda freezes the process when the handler returns, and what "
                "waits would not be sent"
            )
        if info:
            raise Unsupported("background=True returns no receipts, so info= has no answer")
        frozen = self.settle(events)
        if not self._worker.submit(lambda: self._send(frozen, (), "log")):
            full = ProviderUnavailable(
                "too many background calls are waiting; this one was not taken",
                provider=self.provider.name,
                retryable=True,
            )
            if policy == "raise":
                raise full
            self._record(full, frozen)
        return []

    def settle(self, events: Iterable[Event | RealtimeEvent]) -> list[Event]:
        """Events that are sent later, with ids. What is wrong with one is the caller's to hear now,
        and what the caller does to the data afterwards is not part of it."""
        found = self._checked(self._made(events))
        for event in found:
            if self.keeps_history:
                self.recorder.validate(self.provider, event)
            else:
                self.provider.validate(event)
        return [replace(event, data=_settled(event)) for event in found]

    def default_on_error(self) -> OnError:
        """What happens to a failed push where the call does not say."""
        return self._on_error or self.settings.on_error or "raise"

    def _record(self, error: ProviderError, events: Sequence[Event]) -> None:
        with self._lock:
            self.failures += 1
        what = ", ".join(f"{event.name} to {' '.join(event.channels)}" for event in events)
        logger.error("not sent: %.500s: %s", what, error)
        for listener in self._listeners:
            listener(error, events)

    def _require(self, capability: Capability, what: str) -> None:
        if capability not in self.provider.capabilities:
            raise Unsupported(f"provider {self.provider.name!r} cannot {what}")


def _is_typed(given: object) -> TypeIs[RealtimeEvent]:
    # Its base class is not imported for those who have none.
    if isinstance(given, type) and hasattr(given, "realtime_event"):
        name = given.__name__
        raise InvalidEvent(f"{name} is a class of events; what is sent is one of them: {name}(…)")
    return hasattr(given, "realtime_event")


def _checked(on_error: OnError | None) -> OnError | None:
    if on_error not in (None, "raise", "log"):
        raise ConfigurationError(f"on_error is 'raise' or 'log', not {on_error!r}")
    return on_error


def _with_ids(events: Iterable[Event]) -> list[Event]:
    return [event if event.id else replace(event, id=os.urandom(12).hex()) for event in events]


def _settled(event: Event) -> Any:
    """The event's data as nobody can change it any more."""
    return event.data if isinstance(event.data, str) else json.loads(event.payload())


_instances: WeakSet[Sending] = WeakSet()


def _after_fork() -> None:
    for instance in list(_instances):
        instance._forget_process()


def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for instance in list(_instances):
        if not instance.flush(max(0.0, deadline - time.monotonic())):
            logger.error("background calls were lost: not sent within %g s of exit", EXIT_SECONDS)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
