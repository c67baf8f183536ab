"""The expressions of DynamoDB that the API Gateway registry uses, from their text to functions of
an item and of the values that a request gives. Others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from realtime_kit.hosting.apigateway.dynamodb import DynamoDBError

Item = dict[str, Any]
Values = Mapping[str, Any]
Condition = Callable[[Item, Values], bool]
Edit = Callable[[Item, Values], None]

_KINDS = ("ConditionExpression", "UpdateExpression", "KeyConditionExpression")
_TOKEN = re.compile(r"\s*(:?\w+|<=|>=|[=<>(),+])")


def refuse_if(wrong: bool, message: str) -> None:
    """Raise what the service raises for a request that it cannot take."""
    if wrong:
        raise DynamoDBError(400, "ValidationException", {"message": message})


def check_placeholders(request: Mapping[str, Any]) -> None:
    """What is given is used, and what is used is given."""
    changes = [next(iter(each.values())) for each in request.get("TransactItems", ())]
    for part in [request, *changes]:
        text = " ".join(part.get(name, "") for name in _KINDS)
        given = set(part.get("ExpressionAttributeValues", ()))
        used = set(re.findall(r":\w+", text))
        refuse_if(
            given != used, f"ExpressionAttributeValues unused or undefined: {sorted(given ^ used)}"
        )


def key_range(expression: str, values: Values) -> tuple[str, str, str | None]:
    """The partition, and the first and last sort key, that a key condition asks for."""
    text = {name: typed["S"] for name, typed in values.items()}
    match expression.replace("(", " ( ").replace(")", " ) ").replace(",", " ").split():
        case ["pk", "=", pk]:
            return text[pk], "", None
        case ["pk", "=", pk, "AND", "begins_with", "(", "sk", begins, ")"]:
            return text[pk], text[begins], text[begins] + "\U0010ffff"
        case ["pk", "=", pk, "AND", "sk", ">=", start]:
            return text[pk], text[start], None
        case ["pk", "=", pk, "AND", "sk", "BETWEEN", start, "AND", stop]:
            return text[pk], text[start], text[stop]
    raise DynamoDBError(400, "ValidationException", {"message": f"not understood: {expression!r}"})


@lru_cache
def condition(expression: str) -> Condition:
    """Whether it holds for an item."""
    tokens = _tokens(expression)
    found = _or(tokens)
    refuse_if(tokens != [""], f"not understood here: {expression!r}")
    return found


@lru_cache
def edits(expression: str) -> tuple[Edit, ...]:
    """What an update does to an item, one after the other."""
    tokens = _tokens(expression)
    found: list[Edit] = []
    clause = ""
    while tokens[0]:
        if tokens[0] in ("SET", "ADD", "REMOVE"):
            clause = tokens.pop(0)
        elif tokens[0] == ",":
            del tokens[0]
        found.append(_CLAUSES[clause](tokens))
    return tuple(found)


def _tokens(expression: str) -> list[str]:
    """The parts of one, and an empty one at the end."""
    found = _TOKEN.findall(expression)
    refuse_if("".join(found) != "".join(expression.split()), f"not understood here: {expression!r}")
    return [*found, ""]


def _or(tokens: list[str]) -> Condition:
    parts = [_and(tokens)]
    while tokens[0] == "OR":
        del tokens[0]
        parts.append(_and(tokens))
    return lambda item, given: any(part(item, given) for part in parts)


def _and(tokens: list[str]) -> Condition:
    parts = [_atom(tokens)]
    while tokens[0] == "AND":
        del tokens[0]
        parts.append(_atom(tokens))
    return lambda item, given: all(part(item, given) for part in parts)


def _atom(tokens: list[str]) -> Condition:
    if tokens[0] == "(":
        del tokens[0]
        inner = _or(tokens)
        refuse_if(tokens.pop(0) != ")", "a bracket is missing")
        return inner
    if tokens[0] in ("attribute_exists", "attribute_not_exists"):
        function, _, name, _ = (tokens.pop(0) for _ in range(4))
        there = function == "attribute_exists"
        return lambda item, given: (name in item) is there
    name, operator, placeholder = (tokens.pop(0) for _ in range(3))
    compare = _COMPARE[operator]

    def holds(item: Item, given: Values) -> bool:
        kind, value = next(iter(given[placeholder].items()))
        if kind not in item.get(name, {}):
            return False
        there = item[name][kind]
        return compare(int(there), int(value)) if kind == "N" else compare(there, value)

    return holds


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _set(tokens: list[str]) -> Edit:
    name, _ = tokens.pop(0), tokens.pop(0)
    if tokens[0] == "if_not_exists":
        _, _, other, _, value, _ = (tokens.pop(0) for _ in range(6))
        return lambda item, given: item.update({name: item.get(other, given[value])})
    value = tokens.pop(0)
    if tokens[0] != "+":
        return lambda item, given: item.update({name: given[value]})
    _, step = tokens.pop(0), tokens.pop(0)

    def raise_(item: Item, given: Values) -> None:
        refuse_if(value not in item, "an attribute of the update does not exist in the item")
        item[name] = {"N": str(int(item[value]["N"]) + int(given[step]["N"]))}

    return raise_


def _add(tokens: list[str]) -> Edit:
    name, step = tokens.pop(0), tokens.pop(0)

    def add(item: Item, given: Values) -> None:
        before = int(item[name]["N"]) if name in item else 0
        item[name] = {"N": str(before + int(given[step]["N"]))}

    return add


def _remove(tokens: list[str]) -> Edit:
    name = tokens.pop(0)
    return lambda item, given: item.pop(name, None) and None


_CLAUSES: dict[str, Callable[[list[str]], Edit]] = {"SET": _set, "ADD": _add, "REMOVE": _remove}
