"""Settings, from the environment, `.env`, a mapping or arguments. Only the edge reads them.

    REALTIME_PROVIDER=pusher
    REALTIME_PUSHER__APP_ID=42            a section, two underscores, the setting
    REALTIME_PUSHER__KEYS=new:s3cr3t,old:s3cr3t      newest first: it signs, all verify
    PUSHER_URL=https://KEY:SECRET@api-eu.pusher.com/apps/42      or the vendors' own names

Where a setting is given more than once: an argument, then `REALTIME_*`, then the vendors' names,
then a vendor's URL. The process environment goes before `.env`.
"""

# Without `from __future__ import annotations`; see sections.py.
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal, Self

from pydantic import Field, PlainValidator, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from realtime_kit.environment import (
    PREFIX,
    Source,
    env_name,
    environment,
    read_own,
    read_urls,
    read_vendors,
)
from realtime_kit.errors import ConfigurationError
from realtime_kit.sections import (
    DEVELOPMENT_ABLY_KEY,
    DEVELOPMENT_APP_ID,
    DEVELOPMENT_KEY,
    DEVELOPMENT_SECRET,
    AblySettings,
    AwsSettings,
    ChannelsSettings,
    HistorySettings,
    Lazy,
    LocalSettings,
    OutboxSettings,
    PusherSettings,
    Section,
    ServerSettings,
    SigningKey,
    WebSettings,
    parse_key,
)

__all__ = [
    "DEVELOPMENT_ABLY_KEY",
    "DEVELOPMENT_APP_ID",
    "DEVELOPMENT_KEY",
    "DEVELOPMENT_SECRET",
    "AblySettings",
    "AwsSettings",
    "ChannelsSettings",
    "HistorySettings",
    "LocalSettings",
    "OutboxSettings",
    "PusherSettings",
    "RealtimeSettings",
    "ServerSettings",
    "SigningKey",
    "WebSettings",
    "is_loopback",
    "names",
    "parse_key",
    "published_keys_refused",
]


