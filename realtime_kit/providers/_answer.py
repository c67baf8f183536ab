"""An HTTP answer, and the error that its status means. Apart from the client, which is loaded only
by those who send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from realtime_kit.errors import ProviderError, ProviderUnavailable, RateLimited, Rejected


class Answer(NamedTuple):
    """What came back, whatever its status. Header names are lower-case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


# What signs a request is as good as the request: servers quote it in their refusals.
_SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")


def refusal(answer: Answer, provider: str, *, hint: str = "") -> ProviderError | None:
    """The error that an answer's status means; None for 200 and 202."""
    return None if answer.status in (200, 202) else problem(answer, provider, hint=hint)


def problem(answer: Answer, provider: str, *, hint: str = "") -> ProviderError:
    """The error that an answer's status means, which is none of success.

    The text is the server's, cut, without signatures; `hint` follows where the server does not know
    the caller.
    """
    status = answer.status
    text = _SIGNATURE.sub("…", answer.body[:2_000].decode("utf-8", "replace"))
    message = " ".join(text.split())[:400] or "refused without a reason"
    if status in (401, 403, 404) and hint:
        message += f". {hint}"
    request_id = answer.headers.get("x-request-id")
    if status == 429:
        return RateLimited(
            message,
            provider=provider,
            status=status,
            request_id=request_id,
            retry_after=_seconds(answer.headers.get("retry-after")),
        )
    if status >= 500 or status == 408:
        return ProviderUnavailable(
            message,
            provider=provider,
            status=status,
            request_id=request_id,
            retryable=True,
            # A proxy says 502 or 504 of what the server behind it may have done.
            maybe_sent=True,
        )
    return Rejected(message, provider=provider, status=status, request_id=request_id)


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3). None for its form as a date: clocks differ."""
    if retry_after and retry_after.strip().isdecimal():
        return float(retry_after)
    return None
