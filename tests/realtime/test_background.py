"""`background=True`: a bounded queue, a thread, flushed at exit."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from realtime_kit import (
    ConfigurationError,
    Event,
    InvalidEvent,
    ProviderUnavailable,
    Realtime,
    RealtimeSettings,
    Unsupported,
)
from realtime_kit import background as background_module
from realtime_kit.background import Worker
from realtime_kit.testing.fakes import FakeProvider

DOWN = ProviderUnavailable("no answer", provider="fake", retryable=True)


class Gated(FakeProvider):
    """Delivers when the gate opens."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def publish(self, events, *, info=()):
        assert self.gate.wait(10)
        return super().publish(events, info=info)


def test_what_only_the_provider_can_tell_is_raised_at_once_too():
    realtime = Realtime("local", settings=RealtimeSettings(environ={"REALTIME_PORT": "1"}))
    with pytest.raises(InvalidEvent, match="not a socket id"):
        realtime.trigger("a", "e", 1, exclude="me", background=True)
    with pytest.raises(InvalidEvent, match="_rk"):
        realtime.trigger("a", "e", {"_rk": 1}, background=True)
    with pytest.raises(ConfigurationError, match="ENCRYPTION_MASTER_KEY"):
        realtime.trigger("private-encrypted-a", "e", 1, background=True)


@pytest.fixture
def gated():
    realtime = Realtime(Gated())
    yield realtime
    realtime.provider.gate.set()
    assert realtime.flush(10)


class TestBackground:
    def test_it_returns_at_once_and_sends_in_order(self, gated):
        data = {"n": 0}
        for n in range(20):
            data["n"] = n
            assert gated.trigger("a", "e", data, background=True) == []
        assert gated.provider.sent == []
        assert not gated.flush(0)
        gated.provider.gate.set()
        assert gated.flush(10)
        assert [sent.data for sent in gated.provider.sent] == [{"n": n} for n in range(20)]
        assert len({sent.id for sent in gated.provider.sent}) == 20

    def test_batches_and_users_too(self, realtime):
        assert realtime.trigger_batch([Event("a", "e", "text")], background=True) == []
        assert realtime.send_to_user("7", "e", [1], background=True) == []
        assert realtime.flush(10)
        assert [(s.channel, s.data) for s in realtime.provider.sent] == [
            ("a", "text"),
            ("#server-to-user-7", [1]),
        ]

    def test_a_failure_is_logged_and_counted_whatever_the_policy(self, realtime, caplog):
        realtime.provider.failure = DOWN
        with caplog.at_level(logging.ERROR, logger="realtime_kit"):
            realtime.trigger("a", "e", {}, background=True, on_error="raise")
            assert realtime.flush(10)
        assert realtime.failures == 1
        assert [record.getMessage() for record in caplog.records] == [
            "not sent: e to a: no answer (fake)"
        ]

    def test_a_full_queue_refuses(self, gated, monkeypatch):
        monkeypatch.setattr(gated, "_worker", Worker(capacity=2))
        gated.trigger("a", "e", 0, background=True)
        _wait_until_busy(gated._worker)
        gated.trigger("a", "e", 1, background=True)
        gated.trigger("a", "e", 2, background=True)
        with pytest.raises(ProviderUnavailable, match="too many background calls") as caught:
            gated.trigger("a", "e", 3, background=True)
        assert caught.value.retryable
        assert not caught.value.maybe_sent
        assert gated.trigger("a", "e", 4, background=True, on_error="log") == []
        assert gated.failures == 1
        gated.provider.gate.set()
        assert gated.flush(10)
        assert [sent.data for sent in gated.provider.sent] == [0, 1, 2]

    def test_receipts_cannot_be_had(self, realtime):
        with pytest.raises(Unsupported, match="info= has no answer"):
            realtime.trigger("a", "e", {}, info=["user_count"], background=True)

    def test_not_on_lambda(self):
        settings = RealtimeSettings(environ={"AWS_LAMBDA_FUNCTION_NAME": "f"})
        realtime = Realtime(FakeProvider(), settings=settings)
        with pytest.raises(Unsupported, match="Lambda freezes"):
            realtime.trigger("a", "e", {}, background=True)
        assert realtime.provider.sent == []

    def test_close_sends_what_waits(self, gated):
        gated.trigger("a", "e", {}, background=True)
        gated.provider.gate.set()
        gated.close(10)
        assert len(gated.provider.sent) == 1


class TestWorker:
    def test_a_call_that_fails_ends_no_other(self, caplog):
        worker, done = Worker(), []
        worker.submit(lambda: 1 / 0)
        worker.submit(lambda: done.append(1))
        assert worker.flush(10)
        assert done == [1]
        assert "ZeroDivisionError" in caplog.text

    def test_an_idle_thread_ends_and_another_is_started(self, monkeypatch):
        monkeypatch.setattr(background_module, "IDLE_SECONDS", 0.01)
        worker, threads = Worker(), []
        for _ in range(2):
            worker.submit(lambda: threads.append(threading.current_thread()))
            assert worker.flush(10)
            threads[-1].join(10)
            assert not threads[-1].is_alive()
        assert threads[0] is not threads[1]

    def test_nothing_to_flush(self):
        assert Worker().flush(0)


def test_exit_waits_for_what_waits():
    code = """
        import threading
        from realtime_kit import Realtime
        from realtime_kit.testing.fakes import FakeProvider

        class Slow(FakeProvider):
            def publish(self, events, *, info=()):
                threading.main_thread().join(10)  # until the program has ended
                print(events[0].name, flush=True)
                return super().publish(events, info=info)

        realtime = Realtime(Slow())
        for name in ("one", "two"):
            realtime.trigger("a", name, {}, background=True)
        print("end of the program", flush=True)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout.split("\n")[:3] == ["end of the program", "one", "two"]


def _wait_until_busy(worker):
    with worker._changed:
        assert worker._changed.wait_for(lambda: worker._busy, 10)
