"""Channel modes: what an attachment does, of what it asked for and what it may.

Source: specification, TB2d and TR3; docs, "Channel options".
"""

from __future__ import annotations

from collections.abc import Mapping

from realtime_kit.emulators.ably.wire import Flag

_OPERATIONS = {
    Flag.PRESENCE: "presence",
    Flag.PUBLISH: "publish",
    Flag.SUBSCRIBE: "subscribe",
    Flag.PRESENCE_SUBSCRIBE: "subscribe",
    Flag.ANNOTATION_PUBLISH: "annotation-publish",
    Flag.ANNOTATION_SUBSCRIBE: "annotation-subscribe",
    Flag.OBJECT_SUBSCRIBE: "object-subscribe",
    Flag.OBJECT_PUBLISH: "object-publish",
}
_BY_NAME = {str(flag.name).lower(): flag for flag in _OPERATIONS}
ALL = Flag(sum(_OPERATIONS))
DEFAULT = (
    Flag.PRESENCE
    | Flag.PUBLISH
    | Flag.SUBSCRIBE
    | Flag.PRESENCE_SUBSCRIBE
    | Flag.ANNOTATION_PUBLISH
)


def requested(flags: object, params: Mapping[str, str]) -> Flag:
    """What an ATTACH asks for: its `modes` parameter, else its flags, else the default."""
    named = Flag(0)
    for name in params.get("modes", "").split(","):
        named |= _BY_NAME.get(name.strip().lower(), Flag(0))
    flagged = Flag(flags) & ALL if isinstance(flags, int) and flags >= 0 else Flag(0)
    return named or flagged or DEFAULT


def allowed(wanted: Flag, operations: frozenset[str]) -> Flag:
    """Of the modes that are wanted, those that a capability's operations allow."""
    kept = Flag(0)
    for flag, operation in _OPERATIONS.items():
        if wanted & flag and operation in operations:
            kept |= flag
    return kept


def names(modes: Flag, order: str = "") -> str:
    """As the `modes` parameter has them; those in `order` first, as they are there."""
    first = [name for name in (part.strip().lower() for part in order.split(",")) if name]
    ordered = dict.fromkeys([*first, *_BY_NAME])
    return ",".join(name for name in ordered if name in _BY_NAME and modes & _BY_NAME[name])
