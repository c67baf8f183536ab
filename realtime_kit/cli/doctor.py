"""`realtime-kit doctor`: whether the settings are right, and whether a deployment answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

import click

from realtime_kit.errors import ConfigurationError, RealtimeError, Unsupported

if TYPE_CHECKING:
    from realtime_kit.realtime import Realtime
    from realtime_kit.settings import RealtimeSettings

TIMEOUT = 10.0  # seconds for each answer
MAX_SKEW = 300.0  # seconds: what AWS takes of difference; Pusher takes 600
SUSPICIOUS = ("secret", "password", "private_key", "master_key", "token")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """`state` skipped: there was nothing to check, or what it needs had failed."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    detail: str


@click.command(short_help="Check the settings and a deployment.")
@click.option("--url", help="Where the deployment's HTTP endpoints are: https://HOST.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per check.")
def doctor(url: str | None, as_json: bool) -> None:
    """Check the settings, and what they lead to: /config, HTTP API, WebSocket, clock.

    One line for each check; exit code 1 if one failed. With --url the deployment there is asked
    with the keys of the settings.

    \b
    Examples:
      realtime-kit doctor
      REALTIME_PROVIDER=aws REALTIME_AWS__KEYS=KEY:SECRET realtime-kit doctor --url https://HOST
    """
    if url is not None and not _is_url(url):
        raise click.BadParameter("it is not like https://HOST", param_hint="--url")
    failed = False
    for check in examine(url):
        failed = failed or check.state == "failed"
        if as_json:
            click.echo(json.dumps(asdict(check)))
        else:
            colour = {"ok": "green", "failed": "red", "skipped": "yellow"}[check.state]
            state = click.style(f"{check.state:8}", fg=colour)
            click.echo(f"{state} {check.name:12} {check.detail}")
    if failed:
        raise click.exceptions.Exit(1)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def examine(url: str | None) -> Iterator[Check]:
    """The checks, as each is done."""
    found: dict[str, Any] = {}

    def keep(name: str, make: Callable[[], tuple[Any, str]]) -> Check:
        try:
            found[name], detail = make()
        except Unsupported as error:
            return Check(name, "skipped", str(error))
        except RealtimeError as error:
            return Check(name, "failed", str(error))
        return Check(name, "ok", detail)

    yield keep("settings", lambda: _settings(url))
    realtime: Realtime | None = found.get("settings")
    prefix = "/realtime" if realtime is None else realtime.settings.web.prefix
    if url is not None:
        yield keep("config", lambda: _fetch_config(url, prefix))
        if "config" in found:
            config, date = found["config"]
            yield keep("clock", lambda: _clock(date))
            found["config"] = config
    elif realtime is not None:
        yield keep("config", lambda: (realtime.client_config(), "as this application gives it"))
    if "config" in found:
        settings = None if realtime is None else realtime.settings
        yield keep("no secrets", lambda: _no_secrets(found["config"], settings))
        yield keep("suits", lambda: (True, _suits(found["config"])))
    if realtime is None:
        yield Check("http api", "skipped", "without settings there is no key to sign with")
    else:
        yield keep("http api", lambda: _http_api(realtime))
    if "config" in found:
        yield keep("websocket", lambda: _websocket(found["config"]))
    else:
        yield Check("websocket", "skipped", "without a config it is not known where it is")


def _suits(config: Json) -> str:
    """What these settings are good for; docs/history.md, "Which for what", has the reasons."""
    has_socket = not {"socket", "ably"}.isdisjoint(config.get("transports") or ())
    keeps = bool(config.get("events"))
    if has_socket and keeps:
        return "chat, collaboration, dashboards, notifications, feeds; by sse or poll if need be"
    if has_socket:
        return (
            "chat and games while connected; who is away misses what happens: for all else give "
            "rules history=, or set REALTIME_HISTORY__DEFAULT"
        )
    if keeps:
        return "notifications, dashboards, feeds, by sse or poll; for chat a provider with sockets"
    return "nothing in a browser: choose a provider with sockets, or history for sse and poll"


