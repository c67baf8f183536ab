"""CPU of one idle poll of `GET /events`, answered 304, against a view that one writes by hand.

1,000 clients each hold a position and ask whether there is something new, and there is not. Both
are Flask applications over one SQLite file, called as WSGI applications in turn for each client.
The peer is the view that tutorials have: it selects the last 20 rows and answers them as JSON,
whether there is something new or not. How many polls a second of CPU answers is told beside.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import sqlalchemy as sa
from flask import Flask, jsonify
from werkzeug.test import create_environ

from benchmarks._harness import Result, compare, main
from realtime_kit.flask import FlaskRealtime

CLIENTS = 1_000
SHOWN = 20  # rows of the hand-written view
DATA = {"order": 42, "eta": "2026-01-01T12:00:00Z", "items": [{"sku": "a-1", "n": 2}] * 3}


def ours(url: str) -> Flask:
    app = Flask("ours")
    app.config.update(REALTIME_PROVIDER="null", REALTIME_HISTORY__URL=url)
    rt = FlaskRealtime(app)
    rt.channel_rule("news", history="100/1h")(lambda user: True)
    with app.app_context():
        for _ in range(SHOWN):
            rt.trigger("news", "shipped", DATA)
    return app


def by_hand(url: str) -> Flask:
    app = Flask("by hand")
    engine = sa.create_engine(url)
    notes = sa.Table(
        "notes",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100)),
        sa.Column("data", sa.JSON),
    )
    notes.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"name": "shipped", "data": DATA}] * SHOWN
        connection.execute(sa.insert(notes), rows)
    latest = sa.select(notes).order_by(notes.c.id.desc()).limit(SHOWN)

    @app.get("/notes")
    def read() -> Any:
        with engine.connect() as connection:
            return jsonify([dict(row) for row in connection.execute(latest).mappings()])

    return app


def call(app: Flask, environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    answered: list[Any] = []

    def start_response(*given: Any) -> Any:
        answered[:] = given

    body = b"".join(app.wsgi_app(dict(environ), start_response))
    return answered[0], dict(answered[1]), body


def microseconds(app: Flask, environ: dict[str, Any], status: str) -> float:
    """CPU of one request, of as many as there are clients."""
    start = process_time()
    for _ in range(CLIENTS):
        assert call(app, environ)[0].startswith(status)
    return (process_time() - start) / CLIENTS * 1e6


def measure(pairs: int) -> Result:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'app.db')}"
        mine, theirs = ours(url), by_hand(url)
        path = "/realtime/events?channel=news"
        _, headers, body = call(mine, create_environ(path, headers={"Accept": "application/json"}))
        held = {"Accept": "application/json", "If-None-Match": headers["ETag"]}
        position = json.loads(body)["position"]
        idle = create_environ(f"{path}&position={position}", headers=held)
        full = create_environ("/notes")
        assert len(json.loads(call(theirs, full)[2])) == SHOWN
        result = compare(
            "poll",
            lambda: microseconds(mine, idle, "304"),
            lambda: microseconds(theirs, full, "200"),
            unit="µs CPU per poll",
            better="lower",
            bar=1.0,
            pairs=pairs,
        )
        for name, each in (("ours", result.ours), ("peer", result.peer)):
            result.details[f"polls per second of CPU, {name}"] = round(1e6 / each)
        mine.extensions["realtime"].recorder.log.close()
        return result


if __name__ == "__main__":
    main(measure, __doc__)
