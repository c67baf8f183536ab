"""Channel names and their qualifiers: `foo`, `[?rewind=1]foo`, `[meta]occupancy`.

Source: docs, "Channels" and "Channel options"; a qualifier is `[TYPE?PARAMS]` before the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from realtime_kit.emulators.ably.errors import AblyError

_MAX = 2_048


@dataclass(frozen=True, slots=True)
class ChannelName:
    """`base` is the channel that is meant, `params` are the qualifier's."""

    base: str
    params: Mapping[str, str] = field(default_factory=dict)


def parse_name(text: object) -> ChannelName:
    """Raises `AblyError` 40010 for what is no channel name."""
    if not isinstance(text, str):
        raise _invalid(text)
    params: dict[str, str] = {}
    base = text
    if text.startswith("["):
        qualifier, bracket, base = text[1:].partition("]")
        if not bracket:
            raise _invalid(text)
        kind, _, query = qualifier.partition("?")
        params = dict(parse_qsl(query, keep_blank_values=True))
        if kind in ("meta", "queue"):
            base = f"[{kind}]{base}"
        elif kind:  # `filter=…` needs a language of its own
            raise _invalid(text)
    if not base or base[0] in ":,\n\r" or base[0].isspace() or "\n" in base or len(base) > _MAX:
        raise _invalid(text)
    return ChannelName(base, params)


def _invalid(text: object) -> AblyError:
    return AblyError(40010, 400, f"Invalid channel name: {text!s:.100}")
