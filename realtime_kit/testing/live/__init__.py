"""The conformance suites on an account of somebody's own: `realtime-kit verify --live PROVIDER`.

    run = verify("pusher", settings, limit=2_000, progress=print)
    run.checks, run.spent, run.stopped

It needs pytest, and the extra `server` for its browsers. Use an app that nothing else uses: the
suites send to channels such as `news`, and disconnect users such as 7.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from realtime_kit.disclosure import secrets_in
from realtime_kit.errors import ConfigurationError, missing_extra
from realtime_kit.providers import load
from realtime_kit.providers.base import Capability, Provider
from realtime_kit.settings import RealtimeSettings
from realtime_kit.testing.conformance import Suite
from realtime_kit.testing.conformance.channels_wire import Browsers
from realtime_kit.testing.live.meter import CapReached, Meter, Metered, MeteredObserver, metered

PROVIDERS = ("ably", "aws", "local", "pusher")
QUIET = 20.0  # seconds until the browsers of one check must be gone for the service, too

State = Literal["passed", "failed", "not possible", "not run"]


@dataclass(frozen=True, slots=True)
class Check:
    """`note`: the error without secrets, or why it is not possible. `seconds` it took."""

    name: str
    state: State
    note: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """`stopped`: why it ended before the last check. `began` is seconds since 1970."""

    provider: str
    limit: int
    began: float = field(default_factory=time.time)
    spent: int = 0
    seconds: float = 0.0
    stopped: str | None = None
    checks: list[Check] = field(default_factory=list)

    def count(self, state: State) -> int:
        return sum(check.state == state for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether everything that is possible was run and passed."""
        return self.stopped is None and not self.count("failed") and not self.count("not run")


def verify(
    name: str, settings: RealtimeSettings, *, limit: int, progress: Callable[[Check], object]
) -> Run:
    """Run the suites, `limit` messages at most. `progress` hears of each check that is done.

    Raises `ConfigurationError` where the app is in use, and what the provider raises if it cannot
    be asked at all, such as `Rejected` for a wrong key.
    """
    run, meter = Run(name, limit), Meter(limit)
    provider = metered(load(name)).from_settings(settings)
    provider.meter = meter
    with closing(provider), _browsers(name, settings) as browsers:
        try:
            _refuse_if_in_use(provider)
        except CapReached as error:
            raise ConfigurationError(f"a cap of {limit} messages is too low: {error}") from None
        plugin = _Plugin(run, provider, browsers, settings, progress)
        began = time.monotonic()
        _pytest(plugin)
        run.seconds = time.monotonic() - began
    run.spent = meter.spent
    return run


def _browsers(name: str, settings: RealtimeSettings) -> Browsers:
    if name != "ably":
        return Browsers()
    try:
        from realtime_kit.testing.conformance.ably_wire import AblyBrowsers
    except ModuleNotFoundError as error:
        raise missing_extra("emulators", "verifying provider 'ably'") from error
    browsers = AblyBrowsers()
    browsers.settings = settings.ably
    return browsers


def _pytest(plugin: _Plugin) -> None:
    """Nothing of the project in whose directory this runs: no settings, no plugins, no files."""
    before = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-c", os.devnull, f"--rootdir={plugin.suites.parent}", "--noconftest"]
    options += ["--import-mode=importlib", "--capture=no", "-p", "no:cacheprovider"]
    options += ["-p", "no:terminal"]
    try:
        pytest.main([*options, str(plugin.suites)], plugins=[plugin])
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update({name: value for name, value in before.items() if value is not None})
    if plugin.broken is not None:
        raise plugin.broken
    if not plugin.ran:
        raise ConfigurationError("pytest ran none of the checks; is its version below 8?")


def _refuse_if_in_use(provider: Provider) -> None:
    if Capability.CHANNELS in provider.capabilities and (found := provider.channels()):
        raise ConfigurationError(
            f"the app is in use ({len(found)} occupied channels): the checks send to channels such "
            "as 'news' and disconnect users such as '7', so give them an app of their own"
        )