class RealtimeSettings(BaseSettings):
    """All settings. `RealtimeSettings()` reads the process environment and `.env`; with
    `environ=` that mapping alone is read. Raises `ConfigurationError`, never with a value in it.

    `provider` None: not set; `provider_name` says what that means here. `port` is the embedded
    server's. `on_error` None: the surroundings decide (Flask logs, Lambda raises).
    `on_lambda`: this runs on AWS Lambda.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True
    )

    provider: str | None = None
    port: int = Field(default=6001, ge=0, le=65_535)
    on_error: Literal["raise", "log"] | None = None
    on_lambda: bool = False
    local: Lazy[LocalSettings]
    pusher: Lazy[PusherSettings]
    ably: Lazy[AblySettings]
    aws: Lazy[AwsSettings]
    web: Lazy[WebSettings]
    server: Lazy[ServerSettings]
    history: Lazy[HistorySettings]
    outbox: Lazy[OutboxSettings]

    def __init__(self, *, environ: Mapping[str, Any] | None = None, **values: Any) -> None:
        problem = None
        try:
            super().__init__(environ=environment() if environ is None else environ, **values)
        except ValidationError as error:
            problem = _explain(error)
        # Outside of the handler: the ValidationError holds the values, and would stay as context.
        if problem:
            raise ConfigurationError(problem)

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, Any], *, environ: Mapping[str, Any] | None = None
    ) -> Self:
        """The `REALTIME_*` members of `mapping` (such as Flask's `app.config`) over `environ`."""
        below = environment() if environ is None else environ
        own = {name: value for name, value in mapping.items() if name.startswith(PREFIX)}
        return cls(environ={**below, **own})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, our names, the vendors' names, the vendors' URLs."""
        environ = init_settings.init_kwargs.pop("environ")  # type: ignore[attr-defined]
        readers = (partial(read_own, known=names()), read_vendors, read_urls)
        return (init_settings, *(Source(settings_cls, environ, read) for read in readers))

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, values: dict[str, Any]) -> dict[str, Any]:
        filled: dict[str, Any] = {name: {} for name in _sections()} | values
        if "port" in values and isinstance(filled["local"], dict):
            filled["local"] = {"port": values["port"], **filled["local"]}
        return filled

    @property
    def provider_name(self) -> str:
        """The provider that is meant: `local` where none is set, and an error on Lambda."""
        if self.provider:
            return self.provider
        if self.on_lambda:
            raise ConfigurationError(
                "provider is not set: set REALTIME_PROVIDER (on Lambda nothing is assumed)"
            )
        return "local"

    def check_credentials(
        self,
        *,
        provider: str | None = None,
        address: str | None = None,
        development: bool | None = None,
    ) -> None:
        """Refuse the published development credentials where others could use them.

        The edges call this: a server with the `address` that it listens on, Flask with
        `development` (debug or testing). `provider` is the one in use, if not the settings' own.
        Raises `ConfigurationError`.
        """
        name = provider or self.provider_name
        sections: dict[str, ChannelsSettings | AwsSettings | AblySettings]
        sections = {"local": self.local, "pusher": self.pusher, "aws": self.aws}
        if self.ably.key is not None:
            sections["ably"] = self.ably
        section = sections.get(name)
        if section is None or not any(pair.is_published for pair in section.keys):
            return
        where = None
        if self.on_lambda:
            where = "on Lambda"
        elif development is False:
            where = "outside debug and testing"
        else:
            hosts = (address, *section.hosts)
            far = [host for host in hosts if host and not is_loopback(host)]
            where = f"on {far[0]}, which others can reach" if far else None
        if where:
            raise published_keys_refused(where, name)


def published_keys_refused(where: str, provider: str) -> ConfigurationError:
    """The error for the published development credentials at a place where they are no secret."""
    pair = f"{DEVELOPMENT_APP_ID}:{DEVELOPMENT_KEY}:{DEVELOPMENT_SECRET}"
    given, setting, form = pair, env_name(provider, "keys"), "KEY:SECRET"
    if provider == "ably":
        given, setting, form = DEVELOPMENT_ABLY_KEY, env_name(provider, "key"), "APP.KEYID:SECRET"
    return ConfigurationError(
        f"the development credentials {given} are published and refused {where}: set {setting} to "
        f"a {form} of your own"
    )


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine alone."""
    import ipaddress

    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def names() -> dict[str, tuple[str, ...]]:
    """Every `REALTIME_*` name with the path of its setting."""
    return {env_name(*path): path for path in _paths()}


def _sections() -> dict[str, type[Section]]:
    found = {}
    for name, field in RealtimeSettings.model_fields.items():
        for check in field.metadata:
            if isinstance(check, PlainValidator) and isinstance(check.func, partial):
                found[name] = check.func.args[0]
    return found


def _paths() -> Iterator[tuple[str, ...]]:
    sections = _sections()
    for name in RealtimeSettings.model_fields:
        if name in sections:
            yield from ((name, setting) for setting in sections[name].model_fields)
        elif name != "on_lambda":  # a fact, not a wish
            yield (name,)


def _explain(error: ValidationError) -> str:
    """What is wrong, by the settings' names. The values, which may be secrets, stay out."""
    return "; ".join(_lines(error))


def _lines(error: ValidationError, *section: str) -> Iterator[str]:
    for detail in error.errors(include_input=False, include_url=False):
        path = [*section, *map(str, detail["loc"])]
        setting = ".".join(path[:2])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ValidationError):
            yield from _lines(cause, *path)
        elif detail["type"] == "extra_forbidden":
            yield f"{setting} is not a setting"
        else:
            reason = detail["msg"].removeprefix("Value error, ")
            yield f"{setting} ({env_name(*path[:2])}): {reason}"
