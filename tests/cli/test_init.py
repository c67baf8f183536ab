"""`realtime-kit init`: the files, and the one command that stores the secret."""

from __future__ import annotations

import json
import shlex

import pytest


def test_it_copies_the_functions_and_prints_one_command(invoke, tmp_path):
    done = invoke("init", "shop", "--stage", "prod")
    assert done.exit_code == 0
    there = {path.name for path in (tmp_path / "shop" / "lambdas").iterdir()}
    assert {"app.py", "auth.py", "websocket.py", "packaging"} <= there
    assert "__pycache__" not in there
    assert (tmp_path / "shop" / "serverless.yml").read_text().count("lambdas/packaging/plugin.cjs")
    (command,) = done.stdout.splitlines()
    *words, value = shlex.split(command)
    assert words == [
        *("aws", "ssm", "put-parameter", "--type", "SecureString"),
        *("--name", "/realtime-kit/prod", "--value"),
    ]
    secret = json.loads(value)
    key, _, own = secret["REALTIME_AWS__KEYS"].partition(":")
    assert (len(key), len(own)) == (20, 40)
    assert len(secret["JWT_SECRET"]) >= 32
    for path in (path for path in (tmp_path / "shop").rglob("*") if path.is_file()):
        assert own not in path.read_text(), "the secret is written nowhere"
    assert own not in done.stderr


def test_secrets_differ_each_time(invoke):
    assert invoke("init", "a").stdout != invoke("init", "b").stdout


def test_secrets_manager(invoke):
    done = invoke("init", "--secrets", "secretsmanager")
    assert done.stdout.startswith("aws secretsmanager create-secret --name realtime-kit/dev ")
    assert "--param secrets=secretsmanager" in done.stderr


@pytest.mark.parametrize("name", ["lambdas", "serverless.yml"])
def test_nothing_is_overwritten(invoke, tmp_path, name):
    (tmp_path / name).write_text("mine")
    done = invoke("init")
    assert done.exit_code == 1
    assert f"{name} exist in ." in done.stderr
    assert not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_stage_that_is_none(invoke):
    assert invoke("init", "--stage", "a b'").exit_code == 2
