"""Tickets: for these channels, for a minute, and for nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from realtime_kit.errors import BadSignature, Expired
from realtime_kit.protocol import signing
from realtime_kit.web import tickets

NOW = 1_764_000_000.5
NAMES = ["private-a", "news"]


def test_good_for_a_minute():
    ticket = tickets.issue(["new", "old"], NAMES, NOW)
    for now in (NOW, NOW + tickets.LIFE - 1):
        tickets.verify(["new"], ticket, reversed(NAMES), now)
    with pytest.raises(Expired):
        tickets.verify(["new"], ticket, NAMES, NOW + tickets.LIFE)


@pytest.mark.parametrize("names", [["private-a"], ["private-b", "news"], [*NAMES, "more"], []])
def test_for_exactly_these_channels(names):
    with pytest.raises(BadSignature):
        tickets.verify(["s"], tickets.issue(["s"], NAMES, NOW), names, NOW)


def test_names_cannot_be_shifted_into_one_another():
    ticket = tickets.issue(["s"], ["a", "b"], NOW)
    for names in (['a", "b'], ["ab"], ["a,b"]):
        with pytest.raises(BadSignature):
            tickets.verify(["s"], ticket, names, NOW)


def test_every_secret_verifies_while_they_are_replaced():
    ticket = tickets.issue(["old"], NAMES, NOW)
    tickets.verify(["new", "old"], ticket, NAMES, NOW)
    with pytest.raises(BadSignature):
        tickets.verify(["new"], ticket, NAMES, NOW)


@pytest.mark.parametrize(
    "ticket",
    ["", ".", "x.y", "1764000060", "1764000060.", "99999999999999999999.a", "١.a", "\udc80.\udc80"],
)
def test_what_is_none(ticket):
    with pytest.raises(BadSignature):
        tickets.verify(["s"], ticket, NAMES, NOW)


def test_a_longer_life_cannot_be_written_into_it():
    expires, _, seal = tickets.issue(["s"], NAMES, NOW).partition(".")
    with pytest.raises(BadSignature):
        tickets.verify(["s"], f"{int(expires) + 1}.{seal}", NAMES, NOW)


def test_its_seal_is_none_of_the_protocols_signatures():
    """What the provider's secret signs for clients never opens a stream."""
    expires, _, seal = tickets.issue(["s"], NAMES, NOW).partition(".")
    signed = bytes.fromhex(signing.sign("s", f'[{expires}, ["news", "private-a"]]'))
    forged = urlsafe_b64encode(signed).rstrip(b"=").decode()
    assert len(forged) == len(seal)
    with pytest.raises(BadSignature):
        tickets.verify(["s"], f"{expires}.{forged}", NAMES, NOW)
