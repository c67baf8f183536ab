"""connectionId <-> socket id: total, reversible, and what Pusher's clients take."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.hosting.apigateway.ids import to_connection_id, to_socket_id

# As the server SDKs check it: pusher-http-python `pusher/util.py`, pusher-http-node `lib/util.js`.
SOCKET_ID = re.compile(r"\A[0-9]+\.[0-9]+\Z")

octets = st.binary(min_size=11, max_size=11)
ids = st.one_of(
    st.text(st.characters()),  # any code point, lone surrogates too
    st.uuids().map(str),
    st.from_regex(r"[A-Za-z0-9_-]{15}=", fullmatch=True),
    octets.map(lambda raw: urlsafe_b64encode(raw).decode()),
)
socket_ids = st.one_of(
    st.from_regex(r"[0-9]{1,16}\.[0-9]{1,16}", fullmatch=True),
    st.from_regex(r"17592186044416\.1[0-9]{0,12}", fullmatch=True),
    st.text(),
)


@given(ids)
def test_any_id_comes_back(connection_id: str) -> None:
    socket_id = to_socket_id(connection_id)
    assert SOCKET_ID.match(socket_id)
    assert to_connection_id(socket_id) == connection_id


@given(ids, ids)
def test_no_two_ids_share_a_socket_id(one: str, other: str) -> None:
    assert (to_socket_id(one) == to_socket_id(other)) == (one == other)


@given(socket_ids)
def test_a_socket_id_is_the_only_one_of_its_connection(socket_id: str) -> None:
    connection_id = to_connection_id(socket_id)
    if connection_id is not None:
        assert to_socket_id(connection_id) == socket_id


@given(octets)
def test_a_real_id_is_its_two_halves(raw: bytes) -> None:
    number = int.from_bytes(raw, "big")
    socket_id = to_socket_id(urlsafe_b64encode(raw).decode())
    assert socket_id == f"{number >> 44}.{number % 2**44}"


def test_a_captured_id() -> None:
    assert to_socket_id("PJqB0fHsqRcCHlw=") == "4164643790622.13920375021148"
    assert to_connection_id("4164643790622.13920375021148") == "PJqB0fHsqRcCHlw="


@pytest.mark.parametrize(
    "socket_id",
    [
        "",
        "1",
        "1.",
        ".1",
        "01.1",  # would be a second name of 1.1
        "1.01",
        "1.1\n",
        "١.١",  # digits, but not these
        "-1.1",
        "1.1.1",
        "17592186044416.2",
        "17592186044416.1256",  # no byte
        "17592186044416.112",  # not whole bytes
        "17592186044416.1255",  # no UTF-8
        "17592186044417.1097",
        "1.17592186044416",
        "9" * 100_000 + ".1",
    ],
)
def test_what_no_connection_has(socket_id: str) -> None:
    assert to_connection_id(socket_id) is None


def test_the_border_between_the_forms() -> None:
    assert to_connection_id("17592186044415.17592186044415") == "______________8="
    assert to_connection_id("17592186044416.1") == ""


def test_a_real_id_has_no_other_form() -> None:
    other_form = "17592186044416.1" + "".join(f"{octet:03d}" for octet in b"PJqB0fHsqRcCHlw=")
    assert to_connection_id(other_form) is None


def test_an_id_with_bits_to_spare_is_not_the_one_it_resembles() -> None:
    assert to_socket_id("PJqB0fHsqRcCHlx=") != to_socket_id("PJqB0fHsqRcCHlw=")
    assert to_connection_id(to_socket_id("PJqB0fHsqRcCHlx=")) == "PJqB0fHsqRcCHlx="


def test_a_very_long_id() -> None:
    connection_id = "ü" * 50_000
    assert to_connection_id(to_socket_id(connection_id)) == connection_id
