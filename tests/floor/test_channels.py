"""Channel kinds, naming rules and the pattern language (Pusher: "Channel naming conventions")."""

from __future__ import annotations

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_kit.channels import (
    CONVERTERS,
    MAX_NAME,
    Converter,
    Kind,
    Pattern,
    kind_of,
    user_channel,
    validate,
)
from realtime_kit.errors import InvalidChannel

ALPHABET = string.ascii_letters + string.digits + "-_=@,.;"
names = st.text(ALPHABET, min_size=1, max_size=40)
prefixes = st.sampled_from([kind.value for kind in Kind if kind is not Kind.SERVER_TO_USER])
channels = st.builds(str.__add__, prefixes, names)

# auth, presence, encrypted, cache
KINDS = [
    ("orders", Kind.PUBLIC, (False, False, False, False)),
    ("cache-orders", Kind.CACHE, (False, False, False, True)),
    ("private-orders", Kind.PRIVATE, (True, False, False, False)),
    ("private-cache-orders", Kind.PRIVATE_CACHE, (True, False, False, True)),
    ("private-encrypted-orders", Kind.PRIVATE_ENCRYPTED, (True, False, True, False)),
    ("private-encrypted-cache-o", Kind.PRIVATE_ENCRYPTED_CACHE, (True, False, True, True)),
    ("presence-room", Kind.PRESENCE, (True, True, False, False)),
    ("presence-cache-room", Kind.PRESENCE_CACHE, (True, True, False, True)),
    ("#server-to-user-7", Kind.SERVER_TO_USER, (False, False, False, False)),
    # What only looks like a prefix is a part of a public name.
    ("private", Kind.PUBLIC, (False, False, False, False)),
    ("x-private-orders", Kind.PUBLIC, (False, False, False, False)),
    ("my-cache-orders", Kind.PUBLIC, (False, False, False, False)),
    ("Private-orders", Kind.PUBLIC, (False, False, False, False)),
    ("private-encryptedorders", Kind.PRIVATE, (True, False, False, False)),
    ("private-cached", Kind.PRIVATE, (True, False, False, False)),
]


@pytest.mark.parametrize(("name", "kind", "traits"), KINDS, ids=[row[0] for row in KINDS])
def test_the_prefix_tells_the_kind(name, kind, traits):
    found = kind_of(name)
    assert found is kind
    assert (found.requires_auth, found.is_presence, found.is_encrypted, found.is_cache) == traits


def test_every_kind_has_a_row():
    assert {kind for _, kind, _ in KINDS} == set(Kind)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "orders.eu-west_1=@,;", "A" * MAX_NAME, "private-"])
    def test_allowed(self, name):
        assert validate(name) == name

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("", "cannot be empty"),
            ("a" * (MAX_NAME + 1), "165 characters; the limit is 164"),
            ("a b", "may hold only"),
            ("a/b", "may hold only"),
            ("a:b", "may hold only"),
            ("a#b", "may hold only"),
            ("#anything", "may hold only"),
            ("#server-to-user-", "may hold only"),
            ("orders\n", "may hold only"),
            ("ordérs", "may hold only"),
            ("١", "may hold only"),
        ],
    )
    def test_refused(self, name, reason):
        with pytest.raises(InvalidChannel, match=reason):
            validate(name)

    @pytest.mark.parametrize("name", [None, 7, b"orders", ["orders"]])
    def test_only_text(self, name):
        with pytest.raises(InvalidChannel, match="is a string, not"):
            validate(name)

    def test_the_limit_is_the_callers(self):
        assert validate("abc", limit=3) == "abc"
        with pytest.raises(InvalidChannel, match="the limit is 2"):
            validate("abc", limit=2)

    def test_a_users_own_channel(self):
        assert validate(user_channel("7")) == "#server-to-user-7"
        assert kind_of(user_channel("any id!")) is Kind.SERVER_TO_USER
        with pytest.raises(InvalidChannel, match="the limit is 164"):
            validate(user_channel("x" * 149))

    @given(channels)
    def test_whatever_is_built_of_the_alphabet_is_valid(self, name):
        assert validate(name) == name


