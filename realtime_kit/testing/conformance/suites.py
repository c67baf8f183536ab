"""One class for each suite that a vendor with every capability passes on its own account: for test
files to import with `*`. What breaks the vendor, `ErrorSuite`, what needs an address of one's own,
`WebhookSuite`, and `DeclaredSuite` are for the file to add; one that differs it defines again."""

from __future__ import annotations

from realtime_kit.testing import conformance


class TestPublish(conformance.PublishSuite): ...


class TestLimits(conformance.LimitsSuite): ...


class TestExclude(conformance.ExcludeSuite): ...


class TestInfo(conformance.InfoSuite): ...


class TestCache(conformance.CacheSuite): ...


class TestEncrypted(conformance.EncryptedSuite): ...


class TestClient(conformance.ClientSuite): ...


class TestChannelAuth(conformance.ChannelAuthSuite): ...


class TestUserAuth(conformance.UserAuthSuite): ...


class TestSendToUser(conformance.SendToUserSuite): ...


class TestDisconnect(conformance.DisconnectSuite): ...


class TestRevoke(conformance.RevokeSuite): ...


class TestChannels(conformance.ChannelsSuite): ...


class TestMembers(conformance.MembersSuite): ...
