"""`trigger`, `listen` and `channels` against a running `serve`, as one would use them."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from datetime import datetime

import pytest
import websocket


def listening(start, *arguments: str, **options):
    """A `listen --json` that has joined its channels."""
    process = start("listen", *arguments, **options)
    for channel in arguments:
        if channel.startswith("--"):
            break
        process.wait_for(f"(?m)^listening to {re.escape(channel)}$")
    return process


def events(process) -> list[dict]:
    return [json.loads(line) for line in process.out]


@pytest.mark.usefixtures("served")
class TestFromEndToEnd:
    def test_what_is_triggered_is_what_is_printed(self, start, run):
        values = [{"id": 42, "name": "Zoë 😀"}, [1, 2], "a text", "42", "", 42, None, True]
        listener = listening(start, "orders", "--json", "--count", str(len(values) + 2))
        for value in values:
            assert run("trigger", "orders", "shipped", json.dumps(value)).returncode == 0
        assert run("trigger", "orders", "shipped").returncode == 0
        assert run("trigger", "orders", "shipped", "-", input='{"from": "a pipe"}').returncode == 0
        assert listener.wait() == 0
        found = events(listener)
        assert [event["data"] for event in found] == [*values, {}, {"from": "a pipe"}]
        assert {(event["channel"], event["event"]) for event in found} == {("orders", "shipped")}
        assert datetime.fromisoformat(found[0]["time"]).tzinfo is not None

    def test_every_kind_of_channel(self, start, invoke, environment):
        key = base64.b64encode(bytes(range(32))).decode()
        environment["REALTIME_LOCAL__ENCRYPTION_MASTER_KEY"] = key
        names = [
            "orders",
            "private-orders",
            "private-encrypted-orders",
            "presence-room",
            "cache-orders",
            "private-cache-orders",
            "#server-to-user-7",
        ]
        listener = start("listen", *names, "--json")
        for name in names:
            listener.wait_for(f"(?m)^listening to {re.escape(name)}$")
        for name in names:
            sent = invoke("trigger", name, "shipped", json.dumps({"to": name}))
            assert sent.exit_code == 0
            listener.wait_for('"data": {"to": "' + re.escape(name) + '"}')
        found = [event for event in events(listener) if event["event"] == "shipped"]
        assert [event["channel"] for event in found] == names
        assert listener.end() == 0

    def test_text_for_people(self, start, invoke):
        listener = listening(start, "orders", "--count", "1")
        sent = invoke("trigger", "orders", "shipped", '{"id": 42, "x": "\\u009b31m\\u001b"}')
        assert re.fullmatch(r"sent shipped to orders through local, id [0-9a-f]+\n", sent.stdout)
        assert listener.wait() == 0
        (line,) = listener.out
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d  orders  shipped  "
            r'\{"id":42,"x":"\\u009b31m\\u001b"\}',
            line,
        )

    def test_members_and_whispers(self, start, served):
        listener = listening(start, "presence-room", "--json", "--user", "alice")
        other = listening(start, "presence-room", "--json", "--user", "bob")
        listener.wait_for("pusher:member_added")
        assert other.end() == 0
        listener.wait_for("pusher:member_removed")
        added, removed = events(listener)
        assert added["data"] == {"user_id": "bob", "user_info": {"name": "bob"}}
        assert removed["data"]["user_id"] == "bob"

    def test_receipts_as_json(self, invoke):
        sent = invoke("trigger", "orders", "shipped", "--id", "mine", "--json")
        assert json.loads(sent.stdout) == {"events": [{"id": "mine", "channel": "orders"}]}

    def test_exclude(self, invoke, served):
        url = f"{served.url.replace('http', 'ws')}/app/{served.app.key.key}"
        client = websocket.create_connection(f"{url}?protocol=7", timeout=10)
        socket_id = json.loads(json.loads(client.recv())["data"])["socket_id"]
        client.send('{"event":"pusher:subscribe","data":{"channel":"orders"}}')
        client.recv()
        assert invoke("trigger", "orders", "hidden", "--exclude", socket_id).exit_code == 0
        assert invoke("trigger", "orders", "open").exit_code == 0
        assert json.loads(client.recv())["event"] == "open"
        client.close()
        wrong = invoke("trigger", "orders", "x", "--exclude", "me")
        assert wrong.exit_code == 2
        assert "is not a socket id" in wrong.stderr


def test_it_comes_back_after_a_lost_connection(start, run, environment):
    served = start("serve", "--port", "0")
    environment["REALTIME_PORT"] = served.wait_for(r"http://127\.0\.0\.1:(\d+)")[1]
    listener = listening(start, "orders", "--json")
    assert served.end() == 0
    listener.wait_for(r"connection lost: closed with \d+; again in \d")
    again = start("serve", "--port", environment["REALTIME_PORT"])
    again.wait_for("Ctrl-C to stop")
    listener.wait_for("(?s)listening to orders.*connection lost.*listening to orders")
    assert run("trigger", "orders", "shipped").returncode == 0
    listener.wait_for('"event": "shipped"')


@pytest.mark.parametrize(
    "arguments",
    [
        ("trigger", "not a name", "shipped"),
        ("trigger", "orders", "pusher:error"),
        ("trigger", "orders", "shipped", "{"),
        ("trigger", "orders", "shipped", "--app", "bad"),
        ("listen", "not a name"),
        ("serve", "--app", "bad"),
        ("serve", "--webhook", "bad"),
    ],
)
def test_what_was_typed_wrong_is_not_a_failure(invoke, arguments):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("realtime-kit: ")
    assert done.stderr.count("\n") == 1


class TestEnds:
    @pytest.mark.usefixtures("served")
    def test_timeout_alone_is_an_end_like_another(self, run):
        done = run("listen", "orders", "--timeout", "0.3")
        assert (done.returncode, done.stdout) == (0, "")

    @pytest.mark.usefixtures("served")
    def test_timeout_before_the_count_is_a_failure(self, run):
        done = run("listen", "orders", "--timeout", "0.3", "--count", "2")
        assert done.returncode == 1
        assert done.stderr.endswith("realtime-kit: 0 of 2 events in 0.3 s\n")

    @pytest.mark.usefixtures("served")
    @pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
    def test_interrupted_before_the_count(self, start, handler):
        before = signal.signal(signal.SIGINT, handler)
        try:  # ignored is what a shell hands on to what it starts in the background
            listener = listening(start, "orders", "--count", "1")
        finally:
            signal.signal(signal.SIGINT, before)
        assert listener.end(signal.SIGINT) == 130
        assert "Traceback" not in listener.text

    @pytest.mark.usefixtures("served")
    def test_a_reader_that_has_enough(self, start, run):
        reader, writer = os.pipe()
        listener = listening(start, "orders", stdout=writer)
        os.close(writer)
        os.close(reader)
        assert run("trigger", "orders", "shipped").returncode == 0
        assert listener.wait() == 1
        assert listener.err == ["listening to orders"]

    @pytest.mark.usefixtures("served")
    def test_a_wrong_secret(self, run):
        done = run("listen", "private-a", env={"REALTIME_LOCAL__KEYS": "test-key:wrong"})
        assert done.returncode == 1
        assert "realtime-kit: Invalid signature" in done.stderr
        assert "test-secret" not in done.stderr

    @pytest.mark.usefixtures("served")
    def test_an_unknown_key(self, run):
        done = run("listen", "orders", env={"REALTIME_LOCAL__KEYS": "nobody:s"})
        assert done.returncode == 1
        assert "App key nobody not in this cluster" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_nobody_there(self, invoke, environment):
        environment["REALTIME_PORT"] = "1"
        heard = invoke("listen", "orders")
        assert heard.exit_code == 1
        assert "ws://127.0.0.1:1/app/app-key: Connection refused. Is the server" in heard.stderr
        assert heard.stderr.count("\n") == 1
        sent = invoke("trigger", "orders", "shipped")
        assert sent.exit_code == 1
        assert "realtime-kit dev app:app" in sent.stderr
        assert sent.stderr.count("\n") == 1


class TestChannels:
    def test_nobody(self, served, invoke):
        done = invoke("channels")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no occupied channels\n")
        assert invoke("channels", "--json").stdout == ""

    def test_who_is_where(self, served, start, invoke):
        listening(start, "orders", "presence-room", "presence-shop", "--user", "alice")
        listening(start, "orders", "presence-room", "--user", "bob")
        assert invoke("channels").stdout == (
            "orders\npresence-room  2 users\npresence-shop  1 user\n"
        )
        assert invoke("channels", "--subscriptions").stdout.startswith(
            "orders         2 connections\npresence-room  2 users\n"
        )

        def as_json(*arguments):
            return list(
                map(json.loads, invoke("channels", "--json", *arguments).stdout.splitlines())
            )

        room = {"channel": "presence-room", "users": 2}
        assert as_json() == [{"channel": "orders"}, room, {"channel": "presence-shop", "users": 1}]
        assert as_json("--prefix", "presence-r") == [room]
        assert as_json("--prefix", "p")[0] == room
        assert as_json("--prefix", "o") == [{"channel": "orders"}]
        assert as_json("--prefix", "o", "--subscriptions") == [
            {"channel": "orders", "subscriptions": 2}
        ]
        assert (
            invoke("channels", "--prefix", "x").stderr == "no occupied channels with that prefix\n"
        )
