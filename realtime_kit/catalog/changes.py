"""What of an earlier catalogue a reader can no longer rely on.

A reader was written for the earlier document and is sent what the later one describes. It ignores
what it does not know, so that events and fields may be added. It breaks where something is gone,
may be missing, or may be a value that it was never told of: another type or format, null, one more
literal. Bounds, patterns and descriptions are no reader's business. A whisper (`client-…`) is sent
by browsers: there each is a reader of the other, and either way is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from realtime_kit.catalog.catalogue import USERS
from realtime_kit.errors import ConfigurationError

Schema = Mapping[str, Any]

_VARIABLE = re.compile(r"\{[^}]*\}")
_NOT_OURS = "the earlier document is none that `realtime-kit types` wrote as json or asyncapi"


class Changes(NamedTuple):
    """What breaks a reader, and what is new, a line each: `CHANNEL EVENT: …`."""

    breaking: list[str]
    added: list[str]


def compare(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> Changes:
    """Of two documents, in JSON or AsyncAPI. Raises `ConfigurationError` for what is neither."""
    old, new = _Document(earlier), _Document(later)
    changes = Changes([], [])
    for channel, events in old.channels.items():
        if channel not in new.channels:
            changes.breaking.append(f"{old.names[channel]}: the channel is gone")
            continue
        there = new.channels[channel]
        for name, schema in events.items():
            where = f"{old.names[channel]} {name}"
            if name not in there:
                changes.breaking.append(f"{where}: the event is gone")
                continue
            reading = _Reader(old, new)
            changes.breaking.extend(
                f"{where} {line}" for line in reading.breaks(schema, there[name], "data")
            )
            changes.added.extend(f"{where} {line}" for line in reading.added)
            if name.startswith("client-"):
                back = _Reader(new, old, lenient=True).breaks(there[name], schema, "data")
                changes.breaking.extend(f"{where} {line} (from pages of before)" for line in back)
    for channel, events in new.channels.items():
        known = old.channels.get(channel, {})
        changes.added.extend(
            f"{new.names[channel]} {name}: event" for name in events if name not in known
        )
    return changes


class _Document:
    """Schemas by channel and event; channels are the same whatever their variables are called."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._root = document
        self.names: dict[str, str] = {}
        self.channels: dict[str, dict[str, Schema]] = {}
        try:
            read = _read_asyncapi if "asyncapi" in document else _read_json
            for name, event, schema in read(self, document):
                key = _VARIABLE.sub("{}", name)
                self.names.setdefault(key, name)
                self.channels.setdefault(key, {})[event] = schema
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(_NOT_OURS) from error

    def resolve(self, schema: Any) -> Any:
        """What a reference leads to; what is none, as it is."""
        while isinstance(schema, Mapping) and "$ref" in schema:
            found: Any = self._root
            try:
                for part in schema["$ref"].removeprefix("#/").split("/"):
                    found = found[part.replace("~1", "/").replace("~0", "~")]
            except (KeyError, TypeError) as error:
                raise ConfigurationError(f"{_NOT_OURS}: {schema['$ref']}") from error
            schema = found
        return schema


def _read_json(_: _Document, document: Mapping[str, Any]) -> Iterator[tuple[str, str, Schema]]:
    for channel, events in document["channels"].items():
        for name, schema in events.items():
            yield channel, name, schema


def _read_asyncapi(
    self: _Document, document: Mapping[str, Any]
) -> Iterator[tuple[str, str, Schema]]:
    for channel in document["channels"].values():
        for reference in channel["messages"].values():
            message = self.resolve(reference)
            yield channel["address"] or USERS, message["name"], message["payload"]


