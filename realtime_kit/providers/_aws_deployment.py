"""A deployment's `Host` from its settings: what carries its requests, and how much they may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import Transport
from realtime_kit.hosting.apigateway.host import Host
from realtime_kit.hosting.apigateway.metrics import Metrics
from realtime_kit.hosting.apigateway.posts import Posts
from realtime_kit.hosting.apigateway.registry import Bounds, Registry
from realtime_kit.hosting.apigateway.services import Function, Sqs
from realtime_kit.hosting.apigateway.sigv4 import CredentialSource
from realtime_kit.protocol.app import App
from realtime_kit.protocol.signing import Key
from realtime_kit.providers._aws_services import credentials, open_service, open_table
from realtime_kit.providers.aws import ACTIVITY_TIMEOUT
from realtime_kit.settings import AwsSettings


def open_host(
    settings: AwsSettings, keys: Callable[[], Sequence[Key]], *, clock: Callable[[], float]
) -> Host:
    """Raises `ConfigurationError` for what is missing. `keys` is asked for each time."""
    settings.require("table", "queue", "region", "access_key_id", "secret_access_key")
    region = str(settings.region)
    signs = credentials(settings)
    sqs = open_service("sqs", settings)
    queue = Sqs(str(settings.queue), sqs.http, sqs.host, region=region, credentials=signs)
    table = open_table(settings, open_service("dynamodb", settings), settings.table)
    greet: Callable[[Mapping[str, Any]], object] = queue.send
    if settings.function:
        aws_lambda = open_service("lambda", settings)
        greet = Function(
            settings.function,
            aws_lambda.http,
            aws_lambda.host,
            region=region,
            credentials=signs,
        ).invoke
    return Host(
        lambda: _app(settings, tuple(keys())),
        registry=Registry(table, settings.app_id, bounds=_bounds(settings), clock=clock),
        transport=_transport(settings, signs),
        queue=queue,
        greet=greet,
        origins=settings.origins,
        mode=settings.delivery,
        metrics=Metrics(settings.function or settings.table) if settings.metrics else None,
        clock=clock,
    )


def _transport(settings: AwsSettings, signs: CredentialSource) -> Transport:
    endpoint, region, bucket = _endpoint(settings), str(settings.region), bucket_of(settings)
    if settings.transport == "boto3":
        from realtime_kit.hosting.apigateway.boto3_transport import Boto3Transport

        transport = Boto3Transport(endpoint, region=region, bucket=bucket)
        transport.open()  # while a function starts, it has more CPU than later
        return transport
    return Posts(endpoint, region=region, credentials=signs, bucket=bucket)


def bucket_of(settings: AwsSettings) -> TokenBucket:
    """What one instance of a function may ask of API Gateway."""
    part = settings.share * settings.part / settings.concurrency
    return TokenBucket(settings.quota * part, max(1.0, settings.burst * part))


def _endpoint(settings: AwsSettings) -> str:
    if settings.endpoint:
        return settings.endpoint
    return str(settings.require("socket").socket).replace("ws", "http", 1)


def _bounds(settings: AwsSettings) -> Bounds:
    return Bounds(
        per_address=settings.per_address or None,
        per_user=settings.per_user or None,
        subscriptions=settings.subscriptions or None,
        authorization=settings.authorization or None,
    )


def _app(settings: AwsSettings, keys: tuple[Key, ...]) -> App:
    return App(
        settings.app_id,
        keys,
        client_events=settings.client_events,
        subscription_count=settings.subscription_count,
        activity_timeout=ACTIVITY_TIMEOUT,
    )
