"""`realtime-kit listen`: print events as they happen."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from realtime_kit.cli._ably_listener import AblyListener
    from realtime_kit.cli._listener import Listener, Received
    from realtime_kit.realtime import Realtime


@click.command(short_help="Print events as they happen.")
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
@click.option("--count", type=click.IntRange(min=1), help="End after that many events.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End then; with --count it is a failure if events are missing.",
)
@click.option(
    "--user",
    metavar="ID",
    default="realtime-kit",
    show_default=True,
    help="Who to be on presence channels; others see it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
def listen(
    channels: tuple[str, ...], count: int | None, timeout: float | None, user: str, as_json: bool
) -> None:
    """Print the events of channels as they happen, until Ctrl-C.

    Private, presence and encrypted channels are joined with the configured secret.
    Lost connections are made again.

    \b
    Examples:
      realtime-kit listen orders
      realtime-kit listen private-orders-42 presence-room-1 --json | jq .data
      realtime-kit listen orders --count 1 --timeout 10
      realtime-kit listen '#server-to-user-7'                what a signed-in user gets
    """
    from realtime_kit.realtime import Realtime

    # Also where a shell started this in the background, which makes Python ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    printer = _Printer(count, as_json)
    listener = _listener(Realtime(), channels, user_id=user, on_event=printer, notice=_notice)
    try:
        asyncio.run(_until_done(listener.run(), printer.done, timeout))
    except KeyboardInterrupt:
        if count is not None:
            raise  # asked for a number of events, and it is not there
    if printer.broken is not None:
        raise printer.broken
    if timeout is not None and count is not None and printer.seen < count:
        raise click.ClickException(f"{printer.seen} of {count} events in {timeout:g} s")


def _listener(
    realtime: Realtime, channels: tuple[str, ...], **options: Any
) -> Listener | AblyListener:
    if realtime.provider.name == "ably":
        from realtime_kit.cli._ably_listener import AblyListener

        return AblyListener(realtime.settings.ably, channels, **options)
    from realtime_kit.cli._listener import Listener

    return Listener(realtime.provider, channels, **options)


async def _until_done(
    run: Coroutine[Any, Any, None], done: asyncio.Event, seconds: float | None
) -> None:
    """Until one of: enough events, the time is over, the listener failed."""
    tasks = [asyncio.ensure_future(run), asyncio.ensure_future(done.wait())]
    finished, unfinished = await asyncio.wait(
        tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
    )
    for task in unfinished:
        task.cancel()
    await asyncio.wait(tasks)
    for task in finished:
        task.result()


class _Printer:
    """Prints each event; sets `done` after `count` of them."""

    def __init__(self, count: int | None, as_json: bool) -> None:
        self.seen = 0
        self.broken: BrokenPipeError | None = None
        self.done = asyncio.Event()
        self._count = count
        self._as_json = as_json

    def __call__(self, received: Received) -> None:
        if self.done.is_set():
            return
        try:
            click.echo(_as_json(received) if self._as_json else _as_text(received))
        except BrokenPipeError as error:  # in the listener it would pass for a lost connection
            self.broken = error
        self.seen += 1
        if self.seen == self._count or self.broken is not None:
            self.done.set()


def _as_json(received: Received) -> str:
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "channel": received.channel,
        "event": received.event,
        "data": received.data,
    }
    if received.user_id is not None:
        line["user_id"] = received.user_id
    return json.dumps(line, ensure_ascii=False)


def _as_text(received: Received) -> str:
    data = json.dumps(received.data, ensure_ascii=False, separators=(",", ":"))
    parts = [
        click.style(f"{datetime.now():%H:%M:%S}", dim=True),
        click.style(_printable(received.channel), bold=True),
        click.style(_printable(received.event), fg="cyan"),
        _printable(data),
    ]
    if received.user_id is not None:
        parts.append(click.style(f"by {_printable(received.user_id)}", dim=True))
    return "  ".join(parts)


def _printable(text: str) -> str:
    """What comes from others does not steer the terminal."""
    return "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" for character in text
    )


def _notice(line: str) -> None:
    click.echo(click.style(_printable(line), dim=True), err=True)
