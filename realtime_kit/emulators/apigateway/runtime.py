"""What all parts of the gateway share: time, ids, faults, the log, the bill, and invocations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random, SystemRandom
from typing import Any

from realtime_kit.emulators.apigateway.answers import Outcome
from realtime_kit.emulators.apigateway.connection import Quotas
from realtime_kit.emulators.apigateway.documents import Api, Document, Ids
from realtime_kit.emulators.apigateway.faults import Faults
from realtime_kit.emulators.apigateway.functions import Function, Invocation
from realtime_kit.emulators.apigateway.log import Entry, Log, Usage
from realtime_kit.emulators.apigateway.protocol import duplicate
from realtime_kit.emulators.apigateway.timeline import Timeline
from realtime_kit.hosting.apigateway.bucket import TokenBucket

# "Retry behavior for asynchronous invocation": twice, after one and after two minutes.
RETRIES = (60.0, 120.0)


class Runtime:
    """Of one event loop, but for `record` and `on_loop`."""

    def __init__(
        self,
        *,
        region: str,
        stage: str,
        speed: float,
        quotas: Quotas,
        faults: Faults,
        seed: int | None,
    ) -> None:
        self.region = region
        self.stage = stage
        self.quotas = quotas
        self.faults = faults
        self.timeline = Timeline(speed=speed)
        self.ids = Ids(SystemRandom() if seed is None else Random(seed))  # noqa: S311 - for tests
        self.api = Api(self.ids.api(), stage, "")
        self.log = Log()
        self.usage = Usage()
        self.stopping = False
        self._bucket = TokenBucket(quotas.rate, quotas.burst)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy: set[asyncio.Future[Any]] = set()
        self._running: dict[str, Invocation] = {}  # oldest first

    # --- start and stop ---------------------------------------------------------------------

    def start(self, domain: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.api = Api(self.api.id, self.stage, domain)
        self.stopping = False
        self.timeline.start(self._loop)

    def stop(self) -> None:
        self.timeline.stop()
        self._loop = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the gateway does not run")
        return self._loop

    def on_loop(self, call: Callable[[], object]) -> None:
        """Make a call in the loop, soon. For any thread."""
        self.loop.call_soon_threadsafe(call)

    # --- what happens -----------------------------------------------------------------------

    def record(self, kind: str, connection_id: str | None = None, **detail: object) -> None:
        self.log.add(Entry(self.timeline.time(), kind, connection_id, detail))

    def admit(self) -> bool:
        """Whether the account's rate allows one more request."""
        return self._bucket.take(time.monotonic())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that `settle` waits for."""
        self._watch(self.loop.create_task(work))

    async def settle(self, deadline: float) -> None:
        """Until nothing is going on. Raises `TimeoutError` after `deadline` real seconds."""
        async with asyncio.timeout(deadline):
            while self._busy or self.timeline.is_due:
                await (asyncio.wait(self._busy) if self._busy else asyncio.sleep(0))

    async def end(self, grace: float) -> None:
        """Begin nothing new; wait for what is going on, and after `grace` real seconds kill it."""
        self.stopping = True
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace)
        for invocation in list(self._running.values()):
            invocation.kill("the gateway stops")
        await self.settle(grace)

    def _watch(self, future: asyncio.Future[Any]) -> None:
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)

    # --- invocations ------------------------------------------------------------------------

    async def invoke(
        self, function: Function, event: Document, connection_id: str | None = None
    ) -> Outcome:
        """Invoke a function, and wait for it for as long as API Gateway does."""
        invocation = self._begin(function, event, connection_id)
        if isinstance(invocation, Outcome):
            return invocation
        try:
            async with asyncio.timeout(self.quotas.integration):
                return await asyncio.shield(invocation.outcome)
        except TimeoutError:
            return Outcome("timed out")  # the function itself runs on

    def invoke_later(
        self,
        function: Function,
        event: Document,
        then: Callable[[Outcome], object] = lambda outcome: None,
        *,
        connection_id: str | None = None,
    ) -> None:
        """Invoke a function for which nobody waits."""
        invocation = self._begin(function, event, connection_id)
        if isinstance(invocation, Outcome):
            then(invocation)
        else:
            invocation.outcome.add_done_callback(lambda future: then(future.result()))

    def invoke_async(
        self, function: Function, event: Document, retries: tuple[float, ...] = RETRIES
    ) -> None:
        """Invoke a function asynchronously: one that failed is invoked again, a bit later."""

        def then(outcome: Outcome) -> None:
            if outcome.how != "returned" and retries and not self.stopping:
                again = partial(self.invoke_async, function, event, retries[1:])
                self.timeline.call_later(retries[0], again)

        self.invoke_later(function, event, then)

    def kill(self, function: str) -> None:
        """Kill what runs of the function of this name."""
        for invocation in list(self._running.values()):
            if invocation.function.name == function:
                invocation.kill("killed")

    def dies(self, transport: asyncio.Transport | None) -> bool:
        """An `@connections` request came over `transport`: whether a function that runs dies of it,
        and the request with it."""
        running = list(self._running.values())
        dying = running[:1] if running and self.faults.happens("kill") else []
        for invocation in running:
            invocation.requests += 1
            if self.faults.kills(invocation.function.name, invocation.requests):
                dying.append(invocation)
        for invocation in dying:
            self.record("fault", fault="kill", function=invocation.function.name)
            with duplicate(transport) as hang_up:
                invocation.kill("killed", hang_up)
        return bool(dying)

    def _begin(
        self, function: Function, event: Document, connection_id: str | None
    ) -> Invocation | Outcome:
        refused = self._refuse(function)
        if refused is not None:
            self.record("failed", connection_id, function=function.name, error=refused.error)
            return refused
        invocation = Invocation(function, event, self.ids.uuid(), self.region)
        function.running += 1
        self._running[invocation.id] = invocation
        self.record("invoked", connection_id, function=function.name, request_id=invocation.id)

        def ended(future: asyncio.Future[Outcome]) -> None:
            function.running -= 1
            del self._running[invocation.id]
            outcome = future.result()
            self.usage.gigabyte_seconds += invocation.seconds * function.memory / 1024
            detail = {"function": function.name, "request_id": invocation.id}
            if outcome.how == "returned":
                self.record("returned", connection_id, **detail, value=outcome.value)
            else:
                self.record("failed", connection_id, **detail, error=outcome.error)

        invocation.outcome.add_done_callback(ended)
        self._watch(invocation.outcome)
        invocation.start()
        return invocation

    def _refuse(self, function: Function) -> Outcome | None:
        if self.stopping:
            return Outcome("failed", error="the gateway stops")
        if function.running >= function.concurrency or self.faults.happens("throttle"):
            return Outcome("throttled", error="TooManyRequestsException")
        self.usage.invocations += 1
        if self.faults.happens("fail"):
            return Outcome("failed", error="Runtime.ImportModuleError")
        return None
