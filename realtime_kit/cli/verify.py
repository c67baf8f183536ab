"""`realtime-kit verify`: the conformance suites, on an account of one's own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from realtime_kit.testing.live import Check, Run

DEFAULT_CAP = 5_000  # a whole run takes some 1,100; 3,600 with Ably's larger batches
NAMES = ("ably", "aws", "local", "pusher")


@click.command(short_help="Run the conformance suites on your own account.")
@click.argument("provider", type=click.Choice(NAMES))
@click.option("--live", is_flag=True, help="Yes: talk to the real service, with my credentials.")
@click.option(
    "--max-messages",
    type=click.IntRange(min=1),
    default=DEFAULT_CAP,
    show_default=True,
    help="Counted before each call; the run ends there.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Where it is written (default: realtime-kit-verify-PROVIDER-DATE.md).",
)
def verify(provider: str, live: bool, max_messages: int, report: Path | None) -> None:
    """Run the conformance suites on the account of the settings, and write a dated report.

    Give them an app that nothing else uses: they send to channels such as news, and disconnect
    users such as 7. An app that is in use is refused. Exit code 1 if a check failed or the cap
    ended the run.

    \b
    Examples:
      PUSHER_URL=… realtime-kit verify --live pusher
      REALTIME_AWS__URL=… realtime-kit verify --live aws --max-messages 5000 --report aws.md
    """
    if not live:
        raise click.UsageError(
            f"this talks to the real service of provider {provider!r}, with the credentials of "
            "your settings, and what it sends is counted by whoever sends the bill: repeat it with "
            "--live"
        )
    run = _run(provider, max_messages, report)
    if not run.ok:
        raise click.exceptions.Exit(1)


def _run(provider: str, limit: int, path: Path | None) -> Run:
    from realtime_kit.deployment.cost import cap
    from realtime_kit.errors import ConfigurationError
    from realtime_kit.settings import RealtimeSettings

    try:
        from realtime_kit.testing import live
        from realtime_kit.testing.live.report import markdown
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"verify needs {error.name}: pip install pytest 'realtime-kit[server]'"
        ) from error
    settings = RealtimeSettings()
    cost = cap(provider, limit)
    click.echo(f"at most {limit} messages. {cost}", err=True)
    run = live.verify(provider, settings, limit=limit, progress=_show)
    when = datetime.fromtimestamp(run.began, UTC)
    path = path or Path(f"realtime-kit-verify-{provider}-{when:%Y-%m-%d}.md")
    path.write_text(markdown(run, settings, cost), encoding="utf-8")
    if run.stopped:
        click.echo(f"stopped: {run.stopped}", err=True)
    click.echo(
        f"{run.count('passed')} passed, {run.count('failed')} failed, {run.count('not possible')} "
        f"not possible, {run.count('not run')} not run; at most {run.spent} messages: {path}"
    )
    return run


def _show(check: Check) -> None:
    colour = {"passed": "green", "failed": "red"}.get(check.state, "yellow")
    line = f"{click.style(f'{check.state:12}', fg=colour)} {check.name}"
    click.echo(f"{line}  {check.note}".rstrip(), err=True)
