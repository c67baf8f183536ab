"""Pusher's HTTP API from the calling side: what the providers share that deliver through it.

Source: Pusher Channels, "HTTP API". Nothing here sends: a subclass does, in `_call`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from realtime_kit import channels as channel_names
from realtime_kit.channels import kind_of
from realtime_kit.errors import InvalidEvent, ProviderError, ProviderUnavailable
from realtime_kit.events import RESERVED, Event, Receipt, check
from realtime_kit.protocol import signing
from realtime_kit.protocol.signing import Key
from realtime_kit.providers._answer import Answer, refusal
from realtime_kit.providers.base import INFO, ChannelInfo
from realtime_kit.providers.channels_protocol import ChannelsProtocolProvider

T = TypeVar("T")


class _Part(NamedTuple):
    """An event for some of its channels, with the text of its data as it goes on the wire.

    `place` is the event's in the call: the same event may be there twice.
    """

    place: int
    event: Event
    channels: tuple[str, ...]
    text: str


def signed_request(
    key: Key,
    method: Literal["GET", "POST"],
    path: str,
    params: Mapping[str, Any],
    now: float,
    *,
    signed_path: str | None = None,
) -> tuple[str, bytes]:
    """What to send: path and query, and body. `signed_path`, if another path is to be signed."""
    body = json.dumps(params).encode() if method == "POST" else b""
    query = {
        **(params if method == "GET" else {}),
        "auth_key": key.key,
        "auth_timestamp": str(int(now)),
        "auth_version": "1.0",
        "body_md5": hashlib.md5(body, usedforsecurity=False).hexdigest(),
    }
    query["auth_signature"] = signing.http_signature(key.secret, method, signed_path or path, query)
    return f"{path}?{urlencode(query, quote_via=quote)}", body


class ChannelsApiProvider(ChannelsProtocolProvider):
    """Publishes and asks through Pusher's HTTP API."""

    @abstractmethod
    def _call(
        self, method: Literal["GET", "POST"], path: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """One request of the API; `path` follows `/apps/ID`. `params` are the JSON body of a POST,
        the query of a GET. Returns the answer's object, or raises a `ProviderError`."""

    def _text(self, event: Event) -> str:
        """The data as text, before encryption."""
        return event.payload()

    def _fields(self, event: Event) -> Mapping[str, Any]:
        """What travels beside the data, on servers that take it."""
        return {}

    # --- publish ----------------------------------------------------------------------------

    def publish(self, events: Sequence[Event], *, info: Iterable[str] = ()) -> list[Receipt]:
        wanted = ",".join(self._wanted(info))
        calls = self._plan(events)
        receipts: list[Receipt] = []
        for place, parts in enumerate(calls):
            try:
                receipts += self._send(parts, wanted, batch=len(events) > 1)
            except ProviderError as error:
                if len(calls) == 1 or not (receipts or error.maybe_sent):
                    raise
                from realtime_kit.providers._partial import partially_sent

                later = [part for call in calls[place + 1 :] for part in call]
                raise partially_sent(
                    error, self.name, accepted=receipts, failed=parts, later=later
                ) from error
        return receipts

    def _plan(self, events: Sequence[Event]) -> list[list[_Part]]:
        """The parts of each request. All events are checked before the first is sent."""
        parts = [
            _Part(place, event, event.channels, self.validate(event))
            for place, event in enumerate(events)
        ]
        if len(parts) == 1:
            only = parts[0]
            chunks = _chunks(only.channels, self.limits.channels_per_trigger)
            return [[only._replace(channels=chunk)] for chunk in chunks]
        single = (part._replace(channels=(name,)) for part in parts for name in part.channels)
        return [list(chunk) for chunk in _chunks(single, self.limits.events_per_batch)]

    def validate(self, event: Event) -> str:
        if isinstance(event.data, Mapping) and RESERVED in event.data:
            raise InvalidEvent(f"the member {RESERVED!r} of an event's data is realtime-kit's own")
        if event.exclude is not None and not self.is_socket_id(event.exclude):
            raise InvalidEvent(
                f"exclude={event.exclude!r} is not a socket id: two numbers joined by a dot"
            )
        text = check(event, self.limits, payload=self._text(event))
        if not kind_of(event.channels[0]).is_encrypted:
            return text
        # The limit is on what travels, and ciphertext is a third longer.
        return check(event, self.limits, payload=self._encrypt(event.channels[0], text))

    def _send(self, parts: Sequence[_Part], wanted: str, *, batch: bool) -> list[Receipt]:
        if batch:
            answer = self._call(
                "POST", "/batch_events", {"batch": [self._entry(part, wanted) for part in parts]}
            )
            infos = self._list(answer.get("batch"))
        else:
            answer = self._call("POST", "/events", self._body(parts[0], wanted))
            by_name = self._object(answer.get("channels"))
            infos = [by_name.get(name) for name in parts[0].channels]
        named = [(part.event, name) for part in parts for name in part.channels]
        counts = [_counts(self._object(found)) for found in infos]
        counts += [{}] * (len(named) - len(counts))  # nobody asked, or the server has no `info`
        return [
            Receipt(name, event.id, event.epoch, event.offset, found)
            for (event, name), found in zip(named, counts, strict=False)
        ]

    def _body(self, part: _Part, wanted: str) -> dict[str, Any]:
        body = {"name": part.event.name, "channels": part.channels, "data": part.text}
        return {**body, **self._options(part.event, wanted)}

    def _entry(self, part: _Part, wanted: str) -> dict[str, Any]:
        entry = {"channel": part.channels[0], "name": part.event.name, "data": part.text}
        return {**entry, **self._options(part.event, wanted)}

    def _options(self, event: Event, wanted: str) -> dict[str, Any]:
        options = dict(self._fields(event))
        if event.exclude is not None:
            options["socket_id"] = event.exclude
        if wanted:
            options["info"] = wanted
        return options

    # --- ask --------------------------------------------------------------------------------

    def channels(self, *, prefix: str = "", info: Iterable[str] = ()) -> list[ChannelInfo]:
        params = {"info": ",".join(self._wanted(info)), "filter_by_prefix": prefix}
        answer = self._call("GET", "/channels", {k: v for k, v in params.items() if v})
        found = self._object(answer.get("channels"))
        return [self._describe(name, True, found[name]) for name in sorted(found)]

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        wanted = ",".join(self._wanted(info))
        answer = self._call("GET", self._path(name), {"info": wanted} if wanted else {})
        return self._describe(name, bool(answer.get("occupied")), answer)

    def members(self, channel: str) -> list[str]:
        users = self._list(self._call("GET", f"{self._path(channel)}/users", {}).get("users"))
        return list(dict.fromkeys(str(self._object(user).get("id")) for user in users))

    def _path(self, channel: str) -> str:
        name = channel_names.validate(channel, limit=self.limits.channel_name)
        return f"/channels/{_quoted(name)}"

    def _describe(self, name: str, occupied: bool, attributes: Any) -> ChannelInfo:
        return ChannelInfo(name, occupied, **_counts(self._object(attributes)))

    def _object(self, value: Any) -> Mapping[str, Any]:
        """A JSON object of an answer; empty for none, and for PHP's empty one, which is `[]`."""
        if not value:
            return {}
        if isinstance(value, dict):
            return value
        raise self._unreadable(200)

    def _list(self, value: Any) -> list[Any]:
        if not value:
            return []
        if isinstance(value, list):
            return value
        raise self._unreadable(200)

    # --- users ------------------------------------------------------------------------------

    def disconnect_user(self, user_id: str) -> None:
        self._terminate(user_id, {})

    def _terminate(self, user_id: str, body: dict[str, Any]) -> None:
        if not user_id:
            raise InvalidEvent("a user id cannot be empty")
        self._call("POST", f"/users/{_quoted(user_id)}/terminate_connections", body)

    # --- answers ----------------------------------------------------------------------------

    def _read(self, answer: Answer, *, hint: str) -> dict[str, Any]:
        """The object that an answer holds, or the error that it means."""
        error = refusal(answer, self.name, hint=hint)
        if error is not None:
            raise error
        try:
            found = json.loads(answer.body)
        except ValueError as cause:
            raise self._unreadable(answer.status) from cause
        if not isinstance(found, dict):
            raise self._unreadable(answer.status)
        return found

    def _unreadable(self, status: int) -> ProviderUnavailable:
        return ProviderUnavailable(
            "an answer that the API does not give: is something else listening there?",
            provider=self.name,
            status=status,
            maybe_sent=True,
        )


def _counts(attributes: Mapping[str, Any]) -> dict[str, int]:
    return {name: attributes[name] for name in INFO if isinstance(attributes.get(name), int)}


def _chunks(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    source = iter(items)
    while chunk := tuple(islice(source, size)):
        yield chunk


def _quoted(name: str) -> str:
    return quote(name, safe="=@,;")
