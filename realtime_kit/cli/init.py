"""`realtime-kit init`: the functions and the deployment file, in a project of one's own."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
from pathlib import Path

import click

FILES = ("lambdas", "serverless.yml")


@click.command(short_help="Put the Lambda functions into a project.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--stage", default="dev", show_default=True, help="The stage whose secret it is.")
@click.option(
    "--secrets",
    "store",
    type=click.Choice(["ssm", "secretsmanager"]),
    default="ssm",
    show_default=True,
    help="Where AWS keeps it: Parameter Store (free) or Secrets Manager.",
)
def init(folder: Path, stage: str, store: str) -> None:
    """Copy lambdas/ and serverless.yml to FOLDER, and make a key and a secret.

    The command that stores them in your AWS account goes to standard output; they are written
    nowhere else. What is there already is never overwritten.

    \b
    Examples:
      realtime-kit init
      realtime-kit init chat --stage prod --secrets secretsmanager
    """
    from realtime_kit import assets

    if not stage.replace("-", "").replace("_", "").isalnum() or not stage.isascii():
        raise click.BadParameter("a stage is letters, digits, - and _", param_hint="--stage")
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise click.ClickException(f"{' and '.join(there)} exist in {folder}: nothing was changed")
    folder.mkdir(parents=True, exist_ok=True)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(assets.path("lambdas"), folder / "lambdas", ignore=unwanted)
    shutil.copy(assets.path("serverless.yml"), folder / "serverless.yml")
    click.echo(f"lambdas/ and serverless.yml are in {folder}. Edit lambdas/app.py.", err=True)
    click.echo("Store the secret, which is written nowhere but here:", err=True)
    click.echo(_command(store, stage))
    further = "" if store == "ssm" else " --param secrets=secretsmanager"
    click.echo(
        "Then deploy, and check:\n"
        "  npm install osls\n"
        f"  npx osls deploy --stage {stage} --param provider=aws{further} "
        "--param origin=https://your.site\n"
        "  realtime-kit doctor --url https://HTTP_HOST_OF_THE_OUTPUTS",
        err=True,
    )


def _command(store: str, stage: str) -> str:
    """The one command that stores it. All of it is hexadecimal: no shell has to be told."""
    value = json.dumps(
        {
            "REALTIME_AWS__KEYS": f"{secrets.token_hex(10)}:{secrets.token_hex(20)}",
            "REALTIME_WEB__TRIGGER_TOKENS": secrets.token_hex(24),
            "JWT_SECRET": secrets.token_hex(32),
        },
        separators=(",", ":"),
    )
    if store == "ssm":
        command = f"aws ssm put-parameter --type SecureString --name /realtime-kit/{stage} --value"
    else:
        command = f"aws secretsmanager create-secret --name realtime-kit/{stage} --secret-string"
    return f"{command} {shlex.quote(value)}"
