"""What goes into a zip, and what is refused. (The zips themselves: tests/lambda_http/packaged.)"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from realtime_kit import ConfigurationError
from realtime_kit.cli import main
from realtime_kit.cli.build import ARCHITECTURES, PROVIDERS
from realtime_kit.deployment import build, elf


def header(machine: int, *, order: str = "little") -> bytes:
    ident = elf.MAGIC + bytes([2, 1 if order == "little" else 2, 1]) + bytes(9)
    return ident + (3).to_bytes(2, order) + machine.to_bytes(2, order)


def test_the_machine_of_this_very_python():
    with Path(sys.executable).resolve().open("rb") as file:
        assert elf.machine(file.read(elf.HEADER)) in build.WHEEL_MACHINES


@pytest.mark.parametrize(
    ("content", "machine"),
    [
        (header(62), "x86_64"),
        (header(183), "arm64"),
        (header(183, order="big"), "arm64"),
        (header(8), "machine 8"),
        (b"\x7fELF", None),
        (b"print('hello')", None),
        (b"", None),
    ],
)
def test_the_machine_of_a_module(content, machine):
    assert elf.machine(content) == machine


def test_what_is_for_another_processor_is_found_by_its_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "speedups.so").write_bytes(header(62))
    (tmp_path / "a" / "tool").write_bytes(header(3))
    (tmp_path / "a" / "mine.so").write_bytes(header(183))
    (tmp_path / "a" / "text.so").write_text("GROUP ( libc.so.6 )")
    assert build.foreign(tmp_path, "arm64") == ["a/speedups.so (x86_64)", "a/tool (i386)"]


def test_a_foreign_module_of_the_application_fails_the_build(tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "lambdas").mkdir(parents=True)
    (project / "lambdas" / "auth.py").touch()
    (project / "lambdas" / "fast.so").write_bytes(header(62))
    monkeypatch.setattr(build, "_install", lambda root, wanted, target: root.mkdir())
    functions = build.functions_of("aws", {"auth": "lambdas/auth.handler"})
    with pytest.raises(ConfigurationError, match=r"not compiled for arm64: lambdas/fast.so"):
        build.build(project, tmp_path / "out", functions, build.Target("arm64", "3.12"))
    (made,) = build.build(project, tmp_path / "out", functions, build.Target("x86_64", "3.12"))
    assert made.archive.is_file()


def test_the_same_files_make_the_same_zip(tmp_path):
    made = []
    for turn in ("a", "b"):
        root = tmp_path / turn
        (root / "package").mkdir(parents=True)
        for name in ("package/b.py", "package/a.py", "c.py")[:: 1 if turn == "a" else -1]:
            (root / name).write_text(name)
        files = (path for path in root.rglob("*") if path.is_file())
        unzipped = build.write_zip(root, tmp_path / f"{turn}.zip", files)
        assert unzipped == len("package/a.pypackage/b.pyc.py")
        made.append((tmp_path / f"{turn}.zip").read_bytes())
    assert made[0] == made[1]


def test_only_auth_goes_without_the_vendor():
    for provider, vendor in (("pusher", "pusher"), ("ably", "ably")):
        extras = {one.name: one.extras for one in build.functions_of(provider)}
        assert extras == {"auth": (), "trigger": (vendor,), "webhook": (vendor,)}
    assert not any(one.extras for one in build.functions_of("aws"))
    *_, relay = build.functions_of("ably", outbox=True)
    assert (relay.name, relay.extras) == ("relay", ("ably", "sql"))
    (own,) = build.functions_of("pusher", {"mine": "shop/mine.handler"}, ["jwt"])
    assert own.extras == ("jwt", "pusher")


def test_the_command_offers_what_can_be_built():
    assert set(PROVIDERS) == set(build.FUNCTIONS)
    assert set(ARCHITECTURES) == set(build.WHEEL_MACHINES)


def test_wheels_are_for_the_runtime_s_c_library():
    assert build.Target("arm64", "3.12").platforms[0] == "manylinux_2_34_aarch64"
    assert build.Target("x86_64", "3.11").platforms[0] == "manylinux_2_26_x86_64"
    assert build.Target("x86_64", "3.11").platforms[-1] == "manylinux2014_x86_64"


def test_what_is_installed_says_the_same_as_the_checkout(monkeypatch, checkout, tmp_path):
    def plain(wanted: list[str]) -> set[str]:
        return {requirement.replace(" ", "").split(";")[0] for requirement in wanted}

    here = build.requirements(("jwt", "pusher", "server"))
    assert "uvloop" in str(here)
    assert metadata.requires("realtime-kit")
    monkeypatch.setattr(build, "_PACKAGE", tmp_path / "realtime_kit")
    installed = build.requirements(("jwt", "pusher", "server"))
    assert plain(installed) == plain(here)
    assert not any("extra" in requirement for requirement in installed)


@pytest.mark.parametrize("extra", ["all", "nonsense"])
def test_an_extra_that_cannot_be_built_with(extra):
    with pytest.raises(ConfigurationError, match=f"{extra}; there are ably, aws"):
        build.requirements([extra])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arch", "riscv"], "'riscv' is not one of"),
        (["--python", "2.7"], "not a Python to build for"),
        (["--function", "nothing"], "no function nothing; auth, trigger"),
        ([], "lambdas/auth.py is missing"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_line(arguments, said, tmp_path):
    done = CliRunner().invoke(main, ["build", "--project", str(tmp_path), *arguments])
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
