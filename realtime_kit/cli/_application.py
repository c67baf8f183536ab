"""MODULE:APP, as commands are given it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from realtime_kit.errors import missing_extra

if TYPE_CHECKING:
    from realtime_kit.realtime import Realtime


def attribute(app: str) -> object:
    """What `module:name` names; None for what else leads to an app."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module, _, name = app.partition(":")
    try:
        if not name.isidentifier() or find_spec(module) is None:
            return None
    except ModuleNotFoundError:  # of a package that it would be in
        return None
    return getattr(import_module(module), name, None)


def realtime_of(app: str) -> Realtime:
    """The Realtime that it names, or that of the Flask app. Raises `UsageError`."""
    from realtime_kit.realtime import Realtime

    if isinstance(found := attribute(app), Realtime):
        return found
    try:
        from flask.cli import ScriptInfo, load_dotenv
    except ModuleNotFoundError as error:
        raise missing_extra("flask", f"{app}, unless it is a Realtime,") from error
    load_dotenv()
    made = ScriptInfo(app_import_path=app).load_app().extensions.get("realtime")
    if not isinstance(made, Realtime):
        raise click.UsageError(f"{app} is an app without FlaskRealtime")
    return made
