"""Every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def main() -> None:
    missed = []
    for name in NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
        if subprocess.run(command, check=False).returncode:
            missed.append(name)
    if missed:
        sys.exit(f"below the bar or failed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
