"""What was delivered, as CloudWatch metrics in the function's log: no request, no agent.

Source: CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from threading import Lock

from realtime_kit.hosting.apigateway.delivery import Delivery

NAMESPACE = "realtime-kit"
_UNITS = {
    "Deliveries": "Count",
    "Gone": "Count",
    "Throttled": "Count",
    "Failed": "Count",
    "Requests": "Count",
    "FanoutP99": "Milliseconds",
}
MANY = 10  # calls: of fewer the 99th percentile says nothing


class Metrics:
    """Adds up what one invocation delivers; `flush` writes it as one line. Thread-safe.

    Throttled counts the 429 answers, FanoutP99 is of the slowest delivery.
    """

    def __init__(
        self,
        function: str,
        *,
        write: Callable[[str], object] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._function = function
        self._write = write
        self._clock = clock
        self._lock = Lock()
        self._values: dict[str, float] = {}

    def observe(self, delivery: Delivery) -> None:
        counts = {
            "Deliveries": len(delivery.delivered),
            "Gone": len(delivery.gone),
            "Throttled": delivery.throttles,
            "Failed": len(delivery.undelivered),
            "Requests": delivery.requests,
        }
        with self._lock:
            for name, value in counts.items():
                self._values[name] = self._values.get(name, 0) + value
            if len(delivery.delivered) >= MANY:
                slowest = round(delivery.latency() * 1000, 1)
                self._values["FanoutP99"] = max(slowest, self._values.get("FanoutP99", 0))

    def flush(self) -> None:
        with self._lock:
            values, self._values = self._values, {}
        if not values:
            return
        metrics = [{"Name": name, "Unit": _UNITS[name]} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Function"]], "Metrics": metrics}
        head = {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": [directive]}
        self._write(json.dumps({"_aws": head, "Function": self._function, **values}))
