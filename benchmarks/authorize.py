"""`POST /auth` in Flask against the view that one writes by hand over the `pusher` SDK.

The same 40 channels, half of them presence; WSGI calls without a server; requests per second of
CPU time.
"""

from __future__ import annotations

import json

from benchmarks._authorize import CHANNELS, by_hand, call, form, ours, seconds
from benchmarks._harness import Result, compare, main

ROUNDS = 40


def measure(pairs: int) -> Result:
    requests = [form(channel) for channel in CHANNELS]
    mine, theirs = ours(), by_hand()
    for request in requests:  # a warm-up, and the proof that both do the same
        assert json.loads(call(mine, request)) == json.loads(call(theirs, request))
    count = len(requests) * ROUNDS
    return compare(
        "authorize",
        lambda: count / seconds(mine, requests, ROUNDS),
        lambda: count / seconds(theirs, requests, ROUNDS),
        unit="requests/s",
        better="higher",
        bar=0.9,
        pairs=pairs,
    )


if __name__ == "__main__":
    main(measure, __doc__)
