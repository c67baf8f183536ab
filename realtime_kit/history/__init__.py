"""The event log: what was triggered lately, numbered, so that who was away can catch up."""

from realtime_kit.history.base import (
    Draft,
    Entry,
    EventLog,
    Head,
    History,
    Page,
    Position,
    policy,
)

__all__ = ["Draft", "Entry", "EventLog", "Head", "History", "Page", "Position", "policy"]
