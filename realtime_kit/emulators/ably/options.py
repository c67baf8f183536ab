"""What to pass to Ably's SDKs, so that they talk to an emulator.

`endpoint`, `port` and `tls` are the SDKs' own options, and each has its way with them.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

DEFAULT_KEY = "local0.dev:secret"


def options_for(
    client: Literal["ably-js", "ably-python"],
    url: str,
    *,
    key: str | None = DEFAULT_KEY,
    client_id: str | None = None,
) -> dict[str, object]:
    """The options of `new Ably.Realtime(…)`, or the arguments of `AblyRest(…)` and
    `AblyRealtime(…)`. url: where the emulator is, `http://127.0.0.1:8787`. key: None leaves
    credentials out, to pass `authUrl`, `token` and the like beside. client_id: who it is; of
    Python's client without TLS to be said here, not beside. Raises `ValueError`.

    With `https` the SDKs must trust the certificate: `SSL_CERT_FILE` of Python,
    `NODE_EXTRA_CA_CERTS` of Node say where it is.
    """
    address = urlsplit(url)
    tls = address.scheme == "https"
    if address.scheme not in ("http", "https") or address.hostname is None:
        raise ValueError(f"not the URL of an emulator: {url}")
    if client == "ably-js":
        port = address.port or (443 if tls else 80)
        return _ably_js(address.hostname, port, tls, key, client_id)
    if client == "ably-python":
        return _ably_python(address.netloc, tls, key, client_id)
    raise ValueError(f"unknown client {client}: ably-js or ably-python")


def _ably_js(
    host: str, port: int, tls: bool, key: str | None, client_id: str | None
) -> dict[str, object]:
    options: dict[str, object] = {
        "endpoint": host,
        "tls": tls,
        "tlsPort" if tls else "port": port,
    }
    if key is not None:
        options["key"] = key
    if client_id is not None:
        options["clientId"] = client_id
    return options


def _ably_python(
    netloc: str, tls: bool, key: str | None, client_id: str | None
) -> dict[str, object]:
    # Its realtime client ignores `port`, its REST client puts one behind whatever it is given. The
    # slash makes of the latter a path, which it then replaces: so this one serves both.
    options: dict[str, object] = {"endpoint": f"{netloc}/", "tls": tls}
    if key is not None:
        options["key"] = key
        if not tls:  # it refuses to send a key without TLS, a token it does send
            options["use_token_auth"] = True
    if client_id is not None:
        options["client_id"] = client_id
        if "use_token_auth" in options:
            # Its realtime client asks for a token of nobody's, and then refuses that (40102).
            options["default_token_params"] = {"client_id": client_id}
    return options
