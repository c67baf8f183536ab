"""`GET /client/*`: the files of the browser client, as they lie in the package."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from realtime_kit.web.http import HttpRequest, HttpResponse

ROOT = Path(__file__).resolve().parent.parent / "client"
PREFIX = "/client/"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
}

# Plain names between slashes: no dot in front, so neither `..` nor hidden files.
_PATH = re.compile(r"(?:[a-z0-9][a-z0-9_.-]*/)*[a-z0-9][a-z0-9_.-]*(\.js|\.ts)", re.IGNORECASE)


def serve(request: HttpRequest) -> HttpResponse:
    """One file. Clients keep it, and ask each time whether it still is the one."""
    name = _PATH.fullmatch(request.path.removeprefix(PREFIX))
    path = ROOT / name[0] if name else ROOT
    try:
        content = path.read_bytes()
    except OSError:  # not there, a folder, or a name longer than any
        return HttpResponse.json({"error": "not found"}, 404)
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if _is_known(tag, request.headers.get("if-none-match", "")):
        return HttpResponse(304, headers=headers)
    return HttpResponse(200, content, {"Content-Type": TYPES[path.suffix.lower()], **headers})


def _is_known(tag: str, given: str) -> bool:
    """`If-None-Match`: a list of tags, compared weakly, or `*` (RFC 9110, 13.1.2)."""
    tags = [item.strip().removeprefix("W/") for item in given.split(",")]
    return tag in tags or "*" in tags
