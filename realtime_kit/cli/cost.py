"""`realtime-kit cost`: what a month costs, here and elsewhere."""

from __future__ import annotations

import json

import click

NOT_NEGATIVE = click.FloatRange(min=0)


@click.command(short_help="Estimate what a month costs.")
@click.option(
    "--connections", type=NOT_NEGATIVE, required=True, help="At a time, on average over the month."
)
@click.option(
    "--messages", type=NOT_NEGATIVE, required=True, help="Events that are triggered in a month."
)
@click.option(
    "--fanout", type=NOT_NEGATIVE, default=1, show_default=True, help="Subscribers of each event."
)
@click.option(
    "--peak", type=NOT_NEGATIVE, default=0, help="Connections at most (default: average)."
)
@click.option(
    "--size", type=click.IntRange(1, 131_072), default=1024, show_default=True, help="Bytes each."
)
@click.option(
    "--channels", type=NOT_NEGATIVE, default=100, show_default=True, help="In use at a time (Ably)."
)
@click.option(
    "--ping",
    type=click.FloatRange(min=5, max=600),
    default=540,
    show_default=True,
    help="Seconds of silence after which clients ping; pusher-js by itself: 120.",
)
@click.option(
    "--session",
    type=click.FloatRange(min=0.1),
    default=107.5,
    show_default=True,
    help="Minutes that a page stays open; AWS ends longer ones by then, and they come back.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cost(
    connections: float,
    messages: float,
    fanout: float,
    peak: float,
    size: int,
    channels: float,
    ping: float,
    session: float,
    as_json: bool,
) -> None:
    """Estimate the month for a service of your own on AWS, Pusher, Ably and AppSync Events.

    \b
    Examples:
      realtime-kit cost --connections 10000 --messages 1000000 --fanout 100
      realtime-kit cost --connections 200 --messages 3000000 --fanout 20 --json
    """
    from realtime_kit.deployment import cost as model

    load = model.Load(connections, messages, fanout, peak, size, channels, ping, session)
    found = model.estimates(load)
    as_of = model.prices()["as_of"]
    if as_json:
        answer = {
            "prices_as_of": as_of,
            "currency": "USD",
            "verdict": model.verdict(found),
            "estimates": [
                {
                    "name": one.name,
                    "total": None if one.total is None else round(one.total, 2),
                    "dominates": one.dominates,
                    "items": {name: round(dollars, 2) for name, dollars in one.items.items()},
                    "note": one.note,
                }
                for one in found
            ],
        }
        click.echo(json.dumps(answer))
        return
    for one in found:
        total = "not listed" if one.total is None else f"${one.total:,.2f}"
        click.echo(click.style(f"{one.name:10}{total:>14}", bold=True) + f"  {one.note}".rstrip())
        for name, dollars in sorted(one.items.items(), key=lambda item: -item[1]):
            if dollars >= 0.005:
                click.echo(f"    {name:22}{dollars:>12,.2f}")
    click.echo(f"\n{model.verdict(found)}")
    click.echo(
        f"List prices of {as_of}, US dollars a month: look them up before you decide.", err=True
    )
