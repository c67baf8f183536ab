"""CPU of one `Realtime.trigger` over provider `ably` against the bare `ably` SDK.

Both publish the same message over TLS, like in production, to the same emulator in a process of its
own, on one connection that is kept alive; what is counted is the CPU time of the calling process.
The SDK is Ably's sync client with its own defaults (msgpack), publishing through a channel.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ably.sync import AblyRestSync

from benchmarks._harness import Result, compare, main
from benchmarks.trigger import DATA, NAME, microseconds
from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.testing.certificate import self_signed

KEY = "local0.dev:bench-secret"
CHANNEL, ABLY_CHANNEL = "private-orders-42", "private:orders-42"

SERVER = """
import asyncio, ssl, sys
from realtime_kit.emulators.ably.server import AblyEmulator
async def serve():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*sys.argv[2:])
    emulator = AblyEmulator([sys.argv[1]], tls=tls)
    await emulator.start()
    print(emulator.port, flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


@contextmanager
def emulator(*certificate: Path) -> Iterator[int]:
    """An emulator in another process, while the block runs: its port."""
    command = [sys.executable, "-c", SERVER, KEY, *map(str, certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def measure(pairs: int) -> Result:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request of either
    with TemporaryDirectory() as folder:
        cert, key = self_signed(Path(folder))
        os.environ["SSL_CERT_FILE"] = str(cert)  # both trust what the system trusts
        with emulator(cert, key) as port:
            return _against_sdk(port, pairs)


def _against_sdk(port: int, pairs: int) -> Result:
    environ = {
        "REALTIME_ABLY__KEY": KEY,
        "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
        "REALTIME_ABLY__PORT": str(port),
    }
    realtime = Realtime("ably", settings=RealtimeSettings(environ=environ))
    sdk = AblyRestSync(key=KEY, endpoint="127.0.0.1", tls_port=port)
    channel = sdk.channels.get(ABLY_CHANNEL)

    def ours() -> float:
        return microseconds(lambda: realtime.trigger(CHANNEL, NAME, DATA))

    def peer() -> float:
        return microseconds(lambda: channel.publish(NAME, DATA))

    realtime.trigger(CHANNEL, NAME, DATA)
    channel.publish(NAME, DATA)
    result = compare(
        "ably_trigger", ours, peer, unit="µs CPU", better="lower", bar=1.05, pairs=pairs
    )
    realtime.close()
    sdk.close()
    return result


if __name__ == "__main__":
    main(measure, __doc__)
