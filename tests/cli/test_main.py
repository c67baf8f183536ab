"""The command line as a whole: help, versions, one-line errors, exit codes, colours."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from realtime_kit import __version__
from realtime_kit.cli import main
from realtime_kit.settings import names

COMMANDS = sorted(main.commands)


def test_version(run):
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"realtime-kit {__version__}\n")


def test_every_command_is_in_the_help(run):
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


def test_without_a_command_it_shows_the_help_and_fails(run):
    done = run()
    assert done.returncode == 2
    assert "Usage: realtime-kit" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "command",
    ["emulate ably", "emulate apigateway", *(one for one in COMMANDS if one != "emulate")],
)
def test_every_command_has_help_with_examples(command):
    done = CliRunner().invoke(main, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert "Examples:\n" in done.stdout
    assert f"realtime-kit {command}" in done.stdout
    # The command itself refuses a REALTIME_* name that is no setting.
    for name in re.findall(r"REALTIME_\w+", done.stdout):
        assert any(known.startswith(name) for known in names()), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trigr"], "No such command 'trigr'"),
        (["trigger"], "Missing argument 'CHANNEL'"),
        (["trigger", "orders", "shipped", "{"], "the data is not JSON"),
        (["trigger", "orders", "shipped", "text"], "A text is JSON in quotes"),
        (["serve", "--port", "x"], "Invalid value for '--port'"),
        (["listen"], "Missing argument 'CHANNEL...'"),
        (["listen", "orders", "--count", "0"], "Invalid value for '--count'"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(arguments, says):
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("realtime-kit: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "--help)" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "says", "code"),
    [
        (["trigger", "a b", "shipped"], {}, "may hold only letters", 2),
        (["trigger", "orders", "pusher:x"], {}, "the protocol's own", 2),
        (["trigger", "orders", "x", '"' + "x" * 10_241 + '"'], {}, "the limit is 10240", 2),
        (
            ["trigger", "orders", "x"],
            {"REALTIME_PROVIDER": "nosuch"},
            "unknown provider 'nosuch'",
            1,
        ),
        (
            ["trigger", "orders", "x"],
            {"REALTIME_PROVIDER": "pusher"},
            "set REALTIME_PUSHER__APP_ID",
            1,
        ),
        (
            ["trigger", "orders", "x"],
            {"REALTIME_PROVIDR": "local"},
            "nearest is REALTIME_PROVIDER",
            1,
        ),
        (["listen", "orders"], {"REALTIME_PROVIDER": "null"}, "has no socket", 1),
        (["listen", "a b"], {}, "may hold only letters", 2),
        (["serve", "--app", "1:key"], {}, "an app is ID:KEY:SECRET", 2),
        (["serve", "--webhook", "nowhere"], {}, "it is not like http://HOST/webhook", 2),
        (["serve", "--host", "192.0.2.1", "--port", "0"], {}, "the published development", 1),
    ],
)
def test_an_error_is_one_line(arguments, environ, says, code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, arguments, env=environ)
    assert done.exit_code == code
    assert done.stderr.startswith("realtime-kit: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("aiohttp", ["serve"], "server"),
        ("aiohttp", ["listen", "orders"], "server"),
        ("aiohttp", ["dev", "app:app", "--port", "0"], "server"),
        ("flask", ["dev", "app:app"], "flask"),
        ("flask", ["demo"], "flask"),
        ("sqlalchemy", ["demo"], "sql"),
    ],
)
def test_a_missing_extra_is_an_install_hint(missing, arguments, extra, environment, tmp_path):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from realtime_kit.cli import main; main({arguments!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("realtime-kit: ")
    assert done.stderr.endswith(f"pip install 'realtime-kit[{extra}]'\n")
    assert done.stderr.count("\n") == 1


class TestColours:
    def trigger(self, **environ):
        arguments = ["trigger", "orders", "shipped"]
        env = {"REALTIME_PROVIDER": "null", "NO_COLOR": None, **environ}
        return CliRunner().invoke(main, arguments, env=env, color=True).stdout

    def test_on_a_terminal(self):
        assert "\x1b[" in self.trigger()

    def test_not_where_they_are_not_wanted(self):
        assert "\x1b[" not in self.trigger(NO_COLOR="1")

    def test_not_in_a_pipe(self, run):
        done = run("trigger", "orders", "shipped", env={"REALTIME_PROVIDER": "null"})
        assert done.returncode == 0
        assert "sent shipped to orders through null" in done.stdout
        assert "\x1b[" not in done.stdout


def test_called_as_a_function_errors_are_the_callers():
    with pytest.raises(Exception, match="No such command"):
        main(["nosuch"], standalone_mode=False)
