"""`realtime-kit types`: the catalogue of typed events for readers, and against an earlier one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from realtime_kit.catalog import Catalog

FORMATS = ("ts", "asyncapi", "json")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Types and documents of the typed events.")
@click.argument("app", metavar="MODULE:APP")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by --out, else ts.")
@click.option("--out", type=_FILE, metavar="FILE", help="Write it there, if it differs.")
@click.option(
    "--check",
    "earlier",
    type=_FILE,
    metavar="FILE",
    help="An earlier json or asyncapi document: 1 if a reader of it would break.",
)
def types(app: str, form: str | None, out: Path | None, earlier: Path | None) -> None:
    """Write what a catalogue says: TypeScript for the browser client, AsyncAPI 3.0, or JSON.

    MODULE:APP is a Catalog, a Realtime with one, or a Flask app, as for `flask --app`. AsyncAPI is
    written as JSON, which is YAML too. With --check nothing is written where a change would break
    readers, and nothing is printed but the changes.

    \b
    Examples:
      realtime-kit types app:app --out static/events.ts
      realtime-kit types app:app --format asyncapi --out events.json
      realtime-kit types app:app --check events.json
    """
    catalog = _catalog(app)
    form = form or _by_name(out)
    if earlier is not None:
        _check(catalog, earlier)
    text = _text(catalog, form)
    if out is not None:
        if not out.exists() or out.read_text(encoding="utf-8") != text:
            out.write_text(text, encoding="utf-8")
            click.echo(f"{out} is written", err=True)
    elif earlier is None:
        click.echo(text, nl=False)


def _catalog(app: str) -> Catalog:
    from realtime_kit.catalog import Catalog
    from realtime_kit.cli._application import attribute, realtime_of

    found = attribute(app)
    if isinstance(found, Catalog):
        return found
    catalog = realtime_of(app).catalog
    if catalog is None:
        raise click.UsageError(f"{app} has no catalogue: give Realtime catalog=Catalog(…)")
    return catalog


def _by_name(out: Path | None) -> str:
    if out is None or out.suffix == ".ts":
        return "ts"
    raise click.UsageError(f"--format says what {out.name} is to be: {' or '.join(FORMATS[1:])}")


def _text(catalog: Catalog, form: str) -> str:
    from realtime_kit.catalog.asyncapi import asyncapi
    from realtime_kit.catalog.schema import document
    from realtime_kit.catalog.typescript import typescript

    if form == "ts":
        return typescript(catalog)
    made = asyncapi(catalog) if form == "asyncapi" else document(catalog)
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _check(catalog: Catalog, earlier: Path) -> None:
    from realtime_kit.catalog.changes import compare
    from realtime_kit.catalog.schema import document

    changes = compare(_read(earlier), document(catalog))
    for line in changes.breaking:
        click.echo(line)
    if count := len(changes.breaking):
        what = "1 change breaks" if count == 1 else f"{count} changes break"
        raise click.ClickException(f"{what} readers of {earlier}")
    for line in changes.added:
        click.echo(f"added {line}")
    click.echo(f"compatible: {len(changes.added)} added")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"{path} is no JSON object")
    return found
