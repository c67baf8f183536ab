"""Threads share one Realtime; a fork starts anew."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from realtime_kit import ProviderUnavailable, Realtime, RealtimeSettings
from realtime_kit.testing.fakes import FakeProvider


class TestThreads:
    def test_the_provider_is_made_once(self, monkeypatch):
        made = []
        start = threading.Barrier(8)

        class Counted(FakeProvider):
            @classmethod
            def from_settings(cls, settings):
                made.append(settings)
                return cls()

        monkeypatch.setattr("realtime_kit.providers.load", lambda name: Counted)
        realtime = Realtime("counted")

        def use(n):
            start.wait(10)
            return realtime.provider, realtime.trigger("a", "e", n)

        with ThreadPoolExecutor(8) as pool:
            used = list(pool.map(use, range(8)))
        assert len(made) == 1
        assert len({id(provider) for provider, _ in used}) == 1
        assert len(realtime.provider.sent) == 8

    def test_failures_are_counted_exactly(self):
        realtime = Realtime(FakeProvider(), on_error="log")
        realtime.provider.failure = ProviderUnavailable("no", provider="fake")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: realtime.trigger("a", "e", n), range(400)))
        assert realtime.failures == 400

    def test_many_threads_over_one_server(self, realtime_server):
        realtime = realtime_server.realtime()
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda n: realtime.trigger("a", "e", n), range(200)))
        assert len({receipt.id for (receipt,) in receipts}) == 200
        realtime.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
class TestFork:
    def test_a_child_makes_its_own(self, realtime_server):
        realtime = realtime_server.realtime()
        realtime.trigger("a", "before", {})
        parents = realtime.provider

        def child():
            assert realtime.provider is not parents
            assert realtime.trigger("a", "in the child", {})[0].channel == "a"

        _in_child(child)
        assert realtime.provider is parents
        assert realtime.trigger("a", "after", {})[0].channel == "a"
        realtime.close()

    def test_a_child_inherits_no_lock_and_no_thread(self):
        held, free = threading.Event(), threading.Event()
        realtime = Realtime("null", settings=RealtimeSettings(environ={}))

        def hold():
            with realtime._lock:
                held.set()
                free.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(10)

        def child():
            assert realtime.provider.name == "null"
            realtime.trigger("a", "e", {}, background=True)
            assert realtime.flush(10)

        try:
            _in_child(child)
        finally:
            free.set()
            holder.join(10)

    def test_what_waits_is_sent_by_the_parent_alone(self, tmp_path):
        gate = threading.Event()
        sent = tmp_path / "sent"

        class Gated(FakeProvider):
            def publish(self, events, *, info=()):
                assert gate.wait(10)
                with sent.open("a") as file:
                    file.write(f"{events[0].name}\n")
                return super().publish(events, info=info)

        realtime = Realtime(Gated())
        realtime.trigger("a", "once", {}, background=True)

        def child():
            gate.set()
            assert realtime.flush(10)

        _in_child(child)
        gate.set()
        assert realtime.flush(10)
        assert sent.read_text() == "once\n"

    def test_a_provider_that_was_given_is_kept(self):
        realtime = Realtime(FakeProvider())
        given = realtime.provider

        def child():
            assert realtime.provider is given

        _in_child(child)


def _in_child(run):
    """Run it in a forked process, which must end well within ten seconds."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forking a process with threads; preloading WSGI servers do just that.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
