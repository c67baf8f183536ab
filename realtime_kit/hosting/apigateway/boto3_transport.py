"""The fallback: the same commands through boto3, one after the other, some 40 times slower.

For where the SDK's own ways to credentials, proxies and certificates are wanted. boto3 is imported
when it is first used. `REALTIME_AWS__TRANSPORT=boto3` selects it.
"""

from __future__ import annotations

import random as random_numbers
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.bucket import TokenBucket
from realtime_kit.hosting.apigateway.delivery import (
    Call,
    Command,
    Delivery,
    Describe,
    Description,
    Disconnect,
    Schedule,
    Tuning,
    descriptions,
)
from realtime_kit.hosting.apigateway.requests import Endpoint


class Boto3Transport:
    """A `Transport`. Thread-safe: one delivery at a time.

    Credentials are found by boto3, and renewed by it. Of `tuning`, `connections` has no use here.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        region: str,
        bucket: TokenBucket | None = None,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        Endpoint.parse(endpoint)
        self._url = endpoint.rstrip("/")
        self._region = region
        self._bucket = bucket
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._lock = Lock()

    def deliver(self, commands: Iterable[Command], *, timeout: float = 10.0) -> Delivery:
        """See `Transport`. Raises `ConfigurationError` if boto3 finds no credentials."""
        with self._lock:
            schedule = Schedule(
                commands,
                now=self._clock(),
                timeout=timeout,
                patience=self._tuning.patience,
                random=self._random,
            )
            while schedule.unfinished and (now := self._clock()) < schedule.deadline:
                schedule.wake(now)
                pause = self._pause(schedule, now)
                if pause:
                    self._sleep(pause)
                else:
                    self._call(schedule)
            now = self._clock()
            schedule.give_up("no time is left", now)
            schedule.delivery.seconds = now - schedule.started
            return schedule.delivery

    def describe(
        self, connection_ids: Sequence[str], *, timeout: float = 10.0
    ) -> dict[str, Description | None]:
        """See `Transport`."""
        return descriptions(self.deliver([Describe(connection_ids)], timeout=timeout))

    def open(self) -> None:
        """Load boto3 and find the credentials now, not at the first delivery.

        Raises `ConfigurationError` where boto3 is missing.
        """
        with self._lock:
            self._client  # noqa: B018 - made on first use

    def close(self) -> None:
        """Close the connections; a further delivery makes new ones."""
        with self._lock:
            if "_client" in self.__dict__:
                self._client.close()
                del self._client

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise ConfigurationError(
                "this transport needs boto3: pip install 'realtime-kit[aws]'"
            ) from error
        # A session of our own: the default one is everybody's, and keeps what it once found.
        return boto3.Session().client(
            "apigatewaymanagementapi",
            endpoint_url=self._url,
            region_name=self._region,
            config=Config(
                # What is tried again, and when, is decided here.
                retries={"total_max_attempts": 1},
                connect_timeout=self._tuning.answer,
                read_timeout=self._tuning.answer,
            ),
        )

    def _pause(self, schedule: Schedule, now: float) -> float:
        """Seconds until the next call may be made."""
        if not schedule.ready:
            return min(schedule.next_due, schedule.deadline) - now
        if self._bucket is None or self._bucket.take(now):
            return 0.0
        return min(self._bucket.wait(now), schedule.deadline - now)

    def _call(self, schedule: Schedule) -> None:
        client = self._client
        from botocore import exceptions

        call = schedule.take()
        try:
            status = self._ask(client, call)
        except exceptions.ClientError as error:
            answer = error.response
            schedule.answered(
                call,
                answer["ResponseMetadata"]["HTTPStatusCode"],
                self._clock(),
                reason=answer["Error"]["Code"].lower(),
            )
        except exceptions.ConnectionError as error:
            schedule.lost(call, str(error), self._clock(), whole=False)
        except (exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
            schedule.lost(call, str(error), self._clock(), whole=True)
        except exceptions.NoCredentialsError as error:
            raise ConfigurationError(
                'boto3 finds no AWS credentials: see its guide, "Credentials"'
            ) from error
        else:
            schedule.answered(call, status, self._clock())

    @staticmethod
    def _ask(client: Any, call: Call) -> int:
        command = call.command
        if isinstance(command, Describe):
            answer = client.get_connection(ConnectionId=call.connection_id)
            call.description = _description(answer)
        elif isinstance(command, Disconnect):
            answer = client.delete_connection(ConnectionId=call.connection_id)
        else:
            answer = client.post_to_connection(ConnectionId=call.connection_id, Data=command.frame)
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status


def _description(answer: dict[str, Any]) -> Description | None:
    try:
        return Description(
            answer["ConnectedAt"].timestamp(),
            answer["LastActiveAt"].timestamp(),
            answer["Identity"]["SourceIp"],
            answer["Identity"].get("UserAgent", ""),
        )
    except KeyError:
        return None
