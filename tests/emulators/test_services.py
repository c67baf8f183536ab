"""DynamoDB and Lambda at the gateway's address, with boto3; SQS is in `test_queues.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from realtime_kit.emulators.apigateway import Faults, Function
from realtime_kit.emulators.apigateway.services import request_units
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.testing.dynamodb import MemoryDynamoDB

Start = Callable[..., Any]
ITEM = {"pk": {"S": "C#1"}, "sk": {"S": "#"}, "n": {"N": "7"}}
KEY = {name: ITEM[name] for name in ("pk", "sk")}


@pytest.fixture
def db() -> MemoryDynamoDB:
    db = MemoryDynamoDB()
    db.call("CreateTable", {"TableName": "realtime", **TABLE})
    return db


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_the_table(start: Start, db: MemoryDynamoDB) -> None:
    site = start(db=db)
    aws = site.aws("dynamodb", endpoint_url=site.gateway.url)
    aws.put_item(TableName="realtime", Item=ITEM)
    answer = aws.get_item(TableName="realtime", Key=KEY, ConsistentRead=True)
    assert answer["Item"] == ITEM
    condition = {"ConditionExpression": "attribute_not_exists(pk)"}
    with pytest.raises(aws.exceptions.ConditionalCheckFailedException):
        aws.put_item(TableName="realtime", Item=ITEM, **condition)
    usage = site.gateway.usage
    assert (usage.table_writes, usage.table_reads) == (1.0, 1.0)
    assert usage.dollars() == pytest.approx((0.625 + 0.125) / 1e6)


def test_a_table_that_refuses(start: Start, db: MemoryDynamoDB) -> None:
    site = start(db=db, faults=Faults(throttle_table=1.0))
    aws = site.aws("dynamodb", endpoint_url=site.gateway.url)
    with pytest.raises(aws.exceptions.ProvisionedThroughputExceededException):
        aws.put_item(TableName="realtime", Item=ITEM)
    assert list(db.items("realtime")) == []
    assert site.gateway.log.of("fault", fault="throttle_table")


def test_a_table_whose_answers_are_lost(start: Start, db: MemoryDynamoDB) -> None:
    site = start(db=db, faults=Faults(lose_answer=1.0))
    aws = site.aws("dynamodb", endpoint_url=site.gateway.url)
    with pytest.raises(HTTPClientError):
        aws.put_item(TableName="realtime", Item=ITEM)
    assert list(db.items("realtime")) == [ITEM]
    assert site.gateway.log.of("fault", fault="lose_answer")


def test_a_gateway_without_a_table(site: Any) -> None:
    aws = site.aws("dynamodb", endpoint_url=site.gateway.url)
    with pytest.raises(ClientError, match="no table"):
        aws.get_item(TableName="realtime", Key=KEY)


@pytest.mark.parametrize(
    ("operation", "given", "answer", "units"),
    [
        ("PutItem", {}, {}, (0, 1)),
        ("UpdateItem", {}, {}, (0, 1)),
        ("TransactWriteItems", {"TransactItems": [{}, {}, {}]}, {}, (0, 6)),
        ("BatchWriteItem", {"RequestItems": {"a": [{}, {}], "b": [{}]}}, {}, (0, 3)),
        ("GetItem", {"ConsistentRead": True}, {"Item": ITEM}, (1, 0)),
        ("BatchGetItem", {"RequestItems": {"a": {"Keys": [KEY, KEY, KEY]}}}, {}, (1.5, 0)),
        (
            "BatchGetItem",
            {"RequestItems": {"a": {"Keys": [KEY, KEY], "ConsistentRead": True}}},
            {},
            (2, 0),
        ),
        ("Query", {}, {"Items": []}, (0.5, 0)),
        ("Query", {}, {"Items": ["x" * 10_000]}, (1.5, 0)),
        ("CreateTable", {}, {}, (0, 0)),
    ],
)
def test_request_units(operation: str, given: Any, answer: Any, units: tuple[float, float]) -> None:
    assert request_units(operation, given, answer) == units


def test_a_function_is_invoked_asynchronously(start: Start) -> None:
    seen: list[Any] = []
    failures = [RuntimeError("once"), RuntimeError("twice")]

    def greet(event: Any, _: Any) -> None:
        seen.append(event)
        if failures:
            raise failures.pop()

    site = start(speed=0, routes={"greet": Function("greet", greet)})
    aws = site.aws("lambda", endpoint_url=site.gateway.url)
    answer = aws.invoke(FunctionName="greet", InvocationType="Event", Payload=b'{"do":"greet"}')
    assert answer["StatusCode"] == 202
    site.gateway.settle()
    site.gateway.advance(59)
    assert seen == [{"do": "greet"}]
    site.gateway.advance(200)
    assert seen == [{"do": "greet"}] * 3  # tried again twice, as Lambda does


def test_what_lambda_refuses(site: Any) -> None:
    aws = site.aws("lambda", endpoint_url=site.gateway.url)
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.invoke(FunctionName="nobody", InvocationType="Event", Payload=b"{}")
    with pytest.raises(ClientError, match="only Event"):
        aws.invoke(FunctionName="websocket", Payload=b"{}")
    with pytest.raises(ClientError, match="not a JSON object"):
        aws.invoke(FunctionName="websocket", InvocationType="Event", Payload=b"[]")


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("dynamodb", lambda aws: aws.put_item(TableName="realtime", Item=ITEM)),
        ("lambda", lambda aws: aws.invoke(FunctionName="websocket", InvocationType="Event")),
    ],
)
def test_who_may_not(
    start: Start, db: MemoryDynamoDB, service: str, call: Callable[[Any], Any]
) -> None:
    site = start(db=db)
    options = {"endpoint_url": site.gateway.url, "aws_secret_access_key": "another"}
    aws = site.aws(service, **options)
    with pytest.raises(ClientError) as caught:
        call(aws)
    assert code(caught) == (403, "InvalidSignatureException")
    assert site.handler.events() == []
    assert list(db.items("realtime")) == []
