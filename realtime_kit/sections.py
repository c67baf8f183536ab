"""The groups of settings: one for each provider, and what else there is to set."""

# No `from __future__ import annotations`, and no default factories for sections: pydantic would
# compile every annotation and build every section's schema twice, at each Lambda's cold start.
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
)

from realtime_kit.environment import env_name
from realtime_kit.errors import ConfigurationError

DEVELOPMENT_APP_ID = "1"
DEVELOPMENT_KEY = "app-key"
DEVELOPMENT_SECRET = "app-secret"  # noqa: S105 - published on purpose, and refused outside development
DEVELOPMENT_ABLY_KEY = "local0.dev:secret"

_ABLY_KEY = re.compile(r"[\w-]+\.[\w-]+:[\w+/=-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, which is public, and the secret that signs in its name."""

    key: str
    secret: SecretStr

    @property
    def is_published(self) -> bool:
        """Whether this is the development pair that everybody knows."""
        pair = f"{self.key}:{self.secret.get_secret_value()}"
        return pair in (f"{DEVELOPMENT_KEY}:{DEVELOPMENT_SECRET}", DEVELOPMENT_ABLY_KEY)


def parse_key(value: object) -> SigningKey:
    """`KEY:SECRET` as a pair. Raises `ValueError`, without the value in it."""
    if isinstance(value, SigningKey):
        return value
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    key, _, secret = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not key.strip() or not secret.strip():
        raise ValueError("a signing key is KEY:SECRET")
    return SigningKey(key.strip(), SecretStr(secret.strip()))


def _items(value: object) -> list[object]:
    """A list as it is; text as a JSON list, or separated by commas."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return list(json.loads(value))
            except ValueError:
                raise ValueError("it starts like a JSON list and is none") from None
        return [item.strip() for item in value.split(",") if item.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _parse_keys(value: object) -> tuple[SigningKey, ...]:
    return tuple(map(parse_key, _items(value)))


def _parse_secrets(value: object) -> tuple[SecretStr, ...]:
    items = _items(value)
    if not all(isinstance(item, str | SecretStr) and len(item) for item in items):
        raise ValueError("a list of texts, none of them empty")
    return tuple(item if isinstance(item, SecretStr) else SecretStr(str(item)) for item in items)


def _parse_texts(value: object) -> tuple[str, ...]:
    items = _items(value)
    if not all(isinstance(item, str) and item for item in items):
        raise ValueError("a list of texts, none of them empty")
    return tuple(map(str, items))


def _check_ably_key(value: SecretStr) -> SecretStr:
    if not _ABLY_KEY.fullmatch(value.get_secret_value()):
        raise ValueError("an Ably key is APP.KEYID:SECRET")
    return value


def _parse_ably_keys(value: object) -> tuple[SigningKey, ...]:
    return tuple(parse_key(_check_ably_key(secret)) for secret in _parse_secrets(value))


def _check_master_key(value: SecretStr) -> SecretStr:
    try:
        length = len(b64decode(value.get_secret_value(), validate=True))
    except ValueError:
        raise ValueError("it is not base64") from None
    if length != 32:
        raise ValueError(f"it is {length} bytes in base64; 32 are needed")
    return value


def _parse_prefix(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a URL prefix starts with /")
    return value.rstrip("/")


if TYPE_CHECKING:
    Keys = tuple[SigningKey, ...]
    AblyKeys = tuple[SigningKey, ...]
    Secrets = tuple[SecretStr, ...]
    Texts = tuple[str, ...]
else:  # Any: pydantic would build, and never use, a schema of what the function returns already.
    Keys = Annotated[Any, PlainValidator(_parse_keys)]
    AblyKeys = Annotated[Any, PlainValidator(_parse_ably_keys)]
    Secrets = Annotated[Any, PlainValidator(_parse_secrets)]
    Texts = Annotated[Any, PlainValidator(_parse_texts)]
AblyKey = Annotated[SecretStr, AfterValidator(_check_ably_key)]
MasterKey = Annotated[SecretStr, AfterValidator(_check_master_key)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=300)]


class Section(BaseModel):
    """A group of settings. `require` is called by what cannot work without them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True
    )

    name: ClassVar[str]
    needed: ClassVar[tuple[str, ...]] = ()
    vendor_names: ClassVar[Mapping[str, str]] = {}

    def require(self, *settings: str) -> Self:
        """Return this section, or raise `ConfigurationError` for the settings that are unset.

        Without arguments: those that nothing of the provider works without.
        """
        missing = [
            f"{self.name}.{setting} is not set: set {env_name(self.name, setting)}"
            + (f" or {vendor}" if (vendor := self.vendor_names.get(setting)) else "")
            for setting in settings or self.needed
            if getattr(self, setting) in (None, "", ())
        ]
        if missing:
            raise ConfigurationError("; ".join(missing))
        return self


