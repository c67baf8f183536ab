"""CPU of one @connections post over TLS: the fan-out's own engine against boto3.

Both post the same frame to the same server, a process of its own that answers as API Gateway does:
ours to many connections over its pool, boto3 on one connection that is kept alive. No token bucket.
Counted is the CPU time of the calling process; `posts_per_second` is what one core of it could do,
`measured_per_second` what came about here, with the server on the other core.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_urlsafe
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import boto3

from benchmarks._harness import Result, compare, main
from realtime_kit.hosting.apigateway.delivery import Message, Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.testing.certificate import self_signed

REGION = "eu-west-1"
OURS, PEER = 20_000, 1_000
CONNECTIONS = 100
POSTS_PER_SECOND = 10_000  # on one core: the account's quota, which then is what limits
# What a role on Lambda has: a session token of some 700 characters.
CREDENTIALS = Credentials("ASIAEXAMPLEEXAMPLE00", "s" * 40, "t" * 700)
FRAME = (
    rb'{"event":"shipped","channel":"private-orders-42",'
    rb'"data":"{\"order\":42,\"eta\":\"2026-01-01T12:00:00Z\",\"state\":\"on its way\"}"}'
)

SERVER = r"""
import asyncio, re, ssl, sys
try:
    from uvloop import run
except ImportError:
    from asyncio import run

LATENCY = float(sys.argv.pop())
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 0\r\nConnection: keep-alive\r\n"
    b"x-amzn-RequestId: 5f1a0b5e-6c5e-4bd0-9c8e-3f0f3f1f2f3f\r\n"
    b"x-amz-apigw-id: PJqB0fHsqRcCHlw=\r\n\r\n"
)

class Stage(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""
    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            if LATENCY:
                asyncio.get_running_loop().call_later(LATENCY, self.transport.write, ANSWER)
            else:
                self.transport.write(ANSWER)

async def serve():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*sys.argv[1:])
    server = await asyncio.get_running_loop().create_server(
        Stage, "127.0.0.1", 0, ssl=tls, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

run(serve())
"""


@contextmanager
def stage(*certificate: Path, latency: float = 0.0) -> Iterator[str]:
    """The server, while the block runs: its URL. It answers after `latency` seconds."""
    command = [sys.executable, "-c", SERVER, *map(str, certificate), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"https://127.0.0.1:{int(process.stdout.readline())}/prod"
        finally:
            process.terminate()


def measure(pairs: int) -> Result:
    with TemporaryDirectory() as folder:
        cert, key = self_signed(Path(folder))
        os.environ["AWS_CA_BUNDLE"] = str(cert)
        with stage(cert, key) as url:
            return _against_boto3(url, str(cert), pairs)


def _against_boto3(url: str, cert: str, pairs: int) -> Result:
    ids = [token_urlsafe(11) + "=" for _ in range(OURS)]
    posts = Posts(
        url,
        region=REGION,
        credentials=lambda: CREDENTIALS,
        tuning=Tuning(connections=CONNECTIONS),
        tls=ssl.create_default_context(cafile=cert),
    )
    sdk = boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key,
        aws_session_token=CREDENTIALS.session_token,
    )
    rates: list[float] = []
    latencies: list[float] = []

    cold = process_time()
    posts.deliver([Message(FRAME, ids)], timeout=60)
    cold = process_time() - cold
    sdk.post_to_connection(ConnectionId=ids[0], Data=FRAME)

    def ours() -> float:
        cpu, wall = process_time(), perf_counter()
        delivery = posts.deliver([Message(FRAME, ids)], timeout=60)
        cpu, wall = process_time() - cpu, perf_counter() - wall
        assert len(delivery.delivered) == OURS, delivery.undelivered[:3]
        rates.append(OURS / wall)
        latencies.append(delivery.latency(0.99))
        return cpu / OURS * 1e6

    def peer() -> float:
        cpu = process_time()
        for connection_id in ids[:PEER]:
            sdk.post_to_connection(ConnectionId=connection_id, Data=FRAME)
        return (process_time() - cpu) / PEER * 1e6

    result = compare(
        "apigateway_fanout", ours, peer, unit="µs CPU", better="lower", bar=0.05, pairs=pairs
    )
    posts.close()
    result.details.update(
        posts_per_second=round(1e6 / result.ours),
        posts_per_second_bar=POSTS_PER_SECOND,
        measured_per_second=round(median(rates)),
        p99_ms=round(median(latencies) * 1e3),
        cold_cpu_ms=round(cold * 1e3),
    )
    return replace(result, floor=("posts_per_second", POSTS_PER_SECOND))


if __name__ == "__main__":
    main(measure, __doc__)
