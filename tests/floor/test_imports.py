"""What an import costs: shown by a process of its own, for modules stay loaded in this one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

VENDORS = ("pusher", "ably", "boto3", "botocore", "requests", "urllib3", "nacl", "jwt")
OTHERS = ("flask", "werkzeug", "aiohttp", "uvloop", "sqlalchemy", "rich")


def loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "statement",
    [
        "import realtime_kit",
        "import realtime_kit.settings; realtime_kit.settings.RealtimeSettings(environ={})",
        "import realtime_kit.cli",
    ],
)
def test_no_vendor_no_framework(statement):
    assert loaded_by(statement).isdisjoint(VENDORS + OTHERS)


@pytest.mark.parametrize("module", ["errors", "channels", "events", "authorization"])
def test_the_pure_floor_needs_nobodys_package(module):
    found = loaded_by(f"import realtime_kit.{module}")
    assert found.isdisjoint((*VENDORS, *OTHERS, "pydantic", "click", "asyncio", "socket", "ssl"))


def test_settings_load_pydantic_and_nothing_beside_it():
    """Of Lambda's cold start settings are the largest part: they stay at what pydantic costs."""
    beside = loaded_by("import realtime_kit.settings") - loaded_by("import pydantic_settings")
    assert {name for name in beside if not name.startswith("realtime_kit")} == set()
