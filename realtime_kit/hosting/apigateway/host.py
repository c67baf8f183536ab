"""A deployment: what its functions do when a client connects, sends, and goes, when a message of
the queue arrives, and every minute.

Plain values in, nothing out: `web/aws_websocket.py` knows the events of Lambda.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from realtime_kit.errors import ProviderError, ProviderUnavailable
from realtime_kit.hosting.apigateway.broadcast import Broadcaster, Mode, Queue
from realtime_kit.hosting.apigateway.delivery import Delivery, Transport
from realtime_kit.hosting.apigateway.ids import to_socket_id
from realtime_kit.hosting.apigateway.metrics import Metrics
from realtime_kit.hosting.apigateway.registry import Registry
from realtime_kit.hosting.apigateway.sweep import Swept, sweep
from realtime_kit.protocol import frames, http_api, session
from realtime_kit.protocol.app import App, Apps
from realtime_kit.protocol.effects import Close, Effect, Perform, Send, run

# API Gateway waits 29 seconds: after these a step begins nothing more, but to close.
STEP_SECONDS = 8.0
# One page of a sweep takes no longer.
SWEEP_SECONDS = 25.0

REFUSED_ORIGIN = 4009
RECONNECT = 4200

OnWebhook = Callable[[App, Mapping[str, Any], int], object]

_log = logging.getLogger(__name__)


class Host:
    """One app's deployment.

    `app` is asked for each time, because keys are rotated. `greet` brings a message to `arrived`
    soon, outside of this call; what it does not take goes through `queue`. `on_webhook(app, event,
    time_ms)` tells the application what happened, and raises if it could not; it is called from
    `arrived`. `origins` are those whose pages may connect; none: all.
    """

    def __init__(
        self,
        app: Callable[[], App],
        *,
        registry: Registry,
        transport: Transport,
        queue: Queue,
        greet: Callable[[Mapping[str, Any]], object],
        on_webhook: OnWebhook | None = None,
        origins: Sequence[str] = (),
        mode: Mode = "auto",
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self.on_webhook = on_webhook
        self._app = app
        self._transport = transport
        self._queue = queue
        self._greet = greet
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._mode: Mode = mode
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._driver: Broadcaster | None = None

    @property
    def driver(self) -> Broadcaster:
        """The driver of the app as it is now."""
        app = self._app()
        if self._driver is None or self._driver.app != app:
            self._driver = Broadcaster(
                app,
                registry=self.registry,
                transport=self._transport,
                queue=self._queue,
                mode=self._mode,
                notify=self._notify if self.on_webhook else None,
                observe=self._metrics.observe if self._metrics else _unobserved,
            )
        return self._driver

    # --- clients ----------------------------------------------------------------------------

    def connect(
        self,
        conn: str,
        *,
        key: str,
        query: Mapping[str, str],
        address: str | None = None,
        origin: str | None = None,
    ) -> None:
        """`$connect`: write the connection, and have the client told once this has returned.

        Who is refused is told so and closed, not turned away: clients would try again for ever.
        Raises `ProviderError` if nobody could be asked to tell it; nothing is left then.
        """
        driver = self.driver
        said: list[Send | Close] = []
        peer = driver.peer(conn, address=address)

        def perform(effect: Effect) -> Any:
            if isinstance(effect, Send | Close):
                said.append(effect)
                return None
            return peer.perform(effect)

        if self._origins and origin is not None and origin.lower() not in self._origins:
            said = [Send(frames.error("Origin not allowed", REFUSED_ORIGIN)), Close(0, "")]
        else:
            app = None if driver.app.secret_of(key) is None else driver.app
            socket_id = to_socket_id(conn)
            run(session.connect(app, key=key, query=query, socket_id=socket_id), perform)
        message = {
            "app": driver.app.id,
            "do": "greet",
            "connection": conn,
            "frames": [effect.frame for effect in said if isinstance(effect, Send)],
            "close": any(isinstance(effect, Close) for effect in said),
        }
        self._have_greeted(driver, message)

    def _have_greeted(self, driver: Broadcaster, message: Mapping[str, Any]) -> None:
        try:
            self._greet(message)
        except ProviderError as error:
            _log.warning("%s: greeted through the queue: %s", message["connection"], error)
            try:
                self._queue.send(message)
            except ProviderError:
                driver.disconnect([message["connection"]])
                raise

    def receive(self, conn: str, frame: str) -> None:
        """A frame came. Does not raise: a client that cannot be served now is sent away."""
        driver = self.driver
        try:
            connection = self.registry.connection(conn)
            if connection is not None:
                peer = driver.peer(conn)
                perform = partial(self._in_time, peer.perform, self._monotonic() + STEP_SECONDS)
                run(session.receive(driver.app, connection, frame), perform)
                return
            # It is not there, or no longer: all that the client believes is wrong.
            driver.send_away(
                [conn], frames.error("Connection unknown, please reconnect", RECONNECT)
            )
        except ProviderError:
            _log.exception("%s: a frame was not handled", conn)
            self._give_up(driver, conn)

    def _give_up(self, driver: Broadcaster, conn: str) -> None:
        error = frames.error("Temporarily unavailable, please reconnect", session.OVER_CAPACITY)
        try:
            driver.send_away([conn], error)
        except ProviderError:
            _log.exception("%s: could not be sent away", conn)

    def _in_time(self, perform: Perform, deadline: float, effect: Effect) -> Any:
        if self._monotonic() > deadline and not isinstance(effect, Close):
            raise ProviderUnavailable("no time is left for this frame", provider="aws")
        return perform(effect)

    def disconnect(self, conn: str) -> None:
        """`$disconnect`, or what found out that there was none. Any number of times."""
        self.driver.disconnect([conn])

    # --- requests ---------------------------------------------------------------------------

    def respond(self, request: http_api.Request) -> http_api.Response:
        """Answer a request to the Pusher HTTP API."""
        driver = self.driver
        return http_api.respond(
            Apps([driver.app]), request, self._clock(), lambda _app: driver.perform
        )

    def perform(self, request: http_api.Request) -> http_api.Response:
        """Answer a request of our own, which needs no signature."""
        driver = self.driver
        return run(http_api.handle(driver.app, request), driver.perform)

    # --- later ------------------------------------------------------------------------------

    def arrived(
        self, message: Mapping[str, Any], *, left: Callable[[], float] = lambda: float("inf")
    ) -> None:
        """Do what a message of the queue says. Raises if it must come again."""
        driver = self.driver
        if message.get("app") != driver.app.id:
            _log.error("a message for app %r is not ours", message.get("app"))
        elif message.get("do") != "webhook":
            driver.arrived(message, left=left)
        elif self.on_webhook is not None:
            self.on_webhook(driver.app, message["event"], message["time_ms"])

    def _notify(self, event: Mapping[str, Any]) -> None:
        now = int(self._clock() * 1000)
        self.driver.later({"do": "webhook", "event": dict(event), "time_ms": now}, 0.0)

    # --- every minute -----------------------------------------------------------------------

    def sweep(self, *, left: Callable[[], float] = lambda: float("inf")) -> Swept:
        """See to the connections that are due, while there are seconds `left`; the others are due
        again in a minute."""
        return sweep(self.driver, self._transport, go_on=lambda: left() > SWEEP_SECONDS)

    def flush(self) -> None:
        """Write down what was delivered; to be called at the end of an invocation."""
        if self._metrics is not None:
            self._metrics.flush()

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()


def _unobserved(_: Delivery) -> None:
    return None
