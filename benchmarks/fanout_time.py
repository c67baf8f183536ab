"""How long one event takes to reach 10,000 and 50,000 connections: measured, and no bar.

The engine of the fan-out posts over TLS to a server on this machine that answers after 10 ms, at
the rates of a token bucket: 10,000 requests a second with a burst of 5,000, which an account has,
and the part of it that `fanout` has by default. Printed are the seconds in all, the share of them
that went by waiting for the bucket, and the CPU seconds. The engine has one core and the server
another; API Gateway, its network and Lambda are not in it.

    python -m benchmarks.fanout_time
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from benchmarks.apigateway_fanout import CREDENTIALS, FRAME, REGION, stage
from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import Message, Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.testing.certificate import self_signed

RECIPIENTS = (10_000, 50_000)
LATENCY = 0.01
QUOTA, BURST = 10_000, 5_000
SHARES = (1.0, 0.25)
CONNECTIONS = 200
TIMEOUT = 120.0


class WatchedBucket(TokenBucket):
    """`waited` is the seconds in which there was no token, and somebody asked for one."""

    waited = 0.0
    _since: float | None = None

    def take(self, now: float) -> bool:
        if self._since is not None:
            self.waited += now - self._since
            self._since = None
        return super().take(now)

    def wait(self, now: float) -> float:
        self._since = now
        return super().wait(now)


def measure(url: str, cert: Path, recipients: int, share: float) -> str:
    bucket = WatchedBucket(QUOTA * share, BURST * share)
    posts = Posts(
        url,
        region=REGION,
        credentials=lambda: CREDENTIALS,
        tuning=Tuning(connections=CONNECTIONS),
        bucket=bucket,
        tls=ssl.create_default_context(cafile=str(cert)),
    )
    ids = [token_urlsafe(11) + "=" for _ in range(recipients)]
    wall, cpu = perf_counter(), process_time()
    delivery = posts.deliver([Message(FRAME, ids)], timeout=TIMEOUT)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    posts.close()
    assert len(delivery.delivered) == recipients, delivery.undelivered[:3]
    computed = max(0.0, recipients - bucket.burst) / bucket.rate
    return (
        f"{recipients:>10,} {bucket.rate:>10,.0f} {computed:>10.2f} {wall:>10.2f} "
        f"{bucket.waited / wall:>10.0%} {cpu:>10.2f} {delivery.latency(0.99):>10.2f}"
    )


def main() -> None:
    columns = ("recipients", "rate /s", "computed s", "measured s", "waiting", "CPU s", "p99 s")
    print(" ".join(f"{column:>10}" for column in columns), flush=True)
    cores = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        cert, key = self_signed(Path(folder))
        os.sched_setaffinity(0, cores[1:] or cores)  # the server's, which inherits it
        with stage(cert, key, latency=LATENCY) as url:
            os.sched_setaffinity(0, cores[:1])
            for share in SHARES:
                for recipients in RECIPIENTS:
                    print(measure(url, cert, recipients, share), flush=True)


if __name__ == "__main__":
    main()
