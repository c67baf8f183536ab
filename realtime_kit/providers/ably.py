"""Ably, through the official `ably` package: its REST client, sync."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import quote

from realtime_kit import channels as channel_names
from realtime_kit.channels import kind_of
from realtime_kit.errors import (
    ConfigurationError,
    InvalidChannel,
    InvalidEvent,
    ProviderError,
    Rejected,
    Unsupported,
    missing_extra,
)
from realtime_kit.events import Event, Limits, Receipt
from realtime_kit.providers.ably_authorization import AblyAuthorization
from realtime_kit.providers.ably_names import ably_name, logical_name
from realtime_kit.providers.base import AuthAnswer, AuthRequest, Capability, ChannelInfo
from realtime_kit.settings import AblySettings, RealtimeSettings
from realtime_kit.webhooks import WebhookEvent

if TYPE_CHECKING:
    from realtime_kit.providers._ably_messages import Part
    from realtime_kit.providers._ably_rest import AblyRest

# The key of a connection that is over or unknown, or of somebody else's (docs, error codes).
_NOT_THE_SENDER = frozenset({40006, 40012})
_PAGE = 1_000  # the most that Ably gives


class _Sent(NamedTuple):
    """What became of a request: receipts in order, and the parts that Ably refused."""

    receipts: list[Receipt]
    refused: list[tuple[Part, ProviderError]]


class AblyProvider(AblyAuthorization):
    """Delivers through Ably.

    `disconnect_user` and `revoke` both revoke the user's tokens: Ably ends that user's connections,
    and each comes back if the application signs it a new token, with what the rules still grant.
    Ably cannot revoke on one channel: with `channel=` all of the user's tokens are meant. The API
    key needs "Revocable tokens" for it.
    """

    name: ClassVar[str] = "ably"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    @classmethod
    def from_settings(cls, settings: RealtimeSettings) -> Self:
        return cls(settings.ably)

    def __init__(
        self,
        settings: AblySettings,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, clock=clock)
        self.limits = limits or Limits(
            data=settings.max_message_size, events_per_batch=100, presence_members=200
        )

    # --- publish ----------------------------------------------------------------------------

    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        from realtime_kit.providers._ably_messages import plan
        from realtime_kit.providers._partial import partially_sent

        wanted = self._wanted(info)
        composed = [(event, self._compose(event)) for event in events]
        requests = plan(composed, self.limits)
        # Before the events are sent: counts that cannot be had must not end a call that sent them.
        names = dict.fromkeys(name for event in events for name in event.channels)
        counts = {name: self._counts(name, wanted) for name in names} if wanted else {}
        receipts: list[Receipt] = []
        for place, parts in enumerate(requests):
            later = [part for request in requests[place + 1 :] for part in request]
            try:
                sent = self._send(parts, alone=len(events) == 1 == len(parts[0].channels))
            except ProviderError as error:
                if len(requests) == 1 or not (receipts or error.maybe_sent):
                    raise
                raise partially_sent(
                    error, self.name, accepted=receipts, failed=parts, later=later
                ) from error
            receipts += sent.receipts
            if sent.refused:
                # The worst of them: what may have been sent all the same must not be called unsent.
                why = max((error for _, error in sent.refused), key=lambda error: error.maybe_sent)
                if not receipts and (len(requests) == 1 or not why.maybe_sent):
                    raise why
                refused = [part for part, _ in sent.refused]
                raise partially_sent(
                    why, self.name, accepted=receipts, failed=refused, later=later
                ) from why
        if counts:
            receipts = [_with_info(receipt, counts[receipt.channel]) for receipt in receipts]
        return receipts

    def is_socket_id(self, text: str) -> bool:
        from realtime_kit.providers._ably_messages import is_reader, read_sender

        return read_sender(text) is not None or is_reader(text)

    def validate(self, event: Event) -> str:
        text: str = self._compose(event)["data"]
        return text

    def sealed(self, event: Event) -> str:
        raise Unsupported(
            f"provider 'ably' cannot keep history of {event.channels[0]}: what Ably's encryption "
            "makes is opened by ably-js alone; give the channel's rule history=False"
        )

    def _compose(self, event: Event) -> dict[str, Any]:
        from realtime_kit.providers._ably_messages import compose

        first = event.channels[0] if event.channels else ""
        secret = self._shared_secret(first) if kind_of(first).is_encrypted else None
        return compose(event, self.limits, secret)

    def _send(self, parts: Sequence[Part], *, alone: bool) -> _Sent:
        refused = self._post(parts, alone=alone)
        receipts: list[Receipt] = []
        failed: list[tuple[Part, ProviderError]] = []
        for part, errors in zip(parts, refused, strict=True):
            event = part.event
            receipts += [
                Receipt(name, event.id, event.epoch, event.offset)
                for name in part.channels
                if name not in errors
            ]
            failed += [(part._replace(channels=(name,)), errors[name]) for name in errors]
        return _Sent(receipts, failed)

    def _post(self, parts: Sequence[Part], *, alone: bool) -> list[dict[str, ProviderError]]:
        """Send one request, and what of it has a sender that is gone once more to everybody.

        Returns by part the errors of the channels that were refused.
        """
        request = self._post_one if alone else self._post_batch
        try:
            refused = request(parts)
        except Rejected as error:
            if error.code not in _NOT_THE_SENDER or not any(part.has_sender for part in parts):
                raise
            return request([part.without_sender(part.channels) for part in parts])
        again: dict[int, Part] = {}
        for place, (part, errors) in enumerate(zip(parts, refused, strict=True)):
            names = tuple(name for name in errors if errors[name].code in _NOT_THE_SENDER)
            if names and part.has_sender:
                again[place] = part.without_sender(names)
        if again:
            for place, errors in zip(again, self._post_batch([*again.values()]), strict=True):
                kept = {
                    name: error
                    for name, error in refused[place].items()
                    if name not in again[place].channels
                }
                refused[place] = {**kept, **errors}
        return refused

    def _post_one(self, parts: Sequence[Part]) -> list[dict[str, ProviderError]]:
        from realtime_kit.providers._ably_messages import message_body
        from realtime_kit.providers._ably_rest import unreadable

        path = f"{_path(parts[0].channels[0])}/messages"
        if not isinstance(self._rest.call("POST", path, body=message_body(parts[0])), dict):
            raise unreadable()
        return [{}]

    def _post_batch(self, parts: Sequence[Part]) -> list[dict[str, ProviderError]]:
        from realtime_kit.providers._ably_messages import body_of
        from realtime_kit.providers._ably_rest import unreadable

        answer = self._rest.call("POST", "/messages", body=body_of(parts))
        if not isinstance(answer, list) or len(answer) != len(parts):
            raise unreadable()
        refused: list[dict[str, ProviderError]] = []
        for part, result in zip(parts, answer, strict=True):
            results = result.get("results") if isinstance(result, dict) else None
            if not isinstance(results, list) or len(results) != len(part.channels):
                raise unreadable()
            refused.append(
                {
                    name: self._rest.problem(found["error"], _status(found["error"]))
                    for name, found in zip(part.channels, results, strict=True)
                    if "error" in found
                }
            )
        return refused

    # --- ask --------------------------------------------------------------------------------

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        wanted = self._wanted(info)
        # `by=value`, because a channel without anybody is listed too, for a minute after an event.
        params = {"by": "value", "limit": _PAGE, "prefix": _ably_prefix(prefix)}
        found: dict[str, ChannelInfo] = {}
        for details in self._rest.pages("/channels", {k: v for k, v in params.items() if v}):
            name = _ours(details.get("channelId"))
            if name is None or not name.startswith(prefix):
                continue
            described = self._describe(name, details, wanted)
            if described.occupied:
                found[name] = described
        return [found[name] for name in sorted(found)]

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        wanted = self._wanted(info)
        checked = channel_names.validate(name, limit=self.limits.channel_name)
        return self._describe(name, self._rest.call("GET", _path(checked)), wanted)

    def members(self, channel: str) -> list[str]:
        name = channel_names.validate(channel, limit=self.limits.channel_name)
        present = self._rest.pages(f"{_path(name)}/presence", {"limit": _PAGE})
        return list(dict.fromkeys(str(member.get("clientId")) for member in present))

    def _describe(
        self, name: str, details: Mapping[str, Any], wanted: Sequence[str]
    ) -> ChannelInfo:
        metrics = _metrics(details)
        occupied = bool(metrics.get("connections"))
        subscribers = metrics.get("subscribers", 0) if "subscription_count" in wanted else None
        users = None
        if "user_count" in wanted and kind_of(name).is_presence:
            # Ably counts a user once for each connection.
            users = len(self.members(name)) if metrics.get("presenceMembers") else 0
        return ChannelInfo(name, occupied, subscribers, users)

    def _counts(self, name: str, wanted: Sequence[str]) -> dict[str, int]:
        described = self.channel(name, info=wanted)
        counts = {"subscription_count": described.subscription_count}
        counts["user_count"] = described.user_count
        return {name: count for name, count in counts.items() if count is not None}

    # --- users ------------------------------------------------------------------------------

    def disconnect_user(self, user_id: str) -> None:
        self._revoke_tokens(user_id)

    def revoke(self, user_id: str, *, channel: str | None = None) -> None:
        if channel is not None:
            channel_names.validate(channel, limit=self.limits.channel_name)
        self._revoke_tokens(user_id)

    def _revoke_tokens(self, user_id: str) -> None:
        import json

        from realtime_kit.providers._ably_rest import unreadable

        if not user_id:
            raise InvalidEvent("a user id cannot be empty")
        path = f"/keys/{self.keys[0].key}/revokeTokens"
        body = json.dumps({"targets": [f"clientId:{user_id}"]})
        answer = self._rest.call("POST", path, body=body)
        results = answer.get("results") if isinstance(answer, dict) else answer
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise unreadable()
        for result in results:
            if "error" in result:
                raise self._rest.problem(result["error"], _status(result["error"]))

    # --- webhooks ---------------------------------------------------------------------------

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        from realtime_kit.providers.ably_webhooks import parse

        return parse(self.keys, headers, body, now=self._clock())

    # --- encryption -------------------------------------------------------------------------

    def authorize(self, request: AuthRequest) -> AuthAnswer:
        answer = super().authorize(request)
        proofs = {
            name: {**proof, "shared_secret": b64encode(self._shared_secret(name)).decode()}
            if kind_of(name).is_encrypted
            else proof
            for name, proof in answer.channels.items()
        }
        return replace(answer, channels=proofs)

    def _shared_secret(self, channel: str) -> bytes:
        """The key of one encrypted channel, as on the other providers."""
        from realtime_kit.providers.channels_protocol import master_key, shared_secret

        key = master_key(self.settings.encryption_master_key)
        if key is None:
            raise ConfigurationError(
                "encrypted channels need ably.encryption_master_key: set "
                "REALTIME_ABLY__ENCRYPTION_MASTER_KEY to 32 random bytes in base64"
            )
        return shared_secret(channel, key)

    @cached_property
    def _rest(self) -> AblyRest:
        try:
            from realtime_kit.providers._ably_rest import AblyRest
        except ModuleNotFoundError as error:
            raise missing_extra("ably", "provider 'ably'") from error
        return AblyRest(self.settings)

    def close(self) -> None:
        if "_rest" in self.__dict__:
            self._rest.close()


def _path(channel: str) -> str:
    return f"/channels/{quote(ably_name(channel), safe=':')}"


def _ably_prefix(prefix: str) -> str:
    """What the Ably names of all channels begin with whose own names begin with `prefix`."""
    if prefix.startswith(("private-", "presence-", channel_names.SERVER_TO_USER)):
        return ably_name(prefix)
    kinds = ("private-", "presence-", channel_names.SERVER_TO_USER)
    return "" if any(kind.startswith(prefix) for kind in kinds) else ably_name(prefix)


def _ours(name: object) -> str | None:
    """Our name of it; None for a channel that others have made on the same app."""
    try:
        return logical_name(str(name))
    except InvalidChannel:
        return None


def _metrics(details: Mapping[str, Any]) -> Mapping[str, Any]:
    from realtime_kit.providers._ably_rest import unreadable

    try:
        metrics = details["status"]["occupancy"]["metrics"]
    except (KeyError, TypeError) as error:
        raise unreadable() from error
    if not isinstance(metrics, dict):
        raise unreadable()
    return metrics


def _status(error: Mapping[str, Any]) -> int:
    status = error.get("statusCode")
    return status if isinstance(status, int) and status >= 300 else 400


def _with_info(receipt: Receipt, counts: Mapping[str, int]) -> Receipt:
    return Receipt(receipt.channel, receipt.id, receipt.epoch, receipt.offset, counts)
