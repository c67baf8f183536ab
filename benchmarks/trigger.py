"""CPU of one `Realtime.trigger` over provider `pusher` against the bare `pusher` SDK.

Both send the same event, signed and over TLS like in production, to the same embedded server in a
process of its own, on one connection that is kept alive; what is counted is the CPU time of the
calling process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import pusher

from benchmarks._harness import Result, compare, main
from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.testing.certificate import self_signed

CALLS = 1_000
CHANNEL, NAME = "private-orders-42", "shipped"
DATA = {"order": 42, "eta": "2026-01-01T12:00:00Z", "items": [{"sku": "a-1", "n": 2}] * 3}

SERVER = """
import ssl, sys
from realtime_kit.hosting.local import LocalServer, run
from realtime_kit.protocol.app import App, Key
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(*sys.argv[1:])
server = LocalServer([App("1", (Key("app-key", "app-secret"),))], port=0, ssl_context=tls)
run(server, ready=lambda server: print(server.port, flush=True))
"""


@contextmanager
def embedded_server(*certificate: Path) -> Iterator[int]:
    """An embedded server in another process, while the block runs: its port."""
    command = [sys.executable, "-c", SERVER, *map(str, certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def microseconds(call: Callable[[], object]) -> float:
    """CPU of one call."""
    start = process_time()
    for _ in range(CALLS):
        call()
    return (process_time() - start) / CALLS * 1e6


def measure(pairs: int) -> Result:
    with TemporaryDirectory() as folder:
        cert, key = self_signed(Path(folder))
        os.environ["SSL_CERT_FILE"] = str(cert)  # we trust what the system trusts
        with embedded_server(cert, key) as port:
            return _against_sdk(port, str(cert), pairs)


def _against_sdk(port: int, cert: str, pairs: int) -> Result:
    url = f"https://app-key:app-secret@127.0.0.1:{port}/apps/1"
    realtime = Realtime("pusher", settings=RealtimeSettings(environ={"PUSHER_URL": url}))
    # The port apart: the SDK makes two of one that is in the URL.
    sdk = pusher.Pusher("1", "app-key", "app-secret", ssl=True, host="127.0.0.1", port=port)
    # It trusts only a file of its own, which does not know this run's certificate.
    sdk._pusher_client.http.options["verify"] = cert

    def ours() -> float:
        return microseconds(lambda: realtime.trigger(CHANNEL, NAME, DATA))

    def peer() -> float:
        return microseconds(lambda: sdk.trigger(CHANNEL, NAME, DATA))

    realtime.trigger(CHANNEL, NAME, DATA)
    sdk.trigger(CHANNEL, NAME, DATA)
    result = compare("trigger", ours, peer, unit="µs CPU", better="lower", bar=0.5, pairs=pairs)
    realtime.close()
    return result


if __name__ == "__main__":
    main(measure, __doc__)