def _settings(url: str | None) -> tuple[Realtime, str]:
    from realtime_kit.environment import environment
    from realtime_kit.realtime import Realtime
    from realtime_kit.settings import RealtimeSettings

    given: dict[str, Any] = {} if url is None else {"REALTIME_AWS__URL": url}
    realtime = Realtime(settings=RealtimeSettings(environ={**environment(), **given}))
    return realtime, f"provider {realtime.provider.name}"


def _fetch_config(url: str, prefix: str) -> tuple[tuple[Json, str], str]:
    from realtime_kit.providers._http import HttpClient

    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    client = HttpClient("doctor", str(parts.hostname), port, tls=tls, timeout=TIMEOUT)
    path = parts.path.rstrip("/").removesuffix("/config").removesuffix(prefix) + f"{prefix}/config"
    answer = client.request("GET", path, headers={"Accept": "application/json"})
    client.close()
    where = f"{client.origin}{path}"
    if answer.status != 200:
        raise ConfigurationError(f"{where} answered {answer.status}")
    try:
        config = json.loads(answer.body)
        provider = config["provider"]
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{where} answered what is no config of realtime-kit") from None
    return (config, answer.headers.get("date", "")), f"{where}: provider {provider}"


def _clock(date: str) -> tuple[float, str]:
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise Unsupported("the answer had no date") from None
    skew = time.time() - theirs
    said = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server"
    if abs(skew) > MAX_SKEW:
        raise ConfigurationError(f"this clock is {said}: signatures are refused")
    return skew, said if abs(skew) >= 2 else "as the server's"


def _no_secrets(config: Json, settings: RealtimeSettings | None) -> tuple[None, str]:
    from realtime_kit.disclosure import gives_away

    named = [name for name in _names(config) if any(word in name.lower() for word in SUSPICIOUS)]
    if named:
        raise ConfigurationError(f"the config has {', '.join(named)}, and everybody can read it")
    if settings is not None and gives_away(config, settings):
        raise ConfigurationError("a secret of the settings is in the config: change that secret")
    return None, "the config holds none"


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names(item)


def _http_api(realtime: Realtime) -> tuple[None, str]:
    count = len(realtime.channels())
    return None, f"it takes our signature; {count} occupied channel{'' if count == 1 else 's'}"


def _websocket(config: Json) -> tuple[None, str]:
    socket = config.get("client", {}).get("socket")
    if not isinstance(socket, Mapping):
        raise Unsupported("browsers speak another protocol with this provider")
    from realtime_kit.errors import missing_extra

    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError:
        raise Unsupported(str(missing_extra("server", "checking the WebSocket"))) from None
    began = time.monotonic()
    url, event = asyncio.run(_greeting(socket))
    if event.get("event") != "pusher:connection_established":
        raise ConfigurationError(f"{url} answered {json.dumps(event)[:200]}")
    return None, f"{url} greets in {(time.monotonic() - began) * 1000:.0f} ms"


async def _greeting(socket: Json) -> tuple[str, Json]:
    """Where it connects, without the key, and the first frame."""
    from aiohttp import ClientError, ClientSession, ClientTimeout

    host = str(socket.get("host") or "127.0.0.1")
    shown = f"[{host}]" if ":" in host else host
    place = f"{'wss' if socket.get('tls') else 'ws'}://{shown}:{socket.get('port')}"
    place += str(socket.get("path") or "")
    url = f"{place}/app/{quote(str(socket.get('key')), safe='')}?protocol=7&client=doctor&version=1"
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            ClientSession(timeout=ClientTimeout(total=TIMEOUT)) as http,
            http.ws_connect(url) as websocket,
        ):
            frame = json.loads(await websocket.receive_str())
    except (ClientError, OSError, TypeError, ValueError) as error:  # a TimeoutError is an OSError
        raise ConfigurationError(f"{place}: {str(error) or 'no greeting in time'}") from error
    return place, frame if isinstance(frame, dict) else {}
