"""Batches: features spec RSC22, RSC24, BSP, BPR, BPF, BGR, BGF, BAR; "Batch API"."""

from __future__ import annotations

from typing import Any

import pytest


def test_a_batch_publishes_to_many_channels(rest: Any) -> None:
    """RSC22, BSP2, BPR2, BPF2, BAR2"""
    specs = [
        {"channels": ["a", "", "b"], "messages": [{"data": "1"}, {"data": "2"}]},
        {"channels": "c", "messages": {"data": "3"}},
    ]
    first, second = rest("POST", "/messages", "", specs)
    assert (first["successCount"], first["failureCount"]) == (2, 1)
    assert [result["channel"] for result in first["results"]] == ["a", "", "b"]
    assert first["results"][1]["error"]["code"] == 40010
    assert len(first["results"][0]["serials"]) == 2
    assert first["results"][2]["messageId"]
    assert (second["successCount"], second["failureCount"]) == (1, 0)
    assert [message["data"] for message in rest.history("b")] == ["2", "1"]
    assert [message["data"] for message in rest.history("c")] == ["3"]
    single = rest("POST", "/messages", "", specs[1])
    assert single["successCount"] == 1


def test_a_batch_is_refused_channel_by_channel(rig: Any, rest_of: Any) -> None:
    """RSC22, BPF2b"""
    few = rest_of(rig.key('{"a":["publish"]}'))
    batch = few("POST", "/messages", "", {"channels": ["a", "b"], "messages": {"data": "x"}})
    assert batch["results"][1]["error"]["statusCode"] == 401
    assert (batch["successCount"], batch["failureCount"]) == (1, 1)


def test_a_batch_of_old_versions_is_flat(rest_of: Any) -> None:
    old = rest_of(x_ably_version="2")
    specs = [
        {"channels": ["a", "b"], "messages": {"data": "x"}},
        {"channels": "c", "messages": {"data": "y"}},
    ]
    assert [result["channel"] for result in old("POST", "/messages", "", specs)] == ["a", "b", "c"]
    status, body = old.ask("POST", "/messages", "", {"channels": ["a", ""], "messages": {}})
    assert (status, body["error"]["code"]) == (400, 40020)
    assert [result.get("channel") for result in body["batchResponse"]] == ["a", ""]
    assert body["batchResponse"][1]["error"]["code"] == 40010


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({}, (40000, 400)),
        (5, (40000, 400)),
        ({"channels": [], "messages": {}}, (40003, 400)),
        ({"channels": ["c"] * 101, "messages": {}}, (40003, 400)),
        ({"channels": [5], "messages": {}}, (40003, 400)),
        ({"channels": "a", "messages": []}, (40003, 400)),
        ({"channels": "a", "messages": [{}] * 1001}, (40003, 400)),
    ],
)
def test_batches_that_are_none(rest: Any, spec: Any, error: tuple[int, int]) -> None:
    assert rest.refused("POST", "/messages", body=spec) == error


def test_a_batch_is_smaller_than_2_mib(rest: Any) -> None:
    body = b" " * (2 * 1024 * 1024)
    assert rest.refused("POST", "/messages", body=body) == (40009, 413)


def test_who_is_present_on_many_channels(rest: Any, rest_of: Any) -> None:
    """RSC24, BGR2, BGF2"""
    client = rest.rig.connect(clientId="me")
    client.attach("a")
    client.presence("a", {"action": 2})
    batch = rest("GET", "/presence", "channels=a,b")
    assert (batch["successCount"], batch["failureCount"]) == (2, 0)
    assert [member["clientId"] for member in batch["results"][0]["presence"]] == ["me"]
    assert batch["results"][1] == {"channel": "b", "presence": []}
    few = rest_of(rest.rig.key('{"a":["subscribe"]}'))
    partly = few("GET", "/presence", "channels=a,b")
    assert partly["results"][1]["error"]["code"] == 40160
    assert rest.refused("GET", "/presence") == (40003, 400)


def test_who_is_present_for_old_versions(rig: Any, rest_of: Any) -> None:
    old = rest_of(rig.key('{"a":["subscribe"]}'), x_ably_version="2")
    assert old("GET", "/presence", "channels=a") == [{"channel": "a", "presence": []}]
    assert old.refused("GET", "/presence", "channels=a,b") == (40020, 400)
