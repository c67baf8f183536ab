"""40 channels in one `POST /auth` against 40 calls of the view written by hand over the SDK.

Half of the channels are presence channels; WSGI calls without a server; CPU time.
"""

from __future__ import annotations

import json

from benchmarks._authorize import CHANNELS, SOCKET_ID, batch, by_hand, call, form, ours, seconds
from benchmarks._harness import Result, compare, main

ROUNDS = 40


def measure(pairs: int) -> Result:
    one = batch(json.dumps({"socket_id": SOCKET_ID, "channels": CHANNELS}).encode())
    many = [form(channel) for channel in CHANNELS]
    mine, theirs = ours(), by_hand()
    answers = json.loads(call(mine, one))["channels"]
    assert [answers[name] for name in CHANNELS] == [json.loads(call(theirs, each)) for each in many]
    return compare(
        "batch_authorize",
        lambda: seconds(mine, [one], ROUNDS * 10) / (ROUNDS * 10) * 1e6,
        lambda: seconds(theirs, many, ROUNDS) / ROUNDS * 1e6,
        unit="µs per 40 channels",
        better="lower",
        bar=0.067,
        pairs=pairs,
    )


if __name__ == "__main__":
    main(measure, __doc__)
