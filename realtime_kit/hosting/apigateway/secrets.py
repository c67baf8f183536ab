"""What a function may know and its configuration must not show: read at first use, kept a while.

The secret is one JSON object of texts, in Systems Manager's Parameter Store (`ssm:NAME`, a
SecureString) or in Secrets Manager (`secretsmanager:NAME`). Sources: SSM API Reference,
"GetParameter"; Secrets Manager API Reference, "GetSecretValue".
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

from realtime_kit.errors import ConfigurationError, ProviderUnavailable
from realtime_kit.hosting.apigateway.dynamodb import Http
from realtime_kit.hosting.apigateway.sigv4 import CredentialSource, Signer
from realtime_kit.protocol.signing import Key

TTL = 300.0  # seconds: how late a function may hear of a rotation
RETRY = 15.0  # seconds until it is asked again after a failure; what is known is used meanwhile

_log = logging.getLogger(__name__)

Values = Mapping[str, str]
Connect = Callable[[str], tuple[Http, str]]


class Secret:
    """The secret at `place`: `ssm:/realtime-kit/prod` or `secretsmanager:realtime-kit/prod`.

    Thread-safe if what `connect` gives is: for a service's name a client, and the Host header that
    it sends. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        place: str,
        connect: Connect,
        *,
        region: str,
        credentials: CredentialSource,
        ttl: float = TTL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service, _, self._name = place.partition(":")
        if self._service not in ("ssm", "secretsmanager") or not self._name:
            raise ConfigurationError("a secret's place is ssm:NAME or secretsmanager:NAME")
        self._http, self._host = connect(self._service)
        self._signer = Signer(self._service, region)
        self._credentials = credentials
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._values: Values | None = None
        self._stale_at = 0.0

    def values(self) -> Values:
        """What is in it, as it was at most `ttl` seconds ago; older only while it cannot be read.

        Raises `ConfigurationError` if it is not there, or not of that form, and
        `ProviderUnavailable`, if it was never read yet.
        """
        if self._values is not None and self._clock() < self._stale_at:
            return self._values
        with self._lock:
            now = self._clock()
            if self._values is None:
                self._values, self._stale_at = self._read(), now + self._ttl
            elif now >= self._stale_at:
                try:
                    self._values, self._stale_at = self._read(), now + self._ttl
                except (ConfigurationError, ProviderUnavailable) as error:
                    _log.error("%s; the values read before are used", error)
                    self._stale_at = now + RETRY
            return self._values

    def _read(self) -> Values:
        if self._service == "ssm":
            request: dict[str, object] = {"Name": self._name, "WithDecryption": True}
            text = self._ask("AmazonSSM.GetParameter", request).get("Parameter", {}).get("Value")
        else:
            request = {"SecretId": self._name}
            text = self._ask("secretsmanager.GetSecretValue", request).get("SecretString")
        try:
            values = json.loads(text or "")
        except ValueError:
            values = None  # the error would quote the text
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ConfigurationError(
                f"what is in {self._service}:{self._name} is not one JSON object of texts"
            )
        return values

    def _ask(self, target: str, request: Mapping[str, object]) -> dict[str, Any]:
        body = json.dumps(request).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
        signed = self._signer.headers(
            self._credentials(), self._clock(), "POST", self._host, "/", headers, body
        )
        answer = self._http.request("POST", "/", headers=signed, body=body)
        found: dict[str, Any] = json.loads(answer.body or b"{}")
        if answer.status == 200:
            return found
        code = str(found.get("__type", "")).rpartition("#")[2] or f"status {answer.status}"
        place = f"{self._service}:{self._name}"
        if answer.status >= 500 or "Throttl" in code:
            raise ProviderUnavailable(
                f"{place} could not be read: {code}",
                provider="aws",
                status=answer.status,
                code=code,
                retryable=True,
            )
        raise ConfigurationError(
            f"{place} could not be read: {code}. Is it stored (`realtime-kit init` prints how), "
            "and may the function read it?"
        )


class SecretKeys(Sequence[Key]):
    """The signing keys in a secret, under `name` as `KEY:SECRET,KEY:SECRET`: those of now."""

    def __init__(self, secret: Secret, name: str) -> None:
        self._secret = secret
        self._name = name
        self._parsed: tuple[str, tuple[Key, ...]] = ("", ())

    def _keys(self) -> tuple[Key, ...]:
        text = self._secret.values().get(self._name, "")
        kept = self._parsed
        if kept[0] != text:
            pairs = (pair.strip().partition(":") for pair in text.split(","))
            kept = text, tuple(Key(key, secret) for key, _, secret in pairs if key and secret)
            self._parsed = kept
        if not kept[1]:
            raise ConfigurationError(f"the secret has no {self._name}: KEY:SECRET, newest first")
        return kept[1]

    @overload
    def __getitem__(self, index: int) -> Key: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Key]: ...
    def __getitem__(self, index: int | slice) -> Key | Sequence[Key]:
        return self._keys()[index]

    def __len__(self) -> int:
        return len(self._keys())

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys())
