"""A catalogue as an AsyncAPI 3.0 document, from the application's side: it sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from realtime_kit.catalog.catalogue import USERS, Catalog
from realtime_kit.catalog.event import RealtimeEvent
from realtime_kit.catalog.schema import Schema, describe, numeric_variables

_VARIABLE = re.compile(r"\{(\w+)(?::\w+)?\}")


def asyncapi(catalog: Catalog) -> dict[str, Any]:
    """The document. Events named `client-…` are whispers: they are described, and not sent by the
    application. Source: AsyncAPI 3.0.0; its schemas are those of JSON Schema draft 7."""
    channels, definitions = describe(catalog, "#/components/schemas/{model}")
    document: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {"title": catalog.title, "version": catalog.version},
        "defaultContentType": "application/json",
        "channels": {},
        "operations": {},
        "components": {
            "messages": {},
            "schemas": {name: _draft7(schema) for name, schema in definitions.items()},
        },
    }
    messages = document["components"]["messages"]
    for pattern, events in channels.items():
        key = _unused(pattern, document["channels"])
        document["channels"][key] = channel = _channel(pattern, events)
        sent = []
        for name, (kind, schema) in events.items():
            message = _message(name, kind, schema)
            shared = next((one for one, known in messages.items() if known == message), None)
            shared = shared or _unused(kind.__name__, messages)
            messages[shared] = message
            channel["messages"][shared] = {"$ref": f"#/components/messages/{shared}"}
            if not name.startswith("client-"):
                sent.append({"$ref": f"#/channels/{key}/messages/{shared}"})
        if sent:
            document["operations"][f"send-{key}"] = {
                "action": "send",
                "channel": {"$ref": f"#/channels/{key}"},
                "messages": sent,
            }
    return document


def _channel(pattern: str, events: Mapping[str, Any]) -> dict[str, Any]:
    if pattern == USERS:
        # No address: a client that signs in is on it, and never subscribes to it.
        return {"address": None, "title": "To one signed-in user", "messages": {}}
    channel: dict[str, Any] = {"address": _VARIABLE.sub(r"{\1}", pattern)}
    if parameters := _parameters(pattern, events):
        channel["parameters"] = parameters
    return {**channel, "messages": {}}


def _message(name: str, kind: type[RealtimeEvent], schema: Schema) -> dict[str, Any]:
    return {"name": name, "title": kind.__name__, "payload": _draft7(schema)}


def _parameters(pattern: str, events: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for variable in _VARIABLE.findall(pattern):
        numeric = any(
            variable in numeric_variables(kind, one)
            for kind, _ in events.values()
            for one in kind.realtime_patterns
            if one.text == pattern
        )
        parameters[variable] = {"description": "A whole number."} if numeric else {}
    return parameters


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """A key that can stand in a reference as it is."""
    key = re.sub(r"[^\w.-]+", "_", _VARIABLE.sub(r"\1", name), flags=re.ASCII).strip("_") or "_"
    while key in taken:
        key += "_"
    return key


def _draft7(schema: Schema) -> dict[str, Any]:
    """Tuples in the words of draft 7; all else is the same."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _draft7(inner) for name, inner in value.items()}
        elif isinstance(value, Mapping) and key not in ("const", "examples"):
            made[key] = _draft7(value)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            made[key] = [_draft7(inner) for inner in value]
        else:
            made[key] = value
    if "prefixItems" in made:
        first = made.pop("prefixItems")
        if "items" in made:
            made["additionalItems"] = made.pop("items")
        made["items"] = first
    return made
