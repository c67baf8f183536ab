"""`realtime-kit dev` and `demo`: a Flask app and the embedded server, in one command."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from realtime_kit.cli._ports import answers
from realtime_kit.errors import ConfigurationError, missing_extra

if TYPE_CHECKING:
    from realtime_kit.hosting.local.server import LocalServer
    from realtime_kit.settings import ChannelsSettings, RealtimeSettings

DEMO = "realtime_kit.demo:create_app()"


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--realtime-port",
            type=click.IntRange(0, 65_535),
            help="The embedded server's; REALTIME_PORT, else 6001; 0: any.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65_535),
            envvar="PORT",
            default=8000,
            help="The app's; PORT, else 8000; 0: any.",
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="The address of both."),
    ):
        command = option(command)
    return command


@click.command(short_help="Run a Flask app and the embedded server.")
@click.argument("app", metavar="[MODULE:APP]", default=DEMO)
@click.option(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Restart the app when code changes, and show errors in werkzeug's debugger.",
)
@click.option(
    "--provider",
    type=click.Choice(["local", "pusher", "ably", "aws", "log", "null"]),
    help="REALTIME_PROVIDER, else local. aws: a deployment in the API Gateway emulator. ably "
    "without a key: Ably's emulator.",
)
@_options
def dev(app: str, reload: bool, provider: str | None, **where: Any) -> None:
    """Run a Flask app and the embedded server, and restart the app when its code changes.

    MODULE:APP is what `flask --app` takes: a module, module:app, or a factory like
    module:create_app(). Without it the demo runs. The app gets REALTIME_PROVIDER=local, unless it
    is set, and REALTIME_PORT; webhooks are posted to it. Sockets stay open while the app restarts.

    \b
    Examples:
      realtime-kit dev app:app
      realtime-kit dev 'shop.web:create_app()' --port 5000
      REALTIME_PORT=7001 realtime-kit dev app:app
    """
    title = "the demo" if app == DEMO else app
    run_both(app, title, reload=reload, provider=provider, **where)


@click.command(short_help="Run the demo.")
@_options
def demo(**where: Any) -> None:
    """Run the demo: chat, notifications, a dashboard, todos and likes, in as many browser windows
    as you open.

    To change its code as you go, run `realtime-kit dev` instead.

    \b
    Examples:
      realtime-kit demo
      PORT=8080 REALTIME_PORT=7001 realtime-kit demo
    """
    run_both(DEMO, "the demo, for two browser windows or more", reload=False, **where)


def run_both(
    app: str,
    title: str,
    *,
    reload: bool,
    host: str,
    port: int,
    realtime_port: int | None,
    provider: str | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. The app runs in a process of its own, which is replaced when
    code changes; the embedded server stays in this one."""
    _check_extras(app)
    from realtime_kit.cli._app_process import keep_running
    from realtime_kit.cli.serve import log_to_stderr, print_rows
    from realtime_kit.settings import RealtimeSettings

    given = {"port": realtime_port, "provider": provider}
    known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = RealtimeSettings(**known)
    log_to_stderr(logging.WARNING)
    with _listen(host, port) as listener:
        url = _url(host, listener.getsockname()[1])
        with _server(settings, host, url) as (environment, rows):
            try:
                keep_running(
                    app,
                    listener,
                    environment=environment,
                    reload=reload,
                    ready=lambda: print_rows(title, [("App", url), *rows]),
                )
            finally:
                # First: a webhook to an application that has ended waits for an answer in vain.
                listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"cannot listen on {host} port {port}: {error}") from error
        raise ConfigurationError(
            f"port {port} on {host} is in use: end what has it, or choose another for the app with "
            "--port or PORT"
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _server(
    settings: RealtimeSettings, host: str, url: str
) -> Iterator[tuple[dict[str, str], list[tuple[str, str]]]]:
    """Whatever the app publishes to, unless that is elsewhere or runs already: what the app's
    process gets on top of this one's environment, and what to print."""
    webhook = f"{url}{settings.web.prefix}/webhook"
    if settings.provider_name == "aws" and not settings.aws.url:
        from realtime_kit.cli._deployment import emulated, rows_of

        with emulated(settings, host, webhook) as deployment:
            yield {**_environment(settings, None), **deployment.environ}, rows_of(deployment)
        return
    if settings.provider_name == "ably":
        from realtime_kit.cli import _ably

        if _ably.is_emulated(settings):
            with _ably.emulated(settings, host) as emulator:
                found = _ably.environment_of(emulator)
                yield {**_environment(settings, None), **found}, _ably.rows_of(emulator)
            return
    with _embedded_server(settings, host, webhook) as (server, rows):
        yield _environment(settings, server), rows


@contextmanager
def _embedded_server(
    settings: RealtimeSettings, host: str, webhook: str
) -> Iterator[tuple[LocalServer | None, list[tuple[str, str]]]]:
    """The server that the app publishes to, or None if that is elsewhere or runs already; and what
    to print of it."""
    from realtime_kit.cli.serve import apps_of, server_rows

    section, port = _target(settings)
    if section is None:
        yield None, [("Provider", settings.provider_name)]
        return
    from realtime_kit.hosting.local import LocalServer, running

    apps = apps_of(settings, section)
    webhook = settings.server.webhook or webhook
    with running(LocalServer(apps, host=host, port=port, webhook_url=webhook)) as server:
        yield server, server_rows(server, apps)


def _target(settings: RealtimeSettings) -> tuple[ChannelsSettings | None, int]:
    """The settings and the port of the embedded server that has to be started for the app."""
    from realtime_kit.settings import is_loopback

    local, pusher, name = settings.local, settings.pusher, settings.provider_name
    if name == "local" and is_loopback(local.host):
        return local, settings.port
    if name == "pusher" and pusher.host and pusher.port and is_loopback(pusher.host):
        # The official SDK, pointed at an embedded server: maybe at one that somebody started.
        return (None if answers(pusher.host, pusher.port) else pusher), pusher.port
    return None, 0


def _environment(settings: RealtimeSettings, server: LocalServer | None) -> dict[str, str]:
    """What the app's process gets on top of this one's environment."""
    given = {
        "REALTIME_PROVIDER": settings.provider_name,
        "FLASK_DEBUG": os.environ.get("FLASK_DEBUG", "1"),
    }
    if server is None:
        return given
    return {**given, "REALTIME_PORT": str(server.port), "REALTIME_LOCAL__HOST": server.host}


def _check_extras(app: str) -> None:
    """Raise the install hint where Flask is missing, or what the demo needs beside it."""
    needed = {"flask": "flask"} | ({"sqlalchemy": "sql"} if app == DEMO else {})
    for module, extra in needed.items():
        if find_spec(module) is None:
            raise missing_extra(extra, "the demo" if app == DEMO else "`realtime-kit dev`")
