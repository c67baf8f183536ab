"""`realtime-kit relay`: send what is in the outbox."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from realtime_kit.errors import ConfigurationError

if TYPE_CHECKING:
    from realtime_kit.outbox import Dead, Queue, Relay, Tally
    from realtime_kit.realtime import Realtime


@click.command(short_help="Send what is in the outbox.")
@click.argument("app", metavar="[MODULE:APP]", required=False)
@click.option("--database", metavar="URL", help="REALTIME_OUTBOX__URL, else REALTIME_HISTORY__URL.")
@click.option("--once", is_flag=True, help="Send what is due, then end; 1 if something failed.")
@click.option("--interval", type=click.FloatRange(0.01), default=1.0, show_default=True,
              help="Seconds between two looks.")  # fmt: skip
@click.option("--lease", type=click.FloatRange(0.1), default=60.0, show_default=True,
              help="Seconds after which another may send what this one was killed at.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1), default=100, show_default=True,
              help="After so many an event is dead.")  # fmt: skip
@click.option("--create-tables", is_flag=True, help="Make the tables, and end.")
@click.option("--dead", is_flag=True, help="List the events that were given up, and end.")
@click.option("--replay", metavar="ID|all", help="Have dead events sent again, and end.")
@click.option("--discard", metavar="ID|all", help="Delete dead events, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --dead: one JSON object per event.")
def relay(
    app: str | None,
    database: str | None,
    once: bool,
    interval: float,
    lease: float,
    attempts: int,
    create_tables: bool,
    dead: bool,
    replay: str | None,
    discard: str | None,
    as_json: bool,
) -> None:
    """Send the events of committed transactions, until Ctrl-C or SIGTERM; any number may run.

    MODULE:APP is a Flask app, as for `flask --app`, or a Realtime: its rules say which channels
    keep history. Without it there is only REALTIME_HISTORY__DEFAULT.

    \b
    Examples:
      realtime-kit relay --create-tables
      realtime-kit relay app:app
      realtime-kit relay app:app --once
      realtime-kit relay --dead
      realtime-kit relay --replay all
    """
    asked = (once, create_tables, dead, replay is not None, discard is not None)
    if sum(asked) > 1:
        raise click.UsageError(
            "one of --once, --create-tables, --dead, --replay and --discard at a time"
        )
    realtime = _load(app)
    queue = _queue(realtime, database)
    if create_tables:
        from realtime_kit.outbox import create_tables as create

        create(queue.engine)
        click.echo(f"the outbox's tables are in {queue.engine.url.render_as_string()}", err=True)
        return
    queue.check()
    if dead:
        _list(queue, as_json)
    elif replay is not None:
        click.echo(f"{queue.replay(_numbers(replay, '--replay'))} will be sent again", err=True)
    elif discard is not None:
        click.echo(f"{queue.discard(_numbers(discard, '--discard'))} deleted", err=True)
    else:
        from realtime_kit.cli.serve import log_to_stderr
        from realtime_kit.outbox import Relay

        _check_history(realtime)
        log_to_stderr(logging.WARNING)
        made = Relay(realtime, queue, interval=interval, lease=lease, attempts=attempts)
        _run(made, once=once)


def _load(app: str | None) -> Realtime:
    from realtime_kit.cli._application import realtime_of
    from realtime_kit.realtime import Realtime

    return Realtime() if app is None else realtime_of(app)


def _queue(realtime: Realtime, database: str | None) -> Queue:
    from realtime_kit.outbox import Queue

    return Queue(database) if database else Queue.from_settings(realtime.settings)


def _numbers(given: str, option: str) -> list[int] | None:
    if given == "all":
        return None
    try:
        return [int(number) for number in given.split(",")]
    except ValueError:
        raise click.BadParameter(
            "numbers as --dead shows them, or all", param_hint=option
        ) from None


def _list(queue: Queue, as_json: bool) -> None:
    found = queue.dead()
    for event in found:
        click.echo(json.dumps(event._asdict()) if as_json else _line(event))
    if not found:
        click.echo("no event was given up", err=True)


def _line(event: Dead) -> str:
    from datetime import datetime

    since = datetime.fromtimestamp(event.since / 1000).strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"{event.seq:>6}  {since}  {click.style(event.channel, bold=True)}  {event.name}  "
        f"{event.attempts} attempts  {event.error}"
    )


def _check_history(realtime: Realtime) -> None:
    if realtime.keeps_history and not realtime.recorder.log.shared:
        raise ConfigurationError(
            "an event log in memory is not seen by the application's process: "
            "set REALTIME_HISTORY__URL to a database"
        )


def _run(relay: Relay, *, once: bool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from realtime_kit.hosting.signals import leave_signals_to_main
    from realtime_kit.outbox import Tally

    total = Tally()
    shows = sys.stderr.isatty()

    def add(done: Tally) -> None:
        nonlocal total
        total += done
        if shows:
            click.echo(f"\r\033[K{_summary(total)}", nl=False, err=True)

    def work() -> None:
        if once:
            add(relay.drain())
        else:
            relay.run(on_round=add)

    _on_signals(relay.stop)
    if not once:
        click.echo("the relay runs; Ctrl-C to stop", err=True)
    # In a thread of its own, so that a signal finds the main one where it can tell it to stop.
    with ThreadPoolExecutor(1, initializer=leave_signals_to_main) as pool:
        pool.submit(work).result()
    if shows:
        click.echo(err=True)
    left = relay.queue.waiting()
    click.echo(f"{_summary(total)}; {left} waiting", err=True)
    if once and (total.put_off or total.dead):
        raise click.exceptions.Exit(1)


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


def _summary(total: Tally) -> str:
    return f"{total.sent} sent, {total.put_off} put off, {total.dead} given up"
