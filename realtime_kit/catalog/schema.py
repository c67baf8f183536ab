"""The data of a catalogue's events as JSON Schema, the way a reader sees it: what is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from realtime_kit.catalog.catalogue import Catalog, patterns
from realtime_kit.catalog.event import RealtimeEvent
from realtime_kit.channels import Pattern

Schema = Mapping[str, Any]

_DEFINITIONS = "#/$defs/{model}"
# A reader ignores what it does not know and is sent the defaults like other values; OpenAPI's
# discriminator says nothing that the branches do not.
_NOT_FOR_READERS = ("default", "discriminator")


class Described(NamedTuple):
    """The events by channel pattern and name, each with its class and schema, sorted; and what the
    schemas refer to, by name."""

    channels: dict[str, dict[str, tuple[type[RealtimeEvent], Schema]]]
    definitions: dict[str, Schema]


def describe(catalog: Catalog, ref_template: str = _DEFINITIONS) -> Described:
    """`ref_template` says where the definitions are, with `{model}` for the name."""
    schemas, together = models_json_schema(
        [(kind, "serialization") for kind in catalog.events],
        by_alias=True,
        ref_template=ref_template,
        schema_generator=_AsWritten,
    )
    channels: dict[str, dict[str, tuple[type[RealtimeEvent], Schema]]] = {}
    for kind in catalog.events:
        schema = _cleaned(schemas[kind, "serialization"])
        for pattern in patterns(kind):
            channels.setdefault(pattern, {})[kind.realtime_name] = (kind, schema)
    definitions = together.get("$defs", {})
    return Described(
        {name: dict(sorted(events.items())) for name, events in sorted(channels.items())},
        {name: _cleaned(definitions[name]) for name in sorted(definitions)},
    )


def document(catalog: Catalog) -> dict[str, Any]:
    """The catalogue as JSON: `{"title", "version", "channels": {pattern: {event: schema}},
    "$defs"}`."""
    channels, definitions = describe(catalog)
    return {
        "title": catalog.title,
        "version": catalog.version,
        "channels": {
            pattern: {name: schema for name, (_, schema) in events.items()}
            for pattern, events in channels.items()
        },
        "$defs": definitions,
    }


def numeric_variables(kind: type[RealtimeEvent], pattern: Pattern) -> set[str]:
    """The pattern's variables that are whole numbers."""
    by_pattern = set(re.findall(r"\{(\w+):int\}", pattern.text))
    fields = kind.model_fields
    annotations = {name: fields[name].annotation for name in pattern.variables if name in fields}
    return by_pattern | {
        name for name, of in annotations.items() if isinstance(of, type) and issubclass(of, int)
    }


class _AsWritten(GenerateJsonSchema):
    """What has a default is there all the same, and no title repeats a field's name."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _cleaned(schema: Schema) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NOT_FOR_READERS or (key == "additionalProperties" and value is False):
            continue
        if key == "properties":
            made[key] = {name: _cleaned(inner) for name, inner in value.items()}
        elif key in ("const", "enum", "examples"):
            made[key] = value
        elif isinstance(value, Mapping):
            made[key] = _cleaned(value)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [_cleaned(inner) for inner in value]
        else:
            made[key] = value
    return made
