"""What carries the requests: signed by hand, through boto3, and in this process."""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_kit.errors import ConfigurationError, ProviderUnavailable, Rejected
from realtime_kit.hosting.apigateway.dynamodb import (
    Boto3DynamoDB,
    DynamoDBError,
    Key,
    SignedDynamoDB,
    packed,
    read_answer,
)
from realtime_kit.hosting.apigateway.rows import TABLE
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.hosting.apigateway.table import Change, ConditionFailed, Table
from realtime_kit.providers._http import HttpClient
from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

CREDENTIALS = Credentials("key", "secret", "token")


class Service(BaseHTTPRequestHandler):
    """moto's DynamoDB on a port, that looks at the signature."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        try:
            if not self._is_signed(body):
                raise DynamoDBError(403, "InvalidSignatureException", {"message": "not signed"})
            self._answer(200, self.server.moto.call(operation, json.loads(body)))
        except DynamoDBError as error:
            kind = f"com.amazonaws.dynamodb.v20120810#{error.code}"
            self._answer(error.status, {**error.answer, "__type": kind})

    def _is_signed(self, body):
        given = self.headers["Authorization"]
        names = re.search("SignedHeaders=([^,]*)", given)[1].split(";")
        request = AWSRequest(
            "POST", f"http://{self.headers['Host']}/", {n: self.headers[n] for n in names}, body
        )
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        auth = SigV4Auth(BotoCredentials("key", "secret"), "dynamodb", "us-east-1")
        canonical = auth.canonical_request(request)
        signature = auth.signature(auth.string_to_sign(request, canonical), request)
        return given.endswith(f"Signature={signature}")

    def _answer(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def moto_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    server.moto = MotoDynamoDB()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def signed(moto_server):
    host, port = moto_server
    http = HttpClient("aws", host, port, tls=False, timeout=5.0)
    yield SignedDynamoDB(
        http, f"{host}:{port}", region="us-east-1", credentials=lambda: CREDENTIALS
    )
    http.close()


@pytest.fixture
def through_boto3(moto_server):
    import boto3

    host, port = moto_server
    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    yield Boto3DynamoDB(client)
    client.close()


@pytest.fixture(params=["signed", "through_boto3"])
def db(request):
    return request.getfixturevalue(request.param)


def test_requests_and_answers(db):
    db.call("CreateTable", {"TableName": "over-http", **TABLE})
    table, key = Table(db, "over-http"), Key("p", "é#1")
    assert table.write(Change("Put", key, values={"n": 1})) is None
    assert table.get_many([key, Key("p", "2")]) == {key: {"pk": "p", "sk": "é#1", "n": 1}}
    assert [row["n"] for row in table.query("p", begins="é")] == [1]
    with pytest.raises(ConditionFailed) as raised:
        table.write(Change("Put", key, "attribute_not_exists(pk)"))
    assert raised.value.rows[0]["n"] == 1
    with pytest.raises(ConditionFailed) as raised:
        table.transact(
            [Change("Put", Key("p", "2")), Change("Delete", key, "n > :n", given={"n": 1})]
        )
    assert raised.value.rows == {1: {"pk": "p", "sk": "é#1", "n": 1}}
    with pytest.raises(Rejected, match="ResourceNotFoundException"):
        Table(db, "missing").get(key)
    db.call("DeleteTable", {"TableName": "over-http"})


def test_a_signature_that_is_wrong(moto_server):
    host, port = moto_server
    http = HttpClient("aws", host, port, tls=False, timeout=5.0)
    stranger = Credentials("key", "another secret")
    db = SignedDynamoDB(http, f"{host}:{port}", region="us-east-1", credentials=lambda: stranger)
    with pytest.raises(Rejected, match="InvalidSignatureException") as raised:
        Table(db, "t").get(Key("p", "1"))
    assert raised.value.status == 403
    http.close()


def test_nobody_answers_boto3():
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ProviderUnavailable) as raised:
        Boto3DynamoDB(client).call("GetItem", {"TableName": "t", "Key": packed({"pk": "p"})})
    assert (raised.value.retryable, raised.value.maybe_sent) == (True, True)
    client.close()


def test_boto3_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match=r"realtime-kit\[aws\]"):
        Boto3DynamoDB(region="us-east-1")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff"])
def test_an_answer_that_is_none(body):
    with pytest.raises(DynamoDBError, match="HTTP 502") as raised:
        read_answer(502, body)
    assert raised.value.status == 502


def test_the_name_of_an_error():
    body = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}'
    with pytest.raises(DynamoDBError, match="ThrottlingException: slow") as raised:
        read_answer(400, body)
    assert raised.value.code == "ThrottlingException"


# --- the one in memory, against moto --------------------------------------------------------

keys = st.builds(Key, st.sampled_from(["p", "q"]), st.sampled_from(["1", "N", "S#1", "S#2"]))
numbers = st.integers(-2, 3)
conditions = st.sampled_from(
    [
        "",
        "attribute_exists(pk)",
        "attribute_not_exists(pk)",
        "n > :a",
        "n <= :a AND attribute_not_exists(m)",
        "attribute_exists(pk) AND (attribute_not_exists(m) OR m < :b)",
        "n > :a OR (n = :a AND m > :b)",
        "s = :s",
        "attribute_not_exists(pk) OR n >= :a",
    ]
)
updates = st.sampled_from(
    [
        "SET n = :a",
        "SET n = :a, s = :s",
        "ADD n :a",
        "ADD n :a, m :b SET s = :s",
        "SET m = if_not_exists(m, :b) REMOVE n, s",
        "REMOVE m",
        "SET n = n + :b",
    ]
)
rows = st.fixed_dictionaries({}, optional={"n": numbers, "m": numbers, "s": st.sampled_from("xy")})


@st.composite
def changes(draw):
    action = draw(st.sampled_from(["Put", "Update", "Delete", "ConditionCheck"]))
    condition = draw(conditions.filter(bool) if action == "ConditionCheck" else conditions)
    update = draw(updates) if action == "Update" else ""
    given = {"a": draw(numbers), "b": draw(numbers), "s": draw(st.sampled_from("xy"))}
    used = {
        name: given[name] for name in given if re.search(f":{name}\\b", f"{condition} {update}")
    }
    values = draw(rows) if action == "Put" else {}
    return Change(action, draw(keys), condition, update, values, used)


class Compared:
    def __init__(self):
        self.tables = []
        for db in (MemoryDynamoDB(), MotoDynamoDB()):
            db.call("CreateTable", {"TableName": "compared", **TABLE})
            self.tables.append(Table(db, "compared", sleep=lambda seconds: None))

    def close(self):
        self.tables[1]._db.call("DeleteTable", {"TableName": "compared"})

    def both(self, ask):
        ours, theirs = (self._outcome(table, ask) for table in self.tables)
        assert ours == theirs

    @staticmethod
    def _outcome(table, ask):
        try:
            return ask(table)
        except ConditionFailed as failed:
            return "failed", failed.rows
        except Rejected as error:
            return "rejected", error.code


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(changes(), st.lists(changes(), min_size=1, max_size=3)), max_size=12))
def test_the_memory_is_like_moto(script):
    compared = Compared()
    try:
        for step in script:
            if isinstance(step, list):
                # Who updates what is not there fails otherwise in a transaction of moto.
                if not any("n + :b" in change.update for change in step):
                    compared.both(lambda table, step=step: table.transact(step))
            elif step.action != "ConditionCheck":
                compared.both(lambda table, step=step: table.write(step))
            for pk in ("p", "q"):
                compared.both(lambda table, pk=pk: list(table.query(pk)))
                compared.both(lambda table, pk=pk: list(table.query(pk, begins="S#")))
                compared.both(lambda table, pk=pk: list(table.query(pk, start="1", stop="S#1")))
    finally:
        compared.close()
