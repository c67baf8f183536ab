"""A stage's @connections API over TLS on loopback, every answer of which a test decides."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from realtime_kit.hosting.apigateway.delivery import Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.testing.certificate import self_signed
from realtime_kit.testing.faults import Answer, FaultServer


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def certificate(certified: tuple[Path, Path]) -> Path:
    """What the stage is to be trusted by, as 127.0.0.1 alone."""
    return certified[0]


@pytest.fixture(scope="session")
def server_tls(certified: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certified)
    return context


@pytest.fixture
def stage(server_tls: ssl.SSLContext) -> Iterator[FaultServer]:
    """Answers 200 with nothing, as a post that went well."""
    with FaultServer(default=Answer(200, b""), tls=server_tls) as server:
        yield server


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("AKIDEXAMPLE", "a-secret", "a/session+token==")


@pytest.fixture
def make_posts(
    stage: FaultServer, certificate: Path, credentials: Credentials
) -> Iterator[Callable[..., Posts]]:
    """Makes a `Posts` to the stage, with options of one's own; closed at the end."""
    with ExitStack() as ending:

        def make(url: str | None = None, **given: object) -> Posts:
            options: dict[str, object] = {
                "region": "eu-west-1",
                "credentials": lambda: credentials,
                "tuning": Tuning(connections=8),
                "tls": ssl.create_default_context(cafile=certificate),
                **given,
            }
            posts = Posts(url or f"https://127.0.0.1:{stage.port}/prod", **options)  # type: ignore[arg-type]
            ending.callback(posts.close)
            return posts

        yield make


@pytest.fixture
def posts(make_posts: Callable[..., Posts]) -> Posts:
    return make_posts()