class _Plugin:
    """The fixtures of the suites, and what becomes of each check."""

    def __init__(
        self,
        run: Run,
        provider: Metered,
        browsers: Browsers,
        settings: RealtimeSettings,
        progress: Callable[[Check], object],
    ) -> None:
        self.broken: BaseException | None = None
        self._run = run
        self._provider = provider
        self._browsers = browsers
        self._section = getattr(settings, run.provider)
        self._secrets = sorted(secrets_in(self._section), key=len, reverse=True)
        self._progress = progress
        self._left: list[str] = []

    @property
    def suites(self) -> Path:
        """The file with the suites of the provider."""
        own = "ably_suites.py" if self._run.provider == "ably" else "suites.py"
        return Path(__file__).with_name(own)

    @property
    def ran(self) -> bool:
        return bool(self._run.checks)

    # --- fixtures ---------------------------------------------------------------------------

    @pytest.fixture
    def provider(self) -> Provider:
        return self._provider

    @pytest.fixture
    def secrets(self) -> list[str]:
        return self._secrets

    @pytest.fixture
    def wire(self) -> Iterator[_Plugin]:
        """The browsers; afterwards nobody is left who would be seen by the next check."""
        yield self
        if Capability.CHANNELS not in self._provider.capabilities:
            return
        ends, pause = time.monotonic() + QUIET, 0.1
        while found := self._provider.channels():
            assert time.monotonic() < ends, f"still occupied after {QUIET:g} s: {found}"
            time.sleep(pause)
            pause *= 2

    def connect(self, config: Any) -> MeteredObserver:
        meter = self._provider.meter
        meter.spend(1)
        return MeteredObserver(self._browsers.connect(config), meter)

    # --- what pytest tells ------------------------------------------------------------------

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        possible = []
        for item in items:
            if self._says_nothing(item):
                continue
            if why := self._why_not(item):
                self._done(Check(_name(item), "not possible", why))
            else:
                possible.append(item)
        items[:] = possible
        self._left = [_name(item) for item in items]

    def _says_nothing(self, item: pytest.Function) -> bool:
        """Whether it asks that what is declared be unsupported."""
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return parameters.get("capability") in self._provider.capabilities

    def _why_not(self, item: pytest.Function) -> str | None:
        suite, name = item.cls, self._run.provider
        covers = suite.covers if suite is not None and issubclass(suite, Suite) else frozenset()
        if missing := sorted(covers - self._provider.capabilities):
            return f"provider {name!r} cannot: {', '.join(missing)}"
        if Capability.ENCRYPTED in covers and self._section.encryption_master_key is None:
            return f"{name}.encryption_master_key is not set"
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: Any) -> Any:
        report = yield
        error = None if call.excinfo is None else call.excinfo.value
        if isinstance(error, CapReached):
            item.session.shouldfail = self._run.stopped = f"the cap is reached: {error}"
        elif error is not None:
            self._record(item, Check(_name(item), "failed", self._text(error), call.duration))
        elif call.when == "call":
            self._record(item, Check(_name(item), "passed", "", call.duration))
        return report

    def _record(self, item: pytest.Function, check: Check) -> None:
        """What fails twice, in a check and after it, is one failure: the first."""
        if check.name in self._left:
            self._left.remove(check.name)
            self._done(check)
        elif check.state == "failed":
            self._replace(check)

    def _replace(self, check: Check) -> None:
        checks = self._run.checks
        at = next(index for index, one in enumerate(checks) if one.name == check.name)
        if checks[at].state == "passed":
            checks[at] = check
            self._progress(check)

    def _done(self, check: Check) -> None:
        self._run.checks.append(check)
        self._progress(check)

    def pytest_sessionfinish(self) -> None:
        self._run.checks += [Check(name, "not run") for name in self._left]

    def pytest_internalerror(self, excinfo: Any) -> None:
        self.broken = excinfo.value

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        self.broken = KeyboardInterrupt()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken = ConfigurationError(f"the suites do not load: {report.longreprtext}")

    def _text(self, error: BaseException) -> str:
        return without_secrets(f"{type(error).__name__}: {error}", self._secrets)


def without_secrets(text: str, secrets: list[str]) -> str:
    """One line of at most 300 characters; no secrets, and nothing that was signed with one."""
    for secret in secrets:
        text = text.replace(secret, "…")
    text = re.sub(r"[0-9a-f]{64}|eyJ[\w-]+\.[\w-]+\.[\w-]+", "…", text)
    return " ".join(text.split())[:300]


def _name(item: pytest.Item) -> str:
    """`publish: data arrives as it was sent [1]`."""
    suite = item.getparent(pytest.Class)
    before = "" if suite is None else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", suite.name[4:]).lower()
    test, _, parameters = item.name.removeprefix("test_").partition("[")
    return f"{before}: {test.replace('_', ' ')}" + (f" [{parameters}" if parameters else "")
