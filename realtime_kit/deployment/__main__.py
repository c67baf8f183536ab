"""What `lambdas/packaging/plugin.cjs` calls: a build as JSON on standard input, sizes as text.

It runs from a fresh clone, where nothing is installed yet, so it needs no package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from realtime_kit.deployment.build import Target, build, functions_of, report
from realtime_kit.errors import ConfigurationError


def main() -> None:
    wanted = json.load(sys.stdin)
    try:
        target = Target(wanted["arch"], wanted["python"])
        functions = functions_of(wanted["provider"], wanted["functions"], wanted["extras"])
        output = Path(wanted["output"])
        built = build(Path.cwd(), output, functions, target, include=wanted["include"])
    except ConfigurationError as error:
        sys.exit(str(error))
    print("\n".join(report(built, target)))


main()
