"""The command line. A module per command; whatever is heavy is imported inside of the command.

Exit codes: 0 done, 1 it failed, 2 it was asked for in a wrong way, 130 Ctrl-C. An error is one line
on standard error. Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from realtime_kit import __version__
from realtime_kit.cli.build import build
from realtime_kit.cli.channels import channels
from realtime_kit.cli.cost import cost
from realtime_kit.cli.dev import demo, dev
from realtime_kit.cli.doctor import doctor
from realtime_kit.cli.emulate import emulate
from realtime_kit.cli.init import init
from realtime_kit.cli.listen import listen
from realtime_kit.cli.relay import relay
from realtime_kit.cli.serve import serve
from realtime_kit.cli.trigger import trigger
from realtime_kit.cli.types import types
from realtime_kit.cli.verify import verify
from realtime_kit.errors import InvalidChannel, InvalidEvent, RealtimeError

__all__ = ["main"]

NAME = "realtime-kit"


class _Group(click.Group):
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """click's, with our errors among those that end in one line."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, NAME, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            _fail(_one_line(error), error.exit_code)
        except click.Abort:
            sys.exit(130)
        except (InvalidChannel, InvalidEvent) as error:
            _fail(str(error), 2)  # a channel, a name or data that was typed wrong
        except RealtimeError as error:
            _fail(str(error), 1)
        except BrokenPipeError:
            # Whoever read along (`| head`) has enough. Python must not complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    return text if context is None else f"{text} (see {context.command_path} --help)"


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"{NAME}: {message}", err=True)
    sys.exit(code)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings are read from REALTIME_* variables and from .env; see docs/settings.md.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Real-time for Python applications that cannot hold long connections.

    \b
    realtime-kit demo                      try it, in two browser windows
    realtime-kit dev app:app               your Flask app and the embedded server
    realtime-kit listen orders             see events as they happen
    realtime-kit trigger orders shipped '{"id": 42}'
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


for command in (
    build,
    channels,
    cost,
    demo,
    dev,
    doctor,
    emulate,
    init,
    listen,
    relay,
    serve,
    trigger,
    types,
    verify,
):
    main.add_command(command)
