"""The suites that every provider passes. A provider's test file is its fixtures and one subclass
for each suite that its `capabilities` call for:

    @pytest.fixture
    def wire(): ...                              # the far end: see `Wire`

    @pytest.fixture
    def provider(wire): ...                      # points at it

    class TestPublish(conformance.PublishSuite): ...
    class TestDeclared(conformance.DeclaredSuite): ...

`DeclaredSuite` fails for a capability that is declared and has no suite in the file, for a suite
whose capability is not declared, and for what is neither declared nor `Unsupported`.
`channels_wire.ChannelsWire` is the far end of all who speak the Pusher protocol; it needs the extra
`server`, and the suites need pytest.
"""

import pytest

# So that a failed assertion here says as much as one in a test file.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("ably_access", "access", "asking", "failing")),
    *(f"{__name__}.{module}" for module in ("http_adapter", "publishing", "silent", "suite")),
)

from realtime_kit.testing.conformance.access import (  # noqa: E402
    ChannelAuthSuite,
    ClientSuite,
    DisconnectSuite,
    RevokeSuite,
    SendToUserSuite,
    UserAuthSuite,
)
from realtime_kit.testing.conformance.asking import (  # noqa: E402
    ChannelsSuite,
    MembersSuite,
    WebhookSuite,
)
from realtime_kit.testing.conformance.failing import TIMEOUT, ErrorSuite  # noqa: E402
from realtime_kit.testing.conformance.publishing import (  # noqa: E402
    CacheSuite,
    EncryptedSuite,
    ExcludeSuite,
    InfoSuite,
    LimitsSuite,
    PublishSuite,
)
from realtime_kit.testing.conformance.silent import SilentSuite  # noqa: E402
from realtime_kit.testing.conformance.suite import DeclaredSuite, Suite  # noqa: E402
from realtime_kit.testing.conformance.wire import (  # noqa: E402
    DEADLINE,
    Delivery,
    Observer,
    Refused,
    Wire,
)

__all__ = [
    "DEADLINE",
    "TIMEOUT",
    "CacheSuite",
    "ChannelAuthSuite",
    "ChannelsSuite",
    "ClientSuite",
    "DeclaredSuite",
    "Delivery",
    "DisconnectSuite",
    "EncryptedSuite",
    "ErrorSuite",
    "ExcludeSuite",
    "InfoSuite",
    "LimitsSuite",
    "MembersSuite",
    "Observer",
    "PublishSuite",
    "Refused",
    "RevokeSuite",
    "SendToUserSuite",
    "SilentSuite",
    "Suite",
    "UserAuthSuite",
    "WebhookSuite",
    "Wire",
]
