"""The `realtime_server` fixture: a real server, and the settings that lead to it."""

from __future__ import annotations

import urllib.request


def test_it_serves_and_its_settings_lead_to_it(realtime_server):
    realtime = realtime_server.realtime()
    receipts = realtime.trigger(["a", "b"], "shipped", {"n": 1})
    assert [receipt.channel for receipt in receipts] == ["a", "b"]
    assert realtime.channels() == []
    realtime.close()


def test_it_ends_with_the_test(pytester):
    pytester.makepyfile(
        """
        import socket

        def test_first(realtime_server):
            global port
            port = realtime_server.port
            socket.create_connection(("127.0.0.1", port)).close()

        def test_second():
            probe = socket.socket()
            assert probe.connect_ex(("127.0.0.1", port)) != 0
            probe.close()
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=2)


def test_up(realtime_server):
    with urllib.request.urlopen(f"{realtime_server.url}/up") as answer:
        assert answer.status == 200
