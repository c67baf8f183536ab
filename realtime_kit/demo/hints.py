"""What pages suggest to paste into a terminal: what reaches this very page, or switches it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from realtime_kit.demo.live import messages_of
from realtime_kit.settings import DEVELOPMENT_ABLY_KEY, RealtimeSettings

DEFAULT_PORT = 6001

_PROVIDERS = {
    "local": "An embedded server, started with the application. No account.",
    "aws": "API Gateway WebSockets in your own account; without one, its emulator.",
    "ably": "Ably; without a key, its emulator.",
    "pusher": "Pusher Channels, over its official SDK.",
}
_ACCOUNTS = {"pusher": " PUSHER_URL=https://KEY:SECRET@api-CLUSTER.pusher.com/apps/ID"}


class Choice(NamedTuple):
    """A provider, and how the demo is started on it."""

    name: str
    what: str
    command: str


def providers() -> list[Choice]:
    start = f"{_installed('realtime-kit')} demo"
    return [
        Choice(name, what, f"REALTIME_PROVIDER={name}{_ACCOUNTS.get(name, '')} {start}")
        for name, what in _PROVIDERS.items()
    ]


@dataclass(frozen=True, slots=True)
class Hints:
    """`provider` is its name; `sdk` is None where a secret would have to be shown. `complete`: the
    commands need no settings beside."""

    provider: str
    complete: bool
    listen: str
    trigger: str
    sdk: str | None


def for_room(settings: RealtimeSettings, room_id: str) -> Hints:
    channel = messages_of(room_id)
    local = settings.provider_name == "local"
    emulated = settings.provider_name == "ably" and settings.ably.keys[0].is_published
    prefix = ""
    if local and settings.local.port != DEFAULT_PORT:
        prefix = f"REALTIME_PORT={settings.local.port} "
    if emulated:
        prefix = _ably(settings)
    command = prefix + _installed("realtime-kit")
    data = shlex.quote(json.dumps({"text": "Hello from a terminal"}))
    return Hints(
        provider=settings.provider_name,
        complete=local or emulated,
        listen=f"{command} listen {channel}",
        trigger=f"{command} trigger {channel} message {data}",
        sdk=_sdk(settings, channel) if local and settings.local.keys[0].is_published else None,
    )


def _installed(program: str) -> str:
    """How a program of this installation is called from where the demo was started."""
    script = Path(sys.executable).with_name(program)
    found = shutil.which(program)
    if found and script.exists() and Path(found).samefile(script):
        return program
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def _ably(settings: RealtimeSettings) -> str:
    """What `realtime-kit dev` told the application of the emulator."""
    ably = settings.ably
    given = {"ENDPOINT": ably.endpoint, "PORT": ably.port, "TLS": str(ably.tls).lower()}
    parts = [f"REALTIME_ABLY__{name}={value}" for name, value in given.items() if value is not None]
    return " ".join(
        ["REALTIME_PROVIDER=ably", f"REALTIME_ABLY__KEY={DEVELOPMENT_ABLY_KEY}", *parts, ""]
    )


def _sdk(settings: RealtimeSettings, channel: str) -> str:
    """The vendor's own SDK, nothing of ours; the development credentials are no secret."""
    local = settings.local
    pair = local.keys[0]
    account = (local.app_id, pair.key, pair.secret.get_secret_value())
    call = (
        f"pusher.Pusher({', '.join(map(json.dumps, account))}, "
        f"host={json.dumps(local.host)}, port={local.port}, ssl={local.tls})"
        f".trigger({json.dumps(channel)}, 'message', {json.dumps({'text': 'Hello from the SDK'})})"
    ).replace("'", '"')
    return f"{_installed('python')} -c {shlex.quote(f'import pusher; {call}')}"
