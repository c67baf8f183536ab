"""`realtime-kit verify --live`: against servers of this machine, as each provider finds them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from realtime_kit.cli._deployment import _load_functions
from realtime_kit.deployment.cost import prices
from realtime_kit.emulators.ably.server import AblyEmulator
from realtime_kit.emulators.deployment import deployed
from realtime_kit.events import Event, Limits
from realtime_kit.hosting.local import running
from realtime_kit.testing.conformance.channels_wire import Browsers
from realtime_kit.testing.dynamodb import MemoryDynamoDB
from realtime_kit.testing.fakes import FakeProvider
from realtime_kit.testing.live import without_secrets
from realtime_kit.testing.live.meter import CapReached, Meter, metered

MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRET = "secret-of-the-app"


@pytest.fixture
def pusher(served) -> dict[str, str]:
    """The official SDK, pointed at the embedded server."""
    pair = served.app.key
    return {
        "REALTIME_PROVIDER": "log",
        "REALTIME_PUSHER__APP_ID": served.app.id,
        "REALTIME_PUSHER__KEYS": f"{pair.key}:{pair.secret}",
        "REALTIME_PUSHER__HOST": "127.0.0.1",
        "REALTIME_PUSHER__PORT": str(served.port),
        "REALTIME_PUSHER__TLS": "false",
        "REALTIME_PUSHER__ENCRYPTION_MASTER_KEY": MASTER_KEY,
    }


def _report(folder: Path, provider: str) -> str:
    (path,) = folder.glob(f"realtime-kit-verify-{provider}-*.md")
    day = datetime.now(UTC).date()
    assert path.stem.removeprefix(f"realtime-kit-verify-{provider}-") <= day.isoformat()
    return path.read_text()


def test_without_live_it_only_says_what_it_would_do(run, tmp_path):
    done = run("verify", "pusher")
    assert done.returncode == 2
    assert "credentials" in done.stderr
    assert "--live" in done.stderr
    assert not list(tmp_path.glob("*.md"))


def test_a_provider_that_there_is_not(run):
    done = run("verify", "--live", "carrier-pigeon")
    assert done.returncode == 2


def test_the_embedded_server(run, served, tmp_path):
    done = run("verify", "--live", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "at most 5000 messages. They cost nothing." in done.stderr
    report = _report(tmp_path, "local")
    assert re.search(r"^\*\*[5-9]\d passed, 0 failed, 3 not possible\.\*\*$", report, re.MULTILINE)
    assert "| connection: a ping is answered | passed |" in report
    assert "local.encryption\\_master\\_key is not set" in report
    assert "\n- Webhooks: " in report.partition("## Not verified")[2]


def test_the_official_sdk_of_pusher(run, pusher, served, tmp_path):
    done = run("verify", "--live", "pusher", "--report", "mine.md", env=pusher)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = prices()["pusher"]["plans"][0]
    assert f"of the {plan[3]:,} a day of {plan[0]}" in done.stderr
    report = (tmp_path / "mine.md").read_text()
    assert "| encrypted: the page reads what was sent \\[batch] | passed |" in report
    assert re.search(r"^- Versions: realtime-kit \S+, Python \S+, pusher \S+, ", report, re.M)
    for secret in (served.app.key.secret, served.app.key.key, MASTER_KEY):
        assert secret not in report + done.stdout + done.stderr


def test_a_deployment_of_one_s_own(run, tmp_path):
    environ = {
        "REALTIME_AWS__KEYS": f"key-of-the-app:{SECRET}",
        "REALTIME_AWS__ENCRYPTION_MASTER_KEY": MASTER_KEY,
        "REALTIME_AWS__METRICS": "false",
    }
    with deployed(MemoryDynamoDB(), _load_functions, environ=environ) as deployment:
        done = run("verify", "--live", "aws", env=deployment.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"That is less than \$\d+\.\d\d \(list prices of \d{4}\)", done.stderr)
    report = _report(tmp_path, "aws")
    assert "- Where: host 127.0.0.1\n" in report
    assert "0 failed" in report
    assert "not possible" not in report
    assert "$connect" in report.partition("## Not verified")[2]
    assert SECRET not in report


def test_the_cap_ends_it_before_the_call_that_would_go_over(run, served, tmp_path):
    heard = len(served.webhooks)
    done = run("verify", "--live", "local", "--max-messages", "30")
    assert done.returncode == 1
    assert "stopped: the cap is reached" in done.stderr
    report = _report(tmp_path, "local")
    assert "Stopped: the cap is reached" in report
    spent = int(re.search(r"- Messages: at most (\d+) spent of 30\.", report)[1])
    assert 20 < spent <= 30
    assert "| members: each user once | not run |" in report
    assert "- members: each user once (not run)" in report.partition("## Not verified")[2]
    assert len(served.webhooks) > heard, "it did ask the server"


def test_what_a_vendor_counts_several_times_is_counted_so():
    provider = metered(FakeProvider)(limits=Limits(data=65_536))
    provider.meter = Meter(100)
    provider.meter.present["presence-room"] = 10
    event = Event(("presence-room",), "update", "x" * 16 * 1024)
    provider.publish([event])  # four of 5 KiB, and each of them to ten
    assert provider.meter.spent == 44
    provider.members("presence-room")
    assert provider.meter.spent == 44 + 12
    with pytest.raises(CapReached):
        provider.publish([event], info=["user_count"])
    assert provider.meter.spent == 44 + 12
    assert len(provider.sent) == 1


def test_a_cap_under_which_nothing_can_be_asked(run, served):
    done = run("verify", "--live", "local", "--max-messages", "1")
    assert done.returncode == 1


def test_a_wrong_key(run, pusher, tmp_path):
    wrong = {**pusher, "REALTIME_PUSHER__KEYS": f"another-key:{SECRET}"}
    done = run("verify", "--live", "pusher", env=wrong)
    assert done.returncode == 1
    assert re.search(r"^realtime-kit: .*\(pusher, status 401", done.stderr, re.MULTILINE)
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.md"))


def test_settings_that_are_missing(run, tmp_path):
    done = run("verify", "--live", "aws")
    assert done.returncode == 1
    assert "REALTIME_AWS__KEYS" in done.stderr


def test_an_app_that_is_in_use_is_left_alone(run, served):
    with Browsers() as browsers:
        page = browsers.connect(served.realtime().provider.client_config())
        page.subscribe("orders")
        done = run("verify", "--live", "local")
        page.close()
    assert done.returncode == 1
    assert "the app is in use (1 occupied channel" in done.stderr


def test_a_check_that_fails_is_told_without_secrets(run, pusher, served, tmp_path):
    """The app that is configured lets browsers in, and the one that is asked is another."""
    other = {**pusher, "REALTIME_PUSHER__PUBLIC_PORT": "1"}
    done = run("verify", "--live", "pusher", env=other)
    assert done.returncode == 1
    report = _report(tmp_path, "pusher")
    assert re.search(r"\| connection: a ping is answered \| failed \| \d\.\d\d \| \w+Error", report)
    assert served.app.key.secret not in report


@pytest.mark.parametrize(
    "text",
    [
        f"auth key:{'ab' * 32} refused",
        f"{SECRET} and {SECRET}",
        "Bearer eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
    ],
)
def test_what_was_signed_is_left_out(text: str):
    shown = without_secrets(text, [SECRET])
    assert "…" in shown
    assert not re.search(rf"ab{{32}}|{SECRET}|c2lnbmF0dXJl|(ab){{32}}", shown)


def test_ably(run, tmp_path):
    key = f"local0.dev:{SECRET}"
    with running(AblyEmulator([key])) as emulator:
        emulator.call(allow_revocation)
        environ = {
            "REALTIME_ABLY__KEY": key,
            "REALTIME_ABLY__ENDPOINT": "127.0.0.1",
            "REALTIME_ABLY__PORT": str(emulator.port),
            "REALTIME_ABLY__TLS": "false",
            "REALTIME_ABLY__ENCRYPTION_MASTER_KEY": MASTER_KEY,
        }
        done = run("verify", "--live", "ably", env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    report = _report(tmp_path, "ably")
    assert re.search(r"^\*\*[5-9]\d passed, 0 failed\.\*\*$", report, re.MULTILINE)
    assert "| user auth: a connection signs in | passed |" in report
    for secret in (SECRET, MASTER_KEY):
        assert secret not in report + done.stdout + done.stderr


def allow_revocation(world) -> None:
    """What is switched on for a key in Ably's dashboard."""
    for app in world.apps.values():
        app.keys.update(
            {name: replace(key, revocable_tokens=True) for name, key in app.keys.items()}
        )
