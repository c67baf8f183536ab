"""Channels over REST: publish, history, presence, status, enumeration.

Source: Ably, "REST API"; features spec RSL (channels), RSP (presence), CHD (status).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from realtime_kit.emulators.ably.channel import Channel
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import UPDATE, Message, Payload, Presence, wire
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.publishing import as_messages, require
from realtime_kit.emulators.ably.rest_http import JSON, Answer, Call

_MAX_MESSAGES = 1000

P = TypeVar("P", bound=Payload)


def publish(call: Call) -> Answer:
    """POST /channels/CHANNEL/messages (RSL1)"""
    access = call.access
    if call.flag("_forceNack"):
        raise AblyError(40099, 400, "Forced nack (reserved for testing)")
    messages = [_payload(call)] if call.params.get("enveloped") == "false" else _messages(call)
    published = call.app.publish(call.segments[1], messages, access=access)
    return Answer(
        {
            "channel": published.channel,
            "messageId": published.message_id,
            "serials": list(published.serials),
        },
        201,
    )


def _messages(call: Call) -> list[object]:
    messages = as_messages(call.body())
    if len(messages) > _MAX_MESSAGES:
        raise AblyError(40034, 400, f"More than {_MAX_MESSAGES} messages in one publish")
    return messages


def _payload(call: Call) -> dict[str, object]:
    """The message whose data is the body, the rest of it in headers or parameters."""
    body, encoding = call.request.body, _header_or_param(call, "encoding", "encoding")
    data: str | bytes = body
    if call.content_type == JSON or call.content_type.startswith("text/"):
        try:
            data = body.decode()
        except UnicodeDecodeError as error:
            raise AblyError(40001, 400, "Invalid request body: it is not UTF-8") from error
        if call.content_type == JSON and encoding is None:
            encoding = "json"
    return {
        "id": _header_or_param(call, "messageid", "messageId"),
        "name": _header_or_param(call, "name", "name"),
        "connectionKey": _header_or_param(call, "connectionkey", "connectionKey"),
        "encoding": encoding,
        "data": data,
    }


def _header_or_param(call: Call, header: str, param: str) -> str | None:
    return call.request.headers.get(f"x-ably-{header}", call.params.get(param))


def history(call: Call) -> Answer:
    """GET /channels/CHANNEL/messages (RSL2, RTL10)"""
    return _past(call, Channel.history, lambda message: message.serial)


def message(call: Call) -> Answer:
    """GET /channels/CHANNEL/messages/SERIAL: its latest version (RSL11)"""
    found = _versions(call)[-1]
    return Answer(found.wire(binary=call.binary))


def message_versions(call: Call) -> Answer:
    """GET /channels/CHANNEL/messages/SERIAL/versions, the oldest first (RSL14)"""
    found, links = call.page(
        _versions(call), lambda version: str((version.version or {}).get("serial"))
    )
    return Answer(wire(found, binary=call.binary), links=links)


def change_message(call: Call) -> Answer:
    """PATCH /channels/CHANNEL/messages/SERIAL: update, delete or append (RSL15)"""
    change = {"action": UPDATE, **call.fields(), "serial": call.segments[3]}
    published = call.app.publish(call.segments[1], [change], access=call.access)
    return Answer({"versionSerial": published.serials[0]})


def _versions(call: Call) -> Sequence[Message]:
    channel, serial = _channel(call, "history"), call.segments[3]
    found = channel.versions_of(serial)
    if not found:
        raise AblyError(40400, 404, f"No message found with serial {serial[:100]}")
    return found


def presence_history(call: Call) -> Answer:
    """GET /channels/CHANNEL/presence/history (RSP4)"""
    return _past(call, Channel.presence_history, lambda event: str(event.id))


def _past(call: Call, of: Callable[..., Sequence[P]], key: Callable[[P], str]) -> Answer:
    """A page of the history `of` a channel."""
    channel = _channel(call, "history")
    start, end = _interval(call)
    past = of(channel, start=start, end=end, forwards=call.forwards(), until=_until(call))
    found, links = call.page(past, key, end=end)
    return Answer(wire(found, binary=call.binary), links=links)


def _interval(call: Call) -> tuple[int | None, int]:
    """`end` is now unless it is given, so that all pages are of the same interval."""
    start, end = call.integer("start"), call.integer("end")
    if start is not None and end is not None and start > end:
        raise AblyError(40003, 400, "Invalid start param: it is later than end")
    return start, call.now_ms if end is None else end


def _until(call: Call) -> str | None:
    """The serial at which a channel was attached (`untilAttach`); ably-js spells it otherwise than
    the specification."""
    return call.params.get("from_serial", call.params.get("fromSerial"))


def presence(call: Call) -> Answer:
    """GET /channels/CHANNEL/presence (RSP3)"""
    channel = _channel(call, "subscribe")
    members = channel.present(
        client_id=call.params.get("clientId"), connection_id=call.params.get("connectionId")
    )
    found, links = call.page(sorted(members, key=_member_key), _member_key, in_order=True)
    return Answer(wire(found, binary=call.binary), links=links)


def _member_key(member: Presence) -> str:
    return member.key


def status(call: Call) -> Answer:
    """GET /channels/CHANNEL (RSL8). To ask for a channel's status is to activate it."""
    channel = _channel(call, "channel-metadata")
    return Answer(_details(channel))


def enumerate_channels(call: Call) -> Answer:
    """GET /channels: the active ones, their names or their details."""
    if not call.access.capability.allows_everywhere("channel-metadata"):
        raise AblyError(40160, 401, "Listing channels requires the channel-metadata capability")
    by = call.params.get("by", "id" if call.version >= 3 else "value")
    if by not in ("id", "value"):
        raise AblyError(40003, 400, "Invalid by param: id or value")
    prefix = call.params.get("prefix", "")
    active = sorted(
        name
        for name, channel in call.app.channels.items()
        if name.startswith(prefix) and channel.active
    )
    found, links = call.page(active, str, in_order=True)
    if by == "id":
        return Answer(list(found), links=links)
    return Answer([_details(call.app.channels[name]) for name in found], links=links)


def _details(channel: Channel) -> dict[str, object]:
    """ChannelDetails (CHD2)."""
    return {
        "channelId": channel.name,
        "status": {"isActive": True, "occupancy": {"metrics": channel.metrics()}},
    }


def _channel(call: Call, operation: str) -> Channel:
    """The channel of the address. Raises `AblyError` 40160, 40010."""
    access = call.access
    base = parse_name(call.segments[1]).base
    require(access, operation, base)
    return call.app.channel(base)
