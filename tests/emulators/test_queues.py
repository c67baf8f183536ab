"""The queue and the schedule, in time that is moved by hand; boto3 sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from realtime_kit.emulators.apigateway import Faults, Function, Queue, Schedule
from realtime_kit.errors import ConfigurationError

DEADLINE = 10.0
Start = Callable[..., Any]


class Consumer:
    """Keeps the bodies of each batch; `fails` are bodies that it reports, `raises` that it dies
    of."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.events: list[Any] = []
        self.fails: set[str] = set()
        self.raises: set[str] = set()

    def __call__(self, event: Any, _: Any) -> Any:
        self.events.append(event)
        bodies = {record["messageId"]: record["body"] for record in event["Records"]}
        self.batches.append(list(bodies.values()))
        if self.raises & set(bodies.values()):
            raise RuntimeError("cannot")
        failed = [{"itemIdentifier": each} for each, body in bodies.items() if body in self.fails]
        return {"batchItemFailures": failed}

    @property
    def bodies(self) -> list[str]:
        return [body for batch in self.batches for body in batch]


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def queue(consumer: Consumer) -> Queue:
    return Queue("work", Function("worker", consumer), max_receives=3)


@pytest.fixture
def site(start: Start, queue: Queue) -> Any:
    return start(speed=0, queues=[queue])


def test_a_message_is_delivered(site: Any, queue: Queue, consumer: Consumer) -> None:
    message_id = queue.send('{"a":1}')
    site.gateway.settle()
    ((record,),) = (event["Records"] for event in consumer.events)
    assert record["messageId"] == message_id
    assert record["body"] == '{"a":1}'
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == "arn:aws:sqs:eu-west-1:123456789012:work"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert len(queue) == 0


def test_records_are_as_aws_has_them(
    site: Any, queue: Queue, consumer: Consumer, checkout: Any
) -> None:
    folder = checkout / "tests" / "vectors" / "lambda_events"
    expected = json.loads((folder / "sqs.json").read_text())["Records"][0]
    queue.send(expected["body"])
    site.gateway.settle()
    (record,) = consumer.events[0]["Records"]
    assert list(record) == list(expected)
    assert list(record["attributes"]) == list(expected["attributes"])
    assert record["md5OfBody"] == expected["md5OfBody"]


def test_a_delay(site: Any, queue: Queue, consumer: Consumer) -> None:
    queue.send("later", delay=3)
    site.gateway.advance(2.9)
    assert consumer.bodies == []
    site.gateway.advance(0.2)
    assert consumer.bodies == ["later"]


def test_what_fails_comes_again(site: Any, queue: Queue, consumer: Consumer) -> None:
    consumer.fails = {"bad"}
    for body in ("good", "bad"):
        queue.send(body)
    site.gateway.settle()
    consumer.fails = set()
    site.gateway.advance(29)
    assert sorted(consumer.bodies) == ["bad", "good"]
    site.gateway.advance(1)
    assert sorted(consumer.bodies) == ["bad", "bad", "good"]
    assert len(queue) == 0


@pytest.mark.parametrize("how", ["fails", "raises"])
def test_what_fails_for_ever(site: Any, queue: Queue, consumer: Consumer, how: str) -> None:
    setattr(consumer, how, {"bad"})
    queue.send("bad")
    site.gateway.advance(1_000)
    assert consumer.bodies == ["bad"] * 3
    assert [message.body for message in queue.dead] == ["bad"]
    counts = [e["Records"][0]["attributes"]["ApproximateReceiveCount"] for e in consumer.events]
    assert counts == ["1", "2", "3"]
    assert len(queue) == 0


def test_a_function_that_takes_longer_than_a_message_is_invisible(start: Start) -> None:
    over = threading.Event()
    seen: list[str] = []

    def slow(event: Any, _: Any) -> None:
        seen.extend(record["messageId"] for record in event["Records"])
        assert over.wait(DEADLINE)

    queue = Queue("work", Function("slow", slow), visibility_timeout=0.05)
    site = start(queues=[queue])
    message_id = queue.send("x")
    site.gateway.log.wait("delivered", count=2)  # a second function gets it as well
    over.set()
    site.gateway.settle()
    assert set(seen) == {message_id}
    assert len(queue) == 0


def test_batches(site: Any, consumer: Consumer) -> None:
    aws = site.aws("sqs")
    entries = [{"Id": str(number), "MessageBody": f"m{number}"} for number in range(10)]
    for _ in range(2):
        aws.send_message_batch(QueueUrl=site.gateway.queue_url("work"), Entries=entries)
    site.gateway.settle()
    assert sorted(consumer.bodies) == sorted([f"m{number}" for number in range(10)] * 2)
    assert max(map(len, consumer.batches)) <= 10


def test_messages_delivered_twice(start: Start, consumer: Consumer) -> None:
    queue = Queue("work", Function("worker", consumer))
    site = start(speed=0, queues=[queue], faults=Faults(seed=3, repeat_message=0.5))
    for number in range(40):
        queue.send(str(number))
    site.gateway.settle()
    assert set(consumer.bodies) == {str(number) for number in range(40)}  # none is lost
    assert 5 < len(consumer.bodies) - 40 < 35
    assert len(queue) == 0


def test_a_function_that_is_throttled(site: Any, queue: Queue, consumer: Consumer) -> None:
    site.gateway.faults.throttle = 1.0
    queue.send("x")
    site.gateway.settle()
    assert consumer.bodies == []
    site.gateway.faults.throttle = 0.0
    site.gateway.advance(30)
    assert consumer.bodies == ["x"]


