"""The events of one application, and what is triggered held to them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from types import ModuleType

from realtime_kit.catalog.event import RealtimeEvent
from realtime_kit.errors import ConfigurationError, InvalidEvent
from realtime_kit.events import CheckedEvent, Event, is_server_to_user

USERS = "#server-to-user-{user_id}"
"""Stands for the channels of users, where channels are listed."""


class Catalog:
    """The classes of an application's events: `Realtime(catalog=Catalog(OrderShipped, …))`.

    Of a module it takes the classes that are defined there, but for those whose name begins with an
    underscore. What is triggered and described here is validated; with `strict` nothing else can be
    triggered. `title` and `version` are those of the AsyncAPI document.

    Raises `ConfigurationError` for two classes of one name on one channel pattern.
    """

    def __init__(
        self,
        *events: type[RealtimeEvent] | ModuleType,
        strict: bool = False,
        title: str = "Realtime events",
        version: str = "1.0.0",
    ) -> None:
        self.strict = strict
        self.title = title
        self.version = version
        self.events = tuple(dict.fromkeys(kind for given in events for kind in _classes(given)))
        self._by_name: dict[str, list[type[RealtimeEvent]]] = {}
        taken: dict[tuple[str, str], type[RealtimeEvent]] = {}
        for kind in self.events:
            for pattern in patterns(kind):
                other = taken.setdefault((pattern, kind.realtime_name), kind)
                if other is not kind:
                    raise ConfigurationError(
                        f"{other.__name__} and {kind.__name__} are both {kind.realtime_name!r} "
                        f"on {pattern}"
                    )
            self._by_name.setdefault(kind.realtime_name, []).append(kind)

    def find(self, channel: str, name: str) -> type[RealtimeEvent] | None:
        """The class of the events of that name on that channel; the first, if several match."""
        for kind in self._by_name.get(name, ()):
            if kind.realtime_patterns:
                if kind.realtime_pattern(channel) is not None:
                    return kind
            elif is_server_to_user(channel):
                return kind
        return None

    def checked(self, event: Event) -> Event:
        """The event with its data as the class of it has that: defaults filled in, in JSON.

        Raises `InvalidEvent`: it names fields, and never tells values.
        """
        if isinstance(event, CheckedEvent):
            return event
        made = []
        for channel in event.channels:
            kind = self.find(channel, event.name)
            if kind is not None:
                made.append(kind.realtime_parse(channel, event.data).realtime_data())
            elif self.strict:
                raise InvalidEvent(self._unknown(channel, event.name))
        if not made:
            return event
        if any(data != made[0] for data in made):
            raise InvalidEvent(
                f"{event.name}: its data is not the same on all of these channels: "
                "trigger each by itself"
            )
        return CheckedEvent(
            event.channels, event.name, made[0],
            event.id, event.epoch, event.offset, event.mutation, event.exclude,
        )  # fmt: skip

    def admit(self, typed: RealtimeEvent, event: Event) -> None:
        """Raise `InvalidEvent` unless `typed`, which `event` was made of, is of the class that is
        here for it."""
        for channel in event.channels:
            kind = self.find(channel, event.name)
            if kind is None:
                if self.strict:
                    raise InvalidEvent(self._unknown(channel, event.name))
            elif not isinstance(typed, kind):
                raise InvalidEvent(
                    f"{event.name} on {channel} is a {kind.__name__}, not a {type(typed).__name__}"
                )

    def _unknown(self, channel: str, name: str) -> str:
        known = [event for event in self._by_name if self.find(channel, event) is not None]
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{name} on {channel} is not in the catalogue{hint}"


def patterns(kind: type[RealtimeEvent]) -> list[str]:
    """Where its events go, as text."""
    return [pattern.text for pattern in kind.realtime_patterns] or [USERS]


def _classes(given: object) -> Iterator[type[RealtimeEvent]]:
    if not isinstance(given, ModuleType):
        if not (isinstance(given, type) and issubclass(given, RealtimeEvent)):
            raise ConfigurationError(f"{given!r} is no class of events, and no module with such")
        yield given
        return
    found = [
        value
        for name, value in vars(given).items()
        if isinstance(value, type)
        and issubclass(value, RealtimeEvent)
        and value.__module__ == given.__name__
        and not name.startswith("_")
    ]
    if not found:
        raise ConfigurationError(f"module {given.__name__} defines no class of events")
    yield from found
