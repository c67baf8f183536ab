"""Two ways to run a server: `run` until a signal, `running` beside other code."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from realtime_kit.hosting.signals import leave_signals_to_main


class Server(Protocol):
    """What can be run: the embedded server, an emulator."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


ServerT = TypeVar("ServerT", bound=Server)


def run(server: ServerT, *, ready: Callable[[ServerT], object] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once the server listens.

    Raises `ConfigurationError` if the port cannot be had.
    """
    _allow_many_sockets()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_until_signal(server, ready))


@contextmanager
def running(server: ServerT) -> Iterator[ServerT]:
    """Serve in a thread with a loop of its own, until the block ends."""
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=_in_thread, args=(server, started), name="realtime-kit-server", daemon=True
    )
    thread.start()
    try:
        stop = started.result()
        try:
            yield server
        finally:
            stop()
    finally:
        thread.join()


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed: a delivery costs it half."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _until_signal(server: ServerT, ready: Callable[[ServerT], object] | None) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    await server.start()
    try:
        if ready is not None:
            ready(server)
        await over.wait()
    finally:
        await server.stop()


def _in_thread(server: Server, started: Future[Callable[[], object]]) -> None:
    async def serve() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        await server.start()
        started.set_result(lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        await server.stop()

    leave_signals_to_main()
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve())
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)  # raised where the block begins


def _allow_many_sockets() -> None:
    """Each client is a file; many systems allow 1,024 until one asks."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
