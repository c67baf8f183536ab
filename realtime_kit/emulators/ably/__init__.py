"""Ably on this machine: REST and realtime, for the official SDKs, without an account.

with running(AblyEmulator()) as emulator:
    print(emulator.url, emulator.keys[0])
"""

from __future__ import annotations

# isort: off
from realtime_kit.emulators.ably.server import AblyEmulator  # says what is missing

# isort: on
from realtime_kit.emulators.ably.app import Key, Namespace
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.faults import Faults, Rule
from realtime_kit.emulators.ably.limits import Limits
from realtime_kit.emulators.ably.options import DEFAULT_KEY, options_for
from realtime_kit.emulators.log import Entry, Log
from realtime_kit.hosting.local.serving import run, running

__all__ = [
    "DEFAULT_KEY",
    "AblyEmulator",
    "AblyError",
    "Entry",
    "Faults",
    "Key",
    "Limits",
    "Log",
    "Namespace",
    "Rule",
    "options_for",
    "run",
    "running",
]
