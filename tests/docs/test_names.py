"""What the pages name is there: commands, options, files, extras, settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from realtime_kit.cli import main
from realtime_kit.settings import names

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

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


def options(command: click.Command) -> set[str]:
    """Its own, and those of the commands in it."""
    found = {text for one in command.params for text in (*one.opts, *one.secondary_opts)}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return found.union(*map(options, inner))


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_has_what_is_asked_of_it(line: str) -> None:
    words = line.split()
    found: click.Command = main
    while words and isinstance(found, click.Group):
        name = words.pop(0)
        assert name in found.commands
        found = found.commands[name]
    assert {word for word in words if word.startswith("--")} <= options(found)


def test_an_option_that_is_told_of_is_there() -> None:
    told = named(r"`(--[a-z-]+)")
    of_others = {"--param", "--graceful-timeout", "--with-scheduler"}  # osls, gunicorn, rq
    assert len(told) > 15
    assert told - of_others <= options(main) | {"--help"}


def test_every_command_is_on_its_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    listed = re.findall(r"^\| `realtime-kit ([a-z]+)", page, re.MULTILINE)
    assert set(listed) == main.commands.keys()


def test_files_are_there() -> None:
    paths = named(
        r"\b((?:tests|benchmarks|realtime_kit|templates)/[\w/.]+\.\w+)", [*PAGES, ROOT / "Makefile"]
    )
    paths = {path for path in paths if "NAME." not in path}  # of a provider that is to be added
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


def test_extras_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = named(r"realtime-kit\[([\w,]+)\]")
    assert lists
    assert set(",".join(lists).split(",")) <= project["optional-dependencies"].keys()


def test_settings_are_there() -> None:
    named_in_full = named(r"\bREALTIME_[A-Z0-9_]*[A-Z]\b")
    assert len(named_in_full) > 50
    assert named_in_full - names().keys() == {"REALTIME_PUSHER__CLUSTR"}  # shown to be refused
    after_another = named(r"`(REALTIME_[A-Z]+)__\w+`(.*)")
    shortened = {f"{s}{end}" for s, rest in after_another for end in re.findall(r"`(__\w+)`", rest)}
    assert len(shortened) > 3
    assert shortened <= names().keys()
