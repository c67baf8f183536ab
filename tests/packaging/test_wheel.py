"""The wheel, installed where there is no checkout: bare, and with the extras of the demo."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(checkout)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = folder.glob("*.whl")
    return made


def test_it_holds_the_browser_client_as_it_is_tested(wheel: Path, checkout: Path) -> None:
    client = checkout / "realtime_kit" / "client"
    files = {path for path in client.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("realtime_kit/client/")}
        assert packed == {path.relative_to(checkout).as_posix() for path in files}
        assert all(archive.read(name) == (checkout / name).read_bytes() for name in packed)


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with nothing but the wheel's own dependencies."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    _pip(folder / "bin", str(wheel))
    return folder / "bin"


@pytest.fixture(scope="module")
def with_demo(bare: Path, wheel: Path) -> Path:
    """The same environment, with the extras that the demo needs."""
    _pip(bare, f"{wheel}[flask,server,sql]")
    return bare


def _pip(commands: Path, requirement: str) -> None:
    install = [str(commands / "python"), "-m", "pip", "install", "--quiet", requirement]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _run(commands: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(commands / "realtime-kit"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_bare_it_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    help_ = _run(bare, tmp_path, "--help")
    assert help_.returncode == 0
    assert "trigger" in help_.stdout
    for command, extra in (("serve", "server"), ("demo", "flask|server")):
        done = _run(bare, tmp_path, command)
        assert done.returncode == 1, done.stderr
        hint = rf"realtime-kit: .*pip install 'realtime-kit\[({extra})\]'\n"
        assert re.fullmatch(hint, done.stderr), done.stderr


def test_bare_it_authorizes_and_nothing_else_is_there(bare: Path, tmp_path: Path) -> None:
    program = (
        "from realtime_kit import Realtime\n"
        "rt = Realtime('local')\n"
        "rt.channel_rule('private-{x}')(lambda user, x: True)\n"
        "print(rt.authorize({'sub': '7'}, '1.2', 'private-a')['channels'])\n"
    )
    python = [str(bare / "python"), "-c", program]
    done = subprocess.run(python, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "'auth': 'app-key:" in done.stdout


@pytest.fixture
def demo(with_demo: Path, tmp_path: Path) -> Iterator[str]:
    """Where a running demo is."""
    port, realtime_port = _free_port(), _free_port()
    process = subprocess.Popen(
        [str(with_demo / "realtime-kit"), "demo"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PORT": str(port),
            "REALTIME_PORT": str(realtime_port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        for line in process.stdout:
            if "Ctrl-C to stop" in line:
                break
        else:
            pytest.fail("the demo ended before it was ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_the_demo_runs(demo: str) -> None:
    for path, part in (
        ("/", "realtime-kit"),
        ("/realtime/client/realtime.js", "export"),
        ("/realtime/config", '"provider":"local"'),
    ):
        with urllib.request.urlopen(demo + path) as answer:
            assert part in answer.read().decode()


def test_bare_it_makes_a_project_and_its_zips(bare: Path, tmp_path: Path) -> None:
    assert _run(bare, tmp_path, "init", "shop").returncode == 0
    options = ("--provider", "pusher", "--function", "auth", "--project", "shop")
    done = _run(bare, tmp_path, "build", *options, "--arch", "x86_64", "--python", "3.12")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "dist" / "lambda" / "auth.zip") as archive:
        names = archive.namelist()
    assert {"lambdas/auth.py", "realtime_kit/web/aws_lambda.py"} <= set(names)
    assert [name for name in names if name.endswith("x86_64-linux-gnu.so")]
    assert not [name for name in names if name.startswith(("click/", "pusher/"))]
    costs = _run(bare, tmp_path, "cost", "--connections", "1", "--messages", "1", "--json")
    assert '"prices_as_of"' in costs.stdout
