"""`realtime-kit types`: where the catalogue is found, what is written, what is refused."""

from __future__ import annotations

import json
import re

import pytest

EVENTS = """
from realtime_kit import Catalog, Realtime, RealtimeEvent

class OrderShipped(RealtimeEvent, name="shipped", channel="private-orders-{order_id}"):
    order_id: int
    carrier: str | None = None

catalog = Catalog(OrderShipped)
realtime = Realtime("null", catalog=catalog)
bare = Realtime("null")
number = 7
"""
APP = """
from flask import Flask
from events import catalog
from realtime_kit.flask import FlaskRealtime

def create_app():
    app = Flask(__name__)
    FlaskRealtime(app, catalog=catalog)
    return app
"""
TYPES = """\
// Written by `realtime-kit types`: change the classes of the events instead.

export interface OrderShipped {
  order_id: number;
  carrier: string | null;
}

/** Channels, their events, and the data of each. */
export interface RealtimeEvents {
  [channel: `private-orders-${number}`]: {
    shipped: OrderShipped;
  };
}
"""


@pytest.fixture(autouse=True)
def project(tmp_path):
    (tmp_path / "events.py").write_text(EVENTS)
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.parametrize("app", ["events:catalog", "events:realtime", "app:create_app()", "app"])
def test_the_catalogue_is_found(run, app):
    done = run("types", app)
    assert (done.returncode, done.stdout, done.stderr) == (0, TYPES, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["events:bare"], "events:bare has no catalogue: give Realtime catalog=Catalog"),
        (["events:number"], "A valid Flask application was not obtained from 'events:number'"),
        (["nosuch:app"], "Could not import 'nosuch'"),
        (["no.such:app"], "Could not import 'no.such'"),
        (["events:catalog", "--out", "events.json"], "asyncapi or json"),
        (["events:catalog", "--check", "nosuch.json"], "nosuch.json: No such file"),
        (["events:catalog", "--check", "events.py"], "events.py is no JSON"),
        (["events:catalog", "--format", "yaml"], "Invalid value for '--format'"),
    ],
)
def test_a_wrong_use_is_one_line(run, arguments, says):
    done = run("types", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_file_is_written_only_if_it_differs(run, project):
    out = project / "events.ts"
    done = run("types", "events:catalog", "--out", "events.ts")
    assert (done.returncode, done.stdout) == (0, "")
    assert "events.ts is written" in done.stderr
    assert out.read_text() == TYPES
    before = out.stat().st_mtime_ns
    assert run("types", "events:catalog", "--out", "events.ts").stderr == ""
    assert out.stat().st_mtime_ns == before


@pytest.mark.parametrize("form", ["json", "asyncapi"])
def test_a_change_that_breaks_readers_is_refused(run, project, form):
    def write(*more):
        return run("types", "events:catalog", "--format", form, "--out", "kept.json", *more)

    assert write().returncode == 0
    kept = (project / "kept.json").read_text()
    assert json.loads(kept)["channels"]
    same = run("types", "events:catalog", "--check", "kept.json")
    assert (same.returncode, same.stdout) == (0, "compatible: 0 added\n")

    module = project / "events.py"
    module.write_text(EVENTS.replace("str | None = None", "int = 1"))
    broken = write("--check", "kept.json")
    assert broken.returncode == 1
    assert re.fullmatch(
        r"private-orders-\{order_id\} shipped data\.carrier: was string, is integer\n",
        broken.stdout,
    )
    assert "1 change breaks readers of kept.json" in broken.stderr
    assert (project / "kept.json").read_text() == kept, "nothing is written then"

    module.write_text(EVENTS.replace("    carrier", "    weight: float = 1.5\n    carrier"))
    added = write("--check", "kept.json")
    assert added.returncode == 0
    assert added.stdout == (
        "added private-orders-{order_id} shipped data.weight: field\ncompatible: 1 added\n"
    )
    assert (project / "kept.json").read_text() != kept
