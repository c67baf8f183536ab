"""CPU of one delivery: the embedded server against soketi, whose core is C++.

Both run in processes of their own and face the same clients, the same payload and the same load: a
few publishers, each with its next event as soon as the last was answered, to 100, 500, 1,000 and
5,000 subscribers of one channel. What is counted is the server's CPU (user and system, the HTTP
requests in it) per frame that a subscriber received; the ratio is the worst from 500 up.

Under load the embedded server writes events together that come faster than they could have been
written one by one; that is where most of the difference is. `one_at_a_time` tells the rest of the
story: each event is published when all have the last, so nothing can be written together, and both
pay the kernel for each delivery.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from benchmarks._harness import Result, compare, main
from benchmarks._servers import Server, embedded
from benchmarks._soketi import soketi
from benchmarks._swarm import Swarm, allow_many_sockets

SIZES = (100, 500, 1_000, 5_000)
BAR_FROM = 500
BAR = 0.4
PUBLISHERS = 4
DELIVERIES = 100_000  # of one measurement


def microseconds(server: Server, swarm: Swarm, *, one_at_a_time: bool = False) -> float:
    """CPU of one delivery."""
    count = max(20, DELIVERIES // swarm.size)
    before = server.cpu()
    if one_at_a_time:
        deliveries = swarm.publish_one_at_a_time(count)
    else:
        deliveries = swarm.publish(count, PUBLISHERS)
    return (server.cpu() - before) / deliveries * 1e6


def compare_at(size: int, ours: Server, peer: Server, pairs: int, *, one_at_a_time: bool) -> Result:
    """Both servers with `size` subscribers each, connected once for all pairs."""
    with ExitStack() as opened:
        swarms = []
        for server in (ours, peer):
            swarms.append(Swarm(server.port, size))
            opened.callback(swarms[-1].close)
        for server, swarm in zip((ours, peer), swarms, strict=True):
            microseconds(server, swarm)  # warm up
        return compare(
            f"local_fanout at {size}",
            lambda: microseconds(ours, swarms[0], one_at_a_time=one_at_a_time),
            lambda: microseconds(peer, swarms[1], one_at_a_time=one_at_a_time),
            unit="µs of CPU per delivery",
            better="lower",
            bar=BAR,
            pairs=pairs,
        )


def measure(pairs: int) -> Result:
    allow_many_sockets()
    with embedded() as ours, soketi() as peer:
        loaded = {size: compare_at(size, ours, peer, pairs, one_at_a_time=False) for size in SIZES}
        single = compare_at(1_000, ours, peer, pairs, one_at_a_time=True)
    worst = max((loaded[size] for size in SIZES if size >= BAR_FROM), key=lambda one: one.ratio)
    details = {f"at {size}": _line(result) for size, result in loaded.items()}
    details["one_at_a_time at 1000"] = _line(single)
    return replace(worst, name="local_fanout", details=details)


def _line(result: Result) -> str:
    return f"{result.ratio:.3f} ({result.ours:.2f} against {result.peer:.2f} µs)"


if __name__ == "__main__":
    main(measure, __doc__)
