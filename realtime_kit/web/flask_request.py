"""A request of Flask as the endpoints take it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from flask import Flask, Request

from realtime_kit.errors import Denied
from realtime_kit.web.http import MAX_BODY, HttpRequest

STUCK_MS = 30_000  # that a stream's client may read nothing of what was sent


def http_request(app: Flask, asked: Request, path: str, prefix: str) -> HttpRequest:
    """`path` is below `prefix`, which is below where the app is mounted."""
    environ = asked.environ
    host = environ.get("HTTP_HOST") or asked.host
    query = asked.args.lists() if environ.get("QUERY_STRING") else ()
    return HttpRequest(
        method=asked.method,
        path=path,
        # Not a Mapping by name, but it finds names in any case.
        headers=cast(Mapping[str, str], asked.headers),
        query={name: values[-1] for name, values in query},
        body=_body(asked),
        origin=f"{environ['wsgi.url_scheme']}://{host}",
        prefix=asked.script_root + prefix,
        query_string=environ.get("QUERY_STRING", ""),
        waits=bool(environ.get("wsgi.multithread")),
        anew=partial(_anew, app, environ),
    )


@contextmanager
def _anew(app: Flask, environ: dict[str, Any]) -> Iterator[None]:
    """The request once more, up to where its view would be called: the session's age, and what the
    application loads or checks before each request, are those of now."""
    with app.request_context(environ):
        if app.preprocess_request() is not None:
            raise Denied("the application answers the request by itself")
        yield


def end_when_stuck(environ: Mapping[str, Any]) -> None:
    """A client that stops reading would hold its thread for ever: servers send without a limit.
    Where they hand out the connection, the kernel ends it then."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket) and connection.family != getattr(socket, "AF_UNIX", 0):
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # of Linux
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, STUCK_MS)


def _body(asked: Request) -> bytes:
    """The body, or a little more than the endpoints take of it."""
    length = asked.environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal() or int(length) > MAX_BODY:
        return asked.stream.read(MAX_BODY + 1)
    body = asked.get_data()
    if not body and asked.form:  # something before this view has read the form
        body = urlencode(list(asked.form.items(multi=True))).encode()
    return body
