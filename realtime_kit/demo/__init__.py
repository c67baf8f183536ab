"""The demo: a chat, notifications, a dashboard, a list and likes, on any provider.

    realtime-kit demo

An ordinary Flask application over public names of realtime-kit; `live.py` is the real-time side of
the chat, `views.py` its views, and each of the other pages is one module. It keeps its data in one
SQLite file: `DEMO_DB`, or by default `realtime-kit/demo.sqlite3` in the user's cache directory.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from realtime_kit import assets
from realtime_kit.demo import dashboard, excerpts, likes, notifications, seats, text, todos, views  # noqa: F401
from realtime_kit.demo.common import ENDPOINTS, address, pages
from realtime_kit.demo.database import default_path
from realtime_kit.demo.live import rt
from realtime_kit.demo.store import Store

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The Flask application. `config` is Flask's, and `DEMO_DB`; it goes before the environment."""
    templates = assets.path("templates")
    app = Flask(__name__, template_folder=str(templates), static_folder=str(templates / "static"))
    app.config.update(
        DEMO_DB=os.environ.get("DEMO_DB") or default_path(os.environ),
        SESSION_COOKIE_NAME="realtime_demo",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=32 * 1024,
    )
    app.config.update(config or {})
    app.extensions["demo_store"] = store = Store(Path(app.config["DEMO_DB"]))
    app.config["SECRET_KEY"] = store.secret_key()
    rt.init_app(app)
    rt.user_loader(seats.current_person)
    app.register_blueprint(views.front)
    app.register_blueprint(views.chat)
    app.register_blueprint(pages)
    app.jinja_env.globals.update(csrf_token=seats.csrf_token, csp_nonce=_nonce)
    app.jinja_env.globals.update(page_names=tuple(ENDPOINTS), address=address)
    app.context_processor(lambda: {"provider": rt.settings.provider_name})
    app.jinja_env.filters["paint"] = excerpts.paint
    app.register_error_handler(HTTPException, _problem)
    app.register_error_handler(text.Refused, _refused)
    app.after_request(_protect)
    return app


def _nonce() -> str:
    """Of this response: the only inline script that may run is one that carries it."""
    if "nonce" not in g:
        g.nonce = secrets.token_urlsafe(12)
    return str(g.nonce)


def _other_requests() -> str:
    """Where Ably's SDK asks by HTTP, which it falls back to; its emulator has no TLS."""
    if rt.settings.provider_name != "ably":
        return ""
    ably = rt.settings.ably
    if ably.tls if ably.public_tls is None else ably.public_tls:
        return " https:"
    host, port = ably.public_endpoint or ably.endpoint, ably.public_port or ably.port
    return f" https: http://{host}:{port}"


def _problem(error: HTTPException) -> ResponseReturnValue:
    """What went wrong, as JSON for a script and as a page for a person."""
    if seats.wants_json(request):
        body: str | Response = jsonify(error=error.description)
    else:
        body = render_template("problem.html", error=error)
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return body, error.code or 500, headers


def _refused(refused: text.Refused) -> ResponseReturnValue:
    return _problem(BadRequest(str(refused)))


def _protect(response: Response) -> Response:
    """Nothing from elsewhere, in no frame. Sockets may go anywhere: the provider decides where. So
    may the requests of Ably's SDK, which carries the nonce of the page's own script."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' 'nonce-{_nonce()}'; style-src 'self';"
            f" img-src 'self' data:; connect-src 'self' ws: wss:{_other_requests()};"
            " form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'"
        )
    return response
