"""The connection value: all that a step knows of a connection, small and serialisable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Connection:
    """One client connection.

    Written at connect and, conditionally, at sign-in; never per frame. Frames of one connection may
    run at the same time (API Gateway starts an invocation each), so subscriptions, counters and
    rate buckets are not in it: only effects tell the truth about them.

    `protocol` is the version that the client asked for (4 to 7). `user_id` and `user_info` (JSON
    text) are those of a signed-in user. `schema` is the version of this shape: stored connections
    outlive a deployment.
    """

    app_id: str
    socket_id: str
    protocol: int = 7
    user_id: str | None = None
    user_info: str | None = None
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Connection:
        """The inverse of `to_json`; members of a newer schema are ignored."""
        return cls(**{name: stored[name] for name in cls.__slots__ if name in stored})
