"""The two ways to run a server."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys

import pytest

from realtime_kit.hosting.local import LocalServer, running

SCRIPT = """
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from realtime_kit.hosting.local import LocalServer, run
from realtime_kit.protocol.app import App, Key

setrlimit(RLIMIT_NOFILE, (256, getrlimit(RLIMIT_NOFILE)[1]))
run(
    LocalServer([App("42", (Key("test-key", "test-secret"),))], port=0),
    ready=lambda server: print(server.port, *getrlimit(RLIMIT_NOFILE), flush=True),
)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_until_a_signal(number):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port, soft, hard = map(int, process.stdout.readline().split())
        assert soft == hard  # every socket that the system allows
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(b"GET /up HTTP/1.0\r\n\r\n")
            assert b"200 OK" in raw.recv(100)
        process.send_signal(number)
        out, errors = process.communicate(timeout=10)
        assert (process.returncode, out, errors) == (0, "ended\n", "")
    finally:
        process.kill()
        process.communicate()


def test_signals_are_left_to_the_thread_that_waits_for_them(app):
    class Server(LocalServer):
        async def start(self):
            self.blocked = await asyncio.to_thread(signal.pthread_sigmask, signal.SIG_BLOCK, ())

    with running(Server([app])) as server:
        assert {signal.SIGINT, signal.SIGTERM} <= server.blocked
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_running_hands_its_failure_to_who_began_it(app):
    class Broken(LocalServer):
        async def start(self):
            raise ZeroDivisionError("at the start")

    with pytest.raises(ZeroDivisionError, match="at the start"), running(Broken([app])):
        pass


def test_running_ends_when_its_block_fails(app):
    with pytest.raises(KeyError), running(LocalServer([app], port=0)) as server:
        raise KeyError("in the block")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_without_uvloop_it_serves_all_the_same(monkeypatch, serve, site):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    plain = serve()
    client = plain.subscriber("news")
    plain.publish("news", "hello")
    assert client.receive()["event"] == "hello"


WITHOUT_AIOHTTP = "import sys; sys.modules['aiohttp'] = None; from realtime_kit.hosting.local "


def test_the_server_says_which_extra_it_needs():
    script = WITHOUT_AIOHTTP + "import LocalServer"
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'realtime-kit[server]'" in failed.stderr.splitlines()[-1]


def test_the_memory_driver_needs_no_extra():
    subprocess.run([sys.executable, "-c", WITHOUT_AIOHTTP + "import MemoryDriver"], check=True)
