"""The lines of a page that matter, out of the source that runs: what "How it works" shows.

In the source they stand between `how: NAME` and `end of how`, each a comment on a line of its own.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from markupsafe import Markup, escape

from realtime_kit import assets

_MARK = re.compile(r"\s*(?:#|//) (?:how: (?P<name>[a-z]+)|end of how)\n")
_TOKEN = re.compile(
    r"""(?P<comment>(?:\#|//)\s[^\n]*)
    |(?P<string>\"{3}.*?\"{3}|"[^"\n]*"|'[^'\n]*'|`[^`]*`)
    |(?P<word>@[\w.]+|\b(?:async|await|const|def|else|for|function|if|in|let|new|or|return|with
        |yield|True|False|None|true|false|null)\b)""",
    re.VERBOSE | re.DOTALL,
)


class Excerpt(NamedTuple):
    """Lines of one file, as they stand there but for the margin; an empty one between parts of it.
    `path` is as in the repository."""

    path: str
    code: str


@cache
def of(page: str) -> tuple[Excerpt, ...]:
    """The excerpts of a page: what runs in the browser, then what runs on the server."""
    static, here = assets.path("templates") / "static", Path(__file__).parent
    places = [(f"templates/static/{path.name}", path) for path in sorted(static.glob("*.js"))]
    places += [(f"realtime_kit/demo/{path.name}", path) for path in sorted(here.glob("*.py"))]
    found = ((name, _between(path, page)) for name, path in places)
    return tuple(Excerpt(name, code) for name, code in found if code)


def _between(path: Path, page: str) -> str:
    parts: list[list[str]] = []
    is_inside = False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if mark := _MARK.fullmatch(line):
            is_inside = mark["name"] == page
            parts += [[]] if is_inside else []
        elif is_inside:
            parts[-1].append(line)
    code = "\n\n".join(dedent("".join(part)).strip("\n") for part in parts)
    return re.sub(r"\n{3,}", "\n\n", code)


def paint(code: str) -> Markup:
    """Python or JavaScript as HTML: comments, strings and a few words in colours of their own."""
    painted, end = Markup(), 0
    for token in _TOKEN.finditer(code):
        painted += escape(code[end : token.start()])
        painted += Markup('<span class="{}">{}</span>').format(token.lastgroup, token[0])
        end = token.end()
    return painted + escape(code[end:])
