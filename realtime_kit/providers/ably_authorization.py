"""Who may what, in Ably's terms: tokens whose capability is what the rules granted.

A client holds one token for its whole connection, so a new one replaces all that the old one
allowed. The old one, handed back, is a list of names for the rules to decide on again.

Sources: Ably, "Capabilities", "JSON Web Tokens", "Identified clients", "Pusher adapter".
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from realtime_kit.authorization import Grant, SignIn
from realtime_kit.channels import kind_of, user_channel
from realtime_kit.errors import AuthError, ConfigurationError, PayloadTooLarge, Unsupported
from realtime_kit.protocol.signing import Key
from realtime_kit.providers import ably_tokens
from realtime_kit.providers.ably_names import ably_name, logical_name
from realtime_kit.providers.base import AuthAnswer, AuthRequest, Provider, Token, TokenForm
from realtime_kit.settings import AblySettings

_PUBLIC: ably_tokens.Capability = {"public:*": ("subscribe",)}
_NO_TEXT = re.compile("[\x00-\x1f\x7f]")
_GUEST = "a presence channel is for signed-in users"
_ALIAS = "on a presence channel a user is known by the user's own id"
_UNMARKED = "what comes under a TokenRequest has no mark to tell it from the application's events"


class AblyAuthorization(Provider):
    """The part of provider `ably` that answers browsers. `clock` gives the time as `time.time`."""

    tokens: ClassVar[bool] = True

    def __init__(self, settings: AblySettings, *, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.keys: Sequence[Key] = tuple(
            Key(pair.key, pair.secret.get_secret_value()) for pair in settings.keys
        )
        self._clock = clock

    # --- tokens -----------------------------------------------------------------------------

    def names_in(self, token: str, user_id: str | None) -> Sequence[str]:
        held = ably_tokens.read_jwt(token, self.keys)
        if held is None or held.client_id != user_id:
            return ()  # another user's: their channels are nothing to this one
        guarded = ("private:", "presence:")
        return [logical_name(name) for name in held.channels if name.startswith(guarded)]

    def authorize(self, request: AuthRequest) -> AuthAnswer:
        """One token for all grants, which any connection may use: the socket id has no part in it.

        A member's info is in the answer's `channel_data`, for the client to enter with, and in the
        token, out of which Ably vouches for it. Raises `PayloadTooLarge` for a JWT that would not
        fit where it has to travel.
        """
        client_id = _client_id(request.user_id)
        capability: dict[str, Sequence[str]] = {}
        claims: dict[str, str] = {}
        proofs: dict[str, Mapping[str, str]] = {}
        refused: dict[str, str] = {}
        for grant in request.grants:
            name, kind = grant.channel, kind_of(grant.channel)
            if reason := self._refusal(grant, client_id, request.form):
                refused[name] = reason
                continue
            data = _user_data(client_id, grant)
            proofs[name] = {"channel_data": data} if kind.is_presence else {}
            if kind.requires_auth:
                capability[ably_name(name)] = _operations(grant)
                if kind.is_presence or grant.publish:
                    claims[ably_name(name)] = data
        token = self._token(client_id, capability, claims, request.form)
        return AuthAnswer(proofs, token, refused)

    def _refusal(self, grant: Grant, client_id: str | None, form: TokenForm) -> str | None:
        """Why Ably cannot express a grant; None if it can."""
        if grant.publish and form == "token_request":
            return _UNMARKED
        if grant.member is None or grant.member.id == client_id:
            return None
        return _GUEST if client_id is None else _ALIAS

    def _token(
        self,
        client_id: str | None,
        capability: ably_tokens.Capability,
        claims: Mapping[str, str],
        form: TokenForm,
    ) -> Token:
        """With what everybody may: public channels, and each user the user's own."""
        own = {} if client_id is None else {ably_name(user_channel(client_id)): ("subscribe",)}
        capability = {**_PUBLIC, **own, **capability}
        key, ttl = self.keys[0], self.settings.token_ttl
        if form == "token_request":
            return ably_tokens.make_request(
                key,
                capability=capability,
                client_id=client_id,
                timestamp=int(self._clock() * 1_000),
                ttl=ttl * 1_000,
                nonce=os.urandom(12).hex(),
            )
        token = self._jwt(client_id, capability, claims)
        if len(token) > ably_tokens.MAX_JWT:
            token = self._jwt(client_id, capability, _shared(claims))
        if len(token) > ably_tokens.MAX_JWT:
            raise PayloadTooLarge(
                f"a token for {len(capability)} channels has {len(token)} characters, over "
                f"{ably_tokens.MAX_JWT}: subscribe to fewer, or ask for a TokenRequest",
                size=len(token),
                limit=ably_tokens.MAX_JWT,
            )
        return token

    def _jwt(
        self,
        client_id: str | None,
        capability: ably_tokens.Capability,
        claims: Mapping[str, str],
    ) -> str:
        return ably_tokens.make_jwt(
            self.keys[0],
            capability=capability,
            client_id=client_id,
            claims=claims,
            issued=round(self._clock(), 3),
            ttl=self.settings.token_ttl,
        )

    def sign_in(self, socket_id: str, identity: SignIn) -> Mapping[str, str]:
        """Who the client is, for its application; to Ably its token says so. `auth` is one that
        says no more than that, `channel` the name on Ably of the user's own channel."""
        if identity.watchlist:
            raise Unsupported(f"provider {self.name!r} has no watchlists: sign_in returned one")
        client_id = _client_id(identity.id)
        user = _with_info({"id": identity.id}, identity.info)
        return {
            "auth": str(self._token(client_id, {}, {}, "jwt")),
            "user_data": _json(user, f"the sign-in info of user {identity.id!r}"),
            "channel": ably_name(user_channel(identity.id)),
        }

    def client_config(self) -> Mapping[str, Any]:
        settings = self.settings
        tls = settings.tls if settings.public_tls is None else settings.public_tls
        return {
            "transports": ["ably"],
            "ably": {
                "script": settings.script,
                "endpoint": settings.public_endpoint or settings.endpoint,
                "port": settings.public_port or settings.port,
                "tls": tls,
            },
        }


