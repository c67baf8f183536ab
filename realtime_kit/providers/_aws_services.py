"""AWS's services from the settings: where they are, and whose requests they are."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.dynamodb import SignedDynamoDB
from realtime_kit.hosting.apigateway.sigv4 import Credentials, CredentialSource
from realtime_kit.hosting.apigateway.table import Table
from realtime_kit.providers._http import HttpClient
from realtime_kit.settings import AwsSettings


class Service(NamedTuple):
    """`host` is the Host header that `http` sends."""

    http: HttpClient
    host: str


def open_service(name: str, settings: AwsSettings) -> Service:
    """Raises `ConfigurationError` for what is missing."""
    settings.require("region")
    url = urlsplit(settings.services or f"https://{name}.{settings.region}.amazonaws.com")
    tls = url.scheme == "https"
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError("aws.services (REALTIME_AWS__SERVICES) is not like https://HOST")
    port = url.port or (443 if tls else 80)
    host = url.hostname if port == (443 if tls else 80) else f"{url.hostname}:{port}"
    return Service(HttpClient("aws", url.hostname, port, tls=tls, timeout=settings.timeout), host)


def open_table(settings: AwsSettings, dynamodb: Service, name: str) -> Table:
    """Raises `ConfigurationError` for what is missing."""
    settings.require("region", "access_key_id", "secret_access_key")
    signed = SignedDynamoDB(
        dynamodb.http,
        dynamodb.host,
        region=str(settings.region),
        credentials=credentials(settings),
    )
    return Table(signed, name)


def credentials(settings: AwsSettings) -> CredentialSource:
    """Those of the function: as long as its process lives they are valid."""
    secret, token = settings.secret_access_key, settings.session_token
    found = Credentials(
        str(settings.access_key_id),
        secret.get_secret_value() if secret else "",
        token.get_secret_value() if token else None,
    )
    return lambda: found
