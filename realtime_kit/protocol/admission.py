"""Who may subscribe, and who a user is: proofs verified before anything in them is read. Pure.

Source: Pusher Channels Protocol, "Subscription events", "Signin"; "Authentication and authorization
signatures"; "Presence channels: Limitations". The texts of the errors are production's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realtime_kit.channels import SERVER_TO_USER, Kind, kind_of, validate
from realtime_kit.errors import InvalidChannel
from realtime_kit.protocol import frames, signing
from realtime_kit.protocol.app import App
from realtime_kit.protocol.connection import Connection
from realtime_kit.protocol.effects import Subscribe
from realtime_kit.protocol.frames import Refused


def admit(app: App, connection: Connection, channel: str, data: Mapping[str, Any]) -> Subscribe:
    """The subscription that `data` (of `pusher:subscribe`) asks for and proves.

    Raises `Refused`.
    """
    try:
        validate(channel, limit=app.limits.channel_name)
    except InvalidChannel as error:
        raise Refused(f"Invalid channel: {error}") from error
    kind = kind_of(channel)
    if kind is Kind.SERVER_TO_USER:
        if connection.user_id is None or channel != SERVER_TO_USER + connection.user_id:
            raise Refused(f"{channel} is only for the connection that is signed in as that user")
        return Subscribe(channel)
    if not kind.requires_auth:
        return Subscribe(channel)
    channel_data = data.get("channel_data")
    if channel_data is not None and not isinstance(channel_data, str):
        raise Refused(f"Invalid channel_data for {channel}: it must be a string of JSON")
    if kind.is_presence and not channel_data and connection.user_id is None:
        raise Refused(f"{channel} is a presence channel and subscription must include channel_data")
    _verify_subscription(app, connection, channel, data.get("auth"), channel_data or None)
    if not kind.is_presence:
        return Subscribe(channel)
    user_id, user_info = _member(app, channel, channel_data or _own_data(connection))
    return Subscribe(channel, user_id, user_info, app.limits.presence_members)


def _verify_subscription(
    app: App, connection: Connection, channel: str, auth: object, channel_data: str | None
) -> None:
    if auth is None or auth == "":
        raise Refused(f"Auth info required to subscribe to {channel}")
    if not isinstance(auth, str) or ":" not in auth:
        raise Refused(
            f"Auth value for subscription to {channel} is invalid: "
            "should be of format 'key:signature'"
        )
    text = signing.channel_text(connection.socket_id, channel, channel_data)
    _verify(app, auth, text, "subscription")


def _verify(app: App, auth: str, text: str, what: str) -> None:
    key, _, signature = auth.partition(":")
    secret = app.secret_of(key)
    if secret is None:
        raise Refused(f"Invalid key in {what} auth data: '{key}'")
    if not signing.verify(secret, text, signature):
        raise Refused(
            f"Invalid signature: Expected HMAC SHA256 hex digest of {text}, but got {signature}"
        )


def _own_data(connection: Connection) -> str:
    """The channel_data of a signed-in user who sent none."""
    info = connection.user_info
    member = f'{{"user_id":{frames.encode(connection.user_id)}'
    return member + "}" if info is None else f'{member},"user_info":{info}}}'


def _member(app: App, channel: str, channel_data: str) -> tuple[str, str | None]:
    if frames.size(channel_data) > app.limits.presence_user:
        raise Refused(
            f"channel_data for {channel} exceeds the allowed maximum "
            f"({app.limits.presence_user} bytes)"
        )
    try:
        member = frames.decode(channel_data)
        info = member.get("user_info")
        user_info = None if info is None else frames.encode(info)
    except (ValueError, AttributeError) as error:
        raise Refused(f"Invalid channel_data for {channel}: it must be a JSON object") from error
    user_id = member.get("user_id")
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not user_id:
        raise Refused(f"channel_data for {channel} must include a user_id")
    return _checked_id(app, user_id), user_info


def _checked_id(app: App, user_id: str) -> str:
    if len(user_id) > app.limits.user_id:
        raise Refused(f"User id of {len(user_id)} characters; the limit is {app.limits.user_id}")
    return user_id


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in. `user_info` is JSON text. `watchlist` is cut at the app's limit; `excess`
    says that it was. `user_data` is the text that was proven."""

    user_id: str
    user_info: str | None
    watchlist: tuple[str, ...]
    excess: bool
    user_data: str


def identify(app: App, connection: Connection, data: Mapping[str, Any]) -> Identity:
    """The user that `data` (of `pusher:signin`) proves. Raises `Refused`."""
    auth, user_data = data.get("auth"), data.get("user_data")
    if not isinstance(user_data, str):
        raise Refused("Invalid signin: user_data must be a string of JSON")
    if not isinstance(auth, str) or ":" not in auth:
        raise Refused("Invalid format: auth must have the format key:signature")
    _verify(app, auth, signing.user_text(connection.socket_id, user_data), "signin")
    try:
        user = frames.decode(user_data)
        info, watchlist = user.get("user_info"), user.get("watchlist")
        user_info = None if info is None else frames.encode(info)
    except (ValueError, AttributeError) as error:
        raise Refused("Invalid user_data: it must be a JSON object") from error
    user_id = user.get("id")
    if not isinstance(user_id, str) or not user_id:
        raise Refused("Invalid user_data: id must be a non-empty string")
    watched = _watchlist(watchlist)
    limit = app.limits.watchlist
    excess = len(watched) > limit
    return Identity(_checked_id(app, user_id), user_info, watched[:limit], excess, user_data)


def _watchlist(watchlist: object) -> tuple[str, ...]:
    if watchlist is None:
        return ()
    if not isinstance(watchlist, list) or not all(isinstance(user, str) for user in watchlist):
        raise Refused("Invalid user_data: watchlist must be an array of user ids")
    return tuple(dict.fromkeys(watchlist))
