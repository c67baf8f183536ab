"""The deployment of provider `aws` under `realtime-kit dev` and `emulate apigateway`: the functions
of `lambdas/`, just as they are deployed, in the API Gateway emulator. No AWS account, no
credentials."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime_kit import assets

if TYPE_CHECKING:
    from realtime_kit.emulators.deployment import Deployment, Handlers
    from realtime_kit.hosting.apigateway.dynamodb import DynamoDB
    from realtime_kit.settings import RealtimeSettings


@contextmanager
def emulated(
    settings: RealtimeSettings, host: str, webhook: str, *, endpoints: bool = False
) -> Iterator[Deployment]:
    """Run it on the embedded server's port until the block ends. Webhooks are posted to `webhook`;
    without it they are the functions' own. With `endpoints` it has those of the application, too.

    Raises `ConfigurationError` where the published development credentials would be reachable from
    other machines.
    """
    from realtime_kit.emulators.deployment import deployed
    from realtime_kit.settings import (
        DEVELOPMENT_KEY,
        DEVELOPMENT_SECRET,
        is_loopback,
        published_keys_refused,
    )

    aws = settings.aws
    pairs = [f"{pair.key}:{pair.secret.get_secret_value()}" for pair in aws.keys]
    if not pairs or any(pair.is_published for pair in aws.keys):
        if not is_loopback(host):
            raise published_keys_refused(f"on {host}, which others can reach", "aws")
        pairs = pairs or [f"{DEVELOPMENT_KEY}:{DEVELOPMENT_SECRET}"]
    environ = {
        "REALTIME_AWS__APP_ID": aws.app_id,
        "REALTIME_AWS__KEYS": ",".join(pairs),
        "REALTIME_AWS__WEBHOOK": aws.webhook or webhook,
        "REALTIME_AWS__METRICS": "false",
    }
    where: dict[str, Any] = {"host": host, "port": settings.port, "endpoints": endpoints}
    with deployed(_database(), _load_functions, environ=environ, **where) as deployment:
        yield deployment


def rows_of(deployment: Deployment) -> list[tuple[str, str]]:
    """What one needs to connect."""
    return [
        ("WebSocket", deployment.gateway.websocket_url),
        ("wsPath", f"{deployment.ws_path} (of Pusher's clients, behind wsHost and wsPort)"),
        ("HTTP API", f"{deployment.gateway.url}/apps/{deployment.environ['REALTIME_AWS__APP_ID']}"),
    ]


def _database() -> DynamoDB:
    """moto's DynamoDB, and without moto one of our own."""
    from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

    try:
        return MotoDynamoDB()
    except ModuleNotFoundError:
        return MemoryDynamoDB()


def _load_functions(environ: Mapping[str, str], _clock: Callable[[], float]) -> Handlers:
    """The project's own functions, if there are any here, else those that come with the kit.

    They read the environment once, when they are loaded, as on Lambda.
    """
    from realtime_kit.emulators.deployment import FUNCTIONS

    names = (*FUNCTIONS, "auth")
    here = Path.cwd()
    own = (here / "lambdas" / "websocket.py").is_file()
    place = str(here if own else assets.path("lambdas").parent)
    sys.path.insert(0, place)
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        return {name: import_module(f"lambdas.{name}").handler for name in names}
    finally:
        sys.path.remove(place)
        os.environ.clear()
        os.environ.update(before)
