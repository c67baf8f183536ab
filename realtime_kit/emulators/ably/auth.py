"""Who is it? Keys, Ably tokens and JWTs, and the identity that comes with them.

Source: Ably's features spec RSA (auth), RSA7 (clientId), RSA15; "Token authentication: JWT"; the
error pages for codes. A credential names its app: what is before its first dot.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.json_web_tokens import JsonWebToken
from realtime_kit.emulators.ably.tokens import capability_of

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.app import App, Key
    from realtime_kit.emulators.ably.world import World

__all__ = [
    "Access",
    "app_of",
    "authenticate_key",
    "authenticate_realtime",
    "authenticate_rest",
    "authenticate_token",
    "key_named",
    "optional_rest",
]

_APP_ID = re.compile(r"[A-Za-z0-9_-]{6}\Z")


def authenticate_realtime(world: World, params: Mapping[str, str], now_ms: int) -> Access:
    """Of the query of a WebSocket's URL: `key`, or `access_token` (also spelt `accessToken`), and
    `clientId`. Raises `AblyError`."""
    access = _of_params(world, params, now_ms)
    if access is None:
        raise _nothing_given()
    return _identified(access, params.get("clientId"))


def authenticate_rest(
    world: World, headers: Mapping[str, str], params: Mapping[str, str], now_ms: int
) -> Access:
    """Of a request's `Authorization` and `X-Ably-ClientId` (names of headers in lower case), or of
    its query. Raises `AblyError`."""
    access = optional_rest(world, headers, params, now_ms)
    if access is None:
        raise _nothing_given()
    return access


def optional_rest(
    world: World, headers: Mapping[str, str], params: Mapping[str, str], now_ms: int
) -> Access | None:
    """As `authenticate_rest`; None for a request without credentials."""
    header = headers.get("authorization")
    if header is None:
        access = _of_params(world, params, now_ms)
    else:
        access = _of_header(world, header, now_ms)
    if access is None:
        return None
    given = headers.get("x-ably-clientid")
    return _identified(access, params.get("clientId") if given is None else _client_id(given))


def authenticate_key(world: World, text: str, now_ms: int) -> Access:
    """Of a whole key, `APPID.KEYID:SECRET`. Raises `AblyError`."""
    name, colon, secret = text.partition(":")
    if not colon:
        raise AblyError(40005, 400, f"Invalid key in request: {name.partition('.')[0][:20]}")
    key = key_named(world, name)
    if not hmac.compare_digest(key.secret.encode(), secret.encode("utf-8", "surrogatepass")):
        raise AblyError(40101, 401, "Invalid credentials")
    return Access(
        app_id=key.app_id,
        key_name=key.name,
        capability=capability_of(key.capability),
        client_id="*",
        issued_ms=now_ms,
        is_basic=True,
    )


def authenticate_token(world: World, token: str, now_ms: int) -> Access:
    """Of an Ably token or a JWT. Raises `AblyError`: 40142 expired, 40141 revoked, 40143 unknown,
    40144 no valid JWT."""
    if token.count(".") in (2, 4):
        access = _of_jwt(world, JsonWebToken.parse(token), now_ms)
    else:
        found = app_of(world, token).tokens.find(token)
        if found is None:
            raise AblyError(40143, 401, "Token unrecognized")
        access = found
    world.apps[access.app_id].tokens.check(access, now_ms)
    return access


def _of_jwt(world: World, jwt: JsonWebToken, now_ms: int) -> Access:
    if jwt.inner is not None:
        return jwt.around(authenticate_token(world, jwt.inner, now_ms))
    app_id = jwt.key_name.partition(".")[0]
    if app_id not in world.apps:
        raise _no_app(app_id)
    key = key_named(world, jwt.key_name)
    jwt.verify(key.secret)
    return jwt.access(key)


def key_named(world: World, name: str) -> Key:
    """Raises `AblyError` 40101 for a name that names no app, 40400 for an unknown app or key."""
    key = app_of(world, name).keys.get(name)
    if key is None:
        raise AblyError(40400, 404, f"No key found with name {name[:100]}")
    return key


def app_of(world: World, credential: str) -> App:
    """The app of a key's name or a token. Raises `AblyError` as `key_named` does."""
    app_id, dot, _ = credential.partition(".")
    app = world.apps.get(app_id) if dot else None
    if app is None:
        if not dot or not _APP_ID.match(app_id):
            raise AblyError(40101, 401, "Invalid credentials: no application id found in request")
        raise _no_app(app_id)
    return app


def _of_params(world: World, params: Mapping[str, str], now_ms: int) -> Access | None:
    if "key" in params:
        return authenticate_key(world, params["key"], now_ms)
    token = params.get("access_token", params.get("accessToken"))
    return None if token is None else authenticate_token(world, token, now_ms)


def _of_header(world: World, header: str, now_ms: int) -> Access:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        return authenticate_key(world, _decoded(value) or "", now_ms)
    if scheme.lower() == "bearer":
        # Base64 has no dots and every token has, so that either form tells itself.
        token = value if "." in value else _decoded(value) or value
        return authenticate_token(world, token, now_ms)
    raise AblyError(40101, 401, "Invalid credentials: use Basic or Bearer authentication")


def _client_id(header: str) -> str:
    decoded = _decoded(header)
    if not decoded:
        raise AblyError(40012, 400, "Invalid clientId: X-Ably-ClientId must be base64 of text")
    return decoded


def _identified(access: Access, given: str | None) -> Access:
    """As whom the client says it is (RSA7, RSA15): a key and a token for `*` allow any."""
    if given is None or given == access.client_id:
        return access
    if not given:
        raise AblyError(40012, 400, "Invalid clientId: it is empty")
    if access.client_id != "*":
        raise AblyError(40102, 401, "Invalid clientId for credentials")
    return replace(access, client_id=given)


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def _no_app(app_id: str) -> AblyError:
    return AblyError(40400, 404, f"No application found with id {app_id[:100]}")


def _nothing_given() -> AblyError:
    return AblyError(40101, 401, "No authentication information provided")
