"""Every error that realtime-kit raises on purpose.

RealtimeError
├── ConfigurationError      a setting is missing or wrong; never hidden by on_error="log"
├── InvalidChannel          a channel name that no provider would take
├── InvalidEvent            an event that cannot be sent as it is
│   └── PayloadTooLarge     its data is over the provider's limit, in bytes
├── AuthError
│   ├── Denied              no rule grants it
│   ├── BadSignature        a signature, key or token that does not verify
│   └── Expired             it verified, and its time is over
├── ProviderError           what the provider answered, or that it did not
│   ├── RateLimited
│   ├── ProviderUnavailable
│   ├── Rejected
│   └── PartiallySent       a call split over several requests failed half-way
└── Unsupported             the provider cannot express what was asked
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime_kit.events import Event, Receipt


class RealtimeError(Exception):
    """Base of the tree."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their positional arguments; those of this tree that take
        # keywords could otherwise not travel from a worker process to its parent.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[RealtimeError], args: tuple[object, ...], state: Mapping[str, object]
) -> RealtimeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(RealtimeError):
    """A setting is missing or wrong. The message names the setting and what to do."""


class InvalidChannel(RealtimeError, ValueError):
    """A channel name, or a channel pattern, that breaks the naming rules."""


class InvalidEvent(RealtimeError, ValueError):
    """An event that cannot be sent as it is: its name, its data or its mix of channels."""


class PayloadTooLarge(InvalidEvent):
    """The encoded data is over the provider's limit.

    `size` and `limit` are bytes of UTF-8.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class AuthError(RealtimeError):
    """Something was not proven or not allowed."""


class Denied(AuthError):
    """No rule grants this user this channel."""


class BadSignature(AuthError):
    """A signature, key or token does not verify."""


class Expired(AuthError):
    """A signature or token verified, but its time is over."""


class ProviderError(RealtimeError):
    """What the provider answered, or that it did not answer.

    `status` is the HTTP status, `code` the vendor's own number or word, `request_id` what the
    vendor's support asks for. `retryable` says whether the same call may succeed later;
    `maybe_sent` whether the provider may have taken the event although the call failed.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        code: str | int | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        maybe_sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retryable = retryable
        self.maybe_sent = maybe_sent

    def __str__(self) -> str:
        details = [self.provider]
        details += [
            f"{name} {value}"
            for name, value in (
                ("status", self.status),
                ("code", self.code),
                ("request", self.request_id),
            )
            if value is not None
        ]
        return f"{super().__str__()} ({', '.join(details)})"


class RateLimited(ProviderError):
    """The provider asks to slow down. `retry_after` is seconds, when it said so."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        code: str | int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            provider=provider,
            status=status,
            code=code,
            request_id=request_id,
            retryable=True,
        )
        self.retry_after = retry_after


class ProviderUnavailable(ProviderError):
    """The provider could not be reached, did not answer in time, or answered 5xx."""


class Rejected(ProviderError):
    """The provider refused the request; the same call will be refused again."""


class PartiallySent(ProviderError):
    """A call that needed several requests failed half-way.

    `accepted` holds the receipts of what the provider took, `unsent` the events that were never
    sent, `unknown` those whose request was written but not answered. The failure that ended the
    call is `__cause__`. Retry `unsent` freely, `unknown` only where a repeat does no harm.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        accepted: Sequence[Receipt],
        unsent: Sequence[Event],
        unknown: Sequence[Event],
        status: int | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(
            message,
            provider=provider,
            status=status,
            retryable=retryable,
            maybe_sent=bool(unknown),
        )
        self.accepted = tuple(accepted)
        self.unsent = tuple(unsent)
        self.unknown = tuple(unknown)


class Unsupported(RealtimeError):
    """The provider cannot express what was asked; nothing was sent."""


def missing_extra(extra: str, feature: str) -> ConfigurationError:
    """The one-line install hint for an optional dependency that is not installed."""
    return ConfigurationError(f"{feature} needs an extra: pip install 'realtime-kit[{extra}]'")
