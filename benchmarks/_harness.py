"""The contract of every benchmark: ours against a peer, as a ratio, in one run.

Machines are noisy and differ, so nothing here is an absolute promise: ours and the peer are
measured in alternated pairs, and the ratio is the median over the pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

PAIRS = 5

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Result:
    """`ours` and `peer` in `unit`; `ratio` is ours/peer; `bar` is what the ratio is held to.

    `details` are further lines for people (and further members of the JSON). `floor` is the member
    of them that has to be at least so much, too: its name, and how much.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    unit: str
    better: Better
    bar: float
    details: dict[str, Any] = field(default_factory=dict)
    floor: tuple[str, float] | None = None

    @property
    def passed(self) -> bool:
        if self.floor is not None and self.details[self.floor[0]] < self.floor[1]:
            return False
        return self.ratio <= self.bar if self.better == "lower" else self.ratio >= self.bar

    def as_json(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "ours": round(self.ours, 4),
                "peer": round(self.peer, 4),
                "ratio": round(self.ratio, 4),
                "unit": self.unit,
                "better": self.better,
                "bar": self.bar,
                "pass": self.passed,
                **self.details,
            }
        )

    def as_text(self) -> str:
        sign = "≤" if self.better == "lower" else "≥"
        floor = "" if self.floor is None else f", {self.floor[0]} ≥ {self.floor[1]:,}"
        verdict = "meets the bar" if self.passed else "MISSES THE BAR"
        lines = [
            f"{self.name}: {self.ratio:.3f} of the peer ({verdict}: {sign} {self.bar}{floor})",
            f"  ours  {self.ours:12.3f} {self.unit}",
            f"  peer  {self.peer:12.3f} {self.unit}",
        ]
        lines += [f"  {key}: {value}" for key, value in self.details.items()]
        return "\n".join(lines)


def compare(
    name: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    unit: str,
    better: Better,
    bar: float,
    pairs: int = PAIRS,
    details: dict[str, Any] | None = None,
) -> Result:
    """Measure both, `pairs` times, turn and turn about; each callable returns one measurement."""
    measured: list[tuple[float, float]] = []
    for turn in range(pairs):
        progress(f"{name}: pair {turn + 1} of {pairs}")
        # The first of a pair may find a colder machine: take turns at being first.
        if turn % 2:
            theirs = peer()
            measured.append((ours(), theirs))
        else:
            mine = ours()
            measured.append((mine, peer()))
    return Result(
        name,
        statistics.median(mine for mine, _ in measured),
        statistics.median(theirs for _, theirs in measured),
        statistics.median(mine / theirs for mine, theirs in measured),
        unit,
        better,
        bar,
        details or {},
    )


def progress(message: str) -> None:
    """One line for a person who waits; nothing when the output goes elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{message}", end="", file=sys.stderr, flush=True)


def main(measure: Callable[[int], Result], description: str | None = None) -> None:
    """The command line of a benchmark; exits with 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs (default {PAIRS})")
    options = parser.parse_args()
    result = measure(options.pairs)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(result.as_json() if options.json else result.as_text())
    sys.exit(0 if result.passed else 1)
