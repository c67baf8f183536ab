"""A stage's @connections API over TLS on loopback, every answer of which a test decides."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from realtime_kit.hosting.apigateway.delivery import Tuning
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.sigv4 import Credentials
from realtime_kit.testing.faults import Answer, FaultServer


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stage")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "stage.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def stage(certificate: Path) -> Iterator[FaultServer]:
    """Answers 200 with nothing, as a post that went well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FaultServer(default=Answer(200, b""), tls=context) as server:
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
