"""The commands of the Flask extension: `flask realtime channels`."""

from __future__ import annotations

import json
from typing import Any

import click

from realtime_kit.authorization import ChannelRule


@click.option("--json", "as_json", is_flag=True, help="One JSON object for each rule.")
def list_channels(as_json: bool) -> None:
    """The channel rules, in the order in which they are asked."""
    import flask

    rules = [_describe(rule) for rule in flask.current_app.extensions["realtime"].rules]
    if as_json:
        for rule in rules:
            click.echo(json.dumps(rule, default=repr))
        return
    if not rules:
        click.echo("no channel rules: nobody may subscribe to private or presence channels")
        return
    columns = ("pattern", "kind", "rule", "guests", "options")
    rows = [columns, *([_cell(rule[column]) for column in columns] for rule in rules)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _describe(rule: ChannelRule) -> dict[str, Any]:
    function = rule.function
    return {
        "pattern": rule.pattern.text,
        "kind": rule.pattern.kind.name.lower().replace("_", "-"),
        "rule": f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}",
        "guests": rule.guests,
        "options": {name: str(value) for name, value in rule.options.items()},
    }


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={option}" for name, option in value.items()) or "-"
    return str(value)
