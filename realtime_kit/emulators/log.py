"""What happened in an emulator, for assertions."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `time` is emulated, in seconds since 1970."""

    time: float
    kind: str
    connection_id: str | None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def has(self, wanted: Mapping[str, Any]) -> bool:
        known = {"connection_id": self.connection_id, **self.detail}
        return all(known.get(name) == value for name, value in wanted.items())


class Log:
    """The latest entries, oldest first. For any thread.

    Each emulator says which kinds there are, and what is in their `detail`.
    """

    def __init__(self, *, limit: int = 100_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[Entry]:
        with self._changed:
            return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def of(self, kind: str, **wanted: Any) -> list[Entry]:
        """The entries of a kind whose details, or connection id, are these."""
        with self._changed:
            return [e for e in self._entries if e.kind == kind and e.has(wanted)]

    def wait(
        self, kind: str, *, count: int = 1, deadline: float = DEADLINE, **wanted: Any
    ) -> Entry:
        """The `count`-th such entry, once it is there; `AssertionError` at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.of(kind, **wanted)) >= count, deadline)
            found = self.of(kind, **wanted)
            if len(found) < count:
                last = [f"{entry.kind} {dict(entry.detail)}" for entry in list(self._entries)[-9:]]
                raise AssertionError(
                    f"{len(found)} of {count} × {kind} {wanted} in {deadline:g} s; last: {last}"
                )
            return found[count - 1]
