"""The far end of every provider whose browsers speak the Pusher protocol: a real embedded server,
real WebSockets, and a real receiver of webhooks."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from base64 import b64decode
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any, Self, TypeVar

import aiohttp

from realtime_kit.events import RESERVED
from realtime_kit.hosting.local import LocalServer, running
from realtime_kit.protocol.app import App
from realtime_kit.providers.base import AuthAnswer
from realtime_kit.testing.conformance.wire import DEADLINE, Delivery, Refused
from realtime_kit.testing.faults import FaultServer

T = TypeVar("T")

_SHORT = {"id": "id", "o": "offset", "e": "epoch", "m": "mutation"}


class Browsers:
    """Real WebSockets of the Pusher protocol, to wherever they are told; runs while entered."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            thread.start()
            opening.callback(self._loop.close)
            opening.callback(thread.join)
            opening.callback(lambda: self._loop.call_soon_threadsafe(self._loop.stop))
            self._session = self.run(_new_session())
            opening.callback(lambda: self.run(self._session.close()))
            self._begin(opening)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self, opening: ExitStack) -> None:
        """Start what else is needed until the end."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the browsers' loop, to its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def connect(self, config: Mapping[str, Any]) -> ChannelsObserver:
        """A browser, connected."""
        address = config["socket"]
        scheme = "wss" if address["tls"] else "ws"
        place = f"{address['host']}:{address['port']}{address['path']}"
        url = f"{scheme}://{place}/app/{address['key']}?protocol=7&client=observer&version=1"
        return ChannelsObserver(self.run, self.run(self._session.ws_connect(url)))


class ChannelsWire(Browsers):
    """An embedded server, its browsers and its webhooks. `port` is the server's."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._app = app
        self._taken = 0

    def _begin(self, opening: ExitStack) -> None:
        self._webhooks = opening.enter_context(FaultServer())
        target = f"http://{self._webhooks.host}:{self._webhooks.port}/webhook"
        self.port = self._serve(opening, target)

    def _serve(self, opening: ExitStack, webhook_url: str) -> int:
        """Start the server; its port."""
        server = LocalServer([self._app], port=0, webhook_url=webhook_url)
        return opening.enter_context(running(server)).port

    def webhook(self) -> tuple[Mapping[str, str], bytes]:
        """The next webhook: headers and body."""
        self._taken += 1
        received = self._webhooks.wait_received(self._taken, deadline=DEADLINE)
        return received.headers, received.body


class ChannelsObserver:
    """One WebSocket of the Pusher protocol."""

    def __init__(
        self,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        websocket: aiohttp.ClientWebSocketResponse,
    ) -> None:
        self._run = run
        self._websocket = websocket
        self._own: queue.Queue[dict[str, Any]] = queue.Queue()  # frames of the protocol itself
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._closed = threading.Event()
        self._secrets: dict[str, bytes] = {}
        self._reading = self._run(_start(self._read()))
        established = self._wait_own("pusher:connection_established")
        self.socket_id: str = json.loads(established["data"])["socket_id"]

    @property
    def close_code(self) -> int | None:
        """The server's, once the connection is closed."""
        return self._websocket.close_code

    def subscribe(self, channel: str, answer: AuthAnswer | None = None) -> None:
        proof = dict(answer.channels[channel]) if answer else {}
        secret = proof.pop("shared_secret", None)
        if secret is not None:
            self._secrets[channel] = b64decode(secret)
        self._send("pusher:subscribe", {"channel": channel, **proof})
        self._wait_own("pusher_internal:subscription_succeeded", channel)

    def sign_in(self, proof: Mapping[str, str]) -> None:
        self._send("pusher:signin", proof)
        self._wait_own("pusher:signin_success")

    def send(self, channel: str, name: str, data: Any) -> None:
        self._send(name, data, channel)

    def ping(self) -> None:
        """Ask whether the server is there, and return when it answered."""
        self._send("pusher:ping", {})
        self._wait_own("pusher:pong")

    def receive(self) -> Delivery:
        try:
            frame = self._events.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no event came within {DEADLINE:g} s") from None
        data = self._decrypted(frame["channel"], _decoded(frame["data"]))
        ids = {name: frame[name] for name in _SHORT.values() if name in frame}
        if isinstance(data, dict) and RESERVED in data:
            # Where only data travels: `{…, "_rk": {…}}`, or `{"_rk": {…}, "d": …}` round the rest.
            marks = data.pop(RESERVED)
            ids |= {_SHORT[short]: value for short, value in marks.items()}
            data = data["d"] if set(data) == {"d"} else data
        return Delivery(frame["channel"], frame["event"], data, ids)

    def wait_closed(self) -> None:
        if not self._closed.wait(DEADLINE):
            raise AssertionError(f"the connection was not closed within {DEADLINE:g} s")

    def close(self) -> None:
        self._run(self._websocket.close())
        self._run(_end(self._reading))

    def _send(self, event: str, data: Any, channel: str | None = None) -> None:
        frame = {"event": event, "data": data, **({"channel": channel} if channel else {})}
        self._run(self._websocket.send_json(frame))

    def _wait_own(self, event: str, channel: str | None = None) -> dict[str, Any]:
        """The next frame of this name; those before it are passed over, an error ends it."""
        while True:
            try:
                frame = self._own.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"no {event} came within {DEADLINE:g} s") from None
            if frame["event"] == event and channel in (None, frame.get("channel")):
                return frame
            if frame["event"] in ("pusher:error", "pusher:subscription_error"):
                raise Refused(str(frame.get("data")))

    async def _read(self) -> None:
        async for message in self._websocket:
            frame = json.loads(message.data)
            own = frame["event"].startswith(("pusher:", "pusher_internal:"))
            (self._own if own else self._events).put(frame)
        self._closed.set()

    def _decrypted(self, channel: str, data: Any) -> Any:
        secret = self._secrets.get(channel)
        if secret is None:
            return data
        from nacl.secret import SecretBox

        box = SecretBox(secret)
        text = box.decrypt(b64decode(data["ciphertext"]), b64decode(data["nonce"]))
        return _decoded(text.decode())


async def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


async def _start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine)


async def _end(task: asyncio.Task[None]) -> None:
    await task


def _decoded(text: Any) -> Any:
    """What a client makes of data: JSON if it is, else the text itself."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text
