"""Where events go: one provider, one file. This is the list of them; nothing is loaded before use.

A package of somebody else adds its own under the entry-point group `realtime_kit.providers`:
the name, and `module:Class` of its `Provider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from realtime_kit.errors import ConfigurationError, missing_extra

if TYPE_CHECKING:
    from realtime_kit.providers.base import Provider

GROUP = "realtime_kit.providers"


class Entry(NamedTuple):
    """`target` is `module:Class`; `extra` what has to be installed for all of it to work."""

    target: str
    extra: str | None = None


# Sorted by name; a test holds it to that.
PROVIDERS: Mapping[str, Entry] = MappingProxyType(
    {
        "ably": Entry("realtime_kit.providers.ably:AblyProvider", extra="ably"),
        "aws": Entry("realtime_kit.providers.aws:AwsProvider"),
        "local": Entry("realtime_kit.providers.local:LocalProvider"),
        "log": Entry("realtime_kit.providers.log:LogProvider"),
        "null": Entry("realtime_kit.providers.null:NullProvider"),
        "pusher": Entry("realtime_kit.providers.pusher:PusherProvider", extra="pusher"),
    }
)


def names() -> tuple[str, ...]:
    """Every name that `load` knows: our own first, then those of other packages."""
    return (*PROVIDERS, *(name for name in sorted(_others()) if name not in PROVIDERS))


def load(name: str) -> type[Provider]:
    """The provider's class. Raises `ConfigurationError` for an unknown name or a missing extra."""
    entry = PROVIDERS.get(name) or _others().get(name)
    if entry is None:
        raise _unknown(name)
    module, _, attribute = entry.target.partition(":")
    try:
        found: type[Provider] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if entry.extra is None:
            raise
        raise missing_extra(entry.extra, f"provider {name!r}") from error
    return found


def _others() -> dict[str, Entry]:
    from importlib.metadata import entry_points  # 15 ms that our own names do without

    return {point.name: Entry(point.value) for point in entry_points(group=GROUP)}


def _unknown(name: str) -> ConfigurationError:
    from difflib import get_close_matches

    known = names()
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigurationError(
        f"unknown provider {name!r} (REALTIME_PROVIDER): {hint}there are {', '.join(known)}"
    )
