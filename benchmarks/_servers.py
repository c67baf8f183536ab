"""Servers in processes of their own, and what they cost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A running server with the app `1:app-key:app-secret`."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of CPU so far, of all its threads, user and system; to the nanosecond where the
        kernel keeps that, else to its clock tick."""
        try:
            threads = Path(f"/proc/{self.pid}/task").iterdir()
            return (
                sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
            )
        except FileNotFoundError:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def embedded() -> Iterator[Server]:
    """`realtime-kit serve`, as it comes."""
    (port,) = free_ports(1)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")
    }
    command = "from realtime_kit.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(process, port)
            yield Server(process.pid, port)
        finally:
            process.terminate()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the process listens."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"a server ended before it listened (status {process.returncode})")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    sys.exit("a server did not listen within 30 seconds")