class _Reader:
    """Somebody who was told the old schemas and is sent what the new ones describe. `lenient`: what
    was told to be missing at times may be missing for good."""

    def __init__(self, old: _Document, new: _Document, *, lenient: bool = False) -> None:
        self._old = old
        self._new = new
        self._lenient = lenient
        self._open: set[tuple[str, str]] = set()
        self.added: list[str] = []

    def breaks(self, told: Any, sent: Any, path: str) -> Iterator[str]:
        """Lines `PATH: what breaks`."""
        pair = _reference(told), _reference(sent)
        if pair in self._open:  # a model within itself
            return
        if all(pair):
            self._open.add(pair)
        yield from self._breaks(self._old.resolve(told), self._new.resolve(sent), path)
        self._open.discard(pair)

    def _breaks(self, told: Any, sent: Any, path: str) -> Iterator[str]:
        options = _branches(told)
        if not options:
            return
        for one in _branches(sent) or [{}]:
            if len(options) == 1:
                yield from self._breaks_one(options[0], one, path)
                continue
            # Against the branch that comes nearest, so that it is told of what changed in there.
            least = min((self._tried(option, one, path) for option in options), key=_weight)
            self.added += least[1]
            yield from least[0]

    def _tried(self, told: Any, sent: Any, path: str) -> tuple[list[str], list[str]]:
        trial = _Reader(self._old, self._new, lenient=self._lenient)
        trial._open = set(self._open)
        return list(trial.breaks(told, sent, path)), trial.added

    def _breaks_one(self, told: Any, sent: Any, path: str) -> Iterator[str]:
        if _reference(told) or _reference(sent):
            yield from self.breaks(told, sent, path)
            return
        before, now = _type(told), _type(sent)
        if before is None:
            return
        if now == "null" != before:
            yield f"{path}: may be null now"
        elif before != now and (before, now) != ("number", "integer"):
            yield f"{path}: was {_words(told)}, is {_words(sent)}"
        elif _literals(told) is not None:
            yield from _new_literals(told, sent, path)
        elif told.get("format") is not None and told.get("format") != sent.get("format"):
            if _literals(sent) is None:
                yield f"{path}: was {_words(told)}, is {_words(sent)}"
        elif before == "object":
            yield from self._object(told, sent, path)
        elif before == "array":
            yield from self._array(told, sent, path)

    def _object(self, told: Schema, sent: Schema, path: str) -> Iterator[str]:
        known, there = told.get("properties", {}), sent.get("properties", {})
        every, others = told.get("additionalProperties"), sent.get("additionalProperties")
        for name, schema in known.items():
            here = f"{path}.{name}"
            always = name in told.get("required", ())
            if name not in there:
                if always or not self._lenient:
                    yield f"{here}: the field is gone"
                continue
            if always and name not in sent.get("required", ()):
                yield f"{here}: may be missing now"
            yield from self.breaks(schema, there[name], here)
        if isinstance(every, Mapping):
            for name in sorted(there.keys() - known.keys()):
                yield from self.breaks(every, there[name], f"{path}.{name}")
            if others is not None:
                yield from self.breaks(every, others, f"{path}.*")
        else:
            self.added += [f"{path}.{name}: field" for name in there if name not in known]

    def _array(self, told: Schema, sent: Schema, path: str) -> Iterator[str]:
        (first, rest), (now, more) = _items(told), _items(sent)
        if len(now) < len(first):
            yield f"{path}: had {len(first)} items, has {len(now)}"
            return
        for index, schema in enumerate(now):
            if index < len(first) or rest is not None:
                expected = first[index] if index < len(first) else rest
                yield from self.breaks(expected, schema, f"{path}[{index}]")
            elif first:
                yield f"{path}: had {len(first)} items, has {len(now)}"
                return
        if rest is not None and more is not None:
            yield from self.breaks(rest, more, f"{path}[]")


def _weight(found: tuple[list[str], list[str]]) -> tuple[int, int]:
    # Another type altogether is further away than any number of changes within one.
    lines = found[0]
    return sum(", is " in line for line in lines), len(lines)


def _reference(schema: Any) -> str:
    return str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""


def _branches(schema: Any) -> list[Any]:
    """What a value may be; nothing: anything."""
    if not isinstance(schema, Mapping):
        return []
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return list(schema[key])
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": one} for one in schema["type"]]
    if "enum" in schema and "type" not in schema:
        kinds = dict.fromkeys(map(_json_type, schema["enum"]))
        return [
            {"type": kind, "enum": [value for value in schema["enum"] if _json_type(value) == kind]}
            for kind in kinds
        ]
    return [schema] if _type(schema) is not None or _reference(schema) else []


def _type(schema: Any) -> str | None:
    if not isinstance(schema, Mapping):
        return None
    if "type" in schema:
        return str(schema["type"])
    literals = _literals(schema)
    return None if not literals else _json_type(literals[0])


def _json_type(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return kinds.get(type(value), "object")


def _literals(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _new_literals(told: Schema, sent: Schema, path: str) -> Iterator[str]:
    known, now = _literals(told) or [], _literals(sent)
    if now is None:
        yield f"{path}: was one of {_listed(known)}, may be any {_type(sent)}"
    elif new := [value for value in now if value not in known]:
        yield f"{path}: may be {_listed(new)} now"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(repr, values))


def _items(schema: Schema) -> tuple[list[Any], Any]:
    """The first items, each with a schema of its own, and that of the rest; None: there is none."""
    items = schema.get("items", {})
    if isinstance(items, list):  # draft 7
        first, rest = items, schema.get("additionalItems", {})
    else:
        first, rest = list(schema.get("prefixItems", ())), items
    ended = rest is False or (bool(first) and schema.get("maxItems") == len(first))
    return first, None if ended else rest


def _words(schema: Any) -> str:
    kind = _type(schema) or "anything"
    form = schema.get("format") if isinstance(schema, Mapping) else None
    return kind if form is None else f"{kind} ({form})"
