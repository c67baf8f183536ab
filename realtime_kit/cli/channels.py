"""`realtime-kit channels`: who is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from realtime_kit.providers.base import ChannelInfo
    from realtime_kit.realtime import Realtime

PRESENCE = "presence-"


@click.command(short_help="List the occupied channels.")
@click.option("--prefix", default="", help="Only channels whose name starts with it.")
@click.option(
    "--subscriptions",
    is_flag=True,
    help="Count connections too (Pusher: has to be enabled for the app).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per channel.")
def channels(prefix: str, subscriptions: bool, as_json: bool) -> None:
    """List the occupied channels, and how many users are on the presence channels.

    \b
    Examples:
      realtime-kit channels
      realtime-kit channels --prefix presence- --json
      realtime-kit channels --subscriptions
    """
    from realtime_kit.realtime import Realtime

    found = _find(Realtime(), prefix, subscriptions)
    if as_json:
        for channel in found:
            click.echo(json.dumps(_describe(channel)))
    elif found:
        _print_table(found)
    else:
        click.echo(f"no occupied channels{' with that prefix' if prefix else ''}", err=True)


def _find(realtime: Realtime, prefix: str, subscriptions: bool) -> list[ChannelInfo]:
    found = {
        channel.name: channel
        for channel in realtime.channels(
            prefix, info=["subscription_count"] if subscriptions else []
        )
    }
    # Users are counted on presence channels alone, and the API refuses the question for others.
    if any(name.startswith(PRESENCE) for name in found):
        narrow = prefix if prefix.startswith(PRESENCE) else PRESENCE
        for channel in realtime.channels(narrow, info=["user_count"]):
            found[channel.name] = channel
    return [found[name] for name in sorted(found)]


def _describe(channel: ChannelInfo) -> dict[str, str | int]:
    counts = {"users": channel.user_count, "subscriptions": channel.subscription_count}
    return {"channel": channel.name} | {
        name: count for name, count in counts.items() if count is not None
    }


def _print_table(found: Iterable[ChannelInfo]) -> None:
    rows = [
        (
            channel.name,
            "" if channel.user_count is None else _plural(channel.user_count, "user"),
            ""
            if channel.subscription_count is None
            else _plural(channel.subscription_count, "connection"),
        )
        for channel in found
    ]
    width = max(len(name) for name, _, _ in rows)
    for name, users, connections in rows:
        counts = users or connections
        padding = " " * (width - len(name) + 2) if counts else ""
        click.echo(click.style(name, bold=True) + padding + counts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
