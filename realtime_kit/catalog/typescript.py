"""A catalogue as TypeScript: the event map that the browser client's `connect` is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import permutations

from realtime_kit.catalog.catalogue import USERS, Catalog
from realtime_kit.catalog.event import RealtimeEvent
from realtime_kit.catalog.schema import Schema, describe, numeric_variables

EVENTS = "RealtimeEvents"
HEADER = "// Written by `realtime-kit types`: change the classes of the events instead.\n"

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_VARIABLE = re.compile(r"\{(\w+)(?::\w+)?\}")
_PLACEHOLDER = re.compile(r"\$\{(string|number)\}")
_TAKEN = frozenset(
    f"{EVENTS} any as async await bigint boolean break case catch class const continue debugger "
    "default delete do else enum export extends false finally for function if implements import "
    "in instanceof interface let never new null number object package private protected public "
    "return static string super switch symbol this throw true try type typeof undefined unknown "
    "var void while with yield".split()
)
_SIMPLE = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}

_Channels = dict[str, dict[str, tuple[str, ...]]]
"""Of each channel the types that the data of each event may have."""


def typescript(catalog: Catalog) -> str:
    """The module's text: an interface or type for each model, and `RealtimeEvents`."""
    described = describe(catalog)
    types = _Types(described.definitions)
    channels: _Channels = {}
    for pattern, events in described.channels.items():
        for name, (kind, schema) in events.items():
            channels.setdefault(_channel(pattern, kind), {})[name] = (types.of(schema),)
    parts = [HEADER, *types.declarations(), _event_map(_consistent(channels))]
    return "\n".join(parts)


class _Types:
    """JSON Schema as types, with names for the definitions."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._names: dict[str, str] = {}
        for key in definitions:
            name = re.sub(r"\W", "_", key, flags=re.ASCII)
            name = f"_{name}" if not _IDENTIFIER.fullmatch(name) else name
            while name in _TAKEN or name in self._names.values():
                name += "_"
            self._names[key] = name

    def declarations(self) -> Iterator[str]:
        for key, schema in self._definitions.items():
            name, comment = self._names[key], _comment(schema)
            if schema.get("type") == "object" and "properties" in schema and _index(schema) is None:
                yield f"{comment}export interface {name} {self._members(schema)}\n"
            else:
                yield f"{comment}export type {name} = {self.of(schema)};\n"

    def of(self, schema: Schema) -> str:
        """The type's text."""
        if "$ref" in schema:
            return self._names[_target(schema["$ref"])]
        if "const" in schema:
            return _literal(schema["const"])
        if "enum" in schema:
            return _union(map(_literal, schema["enum"]))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return _union(map(self.of, schema[key]))
        if "allOf" in schema:
            return " & ".join(_grouped(self.of(inner)) for inner in schema["allOf"])
        kind = schema.get("type")
        if isinstance(kind, list):
            return _union(self.of({**schema, "type": one}) for one in kind)
        if kind == "array":
            return self._array(schema)
        if kind == "object":
            return self._object(schema)
        return _SIMPLE.get(str(kind), "unknown")

    def _array(self, schema: Schema) -> str:
        first = schema.get("prefixItems")
        rest = schema.get("items", {})
        if first is None:
            return "[]" if schema.get("maxItems") == 0 else f"{_grouped(self.of(rest))}[]"
        members = list(map(self.of, first))
        if rest is not False and schema.get("maxItems") != len(first):
            members.append(f"...{_grouped(self.of(rest))}[]")
        return f"[{', '.join(members)}]"

    def _object(self, schema: Schema) -> str:
        index = _index(schema)
        if index is None:
            return self._members(schema) if "properties" in schema else "{ [key: string]: unknown }"
        keyed = f"{{ [key: string]: {self.of(index)} }}"
        return f"{self._members(schema)} & {keyed}" if "properties" in schema else keyed

    def _members(self, schema: Schema) -> str:
        required = schema.get("required", ())
        lines = [
            f"{_comment(inner)}{_key(name)}{'' if name in required else '?'}: {self.of(inner)};"
            for name, inner in schema["properties"].items()
        ]
        return _block(lines)


def _index(schema: Schema) -> Schema | None:
    """The schema of what is there beside the properties, if anything is."""
    more = schema.get("additionalProperties")
    return {} if more is True else more


def _target(reference: str) -> str:
    return reference.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _union(types: Iterable[str]) -> str:
    found = list(dict.fromkeys(types))
    return "unknown" if "unknown" in found else " | ".join(found)


def _grouped(text: str) -> str:
    return f"({text})" if re.search(r" [|&] ", text) else text


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _literal(name)


def _comment(schema: Schema) -> str:
    """What is said of it, and a text's format, which its type does not tell."""
    said = [str(schema.get("description", "")).strip(), _formats(schema)]
    lines = "\n".join(filter(None, said)).replace("*/", "*\\/").splitlines()
    if len(lines) > 1:
        return "/**\n" + "".join(f" * {line}".rstrip() + "\n" for line in lines) + " */\n"
    return f"/** {lines[0]} */\n" if lines else ""


def _formats(schema: Schema) -> str:
    branches = schema.get("anyOf", [schema])
    return ", ".join(dict.fromkeys(one["format"] for one in branches if "format" in one))


def _block(lines: Iterable[str]) -> str:
    text = "\n".join(lines)
    return "{\n" + re.sub(r"^(?=.)", "  ", text, flags=re.MULTILINE) + "\n}" if text else "{}"


# --- the event map --------------------------------------------------------------------------


def _channel(pattern: str, kind: type[RealtimeEvent]) -> str:
    """The name as a template: `private-orders-${number}`."""
    if pattern == USERS:
        numeric: set[str] = set()
    else:
        numeric = next(
            numeric_variables(kind, one) for one in kind.realtime_patterns if one.text == pattern
        )
    return _VARIABLE.sub(lambda found: "${number}" if found[1] in numeric else "${string}", pattern)


def _consistent(channels: _Channels) -> _Channels:
    """TypeScript holds `private-orders-1` to every template that it fits: what is said of the
    narrower must be assignable to what is said of the wider. So the narrower has the events of the
    wider too, and an event of both the data of either."""
    made = {name: dict(events) for name, events in channels.items()}
    within = [(a, b) for a, b in permutations(channels, 2) if _fits(a, b)]
    for _ in within:  # as often as a name may have to pass on what it was passed
        for narrow, wide in within:
            for event, data in list(made[wide].items()):
                if event in made[narrow]:
                    data = made[wide][event] = (*dict.fromkeys((*data, *made[narrow][event])),)
                made[narrow][event] = data
    return dict(sorted(made.items()))


def _fits(narrow: str, wide: str) -> bool:
    sample = _PLACEHOLDER.sub(lambda found: "7" if found[1] == "number" else "\0", narrow)
    parts = _PLACEHOLDER.split(wide)  # text, kind, text, kind, … text
    regex = "".join(
        {"string": ".*", "number": "[0-9]+"}[part] if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )
    return re.fullmatch(regex, sample, re.DOTALL) is not None


def _event_map(channels: _Channels) -> str:
    lines = []
    for name, events in channels.items():
        key = f"[channel: `{name}`]" if "${" in name else _literal(name)
        members = _block(f"{_key(event)}: {_union(of)};" for event, of in sorted(events.items()))
        lines.append(f"{key}: {members};")
    comment = "/** Channels, their events, and the data of each. */\n"
    return f"{comment}export interface {EVENTS} {_block(lines)}\n"
