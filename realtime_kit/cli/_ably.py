"""Ably's emulator under `realtime-kit dev`, and where a page gets ably-js without the internet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_kit.cli._ports import answers
from realtime_kit.settings import DEVELOPMENT_ABLY_KEY, is_loopback

if TYPE_CHECKING:
    from realtime_kit.emulators.ably import AblyEmulator
    from realtime_kit.settings import RealtimeSettings

_SCRIPT = Path("node_modules", "ably", "build", "ably.min.js")
_REVOCABLE_TTL = 3_600  # seconds: Ably has no revocable token that lives longer


def find_script() -> Path | None:
    """The ably-js that the project here has from npm, if it has one."""
    here = Path.cwd()
    candidates = (folder / _SCRIPT for folder in (here, *here.parents))
    return next((path for path in candidates if path.is_file()), None)


def is_emulated(settings: RealtimeSettings) -> bool:
    """Whether the app is meant to talk to an emulator that is yet to be started: there is no key,
    or the published one, and nothing answers where it would be."""
    ably = settings.ably
    key = DEVELOPMENT_ABLY_KEY if ably.key is None else ably.key.get_secret_value()
    if key != DEVELOPMENT_ABLY_KEY or not is_loopback(ably.endpoint or "localhost"):
        return False
    return not (ably.endpoint and ably.port and answers(ably.endpoint, ably.port))


@contextmanager
def emulated(settings: RealtimeSettings, host: str) -> Iterator[AblyEmulator]:
    """An emulator for the app, until the block ends. Its tokens can be revoked.

    Raises `ConfigurationError` where the published key would be reachable from other machines.
    """
    from realtime_kit.emulators.ably import AblyEmulator, Key, running

    ably = settings.ably
    key = Key.parse(DEVELOPMENT_ABLY_KEY)
    key = replace(key, revocable_tokens=ably.token_ttl <= _REVOCABLE_TTL)
    port = ably.port if ably.endpoint and ably.port else settings.port
    with running(AblyEmulator([key], host=host, port=port, script=find_script())) as emulator:
        yield emulator


def environment_of(emulator: AblyEmulator) -> dict[str, str]:
    """What the app gets to find it."""
    given = {
        "REALTIME_ABLY__KEY": emulator.keys[0],
        "REALTIME_ABLY__ENDPOINT": emulator.host,
        "REALTIME_ABLY__PORT": str(emulator.port),
        "REALTIME_ABLY__TLS": "false",
    }
    script = emulator.script_url
    return given if script is None else {**given, "REALTIME_ABLY__SCRIPT": script}


def rows_of(emulator: AblyEmulator) -> list[tuple[str, str]]:
    """What one needs to connect."""
    script = emulator.script_url or "from Ably's CDN: `npm install ably` to have it from here"
    return [
        ("Ably", emulator.url),
        ("Key", f"{emulator.keys[0]} (published: for development alone)"),
        ("ably-js", script),
    ]
