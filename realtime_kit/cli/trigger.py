"""`realtime-kit trigger`: send one event."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from realtime_kit.events import Receipt


@click.command(short_help="Send one event.")
@click.argument("channel")
@click.argument("event")
@click.argument("data", metavar="[JSON]", default="{}")
@click.option("--exclude", metavar="SOCKET_ID", help="A connection that must not receive it.")
@click.option("--id", "event_id", metavar="ID", help="The event's id (default: a new one).")
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON.")
def trigger(
    channel: str, event: str, data: str, exclude: str | None, event_id: str | None, as_json: bool
) -> None:
    """Send EVENT with JSON data (default {}; - reads standard input) to CHANNEL.

    \b
    Examples:
      realtime-kit trigger orders shipped '{"id": 42}'
      realtime-kit trigger private-orders-42 note '"a text is JSON in quotes"'
      realtime-kit trigger '#server-to-user-7' notice '{}'     to a signed-in user
      cat report.json | realtime-kit trigger reports ready -
      REALTIME_PROVIDER=pusher realtime-kit trigger orders shipped '{}'
    """
    value = _parse(sys.stdin.read() if data == "-" else data)
    from realtime_kit.realtime import Realtime

    realtime = Realtime(on_error="raise")
    receipts = realtime.trigger(channel, event, value, exclude=exclude, id=event_id)
    if as_json:
        click.echo(json.dumps({"events": [_describe(receipt) for receipt in receipts]}))
        return
    sent = click.style("sent", fg="green")
    for receipt in receipts:
        click.echo(
            f"{sent} {event} to {click.style(receipt.channel, bold=True)} "
            f"through {realtime.provider.name}, id {receipt.id}"
        )


def _describe(receipt: Receipt) -> dict[str, Any]:
    """As `POST /trigger` answers."""
    members = ("id", "channel", "epoch", "offset")
    values = {name: getattr(receipt, name) for name in members}
    return {name: value for name, value in values.items() if value is not None}


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(
            f"the data is not JSON: {error}. A text is JSON in quotes: '\"text\"'"
        ) from error
