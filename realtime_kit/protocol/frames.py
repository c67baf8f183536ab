"""Frames, to the byte: what the server sends, and how what a client sends is read.

Source: Pusher Channels Protocol, "Events". Each frame is encoded once, however many receive it;
those that are sent often are put together from parts that are already JSON. Production's order of
members is kept (event, data, channel); nothing depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from realtime_kit.events import Limits

PONG = '{"event":"pusher:pong","data":"{}"}'


class Refused(Exception):
    """What a client is told by `pusher:error`; its frame had no other effect."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


# --- JSON -----------------------------------------------------------------------------------


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def decode(text: str) -> Any:
    """Strict JSON (no NaN). Raises nothing but `ValueError`."""
    try:
        return _decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encode(value: Any) -> str:
    """Compact JSON that UTF-8 can carry. Raises nothing but `ValueError`, for what was decoded."""
    try:
        text = _encode(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:  # a lone surrogate can travel only as an escape
        return _encode_ascii(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return text


def size(text: str) -> int:
    """Bytes of `text` in UTF-8. It never raises, unlike `events.size`: clients send anything."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def max_frame(limits: Limits) -> int:
    """Bytes of the largest frame that can make sense: an event's data with every character escaped
    (`\\u0000`), and room for the names. A longer one is refused unread."""
    return 6 * limits.data + 16_384


def too_large(limits: Limits) -> str:
    """Production's words for data over the limit, in frames and in the HTTP API."""
    return (
        f"The data content of this event exceeds the allowed maximum ({limits.data} bytes). "
        "See https://pusher.com/docs/channels/server_api/http-api#publishing-events for more info"
    )


# --- the connection -------------------------------------------------------------------------


def connection_established(socket_id: str, activity_timeout: int) -> str:
    data = encode({"socket_id": socket_id, "activity_timeout": activity_timeout})
    return f'{{"event":"pusher:connection_established","data":{encode(data)}}}'


def error(message: str, code: int | None = None) -> str:
    """`data` is an object here, not a string: some clients read `data["code"]`."""
    return encode({"event": "pusher:error", "data": {"code": code, "message": message}})


# --- subscriptions --------------------------------------------------------------------------


def _internal(event: str, channel: str, data: str) -> str:
    return (
        f'{{"event":"pusher_internal:{event}","data":{encode(data)},"channel":{encode(channel)}}}'
    )


def subscription_succeeded(channel: str) -> str:
    return _internal("subscription_succeeded", channel, "{}")


def presence_succeeded(channel: str, members: Mapping[str, str | None]) -> str:
    """`members`: user id to user info as JSON text. Clients need `hash` and `count`, some `ids`."""
    ids = encode(list(members))
    infos = ",".join(f"{encode(user_id)}:{info or 'null'}" for user_id, info in members.items())
    data = f'{{"presence":{{"ids":{ids},"hash":{{{infos}}},"count":{len(members)}}}}}'
    return _internal("subscription_succeeded", channel, data)


def member_added(channel: str, user_id: str, user_info: str | None) -> str:
    info = "" if user_info is None else f',"user_info":{user_info}'
    return _internal("member_added", channel, f'{{"user_id":{encode(user_id)}{info}}}')


def member_removed(channel: str, user_id: str) -> str:
    return _internal("member_removed", channel, f'{{"user_id":{encode(user_id)}}}')


def subscription_count(channel: str, count: int) -> str:
    return _internal("subscription_count", channel, f'{{"subscription_count":{count}}}')


def cache_miss(channel: str) -> str:
    return f'{{"event":"pusher:cache_miss","channel":{encode(channel)}}}'


def subscription_error(channel: str, message: str) -> str:
    """Not production's: tells the channel's own handlers why it was refused."""
    data = {"type": "AuthError", "error": message, "status": 401}
    return encode({"event": "pusher:subscription_error", "data": data, "channel": channel})


# --- users ----------------------------------------------------------------------------------


def signin_success(user_data: str) -> str:
    return f'{{"event":"pusher:signin_success","data":{{"user_data":{encode(user_data)}}}}}'


def watchlist_event(name: str, user_ids: Iterable[str]) -> str:
    """`name` is "online" or "offline"."""
    data = {"events": [{"name": name, "user_ids": list(user_ids)}]}
    return encode({"event": "pusher_internal:watchlist_events", "data": data})


# --- events ---------------------------------------------------------------------------------


def client_event(event: str, channel: str, data: str, user_id: str | None) -> str:
    """`data` is JSON text: what the sender sent, of the type that the sender used."""
    sender = "" if user_id is None else f',"user_id":{encode(user_id)}'
    return f'{{"event":{encode(event)},"channel":{encode(channel)},"data":{data}{sender}}}'


def channel_event(
    event: str, data: str, extra: Mapping[str, str | int] | None = None
) -> Callable[[str], str]:
    """From a channel's name to the frame of an event on it. `data` travels as the string it is;
    `extra` are members beside it, which Pusher's clients ignore."""
    head = f'{{"event":{encode(event)},"channel":'
    members = "".join(f',"{name}":{encode(value)}' for name, value in (extra or {}).items())
    tail = f',"data":{encode(data)}{members}}}'
    return lambda channel: f"{head}{encode(channel)}{tail}"
