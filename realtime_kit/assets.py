"""Files that travel with the package: in the wheel under `_assets`, in a checkout beside it."""

from __future__ import annotations

from pathlib import Path

from realtime_kit.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parent


def path(name: str) -> Path:
    """Where `name` (`templates`, `lambdas`, `serverless.yml`) is in this installation.

    An editable install does not see what the wheel includes, hence the checkout. Raises
    `ConfigurationError` if it is in neither place.
    """
    places = [_PACKAGE / "_assets" / name]
    # Beside an installed package lie the packages of others.
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        places.append(_PACKAGE.parent / name)
    for place in places:
        if place.exists():
            return place
    raise ConfigurationError(
        f"{name} is missing from this installation of realtime-kit: install it again"
    )
