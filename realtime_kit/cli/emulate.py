"""`realtime-kit emulate …`: a vendor on this machine, for its own SDKs."""

from __future__ import annotations

import json
import logging
import signal
import ssl
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from realtime_kit.emulators.ably import AblyEmulator, Log

DEFAULT_PORT = 8787


@click.group(short_help="Run a vendor's emulator.")
def emulate() -> None:
    """Run a vendor on this machine, for its own SDKs: no account, no internet."""


@emulate.command(short_help="Ably: REST and realtime.")
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--key",
    "keys",
    metavar="APP.KEYID:SECRET",
    multiple=True,
    help="A key; repeatable, for several apps too. Default: local0.dev:secret. The app's id has "
    "six characters, as Ably's have.",
)
@click.option(
    "--revocable-tokens", is_flag=True, help='As the keys\' switch "Revocable tokens" on Ably.'
)
@click.option("--tls", is_flag=True, help="Serve https and wss, under a certificate for this run.")
@click.option(
    "--script",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A build of ably-js for pages, served as /ably.min.js. Default: that in node_modules.",
)
@click.option("--log", "is_logging", is_flag=True, help="Print what happens, a JSON per line.")
def ably(
    port: int,
    host: str,
    keys: tuple[str, ...],
    revocable_tokens: bool,
    tls: bool,
    script: Path | None,
    is_logging: bool,
) -> None:
    """Run Ably's emulator, for ably-js, ably-python and the provider `ably`.

    \b
    Examples:
      realtime-kit emulate ably
      realtime-kit emulate ably --port 9000 --key myapp0.one:secret --log
      REALTIME_PROVIDER=ably realtime-kit dev app:app      an app, and the emulator for it
    """
    from dataclasses import replace

    from realtime_kit.cli._ably import find_script
    from realtime_kit.cli.serve import log_to_stderr, print_rows
    from realtime_kit.emulators.ably import DEFAULT_KEY, AblyEmulator, Key, run

    try:
        parsed = [Key.parse(key) for key in keys or (DEFAULT_KEY,)]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--key") from error
    log_to_stderr(logging.WARNING)
    options: dict[str, Any] = {"host": host, "port": port, "script": script or find_script()}
    certificate: Path | None = None
    with ExitStack() as stack:
        if tls:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="realtime-kit-")))
            options["tls"], certificate = _tls(folder, host)
        if is_logging:
            options["log"] = _printing_log()
        emulator = AblyEmulator(
            [replace(key, revocable_tokens=revocable_tokens) for key in parsed], **options
        )
        run(emulator, ready=lambda _: print_rows("Ably's emulator", _rows(emulator, certificate)))


@emulate.command(short_help="API Gateway, around the functions of lambdas/.")
@click.option("--port", type=click.IntRange(0, 65_535), default=6001, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
def apigateway(port: int, host: str) -> None:
    """Run the functions of ./lambdas, all of them, as they are deployed on AWS: WebSocket API, HTTP
    API, queue, schedule and table. Without ./lambdas those that come with the kit are run.

    They read this environment (JWT_SECRET, REALTIME_WEB__TRIGGER_TOKENS, …), once. The keys are
    REALTIME_AWS__KEYS, else those for development.

    \b
    Examples:
      realtime-kit init chat && cd chat && realtime-kit emulate apigateway
      JWT_SECRET=secret realtime-kit emulate apigateway --port 7001
      REALTIME_PROVIDER=aws realtime-kit dev app:app      a Flask app, and the functions it needs
    """
    from realtime_kit.cli._deployment import emulated, rows_of
    from realtime_kit.cli.serve import log_to_stderr, print_rows
    from realtime_kit.settings import RealtimeSettings

    log_to_stderr(logging.WARNING)
    settings = RealtimeSettings(provider="aws", port=port)
    with emulated(settings, host, "", endpoints=True) as deployment:
        url = f"{deployment.gateway.url}/realtime"
        rows = [("Config", f"{url}/config"), ("Auth", f"{url}/auth"), ("Trigger", f"{url}/trigger")]
        over = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        print_rows("the functions of lambdas/", [*rows_of(deployment), *rows])
        over.wait()


def _tls(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A context to serve this host with, and the certificate that clients are to trust."""
    from realtime_kit.testing.certificate import self_signed

    certificate, key = self_signed(folder, "localhost", host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def _rows(emulator: AblyEmulator, certificate: Path | None) -> list[tuple[str, str]]:
    """What one needs to connect."""
    from realtime_kit.emulators.ably import DEFAULT_KEY, options_for

    rows = [("REST", emulator.url), ("Realtime", emulator.websocket_url)]
    for key in emulator.keys:
        shown = key if key == DEFAULT_KEY else f"{key.partition(':')[0]}:…"
        arguments = options_for("ably-python", emulator.url, key=shown)
        python = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        javascript = json.dumps(options_for("ably-js", emulator.url, key=shown), ensure_ascii=False)
        rows.append(("ably-js", javascript))
        rows.append(("Python", f"AblyRest({python})"))
    if emulator.script_url is not None:
        rows.append(("For pages", emulator.script_url))
    if certificate is not None:
        rows.append(("Trust", f"SSL_CERT_FILE={certificate} NODE_EXTRA_CA_CERTS={certificate}"))
    return rows


def _printing_log() -> Log:
    from realtime_kit.emulators.ably import Entry, Log

    class Printing(Log):
        def add(self, entry: Entry) -> None:
            super().add(entry)
            line = {"time": entry.time, "kind": entry.kind, "connection": entry.connection_id}
            known = {name: value for name, value in line.items() if value is not None}
            click.echo(json.dumps({**known, **entry.detail}, ensure_ascii=False, default=repr))

    return Printing()
