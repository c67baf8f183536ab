"""Files that travel with the package are found in a checkout and in an installed wheel."""

from __future__ import annotations

import pytest

from realtime_kit import assets
from realtime_kit.errors import ConfigurationError


def test_in_a_checkout(checkout):
    assert assets.path("templates") == checkout / "templates"
    assert assets.path("serverless.yml").is_file()


def test_in_an_installed_wheel(tmp_path, monkeypatch):
    included = tmp_path / "realtime_kit" / "_assets" / "templates"
    included.mkdir(parents=True)
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "realtime_kit")
    assert assets.path("templates") == included


def test_what_lies_beside_an_installed_package_is_somebody_elses(tmp_path, monkeypatch):
    (tmp_path / "templates").mkdir()
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "realtime_kit")
    with pytest.raises(ConfigurationError, match="templates is missing from this installation"):
        assets.path("templates")
