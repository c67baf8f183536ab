"""Ably's REST API through the official `ably` package: requests, pages, and what an error means.

The SDK addresses, authenticates and marks every request, and goes to another of Ably's hosts when
one fails (RSC15). It sends through our HTTP client, on the hook that its `httpx` has for that: the
stock one has no limit on a whole answer and no word on whether a request was written. Loaded by
those who send, not by those who authorize.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
from ably.sync import AblyRestSync

from realtime_kit.errors import (
    ConfigurationError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from realtime_kit.providers._answer import Answer, problem
from realtime_kit.providers._http import HttpClient
from realtime_kit.settings import AblySettings, is_loopback

PROVIDER = "ably"
HELP = "https://help.ably.io/error/"
HOSTS = 2  # the one meant and one to fall back to; each has its share of the timeout
_UNSENT_HEADERS = ("host", "user-agent", "content-length", "connection", "accept-encoding")
_REVOKING = (
    "Enable 'Revocable tokens' in the settings of this API key (Ably's dashboard, API keys); it "
    "holds for tokens signed afterwards, and limits their life to an hour"
)
_HINTS = {
    40005: "REALTIME_ABLY__KEY is the whole API key, APP.KEYID:SECRET",
    40009: "If your account allows larger messages, set REALTIME_ABLY__MAX_MESSAGE_SIZE",
    40101: "Compare REALTIME_ABLY__KEY with the dashboard's API keys",
    40121: _REVOKING,
    40160: "The API key's own capabilities, in the dashboard, do not cover this",
    40163: _REVOKING,
    40164: _REVOKING,
    40400: "Compare REALTIME_ABLY__KEY with the dashboard's API keys",
}


class AblyRest:
    """One REST client. Thread-safe; its connections are made on first use, dropped after a fork."""

    def __init__(self, settings: AblySettings) -> None:
        key = settings.keys[0]
        self._secret = key.secret.get_secret_value()
        whole = f"{key.key}:{self._secret}"
        options: dict[str, Any] = {
            "tls": settings.tls,
            "use_binary_protocol": False,  # our bodies are JSON text already
            "http_max_retry_count": HOSTS,
            "http_max_retry_duration": settings.timeout,
            "add_request_ids": True,
        }
        if settings.endpoint:
            options["endpoint"] = settings.endpoint
        if settings.port:
            options["tls_port" if settings.tls else "port"] = settings.port
        self._headers: dict[str, str] = {}
        if settings.tls:
            self._rest = AblyRestSync(key=whole, **options)
        else:
            # The SDK lets no key into a connection in clear (RSC18), to this machine's own either.
            if not is_loopback(settings.endpoint or ""):
                raise ConfigurationError(
                    "ably.tls (REALTIME_ABLY__TLS) is off: the API key would travel in clear, "
                    "which only an emulator on this machine (REALTIME_ABLY__ENDPOINT) may see"
                )
            self._rest = AblyRestSync(token="in-the-header", **options)  # noqa: S106 - not sent
            self._headers = {"Authorization": f"Basic {b64encode(whole.encode()).decode()}"}
        self._hosts = len(self._rest.options.get_hosts())
        http = self._rest.http
        http.close()
        http._HttpSync__client = httpx.Client(
            transport=_Transport(settings.timeout / self._hosts), trust_env=False
        )

    def call(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: str | None = None,
    ) -> Any:
        """One request; the answer's JSON. Raises `ProviderError`."""
        return self._json(self._send(method, _with_query(path, params), body))

    def pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Any]:
        """The items of all pages of a list."""
        target = _with_query(path, params)
        while target:
            response = self._send("GET", target)
            items = self._json(response)
            if not isinstance(items, list):
                raise unreadable(response.status_code)
            yield from items
            following = response.links.get("next")
            # The path alone: credentials go to no host but ours.
            target = "" if following is None else _path(urljoin(target, following["url"]))

    def problem(
        self, error: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None
    ) -> ProviderError:
        """What an error object of Ably's, `{"code", "statusCode", "message", "href"?}`, means."""
        code = error.get("code")
        found = self._problem(str(error.get("message") or ""), status, headers or {})
        if not isinstance(code, int):
            return found
        link = error.get("href") or f"{HELP}{code}"
        message = ". ".join(filter(None, (found.args[0].rstrip("."), _HINTS.get(code))))
        if 42910 <= code < 43000 and not isinstance(found, RateLimited):
            found = RateLimited("", provider=PROVIDER, status=status, request_id=found.request_id)
        found.args = (f"{message}. See {link}",)
        found.code = code
        return found

    def _problem(self, text: str, status: int, headers: Mapping[str, str]) -> ProviderError:
        safe = text.replace(self._secret, "…").encode()
        return problem(Answer(status, safe, headers), PROVIDER)

    def close(self) -> None:
        """Close the idle connections; usable again afterwards."""
        self._rest.http._HttpSync__client._transport.close()

    def _send(
        self, method: Literal["GET", "POST"], target: str, body: str | None = None
    ) -> httpx.Response:
        try:
            response = self._rest.http.make_request(
                method, target, headers=self._headers, body=body, raise_on_error=False
            ).response
        except ProviderUnavailable as error:
            # The SDK tells of the last host alone; the one before may have taken the request.
            error.maybe_sent = error.maybe_sent or self._hosts > 1
            raise
        if not 200 <= response.status_code < 300:
            raise self._refusal(response)
        return response  # type: ignore[no-any-return]

    def _refusal(self, response: httpx.Response) -> ProviderError:
        status, headers = response.status_code, dict(response.headers)
        headers.setdefault("x-request-id", response.request.url.params.get("request_id", ""))
        error = _error_object(response.content)
        if error is None:
            return self._problem(response.content.decode("utf-8", "replace"), status, headers)
        return self.problem(error, status, headers)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise unreadable(response.status_code) from error


class _Transport(httpx.BaseTransport):
    """What `httpx` calls a transport: our client, one for each host. `timeout` is for a request."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._clients: dict[tuple[str, int], HttpClient] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {
            name: value for name, value in request.headers.items() if name not in _UNSENT_HEADERS
        }
        answer = self._client(request.url).request(
            request.method,
            request.url.raw_path.decode("ascii"),
            headers=headers,
            body=request.content,
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    def _client(self, url: httpx.URL) -> HttpClient:
        tls = url.scheme == "https"
        place = url.host, url.port or (443 if tls else 80)
        client = self._clients.get(place)
        if client is None:
            client = HttpClient(
                PROVIDER,
                *place,
                tls=tls,
                timeout=self._timeout,
                refused="An emulator? Run `realtime-kit emulate ably`" if not tls else "",
            )
            # Two threads may come first: the client of one of them is used by both.
            client = self._clients.setdefault(place, client)
        return client

    def close(self) -> None:
        for client in list(self._clients.values()):
            client.close()


def unreadable(status: int | None = None) -> ProviderUnavailable:
    """The error for an answer that the API does not give."""
    return ProviderUnavailable(
        "an answer that the API does not give: is something else listening there?",
        provider=PROVIDER,
        status=status,
        maybe_sent=True,
        retryable=True,
    )


def _error_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def _with_query(path: str, params: Mapping[str, Any] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


def _path(url: str) -> str:
    return urlsplit(url)._replace(scheme="", netloc="").geturl()
