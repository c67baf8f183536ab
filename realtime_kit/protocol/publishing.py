"""Endpoints that send events.

Source: Pusher Channels, "HTTP API Reference: POST event, POST batch events". Everything in a
request is checked before the first event goes. `data` is a string and travels as it is. Extension:
`id`, `offset`, `epoch` and `mutation` of an event are copied into the frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from realtime_kit.channels import kind_of, validate
from realtime_kit.errors import InvalidChannel, InvalidEvent
from realtime_kit.events import check_name
from realtime_kit.protocol import frames
from realtime_kit.protocol.app import App
from realtime_kit.protocol.effects import Broadcast, CacheSet, ChannelState, QueryChannel, Step
from realtime_kit.protocol.http_request import ApiError, Call, Response

_SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")
_EXTRA = (("id", str), ("offset", int), ("epoch", str), ("mutation", str))


@dataclass(frozen=True, slots=True)
class _Publish:
    """An event that was checked. `frame` makes its frame for a channel."""

    channels: tuple[str, ...]
    frame: Callable[[str], str]
    exclude: str | None
    info: frozenset[str]


def events(app: App, call: Call) -> Step[Response]:
    """POST /apps/ID/events"""
    event = _event(app, call.parameters())
    yield from _publish(app, event)
    if not event.info:
        return Response.json({})
    infos = {}
    for channel in event.channels:
        infos[channel] = yield from channel_info(channel, event.info)
    return Response.json({"channels": infos})


def batch_events(app: App, call: Call) -> Step[Response]:
    """POST /apps/ID/batch_events"""
    batch = call.parameters().get("batch")
    if not isinstance(batch, list):
        raise ApiError(400, "Missing required parameter: batch")
    limit = app.limits.events_per_batch
    if len(batch) > limit:
        raise ApiError(400, f"Batch too large ({len(batch)} > {limit})")
    checked = [_batched(app, item) for item in batch]
    for event in checked:
        yield from _publish(app, event)
    if not any(event.info for event in checked):
        return Response.json({})
    infos = []
    for event in checked:
        infos.append((yield from channel_info(event.channels[0], event.info)))
    return Response.json({"batch": infos})


def channel_event(app: App, call: Call) -> Step[Response]:
    """POST /apps/ID/channels/CHANNEL/events?name=…: the old form, whose body is the data."""
    try:
        data = call.request.body.decode()
    except ValueError as error:
        raise ApiError(400, "Invalid UTF-8 in the body") from error
    given = {**call.params, "channel": call.segments[1], "channels": None, "data": data}
    yield from _publish(app, _event(app, given))
    return Response(202, b"202 ACCEPTED\n", "text/plain; charset=utf-8")


def _publish(app: App, event: _Publish) -> Step[None]:
    for channel in event.channels:
        frame = event.frame(channel)
        if kind_of(channel).is_cache:  # first: who subscribes between the two must not miss it
            yield CacheSet(channel, frame, app.cache_ttl)
        yield Broadcast(channel, frame, event.exclude)


def channel_info(channel: str, info: frozenset[str]) -> Step[dict[str, int]]:
    """What can be said of a channel: users of a presence channel, connections of another."""
    wanted = "user_count" if kind_of(channel).is_presence else "subscription_count"
    if wanted not in info:
        return {}
    state: ChannelState = yield QueryChannel(channel)
    return {wanted: state.users if wanted == "user_count" else state.subscriptions}


# --- checks ---------------------------------------------------------------------------------


def _batched(app: App, item: object) -> _Publish:
    if not isinstance(item, dict):
        raise ApiError(400, "Invalid parameter: batch must be an array of objects")
    event = _event(app, item)
    if len(event.channels) > 1:
        raise ApiError(400, "An event of a batch goes to one channel")
    return event


def _event(app: App, given: Mapping[str, Any]) -> _Publish:
    name, data = _string(given, "name"), _string(given, "data")
    if name is None or data is None:
        missing = "name" if name is None else "data"
        raise ApiError(400, f"Missing required parameter: {missing}")
    try:
        check_name(name, app.limits)
        channels = _channels(app, given)
    except (InvalidEvent, InvalidChannel) as error:
        raise ApiError(400, f"Invalid parameter: {error}") from error
    if frames.size(data) > app.limits.data:
        raise ApiError(413, frames.too_large(app.limits))
    exclude = _string(given, "socket_id")
    if exclude is not None and not _SOCKET_ID.fullmatch(exclude):
        raise ApiError(400, f"Invalid socket_id: {frames.encode(exclude)}")
    frame = frames.channel_event(name, data, _extra(given))
    return _Publish(channels, frame, exclude, attributes(given.get("info")))


def _channels(app: App, given: Mapping[str, Any]) -> tuple[str, ...]:
    names = given.get("channels")
    if names is None:
        names = given.get("channel")
    names = [names] if isinstance(names, str) else names
    if not names:
        raise ApiError(400, "Missing required parameter: channel")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(400, "Invalid parameter: channels must be an array of strings")
    channels = tuple(dict.fromkeys(names))
    limit = app.limits.channels_per_trigger
    if len(channels) > limit:
        raise ApiError(400, f"Too many channels ({len(channels)} > {limit})")
    for name in channels:
        validate(name, limit=app.limits.channel_name)
    if len(channels) > 1 and any(kind_of(name).is_encrypted for name in channels):
        raise ApiError(400, "An event on an encrypted channel goes to that one channel alone")
    return channels


def _string(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError(400, f"Invalid parameter: {name} must be a string")
    return value


def _extra(given: Mapping[str, Any]) -> dict[str, str | int]:
    extra: dict[str, str | int] = {}
    for name, kind in _EXTRA:
        value: Any = given.get(name)
        if value is None:
            continue
        if type(value) is not kind:
            what = "an integer" if kind is int else "a string"
            raise ApiError(400, f"Invalid parameter: {name} must be {what}")
        extra[name] = value
    return extra


def attributes(info: object) -> frozenset[str]:
    """The parameter `info`: names separated by commas. Those that are unknown ask for nothing."""
    if info is None or info == "":
        return frozenset()
    if not isinstance(info, str):
        raise ApiError(400, "Invalid parameter: info must be a string")
    return frozenset(info.replace(" ", "").split(","))
