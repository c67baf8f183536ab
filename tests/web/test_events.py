"""`GET /events`, asked without a host in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from realtime_kit import ConfigurationError, Realtime, RealtimeSettings
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest, HttpResponse

USER = {"sub": "7"}


@pytest.fixture
def realtime() -> Iterator[Realtime]:
    made = Realtime(
        FakeProvider(), settings=RealtimeSettings(environ={"REALTIME_WEB__STREAMS": "2"})
    )
    made.channel_rule("news", history="5/1h")(lambda user: True)
    made.channel_rule("private-user-{id}", history="5/1h")(lambda user, id: user["sub"] == id)
    yield made
    made.close()


def ask(
    realtime: Realtime, query: str, user: Any = None, waits: bool = False, **headers: str
) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = HttpRequest("GET", "/events", named, query_string=query, waits=waits)
    return endpoints.dispatch(realtime, request, lambda: user)


def poll(realtime: Realtime, query: str, **options: Any) -> Any:
    answer = ask(realtime, query, accept="application/json", **options)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def frames(text: bytes) -> list[dict[str, str]]:
    """As EventSource splits them; comments under the empty name."""
    blocks = text.decode().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block]


class TestAccess:
    def test_a_channel_without_history(self, realtime):
        answer = ask(realtime, "channel=news&channel=other")
        assert answer.status == 409
        assert json.loads(answer.body)["channels"] == ["other"]

    def test_a_channel_without_history_is_told_where_that_is_asked_for(self, realtime):
        query = f"channel=other&channel=news&position=,{realtime.position('news')}&unkept=tell"
        realtime.trigger("news", "joined", {"text": "hello"})
        told = {"status": 409, "error": "this channel has no history"}
        answer = poll(realtime, query)
        assert answer["channels"]["other"] == told
        assert answer["channels"]["news"]["position"] == answer["position"]
        assert [event["channel"] for event in answer["events"]] == ["news"]
        assert ask(realtime, query).status == 409  # an event stream has no place for it

    def test_no_other_channel_no_wait_and_no_tag(self, realtime):
        json_form = {"accept": "application/json", "waits": True}
        query = "channel=other&unkept=tell&wait=25"
        answer = ask(realtime, query, **json_form)
        assert list(json.loads(answer.body)["channels"]) == ["other"]
        tag = answer.headers["ETag"]
        assert ask(realtime, query, if_none_match=tag, **json_form).status == 200

    @pytest.mark.parametrize("user", [None, {"sub": "8"}])
    def test_denied_as_a_subscription_is(self, realtime, user):
        answer = ask(realtime, "channel=news&channel=private-user-7", user)
        assert answer.status == 403
        assert list(json.loads(answer.body)["channels"]) == ["private-user-7"]

    def test_granted_as_a_subscription_is(self, realtime):
        assert poll(realtime, "channel=private-user-7", user=USER)["events"] == []

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("", "channel is missing"),
            ("channel=news&position=nonsense", "EPOCH:OFFSET"),
            ("channel=news&position=a:1,b:2", "one item per channel"),
            ("channel=news&wait=soon", "whole number"),
            ("&".join(f"channel=c{n}" for n in range(101)), "at most 100"),
        ],
    )
    def test_what_cannot_be_read(self, realtime, query, reason):
        answer = ask(realtime, query, waits=True)
        assert answer.status == 400
        assert reason in json.loads(answer.body)["error"]


class TestTickets:
    CHANNELS = ("news", "private-user-7")
    QUERY = "channel=news&channel=private-user-7"

    def fetch(self, realtime: Realtime, body: Any, user: Any = USER, **options: Any) -> Any:
        headers = {"content-type": "application/json"}
        text = json.dumps(body).encode()
        request = HttpRequest("POST", "/events", headers, body=text)
        answer = endpoints.dispatch(realtime, request, lambda: user, **options)
        return answer.status, json.loads(answer.body)

    def test_in_the_place_of_a_user(self, realtime):
        status, answer = self.fetch(realtime, {"channels": self.CHANNELS})
        assert (status, answer["expires_in"]) == (200, 60)
        query = f"{self.QUERY}&ticket={answer['ticket']}"
        assert poll(realtime, query)["events"] == []
        assert ask(realtime, query, accept="text/event-stream").status == 200

    def test_neither_for_others_nor_for_ever(self, realtime, monkeypatch):
        text = self.fetch(realtime, {"channels": self.CHANNELS})[1]["ticket"]
        assert ask(realtime, f"channel=private-user-8&ticket={text}").status == 401
        assert ask(realtime, f"{self.QUERY}&ticket=").status == 401
        monkeypatch.setattr("realtime_kit.web.tickets.LIFE", 0)
        over = self.fetch(realtime, {"channels": self.CHANNELS})[1]["ticket"]
        answer = ask(realtime, f"{self.QUERY}&ticket={over}", USER)
        assert (answer.status, json.loads(answer.body)) == (401, {"error": "expired"})

    @pytest.mark.parametrize(
        ("body", "status", "named"),
        [
            ({"channels": ["news", "private-user-8"]}, 403, ["private-user-8"]),
            ({"channels": ["news", "other"]}, 409, ["other"]),
            ({"channels": []}, 400, None),
            ({}, 400, None),
            ({"channels": [f"c{n}" for n in range(101)]}, 400, None),
        ],
    )
    def test_authorized_as_the_events_are(self, realtime, body, status, named):
        found, answer = self.fetch(realtime, body)
        assert found == status
        assert (list(answer["channels"]) if named else None) == named

    def test_a_provider_without_secrets_needs_one(self):
        environ = {"REALTIME_PROVIDER": "null"}
        plain = Realtime(settings=RealtimeSettings(environ=environ))
        plain.channel_rule("news", history=5)(lambda user: True)
        with pytest.raises(ConfigurationError, match="REALTIME_WEB__SECRET"):
            self.fetch(plain, {"channels": ["news"]})
        environ["REALTIME_WEB__SECRET"] = "sixteen or more characters"
        own = Realtime(settings=RealtimeSettings(environ=environ))
        own.rules = plain.rules
        assert self.fetch(own, {"channels": ["news"]})[0] == 200
        with pytest.raises(ConfigurationError, match="REALTIME_WEB__SECRET"):
            RealtimeSettings(environ={"REALTIME_WEB__SECRET": "short"})


class TestJson:
    def test_an_idle_channel_hands_out_a_position(self, realtime):
        first = poll(realtime, "channel=news")
        realtime.trigger("news", "moved", {"x": "é"}, id="a", mutation="m")
        found = poll(realtime, f"channel=news&position={first['position']}")
        (event,) = found["events"]
        assert event.pop("time") > 1_700_000_000_000
        assert event.pop("epoch") + ":1" == found["position"]
        assert event == {
            "channel": "news", "name": "moved", "data": {"x": "é"}, "id": "a", "offset": 1,
            "mutation": "m",
        }  # fmt: skip
        assert found["channels"]["news"] == {
            "position": found["position"], "recovered": True, "more": False,
        }  # fmt: skip

    def test_several_channels(self, realtime):
        query = "channel=private-user-7&channel=news"
        at = poll(realtime, query, user=USER)["position"]
        realtime.trigger(["news", "private-user-7"], "moved", "plain text")
        found = poll(realtime, f"{query}&position={at}", user=USER)
        assert sorted(event["channel"] for event in found["events"]) == ["news", "private-user-7"]
        again = poll(realtime, f"{query}&position={found['position']}", user=USER)
        assert (again["events"], again["position"]) == ([], found["position"])

    def test_from_now_on_for_one_of_them(self, realtime):
        at = poll(realtime, "channel=news")["position"]
        realtime.trigger(["news", "private-user-7"], "moved", {})
        query = f"channel=news&channel=private-user-7&position={at},"
        assert [one["channel"] for one in poll(realtime, query, user=USER)["events"]] == ["news"]

    def test_too_old(self, realtime):
        at = poll(realtime, "channel=news")["position"]
        for _ in range(6):
            realtime.trigger("news", "moved", {})
        found = poll(realtime, f"channel=news&position={at}")
        assert found["channels"]["news"]["recovered"] is False
        assert found["events"] == []
        assert poll(realtime, f"channel=news&position={found['position']}")["events"] == []

    @pytest.mark.parametrize("how", [{"x_socket_id": "1.2,3.4"}, {"query": "&socket_id=3.4"}])
    def test_not_what_its_own_connection_triggered(self, realtime, how):
        at = poll(realtime, "channel=news")["position"]
        realtime.trigger("news", "moved", {}, exclude="3.4")
        query, headers = how.get("query", ""), {k: v for k, v in how.items() if k != "query"}
        found = poll(realtime, f"channel=news&position={at}{query}", **headers)
        assert (found["events"], found["position"].endswith(":1")) == ([], True)
        assert len(poll(realtime, f"channel=news&position={at}")["events"]) == 1

    def test_an_answer_has_its_bounds(self, realtime, monkeypatch):
        monkeypatch.setattr("realtime_kit.web.reader.ENOUGH", 40)
        query = "channel=news&channel=private-user-7"
        position = poll(realtime, query, user=USER)["position"]
        realtime.trigger(["news", "private-user-7"], "moved", "x" * 30, id="a")
        for name in "bc":
            realtime.trigger("news", "moved", "x" * 30, id=name)
        seen = []
        for more in (["news", "private-user-7"], []):
            found = poll(realtime, f"{query}&position={position}", user=USER)
            position = found["position"]
            seen += [(event["channel"], event["id"]) for event in found["events"]]
            assert [name for name, one in found["channels"].items() if one["more"]] == more
        assert seen == [("news", "a"), ("news", "b"), ("news", "c"), ("private-user-7", "a")]

    @pytest.mark.parametrize(
        ("data", "value"),
        [
            ({"x": [1.0, "é", None]}, '{"x": [1.0, "\\u00e9", null]}'),
            (1e22, "1e+22"),
            ('{"a":\r\n 1}', '"{\\"a\\":\\r\\n 1}"'),  # a text that looks like JSON
            ("NaN", '"NaN"'),
            ("plain\ntext", '"plain\\ntext"'),
        ],
    )
    def test_data_is_as_it_was_written_and_in_one_line(self, realtime, data, value):
        at = poll(realtime, "channel=news")["position"]
        realtime.trigger("news", "moved", data)
        answer = ask(realtime, f"channel=news&position={at}", accept="application/json")
        assert value in (text := answer.body.decode().replace("é", "\\u00e9"))
        assert "\n" not in text

    def test_an_idle_poll_is_a_304(self, realtime):
        realtime.trigger("news", "moved", {})
        first = ask(realtime, "channel=news", accept="application/json")
        at = json.loads(first.body)["position"]
        tag = first.headers["ETag"]
        again = ask(
            realtime, f"channel=news&position={at}", accept="application/json", if_none_match=tag
        )
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        realtime.trigger("news", "moved", {})
        assert len(poll(realtime, f"channel=news&position={at}", if_none_match=tag)["events"]) == 1

    def test_events_of_one_s_own_connection(self, realtime):
        at = poll(realtime, "channel=news")["position"]
        realtime.trigger("news", "mine", {}, exclude="1.2")
        realtime.trigger("news", "theirs", {}, exclude="3.4")
        found = poll(realtime, f"channel=news&position={at}", x_socket_id="9.9,1.2")
        assert [event["name"] for event in found["events"]] == ["theirs"]
        assert found["position"].endswith(":2")

    def test_waiting_until_there_is_something(self, realtime, later):
        at = poll(realtime, "channel=news")["position"]
        query = f"channel=news&position={at}&wait=20"
        with later(lambda: realtime.following.waiting == 1, realtime.trigger, "news", "moved", {}):
            answer = ask(realtime, query, waits=True, accept="application/json")
        assert [event["name"] for event in json.loads(answer.body)["events"]] == ["moved"]
        assert realtime.following.waiting == 0


class TestStream:
    def test_a_log_that_fails_is_tried_again(self, tmp_path):
        """To a 503 an EventSource gives up for good; a client that reads JSON is told."""
        broken = f"sqlite:///{tmp_path}/no/such.db"
        environ = {"REALTIME_HISTORY__URL": broken}
        realtime = Realtime(FakeProvider(), settings=RealtimeSettings(environ=environ))
        realtime.channel_rule("news", history=5)(lambda user: True)
        answer = ask(realtime, "channel=news", accept="text/event-stream", waits=True)
        assert (answer.status, list(frames(answer.body)[0])) == (200, ["retry"])
        assert realtime.following.waiting == 0
        assert ask(realtime, "channel=news", accept="application/json").status == 503

    def test_what_there_is_where_nobody_can_wait(self, realtime):
        at = poll(realtime, "channel=news")["position"]
        realtime.trigger("news", "moved", [1])
        answer = ask(realtime, f"channel=news&position={at}", accept="text/event-stream")
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "no-transform" in answer.headers["Cache-Control"]
        assert answer.headers["X-Accel-Buffering"] == "no"
        retry, begin, event = frames(answer.body)
        assert 3000 <= int(retry["retry"]) <= 3750
        assert begin == {"id": at}
        assert json.loads(event["data"])["data"] == [1]
        resumed = ask(realtime, "channel=news&position=old:9", last_event_id=event["id"])
        assert frames(resumed.body)[1:] == [{"id": event["id"]}]

    def test_followed(self, realtime):
        stream = ask(realtime, "channel=news", waits=True).stream
        assert len(frames(next(stream))) == 2
        for x in (1, 2):
            realtime.trigger("news", "moved", {"x": x})
            (event,) = frames(next(stream))
            assert json.loads(event["data"])["data"] == {"x": x}
            assert event["id"].endswith(f":{x}")
        stream.close()
        assert realtime.following.waiting == 0

    def test_a_gap_is_told(self, realtime):
        stream = ask(realtime, "channel=news&position=other:3", waits=True).stream
        gap, at = frames(next(stream))[2:]
        assert gap["event"] == "realtime:gap"
        assert json.loads(gap["data"])["position"] == at["id"]
        assert "id" not in gap
        stream.close()

    def test_left_before_the_first_frame(self, realtime):
        ask(realtime, "channel=news", waits=True).stream.close()
        assert realtime.following.waiting == 0

    def test_too_many_are_answered_at_once(self, realtime):
        streams = [ask(realtime, "channel=news", waits=True).stream for _ in range(2)]
        third = ask(realtime, "channel=news", waits=True)
        assert third.stream is None
        assert int(frames(third.body)[0]["retry"]) >= 3000
        streams[0].close()
        assert ask(realtime, "channel=news", waits=True).stream is not None

    def test_a_silent_stream_is_kept_open(self, realtime, monkeypatch):
        monkeypatch.setattr("realtime_kit.web.event_stream.HEARTBEAT", 0.01)
        stream = ask(realtime, "channel=news", waits=True).stream
        next(stream)
        assert b": ping\n\n" in (next(stream), next(stream))
        stream.close()

    def test_it_ends_by_itself(self, realtime, monkeypatch):
        monkeypatch.setattr("realtime_kit.web.event_stream.LIFE", 0.02)
        stream = ask(realtime, "channel=news", waits=True).stream
        assert list(stream)[-1] == b"event: realtime:end\ndata: {}\n\n"
        assert realtime.following.waiting == 0


def test_offered_in_the_config(realtime):
    assert realtime.client_config()["events"] == "/realtime/events"
    plain = Realtime(FakeProvider(), settings=RealtimeSettings(environ={}))
    assert plain.client_config()["events"] is None
