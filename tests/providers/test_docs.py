"""What the pages say of the providers is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realtime_kit.providers import PROVIDERS
from realtime_kit.providers.__main__ import table
from realtime_kit.settings import names


def test_the_table_is_generated(checkout: Path) -> None:
    page = (checkout / "docs/providers/README.md").read_text()
    found = page.partition("<!-- python -m realtime_kit.providers -->\n")[2].partition("\n<!--")[0]
    assert found == table(), "run: python -m realtime_kit.providers"


def test_every_provider_is_listed(checkout: Path) -> None:
    page = (checkout / "docs/providers/README.md").read_text()
    listed = re.findall(r"^\| (?:\[(\w+)\]\(\w+\.md\)|(\w+)) \|", page, re.MULTILINE)
    assert set(PROVIDERS) <= {linked or bare for linked, bare in listed}


@pytest.mark.parametrize("name", ["ably", "aws", "local", "pusher"])
def test_every_setting_is_on_its_page_and_exists(checkout: Path, name: str) -> None:
    page = (checkout / f"docs/providers/{name}.md").read_text()
    prefix = f"REALTIME_{name.upper()}"
    named = set(re.findall(rf"\b{prefix}__[A-Z_]+\b", page))
    for line in page.splitlines():
        if prefix in line:
            named |= {f"{prefix}{short}" for short in re.findall(r"`(__[A-Z_]+)`", line)}
    assert named == {setting for setting in names() if setting.startswith(f"{prefix}__")}


@pytest.mark.parametrize("page", ["ADDING_PROVIDERS.md", "docs/providers/README.md"])
def test_links_lead_somewhere(checkout: Path, page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (checkout / page).read_text())
    assert links
    missing = [link for link in links if not ((checkout / page).parent / link).exists()]
    assert not missing
