"""`realtime-kit build`: the zips that Lambda runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

# As `deployment.build` has them, which is loaded only when it builds.
PROVIDERS = ("aws", "pusher", "ably")
ARCHITECTURES = ("arm64", "x86_64")


@click.command(short_help="Build the zips that Lambda runs.")
@click.option(
    "--arch",
    type=click.Choice(ARCHITECTURES),
    default="arm64",
    show_default=True,
    help="Processor.",
)
@click.option("--python", default="3.12", show_default=True, help="Version of Lambda's Python.")
@click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    default="aws",
    show_default=True,
    help="Whose functions.",
)
@click.option("--function", "only", multiple=True, help="This function alone; may be repeated.")
@click.option("--outbox", is_flag=True, help="The relay of an outbox, too.")
@click.option("--extra", "extras", multiple=True, help="A further extra of realtime-kit, as jwt.")
@click.option(
    "--include",
    multiple=True,
    default=("lambdas",),
    show_default=True,
    help="A folder that goes in; may be repeated.",
)
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="Where lambdas/ is (default: here).",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="dist/lambda",
    show_default=True,
    help="The folder for the zips.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per zip.")
def build(
    arch: str,
    python: str,
    provider: str,
    only: tuple[str, ...],
    outbox: bool,
    extras: tuple[str, ...],
    include: tuple[str, ...],
    project: Path,
    output: Path,
    as_json: bool,
) -> None:
    """Build a zip for each function, of wheels made for the target, without a container.

    Every compiled module is checked to be for that processor. `osls package` does this by itself.

    \b
    Examples:
      realtime-kit build --arch arm64 --python 3.12
      realtime-kit build --provider pusher --arch x86_64 --function auth --output dist
    """
    from realtime_kit.deployment import build as builder

    functions = builder.functions_of(provider, extras=extras, outbox=outbox or "relay" in only)
    if unknown := set(only) - {function.name for function in functions}:
        names = ", ".join(function.name for function in functions)
        raise click.BadParameter(f"no function {', '.join(sorted(unknown))}; {names}")
    wanted = [function for function in functions if not only or function.name in only]
    target = builder.Target(arch, python)
    built = builder.build(project, output, wanted, target, include=include)
    if not as_json:
        click.echo("\n".join(builder.report(built, target)))
        return
    for one in built:
        click.echo(
            json.dumps(
                {
                    "function": one.function,
                    "archive": str(one.archive),
                    "size": one.size,
                    "unzipped": one.unzipped,
                    "arch": arch,
                    "python": python,
                    "precompiled": one.compiled,
                }
            )
        )
