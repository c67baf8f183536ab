"""What the providers share whose browsers speak the Pusher Channels protocol: the proofs that a
client sends on, webhooks, encryption. No network, no vendor.

Sources: Pusher Channels, "Authentication signatures", "User authentication", "Webhooks",
"End-to-end encrypted channels".
"""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from realtime_kit.authorization import Grant, SignIn
from realtime_kit.channels import kind_of
from realtime_kit.errors import (
    AuthError,
    BadSignature,
    ConfigurationError,
    Expired,
    InvalidEvent,
    missing_extra,
)
from realtime_kit.events import Limits
from realtime_kit.protocol import signing
from realtime_kit.protocol.signing import Key
from realtime_kit.providers.base import SOCKET_ID, AuthAnswer, AuthRequest, Provider
from realtime_kit.webhooks import WebhookEvent, WebhookKind

if TYPE_CHECKING:
    from pydantic import SecretStr

    from realtime_kit.settings import SigningKey

WEBHOOK_WINDOW = 300.0  # seconds, as in the vendor's own SDKs
# `json.dumps` with its defaults, like the official SDK: the same input gives the same bytes. Made
# once, because `dumps` makes an encoder for each call that is not all defaults.
_encode = json.JSONEncoder(allow_nan=False).encode
_KINDS = {kind.value: kind for kind in WebhookKind}


