"""The app's process under `realtime-kit dev`, and the loop in the parent that replaces it.

The parent holds the listening socket, so that requests wait while the app restarts, and one end of
a socket pair. The app's process says over the other end that the app is loaded, and ends itself
when the parent's is closed: however the parent ends, no process stays behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

RELOAD = 3  # what werkzeug's reloader exits with
GRACE = 5.0  # seconds for the app's process to end by itself


def keep_running(
    app: str,
    listener: socket.socket,
    *,
    environment: Mapping[str, str],
    reload: bool,
    ready: Callable[[], object],
) -> None:
    """Run `app` on `listener` until Ctrl-C or SIGTERM, again after each change of code.

    `ready` is called once, when the app is loaded. Ends the program with the exit code of an app
    that ended by itself.
    """
    listener.set_inheritable(True)
    first = True

    def loaded() -> None:
        nonlocal first
        if first:
            ready()
        first = False

    with _signals_interrupt():
        try:
            code = RELOAD
            while code == RELOAD:
                code = _run_once(app, listener, environment, reload, first, loaded)
        except KeyboardInterrupt:
            return
    if code:
        sys.exit(code)


def _run_once(
    app: str,
    listener: socket.socket,
    environment: Mapping[str, str],
    reload: bool,
    first: bool,
    loaded: Callable[[], object],
) -> int:
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    arguments = [app, str(listener.fileno()), str(theirs.fileno()), f"{reload:d}", f"{first:d}"]
    with ours:
        with theirs:
            child = subprocess.Popen(  # noqa: S603 - the program that was asked for
                [sys.executable, "-m", __name__, *arguments],
                env={**os.environ, **environment},
                close_fds=False,  # all but these two are not inheritable anyway
            )
        try:
            if ours.recv(1):
                loaded()
            return child.wait()
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM like Ctrl-C, and both also where a shell started this in the background, which makes
    Python ignore SIGINT."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the app's process ----------------------------------------------------------------------


def main(app: str, listener: int, link: int, reload: bool, first: bool) -> None:
    """Load the app and serve it on the socket with the file number `listener`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Ctrl-C in a terminal reaches both, and the parent passes it on as SIGTERM. Not SIG_IGN, which
    # programs that the app starts would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    parent = socket.socket(fileno=link)
    parent.set_inheritable(False)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        loaded = _load(app, may_fail=not first)
        parent.send(b"1")
        _serve(loaded, listener, reload)
    finally:
        # A second one would interrupt Python's own clearing up, with a traceback.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_with(parent: socket.socket) -> None:
    parent.recv(1)  # nothing is ever sent: this returns when the parent is gone
    os.kill(os.getpid(), signal.SIGTERM)


def _load(app: str, *, may_fail: bool) -> WSGIApplication:
    """The app. What is wrong with its code is shown, and served until the code changes; a name
    that leads to no app ends the program, but not in the middle of somebody's edit."""
    from flask.cli import NoAppException, ScriptInfo, load_dotenv

    load_dotenv()
    try:
        return ScriptInfo(app_import_path=app).load_app()
    except NoAppException as error:
        if not may_fail:
            click.echo(f"realtime-kit: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        return _broken(error.format_message())
    except Exception:  # whatever the app's code raises
        return _broken(traceback.format_exc())


def _broken(why: str) -> WSGIApplication:
    click.echo(
        f"{why.rstrip()}\n\nrealtime-kit: the app does not load; waiting for a change", err=True
    )

    def tell(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = f"The app does not load.\n\n{why}".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        start_response("500 Internal Server Error", headers)
        return [body]

    return tell


def _serve(app: WSGIApplication, listener: int, reload: bool) -> None:
    from werkzeug.serving import run_simple

    from realtime_kit.settings import is_loopback

    # werkzeug's own way to say: the parent listens and restarts, this process serves and watches.
    os.environ["WERKZEUG_RUN_MAIN"] = "true"
    os.environ["WERKZEUG_SERVER_FD"] = str(listener)
    with socket.socket(fileno=os.dup(listener)) as address:
        host, port = address.getsockname()[:2]
    run_simple(
        host,
        port,
        app,
        threaded=True,
        use_reloader=reload,
        # It runs code for whoever can reach it.
        use_debugger=reload and is_loopback(host),
    )


if __name__ == "__main__":
    _app, _listener, _link, _reload, _first = sys.argv[1:]
    main(_app, int(_listener), int(_link), _reload == "1", _first == "1")
