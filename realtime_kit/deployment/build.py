"""Build the zips that Lambda runs: for each function what it imports, and nothing else.

Everything is installed from wheels made for the target, not for this machine, so there is no
container. Each compiled module's ELF header is read: one for another processor fails the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from realtime_kit.deployment import elf
from realtime_kit.errors import ConfigurationError

# The functions of each provider. What a provider does not need is not deployed.
FUNCTIONS = {
    "aws": ("auth", "trigger", "websocket", "fanout", "sweep"),
    "pusher": ("auth", "trigger", "webhook"),
    "ably": ("auth", "trigger", "webhook"),
}
# What publishes through a vendor's package. `auth` never does; `aws` is the kit's own.
VENDOR_EXTRAS: Mapping[str, tuple[str, ...]] = {"aws": (), "pusher": ("pusher",), "ably": ("ably",)}
WITHOUT_VENDOR = "auth"
# A function that is deployed where it is asked for, over any provider.
OUTBOX = "relay"
OUTBOX_EXTRA = "sql"

# Amazon Linux 2 below Python 3.12, Amazon Linux 2023 from there on: the C library's minor version.
GLIBC = {"3.11": 26}
GLIBC_NOW = 34
WHEEL_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}

# What no function imports. The rest of `realtime_kit` stays: it is small.
UNUSED = ("bin", *(f"realtime_kit/{name}" for name in ("_assets", "cli", "demo", "deployment")))
UNUSED += ("realtime_kit/testing", "realtime_kit/emulators")
COMMAND_LINE_ONLY = "click"  # a dependency of the commands, and of nothing that runs on Lambda

LIMIT = 262_144_000  # bytes unzipped: Lambda Developer Guide, "Lambda quotas"

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Target:
    """What it runs on: `arch` as Lambda names it, `python` as `3.12`."""

    arch: str = "arm64"
    python: str = "3.12"

    def __post_init__(self) -> None:
        if self.arch not in WHEEL_MACHINES:
            raise ConfigurationError(f"no architecture of Lambda: {self.arch}; arm64 or x86_64")
        if not re.fullmatch(r"3\.1[1-9]", self.python):
            raise ConfigurationError(f"not a Python to build for: {self.python}; such as 3.12")

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of the wheels that it takes, the newest first."""
        machine = WHEEL_MACHINES[self.arch]
        newest = GLIBC.get(self.python, GLIBC_NOW)
        tags = (f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1))
        return (*tags, f"manylinux2014_{machine}")


@dataclass(frozen=True, slots=True)
class Function:
    """One function: `handler` is `lambdas/auth.handler`, `extras` those of realtime-kit."""

    name: str
    handler: str
    extras: tuple[str, ...] = ()

    @property
    def module(self) -> PurePosixPath:
        """The file of the handler."""
        return PurePosixPath(self.handler.rpartition(".")[0] + ".py")


@dataclass(frozen=True, slots=True)
class Built:
    """A zip. Sizes are bytes. `compiled`: it holds bytecode, so that a cold start makes none."""

    function: str
    archive: Path
    size: int
    unzipped: int
    compiled: bool


def functions_of(
    provider: str,
    handlers: Mapping[str, str] | None = None,
    extras: Iterable[str] = (),
    *,
    outbox: bool = False,
) -> list[Function]:
    """A provider's functions (or those named with their handlers), each with its extras; with
    `outbox` its relay, too."""
    if provider not in FUNCTIONS:
        raise ConfigurationError(f"no functions for {provider!r}; for {', '.join(FUNCTIONS)}")
    if handlers is None:
        names = (*FUNCTIONS[provider], *([OUTBOX] if outbox else []))
        handlers = {name: f"lambdas/{name}.handler" for name in names}
    found = []
    for name, handler in handlers.items():
        lean = handler == f"lambdas/{WITHOUT_VENDOR}.handler"
        own = set(extras) | set(() if lean else VENDOR_EXTRAS[provider])
        if handler == f"lambdas/{OUTBOX}.handler":
            own.add(OUTBOX_EXTRA)
        found.append(Function(name, handler, tuple(sorted(own))))
    return found


def build(
    project: Path,
    output: Path,
    functions: Iterable[Function],
    target: Target,
    *,
    include: Iterable[str] = ("lambdas",),
) -> list[Built]:
    """Write `output/NAME.zip` for each function.

    `include` are the folders of `project` that go in. Of the functions' own files each zip has
    its own alone. `lambdas/requirements.txt`, if there is one, is installed for all. Raises
    `ConfigurationError` for what is missing, has no wheel for the target, is compiled for another
    processor, or is larger than Lambda takes.
    """
    functions, include = list(functions), tuple(include)
    for function in functions:
        if not (project / function.module).is_file():
            raise ConfigurationError(f"{function.module} is missing in {project}")
    handlers = {function.module for function in functions} | _handlers_of_the_kit(project)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        roots: dict[tuple[str, ...], tuple[Path, bool]] = {}
        built = []
        for function in functions:
            if function.extras not in roots:
                root = Path(scratch, f"root{len(roots)}")
                roots[function.extras] = root, _prepare(root, project, function, target, include)
            root, compiled = roots[function.extras]
            files = _without(root, handlers - {function.module})
            archive = output / f"{function.name}.zip"
            unzipped = write_zip(root, archive, files)
            if unzipped > LIMIT:
                raise ConfigurationError(
                    f"{function.name}: {unzipped / 1e6:.1f} MB unzipped; "
                    f"Lambda takes {LIMIT / 1e6:.0f}"
                )
            size = archive.stat().st_size
            built.append(Built(function.name, archive, size, unzipped, compiled))
    return built


