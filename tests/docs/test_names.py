"""What the pages name is there: commands with their options, files, benchmarks, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from realtime_kit.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_COMMAND = re.compile(r"\brealtime-kit ([a-z]+\b[^`\n|#&]*)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def named(pattern: str, pages: list[Path] = PAGES) -> set[str]:
    return {found for page in pages for found in re.findall(pattern, page.read_text())}


def commands() -> Iterator[object]:
    """Each that is called in code, as it stands there."""
    for page in PAGES:
        code = "\n".join(_CODE.findall(page.read_text()))
        for line in dict.fromkeys(map(str.strip, _COMMAND.findall(code))):
            yield pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}")


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_has_what_is_asked_of_it(line: str) -> None:
    words = line.split()
    found: click.Command = main
    while words and isinstance(found, click.Group):
        name = words.pop(0)
        assert name in found.commands
        found = found.commands[name]
    options = {text for one in found.params for text in (*one.opts, *one.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_command_is_on_its_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    listed = re.findall(r"^\| `realtime-kit ([a-z]+)", page, re.MULTILINE)
    assert set(listed) == main.commands.keys()


def test_files_are_there() -> None:
    paths = named(r"\b((?:tests|benchmarks|realtime_kit|templates)/[\w/.]+\.\w+)")
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_benchmarks_are_there() -> None:
    modules = named(r"python -m\s+benchmarks\.(\w+)")
    assert modules
    assert [name for name in modules if not (ROOT / "benchmarks" / f"{name}.py").exists()] == []


def test_targets_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert named(r"(?:`|^|\$ )make ([a-z]+)") <= targets


def test_every_parameter_of_a_deployment_is_described() -> None:
    template = (ROOT / "serverless.yml").read_text()
    (block,) = re.findall(r"^  default:\n((?:    .*\n)+)", template, re.MULTILINE)
    pages = [ROOT / "docs" / "deploy.md", ROOT / "docs" / "lambda.md"]
    rows = named(r"(?m)^\| (`\w+`(?:, `\w+`)*) \| .*\|$", pages)
    described = {name for row in rows for name in re.findall(r"\w+", row)}
    assert set(re.findall(r"^    (\w+):", block, re.MULTILINE)) <= described