def _client_id(user_id: str | None) -> str | None:
    """The id as Ably takes it. Raises `AuthError` for one that it would take for something else:
    `*` stands for everybody, and a line break ends the id where a TokenRequest is signed."""
    if user_id is None:
        return None
    if user_id in ("", "*") or _NO_TEXT.search(user_id) or not _is_utf8(user_id):
        raise AuthError(f"{user_id!r} cannot be the id of a user on Ably")
    return user_id


def _shared(claims: Mapping[str, str]) -> Mapping[str, str]:
    """The same in fewer letters: what most channels have is that of all (`*`), but for the others,
    whose own go before it. A client sends nothing on a channel that has none."""
    texts = [*claims.values()]
    if not texts:
        return claims
    common = max(dict.fromkeys(texts), key=texts.count)
    return {"*": common, **{name: text for name, text in claims.items() if text != common}}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _operations(grant: Grant) -> tuple[str, ...]:
    """What a grant allows: `subscribe` includes to see who is present, `presence` is to enter."""
    presence = ("presence",) if kind_of(grant.channel).is_presence else ()
    return ("subscribe", *(("publish",) if grant.publish else ()), *presence)


def _user_data(client_id: str | None, grant: Grant) -> str:
    """Who a client is on a channel, in the form that Pusher's clients know as `channel_data`."""
    member = grant.member
    user = {} if client_id is None else {"user_id": client_id}
    info = None if member is None else member.info
    return _json(_with_info(user, info), f"the member info for {grant.channel}")


def _with_info(user: dict[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    return user if info is None else {**user, "user_info": info}


def _json(value: Mapping[str, Any], what: str) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # half of a character is JSON, but not what travels
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} is not JSON: {error}") from error
    return text
