"""The browser client's size, compressed, next to what others publish for browsers.

Ours is `client/realtime.js` with its static imports as they lie there, neither minified nor
bundled: what a page has to load before it may subscribe. The bar means one gzip stream over them,
which is what a bundler's output costs at most; `ours_per_file` is what a server sends that
compresses each file. The transports' bar is each module's of `client/transports`, by itself;
`transports_in_all` is what a page loads for one before it can work: its module with the static
imports that are not the core's, those included that it shares with others (`log.js` with resuming).
The peer is pusher-js, which speaks the same protocol; laravel-echo needs a pusher-js or an ably-js
in addition.

Bytes do not vary: `--pairs` is of no effect.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks._harness import Result, main, progress

CLIENT = Path(__file__).resolve().parent.parent / "realtime_kit" / "client"
CORE = 8_000
TRANSPORT = 2_000

PEER = "pusher-js"
# Each with its build for browsers, minified where there is such a one.
PUBLISHED = {
    PEER: ("8.6.0", "dist/web/pusher.min.js"),
    "ably": ("2.28.0", "build/ably.min.js"),
    "socket.io-client": ("4.8.4", "dist/socket.io.min.js"),
    "laravel-echo": ("2.5.0", "dist/echo.iife.js"),
}

_STATIC = re.compile(r"""^(?:import|export)\b[^;]*?["'](\.\.?/[^"']+)["'];""", re.MULTILINE)
_TRANSPORT = re.compile(r"""^\s*(\w+): \(\) => import\("(\./transports/[^"]+)"\)""", re.MULTILINE)


def measure(_pairs: int) -> Result:
    core = static_imports(CLIENT / "realtime.js")
    ours = one_stream(core)
    modules = {path.name: one_stream({path}) for path in sorted(CLIENT.glob("transports/*.js"))}
    in_all = {
        name: one_stream(static_imports(path) - core) for name, path in transport_files().items()
    }
    assert len(in_all) > 1, "the client's list of transports was not found"
    published = sizes_of_others()
    return Result(
        "client_size",
        ours,
        published[PEER],
        ours / published[PEER],
        "bytes of gzip",
        "lower",
        round(CORE / published[PEER], 4),
        {
            "ours_per_file": sum(one_stream({path}) for path in core),
            "ours_budget": CORE,
            "transports": modules,
            "transports_in_all": in_all,
            "transport_budget": TRANSPORT,
            "transport_bytes_to_spare": TRANSPORT - max(modules.values()),
            "published": published,
        },
        floor=("transport_bytes_to_spare", 0),
    )


def static_imports(path: Path) -> set[Path]:
    """The module, and all that it loads before it runs."""
    found: set[Path] = set()
    waiting = [path.resolve()]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            names = _STATIC.findall(one.read_text())
            waiting += [(one.parent / name).resolve() for name in names]
    return found


def transport_files() -> dict[str, Path]:
    """By name, as the client itself lists what it imports on demand."""
    text = (CLIENT / "connection.js").read_text()
    return {name: CLIENT / path for name, path in _TRANSPORT.findall(text)}


def one_stream(paths: set[Path]) -> int:
    return len(gzip.compress(b"".join(path.read_bytes() for path in sorted(paths)), 9, mtime=0))


def sizes_of_others() -> dict[str, int]:
    """Fetched anew: what was published, not what somebody changed in node_modules."""
    progress("client_size: npm install of the others")
    with tempfile.TemporaryDirectory() as place:
        wanted = [f"{name}@{version}" for name, (version, _) in PUBLISHED.items()]
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps"]
        subprocess.run(["npm", "install", "--prefix", place, *quiet, *wanted], check=True)
        modules = Path(place, "node_modules")
        return {
            name: one_stream({modules / name / build}) for name, (_, build) in PUBLISHED.items()
        }


if __name__ == "__main__":
    main(measure, __doc__)
