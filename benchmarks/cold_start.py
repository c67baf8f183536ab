"""A cold start: CPU from the start of a process to its first signed presence answer.

Importing is one thread that computes, so this is the time that it takes on an idle machine; on a
busy one it says what a cold start costs all the same.

Ours is the function that is deployed, `lambdas/auth.py`, with a user whom an authorizer vouches
for, on provider pusher and on provider ably: the dearer counts (and, apart, a user from an HS256
token). The peer is a process that imports pydantic_settings and does nothing with it: what any
application with typed settings pays.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._harness import Result, compare, main

CHECKOUT = Path(__file__).resolve().parent.parent
BAR = 1.15
# The cheapest of a few starts: what is dearer than that is the machine's doing.
STARTS = 5

LOGIN = "the secret with which the login signs its tokens"
ENVIRON = {
    "AWS_LAMBDA_FUNCTION_NAME": "auth",
    "REALTIME_PROVIDER": "pusher",
    "REALTIME_PUSHER__APP_ID": "42",
    "REALTIME_PUSHER__KEYS": "key:secret",
    "REALTIME_PUSHER__CLUSTER": "eu",
    "JWT_SECRET": LOGIN,
}
ABLY = {"REALTIME_PROVIDER": "ably", "REALTIME_ABLY__KEY": "abcdef.key:secret"}
VENDORS = frozenset(
    {"pusher", "ably", "requests", "flask", "aiohttp", "boto3", "jwt", "cryptography", "nacl"}
)

# Both end here and now: what an interpreter does when it is torn down is no part of a start.
END = "import os; os._exit(0)"
PEER = f"import pydantic_settings; {END}"
OURS = f"""
import json, sys
from lambdas.auth import handler
answer = handler(json.loads(sys.argv[1]), None)
print(json.dumps(answer), flush=True)
{END}
"""
MODULES = OURS.replace(END, "print(json.dumps([*sys.modules]))")


def event(name: str, **headers: str) -> dict[str, Any]:
    path = CHECKOUT / "tests" / "vectors" / "lambda_events" / f"{name}.json"
    document: dict[str, Any] = json.loads(path.read_text())
    document["headers"] |= headers
    return document


def token() -> str:
    """An HS256 token, by hand: nothing but the function itself is to be loaded."""
    parts = ({"alg": "HS256"}, {"sub": "7", "name": "Ann", "exp": time.time() + 3_600})
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    signed = b".".join(encoded)
    signature = urlsafe_b64encode(hmac.digest(LOGIN.encode(), signed, "sha256")).rstrip(b"=")
    return b".".join((signed, signature)).decode()


def start(code: str, *arguments: str, **environ: str) -> tuple[float, str]:
    """CPU of a new process in milliseconds, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **ENVIRON, **environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as stdout:
        printed = stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the process failed"
    return (usage.ru_utime + usage.ru_stime) * 1_000, printed


def cheapest(code: str, *arguments: str, **environ: str) -> float:
    return min(start(code, *arguments, **environ)[0] for _ in range(STARTS))


def answer_to(invocation: dict[str, Any], **environ: str) -> dict[str, str]:
    """The proof, for which nobody's package was loaded."""
    _, printed = start(MODULES, json.dumps(invocation), **environ)
    answer, modules = map(json.loads, printed.splitlines())
    assert answer["statusCode"] == 200, answer
    loaded = VENDORS.intersection(modules)
    assert not loaded, f"a vendor's package was loaded: {loaded}"
    proof: dict[str, str] = json.loads(answer["body"])
    return proof


def check(invocation: dict[str, Any]) -> None:
    """The answer is the right one, from either provider."""
    proof = answer_to(invocation)
    text = f"123.456:presence-room-lobby:{proof['channel_data']}"
    assert proof["auth"] == f"key:{hmac.new(b'secret', text.encode(), hashlib.sha256).hexdigest()}"
    signed, _, signature = answer_to(invocation, **ABLY)["token"].rpartition(".")
    digest = hmac.digest(b"secret", signed.encode(), "sha256")
    assert urlsafe_b64encode(digest).rstrip(b"=").decode() == signature


def measure(pairs: int) -> Result:
    authorized = event("http_api_jwt_authorizer")
    with_token = event("http_api", authorization=f"Bearer {token()}")
    for invocation in (authorized, with_token):
        check(invocation)

    def against(name: str, invocation: dict[str, Any], **environ: str) -> Result:
        return compare(
            f"cold_start, {name}",
            lambda: cheapest(OURS, json.dumps(invocation), **environ),
            lambda: cheapest(PEER),
            unit="ms of CPU",
            better="lower",
            bar=BAR,
            pairs=pairs,
        )

    by_token = against("HS256", with_token)
    pusher, ably = against("pusher", authorized), against("ably", authorized, **ABLY)
    details = {
        "on pusher": f"{pusher.ratio:.3f}",
        "on ably": f"{ably.ratio:.3f}",
        "with an HS256 token": f"{by_token.ratio:.3f}",
    }
    dearer = max(pusher, ably, key=lambda result: result.ratio)
    return replace(dearer, name="cold_start", details=details)


if __name__ == "__main__":
    main(measure, __doc__)
