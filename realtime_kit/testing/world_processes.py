"""The processes of a world, that are killed and come back: the application, and the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realtime_kit.errors import ProviderError, ProviderUnavailable
from realtime_kit.history import Draft, Entry, EventLog, Head, History, Page, Position
from realtime_kit.hosting.local.driver import MemoryDriver
from realtime_kit.protocol import http_api
from realtime_kit.protocol.app import App, Apps, Key
from realtime_kit.providers._answer import Answer
from realtime_kit.providers.local import LocalProvider
from realtime_kit.realtime import Realtime
from realtime_kit.recording import Recorder
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.world_truth import Epoch
from realtime_kit.web import endpoints
from realtime_kit.web.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from realtime_kit.testing.world import World

_KEY = Key("app-key", "app-secret")
PATTERNS = ("news-{n:int}", "private-room-{n:int}")
_USER = {"sub": "1"}

MakeLog = Callable[[], EventLog]


class Application:
    """A process with `Realtime`, that is killed and comes back. `truth` is what the log said
    that it has, by channel and epoch; `senders` the sockets that an event is not for, by its id."""

    def __init__(self, world: World, make_log: MakeLog) -> None:
        self.truth: dict[str, dict[str, Epoch]] = {}
        self.is_up = False
        self._world = world
        self._make_log = make_log
        self.senders: dict[str, str | None] = {}
        self._logs: list[EventLog] = []
        self._start()

    def _start(self) -> None:
        world = self._world
        settings = RealtimeSettings(environ={"REALTIME_PROVIDER": "local"})
        provider = LocalProvider(settings.local, clock=world.clock)
        provider.__dict__["_http"] = world.server
        self.realtime = Realtime(provider, settings=settings)
        for pattern in PATTERNS:
            self.realtime.channel_rule(pattern, history=world.history)(lambda user, n: True)
        log = self._make_log()
        self._logs.append(log)
        self.realtime._recorder = Recorder(
            self.realtime.rules,
            settings,
            log=_Log(world, self.truth, log),
            clock=world.clock,
        )
        self.is_up = True

    def crash(self) -> None:
        if self.is_up:
            self._world.counts["application killed"] += 1
            self._world.note("application", "killed")
            self.is_up = False
            self._world.later(self._world.random.uniform(0.2, 2.0), self._start)

    def trigger(self, channel: str, id: str, excluded: int, pause: float = 0.1) -> None:
        """Trigger an event, again with its id until it is out."""
        world = self._world
        if id not in self.senders:
            clients = world.clients
            own = clients[excluded].socket_id if 0 <= excluded < len(clients) else None
            self.senders[id] = own
        why = "it is down"
        if self.is_up:
            try:
                self.realtime.trigger(channel, "happened", {}, id=id, exclude=self.senders[id])
            except ProviderError as error:
                why = str(error)
            else:
                world.note("application", f"{channel} {id} is out")
                return
        world.note("application", f"{channel} {id} failed: {why}")
        world.counts["triggers repeated"] += 1
        wait = pause * world.random.uniform(0.5, 1.5)
        world.later(wait, lambda: self.trigger(channel, id, excluded, min(2 * pause, 2.0)))

    def close(self) -> None:
        for log in self._logs:
            log.close()

    def respond(self, request: HttpRequest) -> HttpResponse | None:
        """Answer a client; None: nobody is there."""
        return endpoints.dispatch(self.realtime, request, lambda: _USER) if self.is_up else None


class _Log(EventLog):
    """A log that fails as the world wants it, and tells what it has."""

    def __init__(self, world: World, truth: dict[str, dict[str, Epoch]], log: EventLog) -> None:
        self.shared = log.shared
        self._world, self._truth, self._inner = world, truth, log

    @property
    def begun(self) -> int:  # type: ignore[override]
        return self._inner.begun

    def append(
        self, channel: str, drafts: Sequence[Draft], history: History, now_ms: int
    ) -> list[Position]:
        self._fail_if("log_fails")
        places = self._inner.append(channel, drafts, history, now_ms)
        for draft, (epoch, offset) in zip(drafts, places, strict=True):
            epochs = self._truth.setdefault(channel, {})
            events = epochs.setdefault(epoch, Epoch(now_ms)).events
            if events.setdefault(offset, draft).id != draft.id:
                self._world.fail(f"{channel}: two events have the offset {offset}", channel)
        self._fail_if("log_unsure")
        return places

    def heads(self, wanted: Mapping[str, History], now_ms: int) -> dict[str, Head]:
        self._fail_if("log_fails")
        return self._inner.heads(wanted, now_ms)

    def entries(self, channel: str, epoch: str, after: int, until: int) -> list[Entry]:
        return self._inner.entries(channel, epoch, after, until)

    def page(self, *arguments: Any, **options: Any) -> Page:
        return self._inner.page(*arguments, **options)

    def _fail_if(self, fault: str) -> None:
        if self._world.happens(fault):
            raise ProviderUnavailable(f"injected: {fault}", provider="history", retryable=True)


class Server:
    """The embedded server, without its sockets: the driver, and the HTTP API that the provider's
    requests go to."""

    def __init__(self, world: World) -> None:
        self.app = App("1", (_KEY,))
        self.is_up = False
        self.closers: dict[str, Callable[[], object]] = {}  # by socket id: how to cut it
        self._world = world
        self._start()

    def _start(self) -> None:
        world = self._world
        self.driver = MemoryDriver(
            self.app,
            encode=lambda frame: f"{frame}\n".encode(),  # the driver may join several
            clock=world.clock,
            call_later=world.later,
            notify=lambda event: None,
        )
        self.is_up = True

    def crash(self) -> None:
        """All sockets are cut, and nobody is known any more."""
        if self.is_up:
            self._world.counts["server killed"] += 1
            self._world.note("server", "killed")
            self.is_up = False
            for cut in list(self.closers.values()):
                cut()
            self._world.later(self._world.random.uniform(0.2, 3.0), self._start)

    def request(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """What `HttpClient.request` does."""
        world = self._world
        if not self.is_up or world.happens("publish_fails"):
            raise ProviderUnavailable("injected: refused", provider="local", retryable=True)
        path, _, query = target.partition("?")
        request = http_api.Request(method, path, query, {}, body)
        if world.happens("publish_late"):  # its process has to wait, and others go on
            world.later(world.random.uniform(0, 2), lambda: self._respond(request))
            return Answer(200, b"{}", {})
        response = self._respond(request)
        if world.happens("publish_unsure"):
            raise ProviderUnavailable("injected: no answer", provider="local", maybe_sent=True)
        return Answer(response.status, response.body, {})

    def _respond(self, request: http_api.Request) -> http_api.Response:
        world = self._world
        response = http_api.respond(
            Apps([self.app]), request, world.clock(), lambda _: self.driver.perform
        )
        if response.status != 200:
            world.fail(f"the HTTP API answered {response.status} {response.body!r}", "server")
        return response

    def close(self) -> None:
        self.driver.close()