# --- in order -------------------------------------------------------------------------------


@pytest.fixture
def fifo(consumer: Consumer) -> Queue:
    return Queue("order.fifo", Function("worker", consumer), fifo=True, batch_size=1)


def test_groups_are_in_order(start: Start, fifo: Queue, consumer: Consumer) -> None:
    site = start(speed=0, queues=[fifo])
    for number in range(5):
        for group in "ab":
            fifo.send(f"{group}{number}", group=group)
    consumer.fails = {"a1"}
    site.gateway.settle()
    assert [body for body in consumer.bodies if body[0] == "b"] == [f"b{n}" for n in range(5)]
    assert [body for body in consumer.bodies if body[0] == "a"] == ["a0", "a1"]  # it holds them up
    consumer.fails = set()
    site.gateway.advance(30)
    assert [body for body in consumer.bodies if body[0] == "a"] == ["a0", "a1"] + [
        f"a{n}" for n in range(1, 5)
    ]


def test_repeats_are_dropped(start: Start, fifo: Queue, consumer: Consumer) -> None:
    site = start(speed=0, queues=[fifo])
    first = fifo.send("x", group="a", deduplication_id="1")
    assert fifo.send("y", group="a", deduplication_id="1") == first
    assert fifo.send("x", group="a", deduplication_id="2") != first
    site.gateway.advance(301)
    assert fifo.send("z", group="a", deduplication_id="1") != first
    site.gateway.settle()
    assert consumer.bodies == ["x", "x", "z"]
    (record,) = consumer.events[0]["Records"]
    assert record["attributes"]["MessageGroupId"] == "a"
    assert record["attributes"]["MessageDeduplicationId"] == "1"


def test_what_a_queue_refuses(site: Any, queue: Queue, start: Start, fifo: Queue) -> None:
    start(queues=[fifo])
    for refuse in (
        lambda: queue.send(""),
        lambda: queue.send("x" * (1 << 20) + "x"),
        lambda: queue.send("x", delay=901),
        lambda: queue.send("x", group="a"),
        lambda: fifo.send("x"),
        lambda: fifo.send("x", group="a", delay=1),
    ):
        with pytest.raises(ValueError, match=r"queue|message"):
            refuse()
    with pytest.raises(ConfigurationError, match=r"\.fifo"):
        Queue("order", queue.function, fifo=True)
    with pytest.raises(ConfigurationError, match="in no gateway"):
        Queue("alone", queue.function).send("x")


# --- over the wire --------------------------------------------------------------------------


def test_boto3_sends(site: Any, queue: Queue, consumer: Consumer) -> None:
    aws = site.aws("sqs")
    url = aws.get_queue_url(QueueName="work")["QueueUrl"]
    assert url == site.gateway.queue_url("work")
    answer = aws.send_message(QueueUrl=url, MessageBody="one", DelaySeconds=5)
    site.gateway.advance(5)
    assert consumer.events[0]["Records"][0]["messageId"] == answer["MessageId"]
    entries = [{"Id": "a", "MessageBody": "two"}, {"Id": "b", "MessageBody": ""}]
    answer = aws.send_message_batch(QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [
        ("b", "InvalidParameterValue")
    ]
    site.gateway.settle()
    assert consumer.bodies == ["one", "two"]
    assert site.gateway.usage.queue_requests == 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            lambda aws, url: aws.send_message(QueueUrl=url + "x", MessageBody="x"),
            "QueueDoesNotExist",
        ),
        (lambda aws, url: aws.get_queue_url(QueueName="other"), "QueueDoesNotExist"),
        (
            lambda aws, url: aws.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=901),
            "InvalidParameterValue",
        ),
        (lambda aws, url: aws.send_message_batch(QueueUrl=url, Entries=[]), "EmptyBatchRequest"),
        (
            lambda aws, url: aws.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(11)]
            ),
            "TooManyEntriesInBatchRequest",
        ),
        (lambda aws, url: aws.purge_queue(QueueUrl=url), "UnsupportedOperation"),
    ],
)
def test_what_boto3_is_refused(site: Any, call: Callable[[Any, str], Any], error: str) -> None:
    with pytest.raises(ClientError) as caught:
        call(site.aws("sqs"), site.gateway.queue_url("work"))
    assert error in caught.value.response["Error"]["Code"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_queue_wants_a_signature(site: Any) -> None:
    with pytest.raises(ClientError, match="signature"):
        site.aws("sqs", aws_secret_access_key="another").send_message(
            QueueUrl=site.gateway.queue_url("work"), MessageBody="x"
        )


# --- the schedule ---------------------------------------------------------------------------


def test_a_schedule(start: Start) -> None:
    seen: list[Any] = []
    function = Function("sweep", lambda event, _: seen.append(event))
    site = start(speed=0, schedules=[Schedule(300, function)])
    began = site.gateway.time()
    site.gateway.advance(299)
    assert seen == []
    site.gateway.advance(601)
    assert len(seen) == 3
    assert {event["detail-type"] for event in seen} == {"Scheduled Event"}
    assert site.gateway.time() == began + 900


def test_a_scheduled_function_that_fails_is_tried_twice_more(start: Start) -> None:
    seen: list[float] = []

    def fail(*_: Any) -> None:
        seen.append(site.gateway.time())
        raise RuntimeError("cannot")

    site = start(speed=0, schedules=[Schedule(1_000, Function("sweep", fail))])
    began = site.gateway.time()
    site.gateway.advance(1_999)
    assert [round(at - began) for at in seen] == [1_000, 1_060, 1_180]
