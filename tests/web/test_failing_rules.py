"""A rule that raises: it is one channel's, and nothing to those that were asked for with it."""

from __future__ import annotations

import json
import logging

import pytest

from realtime_kit import Realtime, RealtimeSettings
from realtime_kit.web.endpoints import dispatch
from realtime_kit.web.http import HttpRequest

ENVIRONS = {
    "local": {"REALTIME_PROVIDER": "local"},
    "ably": {"REALTIME_PROVIDER": "ably", "REALTIME_ABLY__KEY": "abcdef.ghijkl:a-secret"},
}


class Shop(Exception):
    """The database is away."""


@pytest.fixture(params=ENVIRONS)
def realtime(request) -> Realtime:
    realtime = Realtime(settings=RealtimeSettings(environ=ENVIRONS[request.param]))

    @realtime.channel_rule("private-orders-{id:int}")
    def may_see(user, id):
        raise Shop("password=hunter2")

    @realtime.channel_rule("private-news")
    def may_read(user):
        return True

    @realtime.grants
    def standing(user):
        return ("private-news", "private-orders-1")

    return realtime


def auth(realtime: Realtime, fields: dict, accept: str = "application/json", **options):
    headers = {"content-type": "application/json", "accept": accept}
    body = json.dumps(fields).encode()
    request = HttpRequest("POST", "/auth", headers=headers, body=body)
    return dispatch(realtime, request, lambda: {"sub": "7"}, **options)


@pytest.mark.parametrize("debug", [False, True])
def test_the_others_are_answered_and_the_log_says_why(realtime, caplog, debug):
    channels = ["private-orders-1", "private-news", "private-other"]
    with caplog.at_level(logging.ERROR):
        answer = auth(realtime, {"socket_id": "1.2", "channels": channels}, debug=debug)
    assert answer.status == 200
    entries = json.loads(answer.body)["channels"]
    assert list(entries) == channels
    assert entries["private-orders-1"] == {"status": 500, "error": "the rule failed"}
    assert "status" not in entries["private-news"]
    assert ("explain" in entries["private-other"]) is debug
    assert entries["private-other"]["status"] == 403
    (record,) = caplog.records
    assert record.getMessage() == "the rule for private-orders-1 failed"
    assert record.exc_info
    assert record.exc_info[0] is Shop
    assert b"hunter2" not in answer.body


def test_where_one_channel_is_asked_for_it_is_raised(realtime):
    for fields in ({"channel_name": "private-orders-1"}, {"channels": ["private-orders-1"]}):
        with pytest.raises(Shop):
            auth(realtime, {"socket_id": "1.2", **fields})


@pytest.mark.parametrize("realtime", ["ably"], indirect=True)
def test_a_bare_token_is_for_all_that_is_granted_or_none_at_all(realtime):
    """An SDK that fetched it would be without the channel until the token's end."""
    answer = auth(realtime, {}, accept="application/jwt")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "a rule failed"})
