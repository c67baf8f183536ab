"""For the tests of applications: a fake provider with assertions, an embedded server, faults.

The pytest plugin (`realtime`, `realtime_server`) is on wherever realtime-kit is installed; the
conformance suites in `realtime_kit.testing.conformance` are for whoever writes a provider.
"""

from realtime_kit.testing.fakes import ANY, FakeProvider, Sent

__all__ = ["ANY", "FakeProvider", "Sent"]
