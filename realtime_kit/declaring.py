"""What an application declares: rules, identities, sources, and handlers of webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from realtime_kit.authorization import Rules
from realtime_kit.channels import Converter
from realtime_kit.errors import ConfigurationError, ProviderError
from realtime_kit.events import Event
from realtime_kit.webhooks import WebhookEvent, WebhookKind

if TYPE_CHECKING:
    from realtime_kit.history import History
    from realtime_kit.sources import Row, Sources

Converters = Mapping[str, Converter | Callable[[str], Any]]
WebhookHandler = Callable[[WebhookEvent], object]
FailureListener = Callable[[ProviderError, Sequence[Event]], object]

R = TypeVar("R", bound=Callable[..., Any])
W = TypeVar("W", bound=WebhookHandler)
L = TypeVar("L", bound=FailureListener)


class Declarations:
    """The part of `Realtime` that an application fills in before its first request."""

    def __init__(self, converters: Converters | None = None) -> None:
        self.rules = Rules(converters)
        self._sources: Sources | None = None
        self._handlers: list[tuple[frozenset[str], WebhookHandler]] = []
        self._listeners: list[FailureListener] = []

    def channel_rule(
        self,
        pattern: str,
        *,
        guests: bool = False,
        history: History | str | int | None = None,
    ) -> Callable[[R], R]:
        """Register who may subscribe to the channels of `pattern`: `rule(user, **variables)`.

        It returns True or `Grant(publish=True)`; on presence channels `Member(id, info)` or
        `Grant(member)`; and False or None to deny. `guests` lets it be asked for nobody (None).
        `history` is how much is retained of these channels, as `History(500, timedelta(hours=2))`
        or `"500/2h"`; False: nothing; None: as the settings say. On a public channel, which nobody
        is asked about, that is all that a rule is for.
        """
        options: dict[str, Any] = {}
        if history is not None:
            from realtime_kit.history.base import policy

            options["history"] = policy(history, f"history of {pattern!r}") if history else None
        return lambda rule: self.rules.add_channel(pattern, rule, guests=guests, **options)

    def trigger_rule(
        self, pattern: str, *, events: Iterable[str] | None = None
    ) -> Callable[[R], R]:
        """Register which signed-in users may send `events` (None: all) through `POST /trigger`:
        `rule(user, **variables)` returns True, and anything else denies."""
        return lambda rule: self.rules.add_trigger(pattern, rule, events=events)

    def sign_in(self, identity: R) -> R:
        """Register who a connection is: `identity(user)` returns `SignIn(id, info)` or None."""
        return self.rules.set_sign_in(identity)

    def grants(self, names: R) -> R:
        """Register a user's standing channels: `names(user)` lists names; rules decide on each."""
        return self.rules.set_grants(names)

    def source(
        self, pattern: str, *, every: float = 2.0, page: int = 100
    ) -> Callable[[Callable[..., Iterable[Row]]], Callable[..., Iterable[Row]]]:
        """Register where the events of these channels come from, for `GET /events`:
        `source(after, limit, **variables)` yields `Row(cursor, name, data)`, at most `limit` (it is
        `page`) of those behind the cursor `after`, in a fixed order; None: from the first.

        A rule of the channel still says who may read it. While somebody waits, it is asked every
        `every` seconds whether there are new rows.
        """

        def register(function: Callable[..., Iterable[Row]]) -> Callable[..., Iterable[Row]]:
            self.sources.add(pattern, function, every=every, page=page)
            return function

        return register

    def on(self, *kinds: str) -> Callable[[W], W]:
        """Register a handler of webhook events: `handler(event)`. `kinds` are values of
        `WebhookKind`; "*" stands for all. Vendors repeat webhooks: handlers must bear it."""
        known = [*map(str, WebhookKind), "*"]
        for kind in kinds or ("",):
            if kind not in known:
                raise ConfigurationError(
                    f"{kind!r} is no kind of webhook event (known: {', '.join(known)})"
                )

        def register(handler: W) -> W:
            self._handlers.append((frozenset(map(str, kinds)), handler))
            return handler

        return register

    def on_failure(self, listener: L) -> L:
        """Register `listener(error, events)`, called for each push that failed and was logged."""
        self._listeners.append(listener)
        return listener

    @property
    def sources(self) -> Sources:
        """The channels whose events are rows of the application's database."""
        if self._sources is None:
            from realtime_kit.sources import Sources

            self._sources = Sources(self.rules.converters)
        return self._sources

    @property
    def listens(self) -> bool:
        """Whether a handler was registered with `on`."""
        return bool(self._handlers)

    def hear(self, events: Iterable[WebhookEvent]) -> None:
        """Run the handlers for what happened, whoever vouches for it.

        A handler that fails stops no other; their failures are raised together afterwards, as an
        `ExceptionGroup`.
        """
        failures: list[Exception] = []
        for event in events:
            for kinds, handler in self._handlers:
                if event.kind in kinds or "*" in kinds:
                    try:
                        handler(event)
                    except Exception as failure:  # whatever it was, the others must hear of it
                        failures.append(failure)
        if failures:
            raise ExceptionGroup("webhook handlers failed", failures)
