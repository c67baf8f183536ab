"""The embedded server (`LocalServer`, `run`, `running`), and the memory driver that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime_kit.hosting.local.client_socket import Bounds
    from realtime_kit.hosting.local.driver import MemoryDriver
    from realtime_kit.hosting.local.registry import MemoryRegistry
    from realtime_kit.hosting.local.server import LocalServer
    from realtime_kit.hosting.local.serving import run, running

__all__ = ["Bounds", "LocalServer", "MemoryDriver", "MemoryRegistry", "run", "running"]

_HOME = {
    "Bounds": "client_socket",
    "LocalServer": "server",
    "MemoryDriver": "driver",
    "MemoryRegistry": "registry",
    "run": "serving",
    "running": "serving",
}


def __getattr__(name: str) -> Any:
    # Lazily, because the server needs aiohttp and the memory driver does not.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
