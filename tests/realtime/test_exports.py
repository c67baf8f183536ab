"""The public names: `__all__` is what is there, and importing it loads nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

import realtime_kit
from realtime_kit import errors


def test_every_public_name_is_there():
    for name in realtime_kit.__all__:
        value = getattr(realtime_kit, name)
        assert value.__name__ == name
        assert value.__module__.startswith("realtime_kit.")


def test_all_is_sorted_and_complete():
    assert sorted(realtime_kit.__all__) == realtime_kit.__all__
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RealtimeError)
    }
    assert tree <= set(realtime_kit.__all__)
    assert set(realtime_kit.__all__) <= set(dir(realtime_kit))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Pusher'"):
        realtime_kit.Pusher  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import realtime_kit", ("realtime_kit.errors", "pydantic", "json")),
        ("from realtime_kit import Member, Grant, SignIn", ("pydantic", "realtime_kit.realtime")),
        (
            "from realtime_kit import Realtime; Realtime('null')",
            ("pydantic", "pusher", "flask", "aiohttp", "boto3", "jwt", "nacl", "requests"),
        ),
        (
            "import realtime_kit.web.endpoints",
            ("pydantic", "pusher", "flask", "aiohttp", "boto3", "jwt", "nacl", "requests"),
        ),
    ],
)
def test_an_import_loads_only_what_it_needs(statement, absent):
    code = f"{statement}\nimport sys; print(sorted(set(sys.modules) & set({absent!r})))"
    run = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["flask", "blinker", "markupsafe"])
def test_without_flask_the_extension_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import realtime_kit.flask"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert (
        run.stderr.strip()
        .splitlines()[-1]
        .endswith("FlaskRealtime needs an extra: pip install 'realtime-kit[flask]'")
    )
