"""What our channels are called on Ably. Pure.

The names are those of Ably's own Pusher adapter, so that a client of the one and a client of the
other are on the same channel: `orders` is `public:orders`, `private-orders` is `private:orders`,
`presence-room` is `presence:room`, and `;` stands for `:`. Source: Ably, "Pusher adapter: Channel
name mapping". The channel of one user, which the adapter does not have, is `user:ID`, with the id
percent-encoded: an id can hold what divides a name (`:`) or stands for others (`*`).
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from realtime_kit.channels import SERVER_TO_USER
from realtime_kit.errors import InvalidChannel

_USER = "user:"


def ably_name(logical: str) -> str:
    """The channel's name on Ably."""
    if logical.startswith(SERVER_TO_USER):
        return _USER + quote(logical.removeprefix(SERVER_TO_USER), safe="")
    kind, dash, rest = logical.partition("-")
    if not dash or kind not in ("private", "presence"):
        kind, rest = "public", logical
    return f"{kind}:{rest.replace(';', ':')}"


def logical_name(ably: str) -> str:
    """Our name of an Ably channel. Raises `InvalidChannel` for one that is none of ours."""
    kind, _, rest = ably.partition(":")
    match kind:
        case "public":
            name = rest.replace(":", ";")
            if not name.startswith(("private-", "presence-", SERVER_TO_USER)):
                return name
        case "private" | "presence":
            return f"{kind}-{rest.replace(':', ';')}"
        case "user":
            return SERVER_TO_USER + unquote(rest)
    raise InvalidChannel(f"{ably!r} is not the name of a channel of realtime-kit on Ably")
