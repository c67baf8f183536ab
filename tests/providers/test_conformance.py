"""The suites themselves: one that cannot fail would prove nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from realtime_kit.errors import Unsupported
from realtime_kit.events import Event, Limits, Receipt
from realtime_kit.providers.base import Capability, Provider
from realtime_kit.testing import conformance
from realtime_kit.testing.conformance import suite

declared = conformance.DeclaredSuite()


class Bare(Provider):
    """Publishes to public channels and can do nothing else."""

    name = "bare"
    capabilities = frozenset()
    limits = Limits()

    def publish(self, events: Sequence[Event], *, info: Any = ()) -> list[Receipt]:
        if tuple(info):
            raise Unsupported("provider 'bare' cannot count")
        for event in events:
            if event.exclude or any(not name.isalpha() for name in event.channels):
                raise Unsupported("provider 'bare' cannot do that")
        return []


class Boastful(Bare):
    capabilities = frozenset({Capability.INFO, Capability.MEMBERS})


class Sloppy(Bare):
    def publish(self, events: Sequence[Event], *, info: Any = ()) -> list[Receipt]:
        return []


class TestInfo(conformance.InfoSuite):
    """Only its being here matters."""

    __test__ = False


def _in_a_file_with(*suites: type[conformance.Suite]) -> Any:
    names = {f"Test{place}": found for place, found in enumerate(suites)}
    return SimpleNamespace(module=SimpleNamespace(**names, Suite=conformance.Suite))


def test_declared_and_not_tested() -> None:
    request = _in_a_file_with(conformance.InfoSuite)
    with pytest.raises(AssertionError, match="MEMBERS"):
        declared.test_all_that_is_declared_is_tested(request, Boastful())
    both = _in_a_file_with(conformance.InfoSuite, conformance.MembersSuite)
    declared.test_all_that_is_declared_is_tested(both, Boastful())


def test_tested_and_not_declared() -> None:
    request = _in_a_file_with(conformance.InfoSuite, conformance.RevokeSuite)
    with pytest.raises(AssertionError, match="REVOKE"):
        declared.test_all_that_is_tested_is_declared(request, Boastful())
    declared.test_all_that_is_tested_is_declared(
        _in_a_file_with(conformance.InfoSuite, conformance.PublishSuite), Boastful()
    )


@pytest.mark.parametrize("capability", Capability)
def test_not_declared_and_unsupported(capability: Capability) -> None:
    declared.test_what_is_not_declared_is_unsupported(Bare(), capability)


@pytest.mark.parametrize(
    "capability",
    [
        Capability.EXCLUDE,
        Capability.INFO,
        Capability.CACHE,
        Capability.ENCRYPTED,
        Capability.SEND_TO_USER,
    ],
)
def test_not_declared_and_dropped_in_silence(capability: Capability) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        declared.test_what_is_not_declared_is_unsupported(Sloppy(), capability)


def test_every_capability_has_a_suite_and_a_use() -> None:
    suites = [getattr(conformance, name) for name in conformance.__all__ if "Suite" in name]
    covering = [s for s in suites if s is not conformance.SilentSuite and hasattr(s, "covers")]
    assert frozenset().union(*(s.covers for s in covering)) == frozenset(Capability)
    assert frozenset(suite._USES) | {Capability.CLIENT} == frozenset(Capability)
