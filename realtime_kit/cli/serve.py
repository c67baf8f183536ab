"""`realtime-kit serve`: the embedded server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from realtime_kit.errors import ConfigurationError

if TYPE_CHECKING:
    from realtime_kit.hosting.local.server import LocalServer
    from realtime_kit.protocol.app import App, Key
    from realtime_kit.settings import ChannelsSettings, RealtimeSettings


@click.command(short_help="Run the embedded server.")
@click.option("--port", type=click.IntRange(0, 65_535), help="REALTIME_PORT, else 6001; 0: any.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--app",
    "apps",
    metavar="ID:KEY:SECRET",
    multiple=True,
    help="An app; repeatable, the same ID again adds an older key. Else REALTIME_SERVER__APPS, "
    "else the app of REALTIME_LOCAL__*, which is 1:app-key:app-secret.",
)
@click.option("--webhook", metavar="URL", help="Post webhooks here, signed.")
@click.option(
    "--client-events/--no-client-events",
    default=True,
    show_default=True,
    help="Whether browsers may send client-… events.",
)
@click.option(
    "--subscription-count", is_flag=True, help="Tell channels how many subscribers they have."
)
@click.option("--verbose", is_flag=True, help="Log more than what goes wrong.")
def serve(
    port: int | None,
    host: str,
    apps: tuple[str, ...],
    webhook: str | None,
    client_events: bool,
    subscription_count: bool,
    verbose: bool,
) -> None:
    """Run the embedded server: the Pusher Channels protocol, without an account.

    \b
    Examples:
      realtime-kit serve
      realtime-kit serve --port 7001 --app 1:my-key:my-secret
      realtime-kit serve --host 0.0.0.0 --app "$APP"
      realtime-kit serve --webhook http://127.0.0.1:8000/realtime/webhook
    """
    from realtime_kit.settings import RealtimeSettings

    settings = RealtimeSettings()
    try:
        given = parse_apps(apps)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="--app") from error
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise click.BadParameter("it is not like http://HOST/webhook", param_hint="--webhook")
    served = given or apps_of(settings, settings.local)
    served = [_switched(app, client_events, subscription_count) for app in served]
    log_to_stderr(logging.DEBUG if verbose else logging.WARNING)
    from realtime_kit.hosting.local import LocalServer, run

    server = LocalServer(
        served,
        host=host,
        port=settings.port if port is None else port,
        webhook_url=webhook or settings.server.webhook,
    )
    run(server, ready=lambda _: print_rows("the embedded server", server_rows(server, served)))


def apps_of(settings: RealtimeSettings, section: ChannelsSettings) -> list[App]:
    """The apps of `REALTIME_SERVER__APPS`, else the one that the provider of `section` uses."""
    from realtime_kit.protocol.app import App, Key

    given = parse_apps(app.get_secret_value() for app in settings.server.apps)
    keys = tuple(Key(pair.key, pair.secret.get_secret_value()) for pair in section.keys)
    return given or [App(section.app_id, keys)]


def parse_apps(given: Iterable[str]) -> list[App]:
    """`ID:KEY:SECRET` texts as apps; an id that is there again adds a key. The newest is first."""
    from realtime_kit.protocol.app import App, Key

    keys: dict[str, list[Key]] = {}
    for text in given:
        app_id, _, pair = text.partition(":")
        key, _, secret = pair.partition(":")
        if not (app_id and key and secret):
            raise ConfigurationError("an app is ID:KEY:SECRET (--app, REALTIME_SERVER__APPS)")
        keys.setdefault(app_id, []).append(Key(key, secret))
    return [App(app_id, tuple(found)) for app_id, found in keys.items()]


def _switched(app: App, client_events: bool, subscription_count: bool) -> App:
    from dataclasses import replace

    return replace(app, client_events=client_events, subscription_count=subscription_count)


def log_to_stderr(level: int) -> None:
    """The server's own lines; nobody else's level changes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("realtime_kit")
    logger.addHandler(handler)
    logger.setLevel(level)


def server_rows(server: LocalServer, apps: Iterable[App]) -> list[tuple[str, str]]:
    """What one needs to connect."""
    rows = []
    for app in apps:
        rows.append(("WebSocket", f"{server.url.replace('http', 'ws', 1)}/app/{app.key.key}"))
        rows.append(("HTTP API", f"{server.url}/apps/{app.id}"))
        rows.append(("Keys", f"id {app.id}, key {app.key.key}, secret {_shown(app.key)}"))
    return rows


def _shown(key: Key) -> str:
    """A secret is not for screens, apart from the one that everybody knows."""
    from realtime_kit.settings import DEVELOPMENT_KEY, DEVELOPMENT_SECRET

    if (key.key, key.secret) == (DEVELOPMENT_KEY, DEVELOPMENT_SECRET):
        return f"{key.secret} (published: for development alone)"
    return "not shown"


def print_rows(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """A title and labelled lines on standard output, and how to end it."""
    from realtime_kit import __version__

    lines = [f"{click.style('realtime-kit', bold=True)} {__version__}: {title}", ""]
    lines += [f"  {click.style(label.ljust(10), fg='cyan')} {value}" for label, value in rows]
    lines += ["", click.style("  Ctrl-C to stop", dim=True)]
    click.echo("\n".join(lines))
    sys.stdout.flush()
