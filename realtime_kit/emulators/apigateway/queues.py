"""A queue of SQS, in memory, that drives a function: at least once, later, again after a failure.

Sources: SQS Developer Guide, "Amazon SQS visibility timeout", "FIFO queue delivery logic"; Lambda
Developer Guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from realtime_kit.emulators.apigateway import answers, documents
from realtime_kit.emulators.apigateway.faults import Faults
from realtime_kit.emulators.apigateway.functions import Function
from realtime_kit.emulators.apigateway.timeline import Timeline, Timer
from realtime_kit.errors import ConfigurationError

MAX_DELAY = 900.0
MAX_BODY = 1024 * 1024
DEDUPLICATED = 300.0


@dataclass(eq=False, slots=True)
class QueueMessage:
    """A message of a queue. Times are emulated, in seconds since 1970. `receives` counts how often
    a function got it; while one has it, it is not visible."""

    id: str
    body: str
    sent_at: float
    visible_at: float
    number: int
    group: str | None = None
    deduplication_id: str | None = None
    receives: int = 0
    first_received_at: float = 0.0
    timer: Timer | None = None

    def attributes(self) -> dict[str, str]:
        found = {
            "ApproximateReceiveCount": str(self.receives),
            "SentTimestamp": str(int(self.sent_at * 1000)),
            "SenderId": "AROAEMULATOR:function",
            "ApproximateFirstReceiveTimestamp": str(int(self.first_received_at * 1000)),
        }
        if self.group is not None:
            found["SequenceNumber"] = f"{self.number:020d}"
            found["MessageGroupId"] = self.group
            found["MessageDeduplicationId"] = self.deduplication_id or ""
        return found


class Host(Protocol):
    """What a queue needs of the gateway that it is in."""

    timeline: Timeline
    faults: Faults
    region: str
    ids: documents.Ids

    def on_loop(self, call: Callable[[], object]) -> None: ...

    def record(self, kind: str, connection_id: str | None = None, **detail: object) -> None: ...

    def invoke_later(
        self,
        function: Function,
        event: documents.Document,
        then: Callable[[answers.Outcome], object],
    ) -> None: ...


class Queue:
    """A queue and the function that it drives, with `ReportBatchItemFailures`.

    Times are emulated seconds. A message that was not dealt with when `visibility_timeout` is over
    is delivered again, even if the function still has it; after `max_receives` deliveries it goes
    to `dead`. A FIFO queue delivers the messages of a group one batch after the other, and drops
    one whose deduplication id it has seen in the last five minutes.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        batch_size: int = 10,
        visibility_timeout: float = 30.0,
        max_receives: int | None = None,
        fifo: bool = False,
    ) -> None:
        if fifo is not name.endswith(".fifo"):
            raise ConfigurationError("a FIFO queue, and no other, has a name that ends in .fifo")
        self.name = name
        self.function = function
        self.fifo = fifo
        self.dead: list[QueueMessage] = []
        self._batch_size = batch_size
        self._visibility = visibility_timeout
        self._max_receives = max_receives
        self._messages: list[QueueMessage] = []
        self._seen: dict[str, tuple[float, str]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._host: Host | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self._the_host.region}:{documents.ACCOUNT}:{self.name}"

    def __len__(self) -> int:
        """Messages that are not dealt with, in flight or delayed ones too."""
        return len(self._messages)

    def attach(self, host: Host) -> None:
        self._host = host

    def send(
        self,
        body: str,
        *,
        delay: float = 0.0,
        group: str | None = None,
        deduplication_id: str | None = None,
    ) -> str:
        """Put a message in: its id. For any thread. Raises `ValueError` for what SQS refuses."""
        self._check(body, delay, group)
        host = self._the_host
        now = host.timeline.time()
        with self._lock:
            if self.fifo:
                deduplication_id = deduplication_id or documents.md5_of(body)
                seen_at, known = self._seen.get(deduplication_id, (0.0, ""))
                if known and now - seen_at < DEDUPLICATED:
                    return known
            message = QueueMessage(
                host.ids.uuid(),
                body,
                now,
                now + delay,
                next(self._numbers),
                group,
                deduplication_id,
            )
            if deduplication_id is not None:
                self._seen[deduplication_id] = now, message.id
        host.on_loop(lambda: self._put(message))
        return message.id

    def _check(self, body: str, delay: float, group: str | None) -> None:
        if not body or len(body.encode()) > MAX_BODY:
            raise ValueError(f"a body of the queue has 1 to {MAX_BODY} bytes")
        if not 0 <= delay <= MAX_DELAY:
            raise ValueError(f"a message is delayed by 0 to {MAX_DELAY:g} seconds, not {delay:g}")
        if self.fifo is not (group is not None):
            raise ValueError("messages of a FIFO queue, and no others, have a group")
        if self.fifo and delay:
            raise ValueError("single messages of a FIFO queue cannot be delayed")

    def _put(self, message: QueueMessage) -> None:
        self._messages.append(message)
        self._the_host.record("queued", queue=self.name, message_id=message.id)
        self._wake(message)

    def _wake(self, message: QueueMessage) -> None:
        message.timer = self._the_host.timeline.call_at(message.visible_at, self._deliver)

    def _deliver(self) -> None:
        """Give the function what is visible, in batches."""
        now = self._the_host.timeline.time()
        while batch := self._take(now):
            self._invoke(batch, now)

    def _take(self, now: float) -> list[QueueMessage]:
        visible = [message for message in self._messages if message.visible_at <= now]
        for message in visible:
            if self._max_receives is not None and message.receives >= self._max_receives:
                self._remove(message)
                self.dead.append(message)
                self._the_host.record("dead", queue=self.name, message_id=message.id)
        visible = [message for message in visible if message in self._messages]
        if self.fifo:
            busy = {message.group for message in self._messages if message.visible_at > now}
            visible = [message for message in visible if message.group not in busy]
            visible = [message for message in visible if message.group == visible[0].group]
        return visible[: self._batch_size]

    def _invoke(self, batch: list[QueueMessage], now: float) -> None:
        host = self._the_host
        for message in batch:
            message.receives += 1
            message.first_received_at = message.first_received_at or now
            message.visible_at = now + self._visibility
            self._wake(message)
            host.record("delivered", queue=self.name, message_id=message.id)
        event = {"Records": [self._record(message) for message in batch]}
        host.invoke_later(self.function, event, lambda outcome: self._settle(batch, outcome))
        again = [message for message in batch if host.faults.happens("repeat_message")]
        if again:
            host.record("fault", fault="repeat_message")
            event = {"Records": [self._record(message) for message in again]}
            host.invoke_later(self.function, event, lambda outcome: None)

    def _record(self, message: QueueMessage) -> documents.Document:
        host = self._the_host
        return documents.sqs_record(
            message_id=message.id,
            receipt=host.ids.short(),
            body=message.body,
            attributes=message.attributes(),
            queue_arn=self.arn,
            region=host.region,
        )

    def _settle(self, batch: list[QueueMessage], outcome: answers.Outcome) -> None:
        failed = set(answers.failed_messages(outcome, [message.id for message in batch]))
        for message in batch:
            if message.id not in failed and message in self._messages:
                self._remove(message)
        if self.fifo:
            self._deliver()

    def _remove(self, message: QueueMessage) -> None:
        self._messages.remove(message)
        if message.timer is not None:
            message.timer.cancel()

    @property
    def _the_host(self) -> Host:
        if self._host is None:
            raise ConfigurationError(f"the queue {self.name} is in no gateway that runs")
        return self._host
