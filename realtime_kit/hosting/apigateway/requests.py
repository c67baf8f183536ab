"""The requests of API Gateway's @connections API: their addresses, and their bytes, signed. Pure.

Source: "Use @connections commands in your backend service". An id stands percent-encoded in the
path (`=` is `%3D`) and is signed encoded twice (`%253D`); `@connections` is sent as it is and
signed `%40connections`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal
from urllib.parse import quote, urlsplit

from realtime_kit.errors import ConfigurationError
from realtime_kit.hosting.apigateway.sigv4 import (
    Credentials,
    Signer,
    canonical_headers,
    canonical_path,
    timestamp,
)

Method = Literal["POST", "GET", "DELETE"]

_URL = re.compile(r"https?://[!-~]+")
_PORTS = {"https": 443, "http": 80}
# What an id of API Gateway consists of; other ids are encoded the general, slower way.
_USUAL = re.compile(r"[A-Za-z0-9_-]+=*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the @connections of a stage are: `https://API.execute-api.REGION.amazonaws.com/STAGE`.

    With a domain of one's own the path is the mapping's key, not the stage. `host_header` is the
    host as it is sent and signed.
    """

    tls: bool
    host: str
    port: int
    host_header: str
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Raises `ConfigurationError` for what is no such URL."""
        try:
            if not _URL.fullmatch(url):
                raise ValueError("not an http(s) URL")
            parts = urlsplit(url)
            if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
                raise ValueError("more or less than a scheme, a host and a path")
            port = parts.port or _PORTS[parts.scheme]
            path = parts.path.rstrip("/")
            canonical_path(path or "/")
        except ValueError as error:
            raise ConfigurationError(
                f"not an @connections endpoint: {error}. It looks like "
                "https://API.execute-api.REGION.amazonaws.com/STAGE"
            ) from error
        shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        header = shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"
        return cls(parts.scheme == "https", parts.hostname, port, header, path)


def quoted(connection_id: str) -> bytes:
    """An id as it stands in the path. Raises `ValueError` for one that cannot."""
    if _USUAL.fullmatch(connection_id):
        return connection_id.replace("=", "%3D").encode()
    if connection_id in ("", ".", ".."):
        raise ValueError(f"not the id of a connection: {connection_id!r}")
    return quote(connection_id, safe="").encode()


class Signed:
    """Requests of one method and body, signed for one second: only the id is left to fill in.

    All that is the same for every recipient is encoded and hashed here, once.
    """

    __slots__ = ("_after", "_canonical", "_canonical_after", "_end", "_mac", "_path")

    def __init__(
        self,
        endpoint: Endpoint,
        signer: Signer,
        credentials: Credentials,
        now: float,
        method: Method,
        body: bytes = b"",
    ) -> None:
        path = f"{endpoint.path}/@connections/"
        sealed = {"Host": endpoint.host_header, "X-Amz-Date": timestamp(now)}
        if credentials.session_token:
            sealed["X-Amz-Security-Token"] = credentials.session_token
        canonical, names = canonical_headers(sealed)
        authorization, self._mac = signer.opening(credentials, now)
        self._canonical = sha256(f"{method}\n{canonical_path(path)}".encode())
        self._canonical_after = f"\n\n{canonical}\n{names}\n{sha256(body).hexdigest()}".encode()
        self._path = f"{method} {path}".encode()
        lines = [f" HTTP/1.1\r\nHost: {endpoint.host_header}"]
        lines += [f"{name}: {value}" for name, value in sealed.items() if name != "Host"]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        lines.append(f"Authorization: {authorization}SignedHeaders={names}, Signature=")
        self._after = "\r\n".join(lines).encode()
        self._end = b"\r\n\r\n" + body

    def request(self, quoted_id: bytes) -> bytes:
        """The bytes to write for one connection, its id as `quoted` gives it."""
        canonical = self._canonical.copy()
        canonical.update(quoted_id.replace(b"%", b"%25"))
        canonical.update(self._canonical_after)
        mac = self._mac.copy()
        mac.update(canonical.hexdigest().encode())
        return b"".join((self._path, quoted_id, self._after, mac.hexdigest().encode(), self._end))