def report(built: Iterable[Built], target: Target) -> Iterator[str]:
    """A line for each zip."""
    for one in built:
        yield (
            f"{one.archive.name}: {one.size / 1e6:.1f} MB, {one.unzipped / 1e6:.1f} MB unzipped, "
            f"for python{target.python} on {target.arch}"
            + ("" if one.compiled else ", not precompiled")
        )


def foreign(root: Path, arch: str) -> list[str]:
    """The compiled files below `root` that are not for `arch`, each with what it is for."""
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            machine = elf.machine(file.read(elf.HEADER))
        if machine not in (None, arch):
            found.append(f"{path.relative_to(root).as_posix()} ({machine})")
    return found


def write_zip(root: Path, output: Path, files: Iterable[Path]) -> int:
    """The same files make the same bytes, so that a deployment changes only what has changed.
    Returns the size of the content in bytes."""
    unzipped = 0
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = path.read_bytes()
            archive.writestr(entry, content)
            unzipped += len(content)
    return unzipped


def _handlers_of_the_kit(project: Path) -> set[PurePosixPath]:
    names = {OUTBOX, *(name for names in FUNCTIONS.values() for name in names)}
    modules = (PurePosixPath("lambdas", f"{name}.py") for name in names)
    return {module for module in modules if (project / module).is_file()}


def _prepare(
    root: Path, project: Path, function: Function, target: Target, include: Iterable[str]
) -> bool:
    """Install and copy all of it into `root`; whether it could be compiled to bytecode."""
    own = project / "lambdas" / "requirements.txt"
    pins = ["--requirement", str(own)] if own.is_file() else []
    _install(root, [*requirements(function.extras), *pins], target)
    unwanted = shutil.ignore_patterns("__pycache__")
    if not (root / "realtime_kit").exists():  # else the requirements name another
        shutil.copytree(_PACKAGE, root / "realtime_kit", ignore=unwanted)
    for folder in include:
        if not (project / folder).is_dir():
            raise ConfigurationError(f"the folder {folder} is missing in {project}")
        shutil.copytree(
            project / folder,
            root / folder,
            ignore=shutil.ignore_patterns("__pycache__", "packaging", "requirements.txt"),
        )
    _prune(root)
    if wrong := foreign(root, target.arch):
        raise ConfigurationError(f"not compiled for {target.arch}: {', '.join(wrong)}")
    return _compile_all(root, target.python)


def _prune(root: Path) -> None:
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    needed = re.compile(rf"{COMMAND_LINE_ONLY}\b(?!.*extra ==)", re.IGNORECASE)
    for distribution in metadata.distributions(path=[str(root)]):
        if any(needed.match(requirement) for requirement in distribution.requires or ()):
            return  # of something else that is in here
    for path in root.glob(f"{COMMAND_LINE_ONLY}*"):
        if path.name == COMMAND_LINE_ONLY or path.name.endswith(".dist-info"):
            shutil.rmtree(path)


def requirements(extras: Iterable[str]) -> list[str]:
    """What this very realtime-kit needs, with these extras: from the checkout, or as installed."""
    pyproject = _PACKAGE.parent / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text())["project"]
        always: list[str] = project["dependencies"]
        optional: dict[str, list[str]] = project["optional-dependencies"]
    else:
        always, optional = _installed_requirements()
    unknown = [extra for extra in extras if extra not in optional or extra == "all"]
    if unknown:
        raise ConfigurationError(
            f"not an extra to build with: {', '.join(unknown)}; "
            f"there are {', '.join(sorted(optional.keys() - {'all'}))}"
        )
    return [*always, *(one for extra in extras for one in optional[extra])]


def _installed_requirements() -> tuple[list[str], dict[str, list[str]]]:
    always, optional = [], dict[str, list[str]]()
    for requirement in metadata.requires("realtime-kit") or ():
        extra = re.search(r"""(?:\s+and\s+|;\s*)extra == ['"]([\w-]+)['"]""", requirement)
        if extra is None:
            always.append(requirement)
        else:
            optional.setdefault(extra[1], []).append(requirement.replace(extra[0], ""))
    return always, optional


def _install(root: Path, wanted: list[str], target: Target) -> None:
    """Install for the target. What has no wheel for it is an error, not built for this machine."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(root), "--implementation", "cp"]
    command += ["--python-version", target.python, "--only-binary=:all:", "--no-compile"]
    command += [f"--platform={platform}" for platform in target.platforms]
    done = subprocess.run([*command, *wanted], check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise ConfigurationError(f"pip install failed:\n{done.stderr.strip()}")


def _compile_all(root: Path, version: str) -> bool:
    """Compile to bytecode, which Lambda could not keep: its disk is read-only, so every cold start
    would compile again. Only that very Python can do it; False where it is not installed."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = sys.executable if running == version else shutil.which(f"python{version}")
    # One that is found need not run: version managers leave placeholders.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:  # noqa: S603
        return False
    # The hash mode, unchecked: a zip does not keep the times that the default mode compares. A file
    # that does not compile stays as it is, and is nobody's concern until it is imported.
    command = [python, "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(root), "-p", "/var/task", str(root)], check=False)  # noqa: S603
    return True


def _without(root: Path, handlers: Iterable[PurePosixPath]) -> Iterator[Path]:
    """The files below `root` but for the other functions' own, source and bytecode."""
    others = set(handlers)
    for path in root.rglob("*"):
        inside = PurePosixPath(path.relative_to(root).as_posix())
        if inside.suffix == ".pyc":  # lambdas/__pycache__/auth.cpython-312.pyc
            inside = inside.parent.parent / f"{inside.name.partition('.')[0]}.py"
        if inside not in others and path.is_file():
            yield path
