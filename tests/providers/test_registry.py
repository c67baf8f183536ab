"""The list of providers: lazy, read-only, and helpful about what is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from realtime_kit import providers
from realtime_kit.errors import ConfigurationError
from realtime_kit.providers.base import Provider
from realtime_kit.providers.null import NullProvider
from realtime_kit.settings import RealtimeSettings

SETTINGS = {
    "ABLY_API_KEY": "abcdef.key:secret",
    "PUSHER_URL": "http://key:secret@127.0.0.1:6001/apps/1",
    "REALTIME_AWS__KEYS": "key:secret",
    "REALTIME_AWS__SOCKET": "wss://socket.example/dev",
}


@pytest.mark.parametrize("name", providers.PROVIDERS)
def test_a_name_is_its_provider(name: str) -> None:
    found = providers.load(name)
    assert issubclass(found, Provider)
    assert found.name == name
    made = found.from_settings(RealtimeSettings(environ=SETTINGS))
    assert isinstance(made, found)
    made.close()


def test_the_list_is_sorted_and_read_only() -> None:
    assert list(providers.PROVIDERS) == sorted(providers.PROVIDERS)
    assert providers.names() == tuple(providers.PROVIDERS)
    with pytest.raises(TypeError):
        providers.PROVIDERS["other"] = providers.Entry("a:B")  # type: ignore[index]


@pytest.mark.parametrize(("name", "near"), [("pushr", "pusher"), ("Local", "local")])
def test_an_unknown_name_is_told_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean '{near}'.*REALTIME_PROVIDER|") as e:
        providers.load(name)
    assert f"did you mean {near!r}" in str(e.value)
    assert "REALTIME_PROVIDER" in str(e.value)


def test_a_name_like_no_other_is_told_them_all() -> None:
    with pytest.raises(ConfigurationError) as caught:
        providers.load("zzz")
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in providers.PROVIDERS)


def test_a_package_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"{NullProvider.__module__}:{NullProvider.__qualname__}"
    points = EntryPoints([EntryPoint("abyss", target, providers.GROUP)])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points.select(group=group))
    assert providers.load("abyss") is NullProvider
    assert providers.names() == (*providers.PROVIDERS, "abyss")


def test_a_missing_extra_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = providers.Entry("no_such_package_anywhere:Provider", extra="gadget")
    monkeypatch.setattr(providers, "PROVIDERS", {"gadget": entry})
    with pytest.raises(ConfigurationError, match=r"pip install 'realtime-kit\[gadget\]'"):
        providers.load("gadget")


NOT_FOR_SIGNING = ["pusher", "requests", "aiohttp", "flask", "nacl", "http.client", "boto3"]
NOT_FOR_SIGNING += ["realtime_kit.hosting", "ably", "httpx", "jwt"]


@pytest.mark.parametrize("name", ["ably", "aws", "local", "pusher"])
def test_signing_loads_no_vendor_and_no_http_client(name: str) -> None:
    code = f"""
import sys
from realtime_kit.authorization import Grant, Member, SignIn
from realtime_kit.providers import load
from realtime_kit.providers.base import AuthRequest
from realtime_kit.settings import RealtimeSettings
settings = RealtimeSettings(environ={SETTINGS!r})
provider = load({name!r}).from_settings(settings)
provider.authorize(AuthRequest("7", "1.1", (Grant(Member("7"), channel="presence-room"),)))
provider.sign_in("1.1", SignIn("7"))
provider.client_config()
provider.close()
print(*(name for name in {NOT_FOR_SIGNING!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_list_alone_loads_nothing() -> None:
    code = (
        "import sys, realtime_kit.providers\n"
        "print(*(m for m in sys.modules if m.startswith('realtime_kit.providers.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