UUID_TEXT = "6a2f41a3-c54c-4ce8-9d5e-3b0d8f6f2a11"


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "name", "values"),
        [
            ("private-orders", "private-orders", {}),
            ("private-orders-{order_id:int}", "private-orders-42", {"order_id": 42}),
            ("private-orders-{order_id:int}", "private-orders-0", {"order_id": 0}),
            ("presence-room-{room}", "presence-room-lobby_1", {"room": "lobby_1"}),
            ("private-{a}-{b}", "private-x-y", {"a": "x", "b": "y"}),
            ("private-{a}.{b}", "private-x.y", {"a": "x", "b": "y"}),
            ("private-doc-{doc:uuid}", f"private-doc-{UUID_TEXT}", {"doc": UUID(UUID_TEXT)}),
            ("private-post-{post:slug}", "private-post-a-b-c", {"post": "a-b-c"}),
            ("private-{rest:any}", "private-a.b-c;d", {"rest": "a.b-c;d"}),
            ("private-cache-{x}", "private-cache-a", {"x": "a"}),
            ("private-encrypted-{x}", "private-encrypted-a", {"x": "a"}),
            ("{x:any}", "anything-public", {"x": "anything-public"}),
            ("private-a.b", "private-a.b", {}),
        ],
    )
    def test_matches(self, pattern, name, values):
        assert Pattern(pattern).match(name) == values

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("private-orders", "private-orders-1"),
            ("private-orders", "my-private-orders"),
            ("private-a.b", "private-axb"),
            ("private-orders-{id:int}", "private-orders-042"),
            ("private-orders-{id:int}", "private-orders--1"),
            ("private-orders-{id:int}", "private-orders-١"),
            ("private-orders-{id:int}", "private-orders-" + "9" * 20),
            ("private-orders-{id:int}", "private-orders-4\n"),
            ("private-orders-{id:int}", "private-orders-"),
            ("presence-room-{room}", "presence-room-a-b"),
            ("presence-room-{room}", "presence-room-a.b"),
            ("private-post-{post:slug}", "private-post--a"),
            ("private-post-{post:slug}", "private-post-a-"),
            ("private-post-{post:slug}", "private-post-a.b"),
            ("private-doc-{doc:uuid}", "private-doc-" + UUID_TEXT.replace("-", "")),
            # A kind is exact.
            ("private-{room}", "private-encrypted-x"),
            ("private-{room}", "private-cache-x"),
            ("private-{room:any}", "private-encrypted-x"),
            ("private-{room:any}", "private-cache-x"),
            ("private-{room:any}", "private-encrypted-cache-x"),
            ("private-encrypted-{room:any}", "private-encrypted-cache-x"),
            ("presence-{room:any}", "presence-cache-x"),
            ("private-encrypted{room:any}", "private-encrypted-x"),
            ("{room:any}", "private-x"),
            ("{room:any}", "cache-x"),
            ("{room:any}", "#server-to-user-7"),
            ("p{room:any}", "private-x"),
        ],
    )
    def test_does_not_match(self, pattern, name):
        assert Pattern(pattern).match(name) is None

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("", "cannot be empty"),
            ("private-{}", "neither a {variable} nor"),
            ("private-{1x}", "neither a {variable} nor"),
            ("private-{x", "neither a {variable} nor"),
            ("private-*", "neither a {variable} nor"),
            ("private-{x:}", "neither a {variable} nor"),
            ("#server-to-user-{id}", "neither a {variable} nor"),
            ("private-{x}-{x}", "names {x} twice"),
            ("private-{x:integer}", r"unknown converter 'integer' \(known: any, int, slug, uuid\)"),
        ],
    )
    def test_a_bad_pattern_says_why(self, pattern, reason):
        with pytest.raises(InvalidChannel, match=reason):
            Pattern(pattern)

    def test_knows_its_variables_in_order(self):
        assert Pattern("private-{b}-{a:int}").variables == ("b", "a")
        assert repr(Pattern("private-{b}")) == "Pattern('private-{b}')"

    @given(pattern_kind=prefixes, name=channels)
    def test_never_matches_another_kind(self, pattern_kind, name):
        pattern = Pattern(pattern_kind + "{rest:any}")
        matched = pattern.match(name) is not None
        assert matched is (kind_of(name) is pattern.kind)

    @given(st.text(max_size=60), prefixes)
    def test_any_text_at_all_can_be_asked_for(self, text, prefix):
        found = Pattern(prefix + "{x}").match(prefix + text)
        assert found is None or found == {"x": text}

    @given(st.integers(0, 10**19 - 1))
    def test_int_is_canonical(self, number):
        assert Pattern("private-{n:int}").match(f"private-{number}") == {"n": number}

    @given(st.text(string.ascii_letters + string.digits + "_=@,;", min_size=1, max_size=30))
    def test_a_bare_variable_takes_everything_but_dash_and_dot(self, text):
        assert Pattern("private-a-{x}").match(f"private-a-{text}") == {"x": text}
        assert Pattern("private-a-{x}").match(f"private-a-{text}-z") is None
        assert Pattern("private-a-{x}").match(f"private-a-{text}.z") is None


class TestConverters:
    @staticmethod
    def pattern(parse, regex="[a-z]+"):
        return Pattern("private-{order:Order}", {**CONVERTERS, "Order": Converter(regex, parse)})

    def test_the_rule_receives_what_parse_returns(self):
        assert self.pattern(str.upper).match("private-abc") == {"order": "ABC"}

    def test_a_falsy_value_is_a_value(self):
        assert self.pattern(len, regex="[a-z]*").match("private-") == {"order": 0}

    @pytest.mark.parametrize("error", [ValueError, KeyError, IndexError, LookupError])
    def test_not_found_is_no_match(self, error):
        def parse(text):
            raise error(text)

        assert self.pattern(parse).match("private-abc") is None

    def test_none_is_no_match(self):
        assert self.pattern({"abc": 1}.get).match("private-abc") == {"order": 1}
        assert self.pattern({"abc": 1}.get).match("private-abcd") is None

    def test_a_defect_of_parse_is_not_hidden(self):
        with pytest.raises(ZeroDivisionError):
            self.pattern(lambda text: 1 / 0).match("private-abc")

    def test_groups_in_a_regex_are_its_own_business(self):
        pattern = self.pattern(str, regex="(?P<year>[0-9]{4})(-(?:a|b))?")
        assert pattern.match("private-2024-a") == {"order": "2024-a"}

    def test_alternatives_stay_inside_of_the_variable(self):
        assert self.pattern(str, regex="a|b").match("private-ab") is None

    def test_a_broken_regex_is_a_bad_pattern(self):
        with pytest.raises(InvalidChannel, match=r"private-\{order:Order\}.*regex"):
            self.pattern(str, regex="[a-")

    def test_a_bare_function_parses_what_a_bare_variable_matches(self):
        converters = {**CONVERTERS, "Order": Converter.of({"a": "order a"}.get)}
        pattern = Pattern("private-{order:Order}", converters)
        assert pattern.match("private-a") == {"order": "order a"}
        assert pattern.match("private-b") is None
        assert Converter.of(CONVERTERS["int"]) is CONVERTERS["int"]
