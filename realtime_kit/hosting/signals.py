"""Signals are the main thread's."""

from __future__ import annotations

import signal


def leave_signals_to_main() -> None:
    """What any other thread of a program that waits for Ctrl-C or SIGTERM begins with.

    The system gives a signal to any thread that does not block it, Python runs the handler in the
    main one alone, and there only once that wakes up: it may wait for a child, or a lock, for ever.
    Threads that this one starts block them too.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