class ChannelsProtocolProvider(Provider):
    """A provider whose browsers speak the Pusher Channels protocol.

    `keys`: newest first; it signs, all verify. `encryption_master_key` is 32 bytes. `socket` is
    what `socket_config` gives. `clock` gives the time as `time.time` does.
    """

    def __init__(
        self,
        *,
        keys: Sequence[Key],
        limits: Limits | None = None,
        encryption_master_key: bytes | None = None,
        socket: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not keys:
            raise ConfigurationError(f"provider {self.name!r} has no signing key")
        self.keys: Sequence[Key] = tuple(keys)
        self.limits = limits or Limits()
        self._master_key = encryption_master_key
        self._socket = socket
        self._clock = clock

    # --- proofs -----------------------------------------------------------------------------

    def authorize(self, request: AuthRequest) -> AuthAnswer:
        socket_id = check_socket_id(request.socket_id)
        return AuthAnswer(
            {grant.channel: self._prove(socket_id, grant) for grant in request.grants}
        )

    def _prove(self, socket_id: str, grant: Grant) -> dict[str, str]:
        kind = kind_of(grant.channel)
        member = grant.member
        if not kind.is_presence or member is None:
            proof = {"auth": signing.channel_auth(self.keys[0], socket_id, grant.channel)}
            if kind.is_encrypted:
                secret = shared_secret(grant.channel, self._require_master_key())
                # The official Python SDK answers bytes here, which no JSON encoder takes.
                proof["shared_secret"] = b64encode(secret).decode()
            return proof
        user = {"user_id": member.id}
        channel_data = _json(_with_info(user, member.info), f"the member info for {grant.channel}")
        auth = signing.channel_auth(self.keys[0], socket_id, grant.channel, channel_data)
        return {"auth": auth, "channel_data": channel_data}

    def sign_in(self, socket_id: str, identity: SignIn) -> Mapping[str, str]:
        checked = check_socket_id(socket_id)
        user = _with_info({"id": identity.id}, identity.info)
        if identity.watchlist:
            user["watchlist"] = identity.watchlist
        user_data = _json(user, f"the sign-in info of user {identity.id!r}")
        return {"auth": signing.user_auth(self.keys[0], checked, user_data), "user_data": user_data}

    def client_config(self) -> Mapping[str, Any]:
        if self._socket is None:
            return super().client_config()
        # The key is public; nothing else of the app is in here.
        return {"transports": ["socket"], "socket": {"key": self.keys[0].key, **self._socket}}

    # --- webhooks ---------------------------------------------------------------------------

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        found = {name.lower(): value for name, value in headers.items()}
        key, given = found.get("x-pusher-key"), found.get("x-pusher-signature")
        if key is None or given is None:
            raise BadSignature("a webhook needs the headers X-Pusher-Key and X-Pusher-Signature")
        secret = next((pair.secret for pair in self.keys if pair.key == key), None)
        if secret is None:
            raise BadSignature(f"the webhook is signed by key {key!r}, which is none of ours")
        expected = signing.webhook_signature(secret, body)
        if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass")):
            raise BadSignature(f"the webhook's signature by key {key!r} does not verify")
        time_ms, events = _read_webhook(body)
        # Not `>`: a time that is no number is outside the window.
        if not abs(self._clock() - time_ms / 1000) <= WEBHOOK_WINDOW:
            raise Expired(f"the webhook's time is more than {WEBHOOK_WINDOW:g} s from our clock's")
        return [self.webhook_event(event, time_ms) for event in events]

    def webhook_event(self, event: Mapping[str, Any], time_ms: float) -> WebhookEvent:
        """An event of a webhook of `time_ms`, as handlers see it."""
        kind = _KINDS.get(str(event.get("name")), WebhookKind.UNKNOWN)
        is_client_event = kind is WebhookKind.CLIENT_EVENT
        count = event.get("subscription_count")
        return WebhookEvent(
            kind=kind,
            provider=self.name,
            time=datetime.fromtimestamp(time_ms / 1000, UTC),
            channel=_text(event.get("channel")),
            user_id=_text(event.get("user_id")),
            event=_text(event.get("event")) if is_client_event else None,
            data=_decoded(event.get("data")) if is_client_event else None,
            socket_id=_text(event.get("socket_id")),
            count=count if isinstance(count, int) else None,
            raw=event,
        )

    # --- encryption -------------------------------------------------------------------------

    def _encrypt(self, channel: str, text: str) -> str:
        return encrypt(channel, text, self._require_master_key())

    def _require_master_key(self) -> bytes:
        if self._master_key is None:
            raise ConfigurationError(
                f"encrypted channels need {self.name}.encryption_master_key: set "
                f"REALTIME_{self.name.upper()}__ENCRYPTION_MASTER_KEY to 32 random bytes in base64"
            )
        return self._master_key


def check_socket_id(socket_id: str | None) -> str:
    """Return it, or raise `AuthError`. What is signed is joined by colons: a socket id of another
    form could make the signature one for something else."""
    if socket_id is None or not SOCKET_ID.fullmatch(socket_id):
        raise AuthError(f"{socket_id!r} is not a socket id: two numbers joined by a dot")
    return socket_id


def socket_config(*, cluster: str | None, host: str | None, port: int, tls: bool) -> dict[str, Any]:
    """The member `socket` of `client_config()` but for the key: where a browser opens its socket.

    `host` None: where the page came from. `activityTimeout` is seconds.
    """
    return {
        "cluster": cluster,
        "host": host,
        "port": port,
        "path": "",
        "tls": tls,
        "activityTimeout": 120,
    }


def signing_keys(keys: Iterable[SigningKey]) -> tuple[Key, ...]:
    """The settings' pairs in the form that signs."""
    return tuple(Key(pair.key, pair.secret.get_secret_value()) for pair in keys)


def master_key(setting: SecretStr | None) -> bytes | None:
    """The setting, base64, as bytes."""
    return None if setting is None else b64decode(setting.get_secret_value())


def shared_secret(channel: str, master_key: bytes) -> bytes:
    """The key of one encrypted channel: SHA-256 of its name and the master key."""
    return sha256(channel.encode() + master_key).digest()


def encrypt(channel: str, text: str, master_key: bytes, nonce: bytes | None = None) -> str:
    """`text` for subscribers of `channel` alone: JSON `{"nonce", "ciphertext"}`, both base64.

    NaCl's secretbox. `nonce` is 24 bytes, random unless given.
    """
    try:
        from nacl.secret import SecretBox
    except ModuleNotFoundError as error:
        raise missing_extra("encryption", "an encrypted channel") from error
    box = SecretBox(shared_secret(channel, master_key))
    sealed = box.encrypt(text.encode(), nonce)
    return json.dumps(
        {
            "nonce": b64encode(sealed.nonce).decode(),
            "ciphertext": b64encode(sealed.ciphertext).decode(),
        }
    )


def _with_info(user: dict[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    return user if info is None else {**user, "user_info": info}


def _json(value: Mapping[str, Any], what: str) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} is not JSON: {error}") from error


def _read_webhook(body: bytes) -> tuple[float, list[Mapping[str, Any]]]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise InvalidEvent("the webhook is signed, but its body is not JSON") from error
    time_ms = document.get("time_ms") if isinstance(document, dict) else None
    events = document.get("events") if isinstance(document, dict) else None
    if not (
        isinstance(time_ms, int | float)
        and isinstance(events, list)
        and all(isinstance(event, dict) for event in events)
    ):
        raise InvalidEvent("the webhook is signed, but is not {time_ms, events: [{…}]}")
    return time_ms, events


def _decoded(data: Any) -> Any:
    """A client event's data: text in production, mostly of JSON; some servers send it bare."""
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