def _section(kind: type[Section], value: Any) -> Section:
    """A section as it is, or made of what is given. Of nothing: the defaults, which need no check,
    and for which no schema is built: most sections are not used in a process."""
    if isinstance(value, kind):
        return value
    return kind.model_validate(value) if value else kind.model_construct()


if TYPE_CHECKING:
    S = TypeVar("S", bound=Section)
    Lazy = Annotated[S, "its schema is built when it is given"]
else:

    class Lazy:
        def __class_getitem__(cls, kind: type[Section]) -> Any:
            return Annotated[Any, PlainValidator(partial(_section, kind))]


class ChannelsSettings(Section):
    """An app of a server of Pusher's protocol.

    `host`, `port` and `tls` are for the application; `public_*` for browsers, where they differ.
    `encryption_master_key` is 32 bytes in base64. `timeout` is seconds.
    """

    needed = ("app_id", "keys")

    app_id: str = ""
    keys: Keys = ()
    host: str | None = None
    port: Port | None = None
    tls: bool = True
    public_host: str | None = None
    public_port: Port | None = None
    public_tls: bool | None = None
    encryption_master_key: MasterKey | None = None
    timeout: Seconds = 3.0

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """Where it is reached, as far as that is set."""
        return (self.host, self.public_host)


class LocalSettings(ChannelsSettings):
    """The embedded server: where the provider finds it, and the app that it serves."""

    name = "local"

    app_id: str = DEVELOPMENT_APP_ID
    keys: Keys = (SigningKey(DEVELOPMENT_KEY, SecretStr(DEVELOPMENT_SECRET)),)
    host: str = "127.0.0.1"
    port: int = Field(default=6001, ge=0, le=65_535)
    tls: bool = False


class PusherSettings(ChannelsSettings):
    """Pusher Channels, or another server of its protocol at `host`.

    Without `host` the `cluster`'s own is meant.
    """

    name = "pusher"
    vendor_names: ClassVar[Mapping[str, str]] = {
        "app_id": "PUSHER_APP_ID (or PUSHER_URL)",
        "keys": "PUSHER_KEY and PUSHER_SECRET (or PUSHER_URL)",
        "cluster": "PUSHER_CLUSTER",
    }

    cluster: str | None = None

    def require(self, *settings: str) -> Self:
        super().require(*settings)
        if not settings and not self.host:
            super().require("cluster")
        return self


class AblySettings(Section):
    """Ably, or the emulator of it at `endpoint`, a host.

    `key`, `APP.KEYID:SECRET`, signs; what was signed by one of `old_keys` is still believed.
    `token_ttl` is seconds that a client's token lives, `script` the URL of ably-js for the browser
    client. `public_*` is for browsers, where it differs. `encryption_master_key` is 32 bytes in
    base64. `timeout` is seconds, `max_message_size` the account's limit in bytes.
    """

    name = "ably"
    needed = ("key",)
    vendor_names: ClassVar[Mapping[str, str]] = {"key": "ABLY_API_KEY"}

    key: AblyKey | None = None
    old_keys: AblyKeys = ()
    token_ttl: int = Field(default=3_600, ge=1, le=86_400)
    endpoint: str | None = None
    port: Port | None = None
    tls: bool = True
    public_endpoint: str | None = None
    public_port: Port | None = None
    public_tls: bool | None = None
    script: str = "https://cdn.ably.com/lib/ably.min-2.js"
    encryption_master_key: MasterKey | None = None
    max_message_size: int = Field(default=65_536, ge=1_024, le=262_144)
    timeout: Seconds = 3.0

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """All keys, that which signs first. Raises `ConfigurationError` without one."""
        key = self.require().key
        return (parse_key(key), *self.old_keys)

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """Where it is reached, as far as that is set."""
        return (self.endpoint, self.public_endpoint)


