"""A world in a seed: an application, a server, clients and all that can go wrong, in virtual time.

    world = World(seed=7, faults=Faults(cut=5.0))
    print(world.run())

What is real: `Realtime` with its recorder and log, provider `local` with its signed requests, the
protocol core on the memory driver, the endpoints `/auth` and `/events`. What is modelled: time, the
network between them, who fails when, and the clients (`world_clients`), which follow the browser
client's algorithm (`resuming`). One thread; whatever is by chance comes out of the seed, so that a
seed that fails fails again.

At the end all goes well for a while; then each client must have had every event of its channels
since it came, once and in order, or have been told where there is a gap. If not, `WorldFailed` says
which, with the seed and what happened last.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, NoReturn

from realtime_kit.history import History
from realtime_kit.history.memory import MemoryLog
from realtime_kit.testing.resuming import Track
from realtime_kit.testing.world_processes import PATTERNS, Application, MakeLog, Server
from realtime_kit.testing.world_truth import Wrong, compare

START = 1_764_000_000.0  # the time at which a world begins
CALM = 120.0  # seconds after the last event's time, in which all goes well
STORY = 60  # lines that a failure shows


@dataclass(frozen=True, slots=True)
class Faults:
    """How often things go wrong. Seconds between two of a kind, on average (0: never): a client's
    socket is `cut`; the `server`, the `application` is killed and comes back. Chances from 0 to 1:
    a frame is lost, duplicated, or late; a request to publish or to the log fails before it did
    anything, or after (`unsure`); a publish arrives `late`, after others; an answer of `/events`
    fails, is `slow`, or is torn off in the middle of a stream."""

    cut: float = 4.0
    server: float = 60.0
    application: float = 90.0
    lost: float = 0.02
    duplicated: float = 0.02
    delayed: float = 0.05
    publish_fails: float = 0.03
    publish_unsure: float = 0.03
    publish_late: float = 0.05
    log_fails: float = 0.02
    log_unsure: float = 0.02
    answer_fails: float = 0.05
    answer_slow: float = 0.05
    answer_torn: float = 0.1

    @classmethod
    def none(cls) -> Faults:
        return cls(**{one.name: 0.0 for one in fields(cls)})


class WorldFailed(AssertionError):
    """The world is not as it must be at its end. Its text names the seed."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How it went. `counts`: what happened, how often."""

    seed: int
    seconds: float
    clients: int
    channels: int
    counts: Mapping[str, int]

    def __str__(self) -> str:
        told = ", ".join(f"{number:,} {what}" for what, number in sorted(self.counts.items()))
        return (
            f"seed {self.seed}: {self.clients} clients on {self.channels} channels, "
            f"{self.seconds:,.0f} s: {told}"
        )


class World:
    """`events` are triggered on `channels` within `seconds`; `clients` of three kinds, by turns
    over a socket, a stream and polls, are on some of the channels each. `make_log` opens the log,
    again whenever the application comes back: a log in memory is then another one. `track` is what
    the clients do to have no gaps.
    """

    def __init__(
        self,
        seed: int,
        *,
        events: int = 1_000,
        channels: int = 5,
        clients: int = 9,
        seconds: float = 300.0,
        history: History = History(200, timedelta(minutes=5)),  # noqa: B008 - it is a tuple
        make_log: MakeLog = MemoryLog,
        faults: Faults = Faults(),
        track: type[Track] = Track,
    ) -> None:
        from realtime_kit.testing.world_clients import KINDS

        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - chance is what this is about
        self.faults = faults
        self.history = history
        self.counts: Counter[str] = Counter()
        self.now = 0.0
        self.is_calm = False
        self.track = track
        self._story: deque[str] = deque(maxlen=100_000)
        self._queue: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()
        self._events, self._seconds = events, seconds
        self.names = [PATTERNS[n % 2].replace("{n:int}", str(n)) for n in range(channels)]
        self.server = Server(self)
        self.application = Application(self, make_log)
        self.clients = [KINDS[n % len(KINDS)](self, f"client {n}") for n in range(clients)]

    # --- time and chance --------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds since 1970."""
        return START + self.now

    def later(self, seconds: float, call: Callable[[], object]) -> _Timer:
        timer = _Timer(call)
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), timer))
        return timer

    def happens(self, fault: str) -> bool:
        """Whether this goes wrong now."""
        chance = getattr(self.faults, fault)
        if not chance or self.is_calm or self.random.random() >= chance:
            return False
        self.counts[fault.replace("_", " ")] += 1
        return True

    def note(self, who: str, what: str) -> None:
        self._story.append(f"{self.now:9.3f} {who}: {what}")

    @property
    def story(self) -> list[str]:
        """What happened, line by line; the same for the same seed."""
        return list(self._story)

    # --- its course -------------------------------------------------------------------------

    def run(self) -> Summary:
        """Let it all happen. Raises `WorldFailed`."""
        for number in range(self._events):
            self._plan(number, self.random.choice(self.names))
        for client in self.clients:
            late = self.random.random() < 0.3
            self.later(self.random.uniform(0, self._seconds / 2 if late else 1), client.begin)
        self._again(self.faults.cut, self._cut)
        self._again(self.faults.server, self.server.crash)
        self._again(self.faults.application, self.application.crash)
        self.later(self._seconds, self._calm_down)
        end = self._seconds + CALM
        while self._queue and self._queue[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._queue)
            timer.fire()
        self.application.close()
        for client in self.clients:
            self._check(client)
        self.counts["events"] = self._events
        return Summary(self.seed, self.now, len(self.clients), len(self.names), dict(self.counts))

    def _plan(self, number: int, channel: str) -> None:
        at = self.random.uniform(2.0, self._seconds)
        excluded = self.random.randrange(50)  # one in fifty is one of the clients' own
        self.later(at, lambda: self.application.trigger(channel, f"event-{number}", excluded))

    def _again(self, seconds: float, call: Callable[[], object]) -> None:
        """Have it happen every so often, until all is calm."""
        if not seconds or self.is_calm:
            return

        def happen() -> None:
            if not self.is_calm:
                call()
                self._again(seconds, call)

        self.later(self.random.expovariate(1 / seconds), happen)

    def _cut(self) -> None:
        self.random.choice(self.clients).cut()

    def _calm_down(self) -> None:
        """Nothing fails any more. Who missed the last event of a channel learns it by another."""
        self.is_calm = True
        self.note("world", "calm")
        for number, channel in enumerate(self.names):
            name = f"last-{number}"
            self.later(30.0, lambda c=channel, n=name: self.application.trigger(c, n, -1))  # type: ignore[misc]

    # --- what must be so --------------------------------------------------------------------

    def fail(self, why: str, *about: str) -> NoReturn:
        lines = [line for line in self._story if not about or any(one in line for one in about)]
        told = "\n".join(lines[-STORY:])
        raise WorldFailed(f"seed {self.seed}: {why}\nWhat happened last:\n{told}")

    def _check(self, client: Any) -> None:
        for channel, had in client.had.items():
            try:
                compare(had, self.application.truth.get(channel, {}), client.sockets)
            except Wrong as error:
                self.fail(f"{client.name} on {channel}: {error}", client.name, f" {channel} ")
            self.counts["gaps told"] += sum(one.kind == "gap" for one in had)
            self.counts["delivered"] += sum(one.kind == "event" for one in had)


class _Timer:
    """A delayed call that can be called off."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    def fire(self) -> None:
        if self._call is not None:
            self._call()
