"""docs/checklist.md: every line has its test, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "checklist.md").read_text()
_NAMED = re.compile(r"`(tests/[\w/.]+\.(?:py|js))::([^`]+)`")


def names_in(path: Path) -> set[str]:
    text = path.read_text()
    if path.suffix == ".js":
        return set(re.findall(r'^test\("([^"]+)"', text, re.MULTILINE))
    return {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def test_every_test_is_there() -> None:
    named = _NAMED.findall(PAGE)
    assert len(named) > 20
    assert [each for each in named if each[1] not in names_in(ROOT / each[0])] == []


def test_every_line_has_one() -> None:
    lines = re.findall(r"^\| (?!What )[^-|].*\|$", PAGE, re.MULTILINE)
    assert len(lines) == 10 + 5
    assert [line for line in lines if not _NAMED.search(line)] == []
