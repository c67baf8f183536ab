"""Serials: `<14-digit ms>-<3-digit counter>@<series>`, and `…:<3-digit index>` of a message.

Source: specification, TM2r and RTL15. As text they sort in the order in which they were made.
"""

from __future__ import annotations

import re

_CHANNEL_SERIAL = re.compile(r"\d{14}-\d{3}@[A-Za-z0-9]+", re.ASCII)


class Serials:
    """The serials of one channel. `series` tells one life of the channel from another."""

    def __init__(self, series: str) -> None:
        self.series = series
        self._last = (0, -1)

    def next(self, now: int) -> str:
        when, counter = self._last
        if now > when:
            when, counter = now, 0
        elif counter < 999:
            counter += 1
        else:
            when, counter = when + 1, 0
        self._last = (when, counter)
        return f"{when:014d}-{counter:03d}@{self.series}"


def message_serial(channel_serial: str, index: int) -> str:
    return f"{channel_serial}:{index:03d}"


def channel_serial_of(serial: str) -> str:
    """That of a message serial, or what already is one."""
    return serial.partition(":")[0]


def is_channel_serial(text: str) -> bool:
    return _CHANNEL_SERIAL.fullmatch(text) is not None


def series_of(channel_serial: str) -> str:
    return channel_serial.partition("@")[2]
