"""The manual's pages on optimistic updates and React: their examples type-check as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLE = re.compile(r"^```(js|jsx|ts|tsx)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.node
@pytest.mark.parametrize(("page", "least"), [("optimistic", 3), ("react", 5)])
def test_the_examples_type_check(page, least, run_node, checkout, tmp_path):
    examples = EXAMPLE.findall((checkout / "docs" / f"{page}.md").read_text())
    assert len(examples) >= least
    client = checkout / "realtime_kit" / "client"
    for number, (language, code) in enumerate(examples):
        path = tmp_path / f"example{number}.{language}"
        path.write_text(code.replace('"/realtime/client/', f'"{client}/'))
    types = checkout / "node_modules" / "@types" / "react"
    options = json.loads((HERE / "types" / "tsconfig.json").read_text())["compilerOptions"]
    options |= {"allowJs": True, "checkJs": True, "skipLibCheck": True}
    options |= {
        "paths": {
            "realtime-kit-client/react": [str(client / "react" / "index.d.ts")],
            "react": [str(types / "index.d.ts")],
            "react/*": [str(types / "*")],
        }
    }
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": options, "include": ["example*"]}))
    run_node("node_modules/typescript/bin/tsc", "-p", str(config), cwd=checkout)
