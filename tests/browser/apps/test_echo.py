"""laravel-echo and pusher-js in a page, with the endpoints where Laravel has them: no endpoint is
configured in the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, send_from_directory

from realtime_kit import Member
from realtime_kit.flask import FlaskRealtime
from realtime_kit.testing.servers import serve

pytestmark = [pytest.mark.browser, pytest.mark.node]

PAGE = """<!doctype html>
<script src="/modules/pusher-js/dist/web/pusher.js"></script>
<script src="/modules/laravel-echo/dist/echo.iife.js"></script>
<script>
  const heard = {{}};
  const echo = new Echo.default({{ broadcaster: "reverb", key: "{key}", wsHost: "127.0.0.1",
    wsPort: {port}, forceTLS: false, enabledTransports: ["ws"] }});
  echo.private("orders-42").subscribed(() => heard.subscribed = true)
    .listen(".shipped", (data) => heard.shipped = data);
  echo.private("orders-43").error(({{ status }}) => heard.denied = status);
  echo.join("room-1").here((members) => heard.here = members);
</script>"""


@pytest.fixture
def application(checkout: Path, serving: Any) -> Iterator[tuple[str, FlaskRealtime, Flask]]:
    with serve() as served:
        app = Flask(__name__)
        app.testing = True
        app.config.update(served.environ, REALTIME_WEB__PREFIX="/broadcasting")
        rt = FlaskRealtime(app)
        rt.user_loader(lambda: {"sub": "7", "name": "Ada"})
        rt.channel_rule("private-orders-{id:int}")(lambda user, id: id == 42)
        rt.channel_rule("presence-room-{room}")(
            lambda user, room: Member(user["sub"], {"name": user["name"]})
        )
        page = PAGE.format(key=served.app.key.key, port=served.port)
        app.add_url_rule("/", view_func=lambda: page, endpoint="page")
        app.add_url_rule(
            "/modules/<path:path>",
            view_func=lambda path: send_from_directory(checkout / "node_modules", path),
            endpoint="modules",
        )
        with serving(app) as url:
            yield url, rt, app


def test_echo_needs_no_endpoints_to_be_named(application, window) -> None:
    url, rt, app = application
    page = window().page
    page.goto(url)
    page.wait_for_function("heard.subscribed && heard.here && heard.denied")
    assert page.evaluate("[heard.here, heard.denied]") == [[{"name": "Ada"}], 403]
    with app.app_context():
        rt.trigger("private-orders-42", "shipped", {"n": 1})
    page.wait_for_function("heard.shipped")
    assert page.evaluate("heard.shipped") == {"n": 1}
