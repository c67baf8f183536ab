"""`python -m realtime_kit.providers`: which provider can what, as the table of the docs."""

from __future__ import annotations

from realtime_kit.providers import PROVIDERS, load
from realtime_kit.providers.base import Capability

MEANING: dict[Capability, str] = {
    Capability.AUTHORIZE: "private and presence channels",
    Capability.SIGN_IN: "sign-in: whose connection it is",
    Capability.CHANNELS: "`channels`, `channel`: what is occupied",
    Capability.MEMBERS: "`members`: who is on a presence channel",
    Capability.SEND_TO_USER: "`send_to_user`",
    Capability.DISCONNECT_USER: "`disconnect_user`",
    Capability.REVOKE: "`revoke`",
    Capability.WEBHOOKS: "webhooks: `@realtime.on(…)`",
    Capability.ENCRYPTED: "`private-encrypted-…` channels",
    Capability.CACHE: "`cache-…` channels: the last event for who comes later",
    Capability.INFO: "`trigger(…, info=…)`: counts with the receipts",
    Capability.EXCLUDE: "`trigger(…, exclude=socket_id)`: not to the sender",
    Capability.CLIENT: "browsers connect",
}


def table() -> str:
    """One row for each capability, one column for each provider, in Markdown."""
    columns = {name: load(name).capabilities for name in PROVIDERS}
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for capability in Capability:
        cells = ("yes" if capability in can else "–" for can in columns.values())
        lines.append(f"| {MEANING[capability]} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
