"""Real-time for Python applications that cannot hold long connections."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime_kit.authorization import Grant, Member, SignIn
    from realtime_kit.catalog import Catalog, RealtimeEvent
    from realtime_kit.channels import Converter
    from realtime_kit.errors import (
        AuthError,
        BadSignature,
        ConfigurationError,
        Denied,
        Expired,
        InvalidChannel,
        InvalidEvent,
        PartiallySent,
        PayloadTooLarge,
        ProviderError,
        ProviderUnavailable,
        RateLimited,
        RealtimeError,
        Rejected,
        Unsupported,
    )
    from realtime_kit.events import Event, Receipt
    from realtime_kit.history.base import History, Position
    from realtime_kit.providers.base import ChannelInfo
    from realtime_kit.realtime import Realtime
    from realtime_kit.settings import RealtimeSettings
    from realtime_kit.sources import Row
    from realtime_kit.webhooks import WebhookEvent, WebhookKind

__version__ = "0.1.0"

__all__ = [
    "AuthError",
    "BadSignature",
    "Catalog",
    "ChannelInfo",
    "ConfigurationError",
    "Converter",
    "Denied",
    "Event",
    "Expired",
    "Grant",
    "History",
    "InvalidChannel",
    "InvalidEvent",
    "Member",
    "PartiallySent",
    "PayloadTooLarge",
    "Position",
    "ProviderError",
    "ProviderUnavailable",
    "RateLimited",
    "Realtime",
    "RealtimeError",
    "RealtimeEvent",
    "RealtimeSettings",
    "Receipt",
    "Rejected",
    "Row",
    "SignIn",
    "Unsupported",
    "WebhookEvent",
    "WebhookKind",
]

# Each name is loaded when it is first asked for: a Lambda function that only authorizes pays for
# nothing else.
_ELSEWHERE = {
    "Catalog": "catalog",
    "ChannelInfo": "providers.base",
    "Converter": "channels",
    "Event": "events",
    "Grant": "authorization",
    "History": "history.base",
    "Member": "authorization",
    "Position": "history.base",
    "Realtime": "realtime",
    "RealtimeEvent": "catalog",
    "RealtimeSettings": "settings",
    "Receipt": "events",
    "Row": "sources",
    "SignIn": "authorization",
    "WebhookEvent": "webhooks",
    "WebhookKind": "webhooks",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_ELSEWHERE.get(name, 'errors')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