class AwsSettings(Section):
    """The deployment in one's own AWS account.

    `url` is its HTTP API, `https://HOST`; `socket` where browsers connect, `wss://HOST/STAGE`;
    `endpoint` where `@connections` is, if it is not the same with `https`. `table`, `queue` (a
    URL), `function` (the one that is invoked to greet a client) and the credentials are what its
    functions use; `services` replaces the address of DynamoDB, SQS and Lambda. `webhook` is the URL
    that is told what happens, instead of the `@realtime.on` handlers of the functions.

    Bounds of what clients may take, 0 for none: `origins` of pages that may connect (none: all),
    connections `per_address` and `per_user`, `subscriptions` of a connection, and
    `authorization`, seconds to sign in or to subscribe to a channel that needs a proof.

    The functions together send no more than `share` of the account's `quota` of requests a second
    and of its `burst`. Of that this function has `part`, divided equally among the instances of it
    that there may be: `concurrency`.
    """

    name = "aws"
    needed = ("app_id", "keys")
    vendor_names: ClassVar[Mapping[str, str]] = {
        "region": "AWS_REGION",
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "services": "AWS_ENDPOINT_URL",
        "function": "AWS_LAMBDA_FUNCTION_NAME",
    }

    app_id: str = DEVELOPMENT_APP_ID
    keys: Keys = ()
    url: str | None = None
    socket: str | None = None
    endpoint: str | None = None
    encryption_master_key: MasterKey | None = None
    timeout: Seconds = 3.0

    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    table: str = ""
    queue: str | None = None
    function: str | None = None
    services: str | None = None
    webhook: str | None = None
    metrics: bool = True
    delivery: Literal["auto", "inline", "queue"] = "auto"
    transport: Literal["sockets", "boto3"] = "sockets"
    client_events: bool = True
    subscription_count: bool = False

    origins: Texts = ()
    per_address: int = Field(default=200, ge=0)
    per_user: int = Field(default=50, ge=0)
    subscriptions: int = Field(default=200, ge=0)
    authorization: float = Field(default=30.0, ge=0)

    quota: int = Field(default=10_000, ge=1)
    burst: int = Field(default=5_000, ge=1)
    share: float = Field(default=0.5, gt=0, le=1)
    part: float = Field(default=1.0, gt=0, le=1)
    concurrency: int = Field(default=10, ge=1)

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """Where it is reached, as far as that is set."""
        return tuple(urlsplit(url).hostname for url in (self.url, self.socket) if url)


class WebSettings(Section):
    """The endpoints. `trigger_tokens` are the bearers that may `POST /trigger`; each of them is
    valid, so that one can be replaced while the other is in use. `streams` is how many event
    streams and waiting polls a process holds open; what comes on top is answered at once.
    `secret` seals the tickets of `POST /events`, where the provider has no secret for it."""

    name = "web"

    prefix: Annotated[str, AfterValidator(_parse_prefix)] = "/realtime"
    trigger_tokens: Secrets = ()
    secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    streams: int = Field(default=100, ge=0)


class ServerSettings(Section):
    """What `realtime-kit serve` and `dev` serve, where that differs from `local`.

    `apps` is a list of `ID:KEY:SECRET`. `webhook` is the URL that is told what happens.
    """

    name = "server"

    apps: Secrets = ()
    webhook: str | None = None


class HistorySettings(Section):
    """The event log. `default` is how much is retained of channels whose rules do not say: none, or
    LAST/AGE, such as `100/120s`. `url` is where: `memory:`, or a database as SQLAlchemy names it.
    """

    name = "history"

    default: str | None = None
    url: SecretStr = SecretStr("memory:")


class OutboxSettings(Section):
    """The transactional outbox. `url` is the application's database, as SQLAlchemy names it; the
    event log's, if it is not set."""

    name = "outbox"

    url: SecretStr | None = None
