"""Where settings are written down: the process environment, `.env`, the vendors' own names."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from realtime_kit.errors import ConfigurationError

PREFIX = "REALTIME_"

_PUSHER_HOST = re.compile(r"api(?:-(?P<cluster>[a-z0-9-]+))?\.(?:pusher|pusherapp)\.com")


def environment(env_file: Path = Path(".env")) -> dict[str, str]:
    """The process environment over `.env` of the working directory."""
    if not env_file.is_file():
        return dict(os.environ)
    from_file = dotenv_values(env_file)
    return {**{name: value for name, value in from_file.items() if value}, **os.environ}


def env_name(section: str, setting: str = "") -> str:
    """The environment's name of a setting: `REALTIME_PUSHER__APP_ID`."""
    return PREFIX + "__".join(filter(None, (section, setting))).upper()


class Source(PydanticBaseSettingsSource):
    """One of our readers in the form that pydantic-settings asks for."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        environ: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        super().__init__(settings_cls)
        self._environ = environ
        self._read = read

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._read(self._environ)


def read_own(environ: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`REALTIME_*`, the empty ones apart; `known` are all names, with the paths of their settings.

    Raises `ConfigurationError` for a name that is none of them.
    """
    values: dict[str, Any] = {}
    for given, value in environ.items():
        name = given.upper()
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            raise ConfigurationError(_unknown(given, known))
        if value == "" or value is None:
            continue
        *section, setting = known[name]
        place = values.setdefault(section[0], {}) if section else values
        place[setting] = value
    return values


def _unknown(given: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(given.upper(), known, n=1, cutoff=0)
    return f"{given} is not a setting; the nearest is {nearest[0]}"


def read_vendors(environ: Mapping[str, Any]) -> dict[str, Any]:
    """The names that the vendors' own documentation gives, and Lambda's."""
    aws = {
        "region": environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        "access_key_id": environ.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": environ.get("AWS_SESSION_TOKEN"),
        "services": environ.get("AWS_ENDPOINT_URL"),
        "function": environ.get("AWS_LAMBDA_FUNCTION_NAME"),
    }
    key, secret = environ.get("PUSHER_KEY"), environ.get("PUSHER_SECRET")
    pusher = {
        "app_id": environ.get("PUSHER_APP_ID"),
        "keys": [f"{key}:{secret}"] if key and secret else None,
        "cluster": environ.get("PUSHER_CLUSTER"),
    }
    return {
        "pusher": {name: value for name, value in pusher.items() if value},
        "aws": {name: value for name, value in aws.items() if value},
        "ably": {"key": ably} if (ably := environ.get("ABLY_API_KEY")) else {},
        "on_lambda": bool(environ.get("AWS_LAMBDA_FUNCTION_NAME")),
    }


def read_urls(environ: Mapping[str, Any]) -> dict[str, Any]:
    """`PUSHER_URL`: `http(s)://KEY:SECRET@HOST[:PORT]/apps/ID`."""
    text = environ.get("PUSHER_URL")
    if not text:
        return {}
    pusher = _parse_pusher_url(text)
    if pusher is None:
        raise ConfigurationError(
            "PUSHER_URL is not of the form https://KEY:SECRET@HOST[:PORT]/apps/ID"
        )
    return {"pusher": pusher}


def _parse_pusher_url(text: str) -> dict[str, Any] | None:
    """None for another form. The parser's own errors quote the text, and stay in here."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    app = re.fullmatch(r"/apps/([^/]+)/?", url.path)
    if url.scheme not in ("http", "https") or app is None:
        return None
    if not (url.username and url.password and url.hostname):
        return None
    pusher: dict[str, Any] = {
        "app_id": app[1],
        "keys": [f"{unquote(url.username)}:{unquote(url.password)}"],
        "tls": url.scheme == "https",
    }
    vendor = _PUSHER_HOST.fullmatch(url.hostname)
    if vendor:
        # The vendor's host says no more than the cluster, and PUSHER_CLUSTER goes before the URL.
        pusher["cluster"] = vendor["cluster"] or "mt1"
    else:
        pusher["host"] = url.hostname
    if port is not None:
        pusher["port"] = port
    return pusher
