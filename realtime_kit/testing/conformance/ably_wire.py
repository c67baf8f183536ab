"""The far end of provider `ably`: the emulator, and browsers that speak Ably's realtime protocol to
it over real WebSockets. Needs the extra `emulators`.

The emulator has no integrations: what a batched webhook would tell is read out of its log and its
REST API, and signed as Ably signs it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import queue
import threading
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from realtime_kit.channels import kind_of
from realtime_kit.emulators.ably.server import AblyEmulator
from realtime_kit.emulators.ably.world import World
from realtime_kit.hosting.local import running
from realtime_kit.providers.ably import AblyProvider
from realtime_kit.providers.ably_names import ably_name, logical_name
from realtime_kit.providers.base import AuthAnswer, AuthRequest
from realtime_kit.settings import AblySettings
from realtime_kit.testing.conformance.channels_wire import Browsers
from realtime_kit.testing.conformance.wire import DEADLINE, Delivery, Refused

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, Any]], Any]

ACK, NACK, CONNECTED, DISCONNECTED, CLOSE, ERROR = 1, 2, 4, 6, 7, 9
ATTACH, ATTACHED, PRESENCE, MESSAGE, AUTH = 10, 11, 14, 15, 17
ENTER = 2
_MARKS = ("id", "offset", "epoch", "mutation")


class AblyBrowsers(Browsers):
    """Browsers of Ably's protocol; `settings` sign the tokens that they start with."""

    settings: AblySettings

    def connect(self, config: Mapping[str, Any]) -> AblyObserver:  # type: ignore[override]
        """A browser, connected as a guest."""
        address = config["ably"]
        scheme, port = ("wss", 443) if address["tls"] else ("ws", 80)
        url = f"{scheme}://{_host(address['endpoint'])}:{address['port'] or port}/"
        guest = AblyProvider(self.settings).authorize(AuthRequest(None, None, ())).token
        return AblyObserver(self.run, self._session, url, str(guest))


