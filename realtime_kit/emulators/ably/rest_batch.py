"""Many channels with one request: each has its own result, and no failure is everybody's.

Source: Ably, "REST API": batch publish, batch presence; features spec RSC22, RSC24, BAR. Clients of
API versions before 3 get a flat list, and an error when any of it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import wire
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.publishing import as_messages, require
from realtime_kit.emulators.ably.rest_http import Answer, Call, Response

_Result = dict[str, object]
_MAX_BODY = 2 * 1024 * 1024
_MAX_CHANNELS = 100
_MAX_MESSAGES = 1000


def batch_publish(call: Call) -> Answer | Response:
    """POST /messages"""
    if len(call.request.body) >= _MAX_BODY:
        raise AblyError(40009, 413, f"Maximum request body is less than {_MAX_BODY} bytes")
    body = call.body()
    specs = [_spec(spec) for spec in as_messages(body)]
    per_spec = [
        [_result(channel, partial(_publish, call, messages)) for channel in channels]
        for channels, messages in specs
    ]
    if call.version < 3:
        return _flat(call, [result for results in per_spec for result in results], 201)
    batches = [batch(results) for results in per_spec]
    return Answer(batches if isinstance(body, list) else batches[0], 201)


def batch_presence(call: Call) -> Answer | Response:
    """GET /presence?channels=A,B"""
    channels = _channels([name for name in call.params.get("channels", "").split(",") if name])
    results = [_result(channel, partial(_present, call)) for channel in channels]
    return _flat(call, results, 200) if call.version < 3 else Answer(batch(results))


def _publish(call: Call, messages: Sequence[object], channel: str) -> _Result:
    published = call.app.publish(channel, messages, access=call.access)
    return {"messageId": published.message_id, "serials": list(published.serials)}


def _present(call: Call, channel: str) -> _Result:
    base = parse_name(channel).base
    require(call.access, "subscribe", base)
    return {"presence": wire(call.app.channel(base).present(), binary=call.binary)}


def _result(channel: str, attempt: Callable[[str], _Result]) -> _Result:
    try:
        return {"channel": channel, **attempt(channel)}
    except AblyError as error:
        return {"channel": channel, "error": error.info()}


def batch(results: Sequence[_Result]) -> dict[str, object]:
    """BatchResult (BAR2)."""
    failures = _failures(results)
    return {
        "successCount": len(results) - failures,
        "failureCount": failures,
        "results": list(results),
    }


def _failures(results: Sequence[_Result]) -> int:
    return sum(1 for result in results if "error" in result)


def _flat(call: Call, results: Sequence[_Result], status: int) -> Answer | Response:
    if _failures(results):
        error = AblyError(40020, 400, "Batched response includes errors")
        return call.refuse(error, batchResponse=list(results))
    return Answer(list(results), status)


def _spec(spec: object) -> tuple[Sequence[str], Sequence[object]]:
    """BatchPublishSpec (BSP2): channels and messages, or one of either."""
    if not isinstance(spec, Mapping) or "channels" not in spec or "messages" not in spec:
        raise AblyError(40000, 400, "Invalid batch: specify channels and messages")
    messages = as_messages(spec["messages"])
    if not 1 <= len(messages) <= _MAX_MESSAGES:
        raise AblyError(40003, 400, f"Invalid messages: one to {_MAX_MESSAGES}")
    return _channels(as_messages(spec["channels"])), messages


def _channels(given: Sequence[object]) -> Sequence[str]:
    channels = [name for name in given if isinstance(name, str)]
    if len(channels) != len(given) or not 1 <= len(channels) <= _MAX_CHANNELS:
        raise AblyError(40003, 400, f"Invalid channels: one to {_MAX_CHANNELS} names")
    return channels
