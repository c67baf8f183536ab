"""Build the zip that Lambda runs: your functions and what they import, nothing else.

    python lambdas/packaging/build.py --output .serverless/realtime-kit.zip

Everything is installed from wheels made for the runtime, not for this machine, so there is no
container. `serverless.yml` calls this by itself; it is a program of its own for other tools.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

# Amazon Linux 2 below Python 3.12, Amazon Linux 2023 from there on: the C library's minor version.
GLIBC = {"python3.11": 26}
GLIBC_NOW = 34
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}

# What a wheel installs beside its modules. The rest of `realtime_kit` stays: it is small.
UNUSED = ("bin", "realtime_kit/_assets", "realtime_kit/demo")

LIMIT = 262_144_000  # bytes unzipped: Lambda Developer Guide, "Lambda quotas"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        install(root, _requirements(options.extra, Path(scratch)), options)
        for folder in options.include or ["lambdas"]:
            shutil.copytree(
                PROJECT / folder,
                root / folder,
                ignore=shutil.ignore_patterns("__pycache__", "packaging"),
            )
        for name in UNUSED:
            shutil.rmtree(root / name, ignore_errors=True)
        compiled = compile_all(root, options.runtime)
        unzipped = write_zip(root, options.output)
    if unzipped > LIMIT:
        sys.exit(f"{unzipped / 1e6:.1f} MB unzipped; Lambda takes {LIMIT / 1e6:.0f}")
    size = options.output.stat().st_size
    print(
        f"{options.output.name}: {size / 1e6:.1f} MB, {unzipped / 1e6:.1f} MB unzipped, for "
        f"{options.runtime} on {options.architecture}" + ("" if compiled else ", not precompiled")
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the zip to write")
    parser.add_argument("--runtime", default="python3.12")
    parser.add_argument("--architecture", default="arm64", choices=sorted(MACHINES))
    parser.add_argument(
        "--extra", action="append", default=[], help="an extra of realtime-kit, such as pusher"
    )
    parser.add_argument(
        "--include", action="append", help="a folder of yours to put in (default: lambdas)"
    )
    return parser.parse_args()


def _requirements(extras: list[str], scratch: Path) -> list[str]:
    """realtime-kit with its extras, and what `lambdas/requirements.txt` adds or pins."""
    kit = f"realtime-kit[{','.join(sorted(extras))}]"
    if _is_checkout():
        _pip("wheel", "--no-deps", "--wheel-dir", str(scratch), str(PROJECT))
        (wheel,) = scratch.glob("realtime_kit-*.whl")
        kit = f"{kit} @ {wheel.as_uri()}"
    own = PROJECT / "lambdas" / "requirements.txt"
    return [kit, *(["--requirement", str(own)] if own.is_file() else [])]


def _is_checkout() -> bool:
    """Whether this is realtime-kit itself: then it is what goes in, not a release of it."""
    pyproject = PROJECT / "pyproject.toml"
    if not pyproject.is_file():
        return False
    name: object = tomllib.loads(pyproject.read_text()).get("project", {}).get("name")
    return name == "realtime-kit"


def install(root: Path, requirements: list[str], options: argparse.Namespace) -> None:
    """Install for the runtime. What has no wheel for it is an error, not built for this machine."""
    machine = MACHINES[options.architecture]
    glibc = GLIBC.get(options.runtime, GLIBC_NOW)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)]
    _pip(
        "install",
        "--target",
        str(root),
        "--python-version",
        options.runtime.removeprefix("python"),
        "--implementation",
        "cp",
        *(f"--platform={platform}" for platform in (*platforms, f"manylinux2014_{machine}")),
        "--only-binary=:all:",
        "--no-compile",
        *requirements,
    )


def compile_all(root: Path, runtime: str) -> bool:
    """Compile to bytecode, which Lambda could not keep: its disk is read-only, so every cold start
    would compile again. Only that very Python can do it; False where it is not installed."""
    running = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = sys.executable if running == runtime else shutil.which(runtime)
    # One that is found need not run: version managers leave placeholders.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:  # noqa: S603
        return False
    # The hash mode, unchecked: a zip does not keep the times that the default mode compares. A file
    # that does not compile stays as it is, and is nobody's concern until it is imported.
    command = [python, "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(root), "-p", "/var/task", str(root)], check=False)  # noqa: S603
    return True


def write_zip(root: Path, output: Path) -> int:
    """The same files make the same bytes, so that a deployment changes only what has changed.
    Returns the size of the content in bytes."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unzipped = 0
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = path.read_bytes()
            archive.writestr(entry, content)
            unzipped += len(content)
    return unzipped


def _pip(command: str, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip", command, *quiet, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"pip {command} failed:\n{done.stderr.strip()}")


if __name__ == "__main__":
    main()
