"""The browser client: Node's own runner over its test files, its declarations, its size."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice, permutations
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENT = Path(__file__).parents[2] / "realtime_kit" / "client"
LIVE = HERE / "live.test.js"
FILES = sorted(set(HERE.glob("*.test.js")) - {LIVE})
TRANSPORTS = sorted((CLIENT / "transports").glob("*.js"))

MASTER_KEY = base64.b64encode(b"k" * 32).decode()
CORE_BYTES = 8_000
LATER_BYTES = 4_000
TRANSPORT_BYTES = 2_000


@pytest.mark.node
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".test.js"))
def test_node(run_node, path, checkout):
    run_node("--test", "--test-reporter=spec", str(path), cwd=checkout)


@pytest.mark.node
def test_declarations_take_good_usage_and_refuse_bad(run_node, checkout):
    run_node("node_modules/typescript/bin/tsc", "-p", str(HERE / "types"), cwd=checkout)


# --- against the real thing -----------------------------------------------------------------


@pytest.fixture
def application(serve_app, with_users) -> Iterator[str]:
    """URL of a Flask application over a running embedded server; header `X-User` says who asks."""
    pytest.importorskip("aiohttp")
    from flask import Flask, request

    from realtime_kit import Member, SignIn
    from realtime_kit.flask import FlaskRealtime
    from realtime_kit.testing.servers import serve

    with serve() as served:
        app = Flask(__name__)
        app.testing = True
        app.config.update(served.environ)
        app.config["REALTIME_LOCAL__ENCRYPTION_MASTER_KEY"] = MASTER_KEY
        rt = FlaskRealtime(app)
        users = with_users(app, rt, "ada", "bob")
        rt.user_loader(lambda: users.get(request.headers.get("X-User", "")))
        rt.channel_rule("presence-room-{room}")(
            lambda user, room: Member(user.id, {"name": user.id.title()})
        )
        rt.sign_in(lambda user: SignIn(user.id, {"name": user.id.title()}, watchlist=["bob"]))

        with serve_app(app) as url:
            yield url


@pytest.mark.node
def test_live(run_node, application, checkout):
    run_node("--test", "--test-reporter=spec", str(LIVE), cwd=checkout, APPLICATION=application)


# --- size -----------------------------------------------------------------------------------

IMPORT = re.compile(r"""^(?:import|export)\b[^;]*?\bfrom\s+"(\./[^"]+)";""", re.MULTILINE)


def static_imports(path: Path, found: dict[Path, str] | None = None) -> dict[Path, str]:
    """The module and all that it loads before it runs, with their text."""
    found = {} if found is None else found
    if path not in found:
        found[path] = path.read_text()
        for name in IMPORT.findall(found[path]):
            static_imports((path.parent / name).resolve(), found)
    return found


def gzipped(text: str) -> int:
    return len(gzip.compress(text.encode(), 9, mtime=0))


def largest(texts: Iterable[str]) -> int:
    """Bytes, in the worst of every seventh order: each bundler has its own, and they differ."""
    return max(gzipped("".join(order)) for order in islice(permutations(texts), 0, 5040, 7))


def test_the_core_fits_its_budget():
    modules = static_imports(CLIENT / "realtime.js")
    assert set(modules) <= set(CLIENT.glob("*.js"))
    size = largest(modules.values())
    assert size <= CORE_BYTES, f"{size} bytes"


def test_what_is_loaded_where_it_is_needed_fits_its_budget():
    later = set(CLIENT.glob("*.js")) - set(static_imports(CLIENT / "realtime.js"))
    sizes = {path.name: gzipped(path.read_text()) for path in later}
    assert {name: size for name, size in sizes.items() if size > LATER_BYTES} == {}


@pytest.mark.parametrize(("folder", "most"), [("optimistic", 5_900), ("react", 4_650)])
def test_what_an_application_imports_beside_fits_its_budget(folder, most):
    size = largest(path.read_text() for path in sorted((CLIENT / folder).glob("*.js")))
    assert size <= most, f"{size} bytes"


@pytest.mark.parametrize("folder", ["optimistic", "react"])
def test_the_manual_says_how_large_it_is(checkout, folder):
    paths = [*CLIENT.glob(f"{folder}.js"), *sorted((CLIENT / folder).glob("*.js"))]
    size = gzipped("".join(path.read_text() for path in paths)) / 1000
    said, *_ = re.findall(r"([\d.]+) kB", (checkout / "docs" / f"{folder}.md").read_text())
    assert float(said) == pytest.approx(size, abs=0.1)


@pytest.mark.parametrize("path", TRANSPORTS, ids=lambda path: path.stem)
def test_each_transport_fits_its_budget(path):
    size = gzipped(path.read_text())
    assert size <= TRANSPORT_BYTES, f"{size} bytes"


def test_it_depends_on_nothing():
    package = json.loads((CLIENT / "package.json").read_text())
    assert [name for name in package if "ependencies" in name and "Meta" not in name] == [
        "peerDependencies"
    ]
    assert package["peerDependencies"].keys() == {"react"}
    for path in CLIENT.rglob("*.js"):
        bare = re.findall(r"""(?:from|import)\s*\(?\s*["']([^."'][^"']*)["']""", path.read_text())
        is_hook = path.parent == CLIENT / "react"
        assert set(bare) <= ({"react"} if is_hook else set()), f"{path.name} imports {bare}"


# --- the manual -----------------------------------------------------------------------------

EXAMPLE = re.compile(r"^```(js|ts)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVED = "/realtime/client/realtime.js"
CLIENT_OF_EXAMPLES = f'import {{ connect }} from "{SERVED}";\nconst client = connect();\n'


@pytest.mark.node
def test_the_examples_of_the_manual_type_check(run_node, checkout, tmp_path):
    examples = EXAMPLE.findall((checkout / "docs" / "client.md").read_text())
    assert len(examples) > 8
    for number, (language, code) in enumerate(examples):
        whole = code if "import { connect }" in code else CLIENT_OF_EXAMPLES + code
        path = tmp_path / f"example{number}.{language}"
        path.write_text(whole.replace(SERVED, str(CLIENT / "realtime.js")))
    options = json.loads((HERE / "types" / "tsconfig.json").read_text())["compilerOptions"]
    options |= {"allowJs": True, "checkJs": True, "skipLibCheck": True}
    options |= {
        "paths": {
            "ably": [str(checkout / "node_modules" / "ably" / "ably.d.ts")],
            "tweetnacl": [str(checkout / "node_modules" / "tweetnacl" / "nacl.d.ts")],
        }
    }
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": options, "include": ["example*"]}))
    run_node("node_modules/typescript/bin/tsc", "-p", str(config), cwd=checkout)