class AblyWire(AblyBrowsers):
    """Runs while it is entered. `settings` are for a provider that is to deliver there."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key
        self._taken = 0

    def _begin(self, opening: ExitStack) -> None:
        self.emulator = opening.enter_context(running(AblyEmulator([self._key])))
        self.emulator.call(lambda world: self._set_revocation(world, allowed=True))
        self.settings = AblySettings.model_validate(
            {"key": self._key, "endpoint": "127.0.0.1", "port": self.emulator.port, "tls": False}
        )

    def forbid_revocation(self, world: World) -> None:
        """Take away from the key what a provider needs to end connections."""
        self._set_revocation(world, allowed=False)

    def _set_revocation(self, world: World, *, allowed: bool) -> None:
        for app in world.apps.values():
            app.keys.update(
                {name: replace(key, revocable_tokens=allowed) for name, key in app.keys.items()}
            )

    def webhook(self) -> tuple[Mapping[str, str], bytes]:
        """The next webhook: headers and body."""
        item = None
        while item is None:
            self._taken += 1
            entry = self.emulator.log.wait("in", count=self._taken, deadline=DEADLINE)
            item = self._item(entry.detail["frame"], entry.time)
        return self._signed(item)

    def signed(self, *items: Mapping[str, Any]) -> tuple[Mapping[str, str], bytes]:
        """A webhook of these items."""
        return self._signed(*items)

    def _item(self, frame: Mapping[str, Any], time: float) -> Mapping[str, Any] | None:
        """What a browser's frame would make Ably tell. It has been answered already."""
        source, data = "", {}
        match frame["action"]:
            case int(action) if action == ATTACH:
                source = "channel.lifecycle"
            case int(action) if action == PRESENCE:
                source, data = "channel.presence", {"presence": self._get(frame, "presence")}
                data["presence"] = [{**one, "action": ENTER} for one in data["presence"]]
            case int(action) if action == MESSAGE:
                source, data = "channel.message", {"messages": self._get(frame, "messages")}
            case _:
                return None
        return {
            "source": source,
            "name": {"channel.lifecycle": "channel.opened"}.get(source, source),
            "timestamp": int(time * 1000),
            "data": {"channelId": frame["channel"], **data},
        }

    def _get(self, frame: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
        path = f"/channels/{quote(frame['channel'], safe='')}/{what}?limit=1"
        token = b64encode(self._key.encode()).decode()

        async def get() -> list[dict[str, Any]]:
            headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
            async with self._session.get(self.emulator.url + path, headers=headers) as answer:
                found: list[dict[str, Any]] = await answer.json()
                return found

        return self.run(get())

    def _signed(self, *items: Mapping[str, Any]) -> tuple[Mapping[str, str], bytes]:
        body = json.dumps({"items": items}).encode()
        name, _, secret = self._key.partition(":")
        signature = b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
        return {"X-Ably-Key": name, "X-Ably-Signature": signature}, body


class AblyObserver:
    """One browser. A token for another user makes it connect anew, as it has to on Ably."""

    def __init__(self, run: Run, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._run = run
        self._session = session
        self._url = url
        self._token = token
        self._attached: list[str] = []
        self._secrets: dict[str, bytes] = {}
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._connect()

    @property
    def socket_id(self) -> str:
        sender = {"connectionKey": self._connection_key, "clientId": _client_id(self._token)}
        return urlsafe_b64encode(json.dumps(sender).encode()).rstrip(b"=").decode()

    def subscribe(self, channel: str, answer: AuthAnswer | None = None) -> None:
        proof = dict(answer.channels.get(channel, {})) if answer else {}
        if answer is not None and answer.token is not None:
            self._use(str(answer.token))
        if "shared_secret" in proof:
            self._secrets[channel] = b64decode(proof["shared_secret"])
        self._attach(channel)
        self._attached.append(channel)
        if kind_of(channel).is_presence and proof:
            data = json.loads(proof["channel_data"]).get("user_info")
            self._acknowledged(PRESENCE, channel, presence=[{"action": ENTER, **_encoded(data)}])

    def sign_in(self, proof: Mapping[str, str]) -> None:
        self._use(proof["auth"])

    def send(self, channel: str, name: str, data: Any) -> None:
        self._acknowledged(MESSAGE, channel, messages=[{"name": name, **_encoded(data)}])

    def receive(self) -> Delivery:
        try:
            channel, message = self._events.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no event came within {DEADLINE:g} s") from None
        headers = message.get("extras", {}).get("headers", {})
        ids = {name: headers[name] for name in _MARKS if name in headers}
        data = _decoded(message, self._secrets.get(channel))
        return Delivery(channel, message["name"], data, ids)

    def wait_closed(self) -> None:
        if not self._ended.wait(DEADLINE):
            raise AssertionError(f"the connection was not closed within {DEADLINE:g} s")

    def close(self) -> None:
        if not self._ended.is_set():
            self._send({"action": CLOSE})  # else Ably keeps the connection for two minutes
            self._ended.wait(DEADLINE)
        self._run(self._websocket.close())
        self._run(_end(self._reading))

    # --- the protocol -----------------------------------------------------------------------

    def _connect(self) -> None:
        query = f"?access_token={self._token}&v=5&format=json&echo=false"
        self._own: queue.Queue[dict[str, Any]] = queue.Queue()
        self._ended = threading.Event()
        self._serial = 0
        self._websocket = self._run(self._session.ws_connect(self._url + query))
        reader = self._read(self._websocket, self._own, self._ended)
        self._reading = self._run(_start(reader))
        self._note_key(self._wait(CONNECTED))

    def _use(self, token: str) -> None:
        same = _client_id(token) == _client_id(self._token)
        self._token = token
        if same:
            self._send({"action": AUTH, "auth": {"accessToken": token}})
            self._note_key(self._wait(CONNECTED))
            return
        self.close()
        self._connect()
        for channel in self._attached:
            self._attach(channel)

    def _note_key(self, connected: Mapping[str, Any]) -> None:
        self._connection_key = connected["connectionDetails"]["connectionKey"]

    def _attach(self, channel: str) -> None:
        params = {"params": {"rewind": "1"}} if kind_of(channel).is_cache else {}
        self._send({"action": ATTACH, "channel": ably_name(channel), **params})
        self._wait(ATTACHED, ably_name(channel))

    def _acknowledged(self, action: int, channel: str, **fields: Any) -> None:
        frame = {"action": action, "channel": ably_name(channel), "msgSerial": self._serial}
        self._serial += 1
        self._send({**frame, **fields})
        self._wait(ACK)

    def _send(self, frame: Mapping[str, Any]) -> None:
        self._run(self._websocket.send_json(frame))

    def _wait(self, action: int, channel: str | None = None) -> dict[str, Any]:
        """The next frame of this action; those before it are passed over, an error ends it."""
        while True:
            try:
                frame = self._own.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"no action {action} came within {DEADLINE:g} s") from None
            if frame["action"] == action and channel in (None, frame.get("channel")):
                return frame
            if frame["action"] in (ERROR, NACK, DISCONNECTED):
                raise Refused(str(frame.get("error")))

    async def _read(
        self,
        websocket: aiohttp.ClientWebSocketResponse,
        own: queue.Queue[dict[str, Any]],
        ended: threading.Event,
    ) -> None:
        async for received in websocket:
            frame = json.loads(received.data)
            if frame["action"] == MESSAGE:
                for message in frame["messages"]:
                    self._events.put((logical_name(frame["channel"]), message))
            else:
                own.put(frame)
            if frame["action"] == DISCONNECTED:
                break
        ended.set()


def _host(endpoint: str | None) -> str:
    """REC1b: a name without a dot is one of Ably's own."""
    endpoint = endpoint or "main"
    if "." in endpoint or "::" in endpoint or endpoint == "localhost":
        return endpoint
    return f"{endpoint}.realtime.ably.net"


async def _start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine)


async def _end(task: asyncio.Task[None]) -> None:
    await task


def _client_id(token: str) -> str | None:
    payload = token.split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    found: str | None = claims.get("x-ably-clientId")
    return found


def _encoded(data: Any) -> dict[str, Any]:
    if data is None:
        return {}
    return (
        {"data": data} if isinstance(data, str) else {"data": json.dumps(data), "encoding": "json"}
    )


def _decoded(message: Mapping[str, Any], secret: bytes | None) -> Any:
    data: Any = message.get("data")
    for step in reversed(message.get("encoding", "").split("/")):
        if step == "base64":
            data = b64decode(data)
        elif step.startswith("cipher+") and secret is not None:
            data = _decrypted(data, secret)
        elif step == "utf-8":
            data = data.decode()
        elif step == "json":
            data = json.loads(data)
    return data


def _decrypted(data: bytes, secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES256(secret), modes.CBC(data[:16])).decryptor()
    padded = cipher.update(data[16:]) + cipher.finalize()
    return padded[: -padded[-1]]
