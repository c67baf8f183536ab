"""The report of a run, as Markdown: what was asked, what came of it, and what was not asked."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from realtime_kit import __version__
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.live import Run

PACKAGES = ("pusher", "ably", "aiohttp", "pytest")

UNVERIFIED = (
    "Webhooks: they come to an address that the internet knows, and this run has none.",
    "The service's own faults: what it answers when it is down, slow or throttling.",
    "Clients other than the one of this run: browsers, pusher-js, mobile libraries.",
    "Load: the rate limits, large fan-outs, many connections, long-lived ones.",
)
_UNVERIFIED_BY_PROVIDER = {
    "aws": (
        "The codes that clients see when API Gateway ends a connection: idle, after two hours, or "
        "because a function asked for it.",
        "Which statuses of a refused `$connect` reach the client.",
        "How soon after `$connect` the greeting comes from a cold start, and how often it meets "
        "410 before.",
        "The form of @connections' answers when it throttles.",
        "A custom domain, and the CloudFront distribution of `--param cloudfront=yes`.",
        "Boto3Transport (`REALTIME_AWS__TRANSPORT=boto3`), unless the deployment uses it.",
        "What it really cost: compare the bill.",
    ),
    "ably": (
        "Client events, history, and what is paid for by the month.",
        "How long a connection that ended without a word is kept.",
    ),
    "pusher": (
        "Client events, which are switched on in the app's settings.",
        "What counts against the plan: compare the dashboard.",
    ),
}


def markdown(run: Run, settings: RealtimeSettings, cost: str) -> str:
    """`cost`: what the cap is worth, in a sentence."""
    return "\n".join(_lines(run, settings, cost)) + "\n"


def _lines(run: Run, settings: RealtimeSettings, cost: str) -> Iterator[str]:
    when = datetime.fromtimestamp(run.began, UTC)
    yield f"# realtime-kit verify: {run.provider}, {when:%Y-%m-%d}"
    yield ""
    yield _verdict(run)
    yield ""
    yield f"- Began {when:%Y-%m-%d %H:%M:%S} UTC, took {run.seconds:.1f} s"
    yield f"- Where: {place(run.provider, settings)}"
    yield f"- Versions: {', '.join(_versions())}"
    yield f"- Messages: at most {run.spent} spent of {run.limit}. {cost}"
    yield ""
    yield "| check | result | s | |"
    yield "|---|---|---|---|"
    for check in run.checks:
        seconds = f"{check.seconds:.2f}" if check.state in ("passed", "failed") else ""
        yield f"| {_cell(check.name)} | {check.state} | {seconds} | {_cell(check.note)} |"
    yield ""
    yield "## Not verified"
    yield ""
    for check in run.checks:
        if check.state != "passed":
            yield f"- {_cell(check.name)} ({check.state})"
    for line in (*UNVERIFIED, *_UNVERIFIED_BY_PROVIDER.get(run.provider, ())):
        yield f"- {line}"


def _verdict(run: Run) -> str:
    counts = [
        f"{count} {state}"
        for state in ("passed", "failed", "not possible", "not run")
        if (count := run.count(state)) or state in ("passed", "failed")
    ]
    stopped = f" Stopped: {run.stopped}." if run.stopped else ""
    return f"**{', '.join(counts)}.**{stopped}"


def place(provider: str, settings: RealtimeSettings) -> str:
    """Region, cluster or host: not the account, nor the app."""
    if provider == "pusher":
        pusher = settings.pusher
        return f"host {pusher.host}" if pusher.host else f"cluster {pusher.cluster}"
    if provider == "aws":
        host = urlsplit(settings.aws.url or "").hostname or "?"
        _, found, rest = host.partition(".execute-api.")
        return f"region {rest.partition('.')[0]}" if found else f"host {host}"
    if provider == "local":
        return f"host {settings.local.host}"
    return f"host {settings.ably.endpoint or 'main'}"


def _versions() -> Iterator[str]:
    yield f"realtime-kit {__version__}"
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _cell(text: str) -> str:
    """Text in a cell of a table, whatever is in it."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    for special in "\\|`<*_[":
        shown = shown.replace(special, f"\\{special}")
    return shown
