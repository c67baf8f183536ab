"""What an event's class is: a pydantic model that knows its channels and its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_jsonable_python

from realtime_kit.channels import Pattern
from realtime_kit.errors import ConfigurationError, InvalidChannel, InvalidEvent
from realtime_kit.events import CheckedEvent, Limits, check_name

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# What the model says of a value that it refuses; what else pydantic tells may quote the value.
_OF_THE_MODEL = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "expected")


class RealtimeEvent(BaseModel):
    """Base of the events of an application; see the package's docstring.

    `channel`: the pattern of the channels that it goes to, or several. Its variables are fields,
    unless the class overrides `realtime_channels`. Without one it is an event for users:
    `realtime.send_to_user(user_id, event)`. Subclasses inherit it. `name` is, by default, the
    class's in snake_case. The data is what pydantic makes of the model in JSON, by alias: a field
    with `Field(exclude=True)` is not in it. Names that begin with `realtime_` are the kit's.

    Raises `InvalidChannel`, `InvalidEvent` or `ConfigurationError` for a class that makes no sense.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    realtime_name: ClassVar[str]
    realtime_patterns: ClassVar[tuple[Pattern, ...]] = ()

    def __init_subclass__(
        cls, *, name: str | None = None, channel: str | Iterable[str] | None = None, **config: Any
    ) -> None:
        super().__init_subclass__(**config)

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, name: str | None = None, channel: str | Iterable[str] | None = None, **config: Any
    ) -> None:
        super().__pydantic_init_subclass__(**config)
        if cls.__pydantic_generic_metadata__["origin"] is not None:
            return  # Sent[int] is what Sent is
        cls.realtime_name = _WORDS.sub("_", cls.__name__).lower() if name is None else name
        check_name(cls.realtime_name, Limits())
        if channel is not None:
            texts = (channel,) if isinstance(channel, str) else tuple(channel)
            cls.realtime_patterns = tuple(Pattern(text) for text in texts)
        if taken := [field for field in cls.model_fields if field.startswith("realtime_")]:
            raise ConfigurationError(f"{cls.__name__}.{taken[0]}: such names are the kit's")
        if cls.realtime_channels is RealtimeEvent.realtime_channels:
            _check_variables(cls)

    def realtime_channels(self) -> str | Iterable[str]:
        """The channels of this one event. Override it where they are more than its fields filled
        in; what it returns must still match a pattern of the class."""
        return [pattern.fill(_texts(self, pattern)) for pattern in self.realtime_patterns]

    def realtime_event(
        self,
        *,
        to: str | None = None,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
    ) -> CheckedEvent:
        """What is triggered; `to` is the channel of a user. Raises `InvalidChannel` or
        `InvalidEvent`."""
        if to is not None and self.realtime_patterns:
            raise InvalidEvent(f"{type(self).__name__} goes to channels: trigger(event)")
        names = self.realtime_names() if to is None else (to,)
        data = self.realtime_data()
        return CheckedEvent(
            names, self.realtime_name, data, id=id, mutation=mutation, exclude=exclude
        )

    def realtime_names(self) -> tuple[str, ...]:
        """Its channels, each checked to be one that the class speaks of."""
        kind = type(self)
        if not kind.realtime_patterns:
            raise InvalidEvent(f"{kind.__name__} has no channel: send_to_user(user_id, event)")
        given = self.realtime_channels()
        names = (given,) if isinstance(given, str) else tuple(given)
        for name in names:
            if kind.realtime_pattern(name) is None:
                raise InvalidEvent(f"{name!r} is no channel that {kind.__name__} is declared for")
        return names

    def realtime_data(self) -> Any:
        """Its data, as JSON has it."""
        try:
            return self.model_dump(mode="json", by_alias=True, warnings="error")
        except PydanticSerializationError:
            # Its text quotes the values.
            raise InvalidEvent(
                f"{type(self).__name__} holds values that are not of its fields' types"
            ) from None

    @classmethod
    def realtime_pattern(cls, channel: str) -> Pattern | None:
        """The first pattern of the class that the channel's name matches."""
        return next((p for p in cls.realtime_patterns if p.match(channel) is not None), None)

    @classmethod
    def realtime_parse(cls, channel: str, data: object) -> Self:
        """The event that such data is on that channel, which fills in the fields that name it.

        Raises `InvalidEvent`, which names fields and never tells values.
        """
        where = f"{cls.realtime_name} on {channel}"
        if not isinstance(data, Mapping):
            raise InvalidEvent(f"{where}: the data is no object")
        pattern = cls.realtime_pattern(channel)
        found = (pattern.match(channel) if pattern else None) or {}
        named = {
            field: value
            for field, value in found.items()
            if field in cls.model_fields and not _is_given(cls, field, data)
        }
        try:
            event = cls.model_validate({**named, **data})
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            # Not its cause either: the text of that has the values.
            raise InvalidEvent(f"{where}: {', '.join(map(_refusal, wrong))}") from None
        if pattern and channel not in event.realtime_names():
            fields = ", ".join(name for name in found if name in cls.model_fields) or "the data"
            raise InvalidEvent(f"{where}: {fields} would name another channel")
        return event


def _is_given(cls: type[RealtimeEvent], field: str, data: Mapping[Any, object]) -> bool:
    """Whether the data has that field, by its name or by an alias."""
    alias = cls.model_fields[field].validation_alias
    names = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return any(isinstance(name, str) and name in data for name in (field, *names))


def _check_variables(cls: type[RealtimeEvent]) -> None:
    for pattern in cls.realtime_patterns:
        for variable in pattern.variables:
            if variable not in cls.model_fields:
                raise ConfigurationError(
                    f"{cls.__name__}: {{{variable}}} of {pattern.text!r} is no field "
                    "(or override realtime_channels)"
                )


def _texts(event: RealtimeEvent, pattern: Pattern) -> dict[str, str]:
    texts = {}
    for variable in pattern.variables:
        value = to_jsonable_python(getattr(event, variable))
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidChannel(
                f"{type(event).__name__}.{variable} names a channel: it is a text or whole number"
            )
        texts[variable] = str(value)
    return texts


def _refusal(error: ErrorDetails) -> str:
    first, *deeper = error["loc"] or ("it",)
    of_a_field = error["type"] in ("missing", "extra_forbidden")
    # Beneath a field, other names may be the keys of a mapping, which are data.
    shown = [part for part in deeper if isinstance(part, int)]
    where = ".".join(map(str, [first, *shown, *(deeper[-1:] if of_a_field else ())]))[:100]
    context = error.get("ctx", {})
    limit = next((context[name] for name in _OF_THE_MODEL if name in context), None)
    what = error["type"].replace("_", " ") + ("" if limit is None else f" {limit}")
    return f"{where} ({what})"
