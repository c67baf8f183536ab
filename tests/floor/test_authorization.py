"""Rules: deny by default, the first match decides, and explain() says which and why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from realtime_kit.authorization import Grant, Member, Rules, SignIn, user_id_of
from realtime_kit.channels import Converter
from realtime_kit.errors import ConfigurationError, Denied, InvalidChannel

ALICE = SimpleNamespace(id=7, orders={42})


@pytest.fixture
def rules() -> Rules:
    return Rules()


def may_see_order(user, order_id):
    return order_id in user.orders


class TestDenyByDefault:
    @pytest.mark.parametrize(
        "channel",
        [
            "private-a",
            "private-cache-a",
            "private-encrypted-a",
            "private-encrypted-cache-a",
            "presence-a",
            "presence-cache-a",
            "#server-to-user-7",
        ],
    )
    def test_no_rule_no_access(self, rules, channel):
        decision = rules.decide(ALICE, channel)
        assert not decision.allowed
        assert decision.grant is None

    @pytest.mark.parametrize("channel", ["orders", "cache-orders"])
    @pytest.mark.parametrize("user", [ALICE, None])
    def test_public_channels_need_no_rule(self, rules, channel, user):
        assert rules.decide(user, channel).grant == Grant(channel=channel)

    def test_a_rule_on_a_public_name_carries_options_only(self, rules):
        def never(user):
            raise AssertionError("asked about a public channel")

        rules.add_channel("orders", never, history=100)
        assert rules.decide(None, "orders").allowed
        assert rules.options("orders") == {"history": 100}
        assert rules.options("other") == {}

    @pytest.mark.parametrize("channel", ["", "a b", "private-a/b", "x" * 165, None, 7])
    def test_a_bad_name_is_a_denial(self, rules, channel):
        rules.add_channel("private-{x:any}", lambda user, x: True)
        assert not rules.decide(ALICE, channel).allowed

    def test_no_rule_opens_another_users_own_channel(self, rules):
        decision = rules.decide(ALICE, "#server-to-user-7")
        assert "only sign-in" in decision.reason

    def test_a_rule_never_answers_for_another_kind(self, rules):
        rules.add_channel("private-{x:any}", lambda user, x: True)
        assert rules.decide(ALICE, "private-a").allowed
        assert not rules.decide(ALICE, "private-encrypted-a").allowed
        assert not rules.decide(ALICE, "private-cache-a").allowed
        assert not rules.decide(ALICE, "presence-a").allowed


class TestAnswers:
    def test_values_of_the_pattern_reach_the_rule(self, rules):
        rules.add_channel("private-orders-{order_id:int}", may_see_order)
        assert rules.decide(ALICE, "private-orders-42").grant == Grant(channel="private-orders-42")
        assert not rules.decide(ALICE, "private-orders-43").allowed

    @pytest.mark.parametrize("answer", [False, None])
    def test_no(self, rules, answer):
        rules.add_channel("private-a", lambda user: answer)
        rules.add_channel("presence-a", lambda user: answer)
        for channel in ("private-a", "presence-a"):
            decision = rules.decide(ALICE, channel)
            assert not decision.allowed
            assert decision.reason == f"the rule returned {answer}"

    def test_denied_with_a_reason(self, rules):
        def rule(user):
            raise Denied("the order is archived")

        rules.add_channel("private-a", rule)
        decision = rules.decide(ALICE, "private-a")
        assert not decision.allowed
        assert decision.reason == "the order is archived"

    def test_other_errors_of_a_rule_are_not_hidden(self, rules):
        rules.add_channel("private-a", lambda user: user.no_such_thing)
        with pytest.raises(AttributeError):
            rules.decide(ALICE, "private-a")

    def test_grants(self, rules):
        member = Member("7", {"name": "Alice"})
        rules.add_channel("private-a", lambda user: Grant(publish=True))
        rules.add_channel("presence-a", lambda user: member)
        rules.add_channel("presence-b", lambda user: Grant(member, publish=True))
        decide = rules.decide
        assert decide(ALICE, "private-a").grant == Grant(publish=True, channel="private-a")
        assert decide(ALICE, "presence-a").grant == Grant(member, channel="presence-a")
        assert decide(ALICE, "presence-b").grant == Grant(
            member, publish=True, channel="presence-b"
        )

    @pytest.mark.parametrize("answer", [1, "yes", {"id": 1}, [], object(), Member("7")])
    def test_a_wrong_kind_of_answer_on_a_private_channel(self, rules, answer):
        rules.add_channel("private-a", lambda user: answer)
        with pytest.raises(ConfigurationError, match=r"return True, False or Grant\(\)"):
            rules.decide(ALICE, "private-a")

    @pytest.mark.parametrize("answer", [True, 1, "yes", Grant(), Grant(publish=True), SignIn("7")])
    def test_a_presence_rule_answers_with_a_member(self, rules, answer):
        rules.add_channel("presence-a", lambda user: answer)
        with pytest.raises(ConfigurationError, match=r"Member\(id, info\)"):
            rules.decide(ALICE, "presence-a")

    def test_a_wrong_answer_is_named_by_its_type_alone(self, rules):
        rules.add_channel("private-a", lambda user: {"card": "4242"})
        with pytest.raises(ConfigurationError, match="returned a dict for private-a") as caught:
            rules.decide(ALICE, "private-a")
        assert "4242" not in str(caught.value)

    def test_ids_become_text(self):
        assert Member(7).id == "7"
        assert SignIn(7, watchlist=[1, 2]) == SignIn("7", watchlist=("1", "2"))

    @pytest.mark.parametrize("kind", [Member, SignIn])
    @pytest.mark.parametrize("user_id", [None, ""])
    def test_nobody_is_no_member(self, kind, user_id):
        with pytest.raises(ConfigurationError, match="needs the id of a user"):
            kind(user_id)


class TestGuests:
    def test_are_refused(self, rules):
        def never(user):
            raise AssertionError("asked about a guest")

        rules.add_channel("private-a", never)
        decision = rules.decide(None, "private-a")
        assert not decision.allowed
        assert "guests=False" in decision.reason

    def test_where_the_rule_takes_them(self, rules):
        rules.add_channel("private-a", lambda user: user is None, guests=True)
        assert rules.decide(None, "private-a").allowed
        assert not rules.decide(ALICE, "private-a").allowed


class TestRegistration:
    def test_the_first_match_wins_even_if_it_denies(self, rules):
        rules.add_channel("private-orders-{x}", lambda user, x: False)
        rules.add_channel("private-{a}-{b}", lambda user, a, b: True)
        assert not rules.decide(ALICE, "private-orders-1").allowed
        assert rules.decide(ALICE, "private-bills-1").allowed

    def test_a_pattern_that_does_not_parse_leaves_it_to_the_next(self):
        rules = Rules({"Order": Converter("[0-9]+", {"1": "one"}.get)})
        rules.add_channel("private-{order:Order}", lambda user, order: order == "one")
        rules.add_channel("private-{x}", lambda user, x: x == "2")
        assert rules.decide(ALICE, "private-1").allowed
        assert rules.decide(ALICE, "private-2").allowed

    def test_a_function_is_a_converter(self):
        rules = Rules({"Order": {"a": ALICE}.get})
        rules.add_channel("private-{order:Order}", lambda user, order: order is ALICE)
        assert rules.decide(ALICE, "private-a").allowed
        assert not rules.decide(ALICE, "private-b").allowed

    def test_own_converters_leave_the_others_in_place(self):
        rules = Rules({"Order": Converter("[0-9]+")})
        rules.add_channel("private-{n:int}", lambda user, n: n == 3)
        assert rules.decide(ALICE, "private-3").allowed

    def test_the_same_pattern_twice(self, rules):
        rules.add_channel("private-{x}", lambda user, x: True)
        with pytest.raises(ConfigurationError, match="has a rule already"):
            rules.add_channel("private-{x}", lambda user, x: True)

    def test_a_bad_pattern(self, rules):
        with pytest.raises(InvalidChannel):
            rules.add_channel("private-*", lambda user: True)

    @pytest.mark.parametrize(
        "function",
        [lambda: True, lambda user: True, lambda user, y: True, lambda user, x, y: True],
    )
    def test_a_rule_that_cannot_be_called_is_refused_at_once(self, rules, function):
        with pytest.raises(ConfigurationError, match=r"must take \(user, x\)"):
            rules.add_channel("private-{x}", function)
        with pytest.raises(ConfigurationError, match=r"must take \(user, x\)"):
            rules.add_trigger("private-{x}", function)

    @pytest.mark.parametrize(
        "function", [lambda user, **values: True, lambda user, x="", z=1: True]
    )
    def test_a_rule_may_take_more_than_it_must(self, rules, function):
        rules.add_channel("private-{x}", function)
        assert rules.decide(ALICE, "private-a").allowed

    def test_an_async_rule_is_refused_at_once(self, rules):
        async def rule(user):
            return True

        with pytest.raises(ConfigurationError, match="is async"):
            rules.add_channel("private-a", rule)

    @pytest.mark.parametrize(
        "late",
        [
            lambda rules: rules.add_channel("private-b", lambda user: True),
            lambda rules: rules.add_trigger("private-b", lambda user: True),
            lambda rules: rules.set_sign_in(lambda user: None),
            lambda rules: rules.set_grants(lambda user: []),
        ],
        ids=["channel_rule", "trigger_rule", "sign_in", "grants"],
    )
    def test_rules_freeze(self, rules, late):
        rules.freeze()
        with pytest.raises(ConfigurationError, match="comes too late"):
            late(rules)

    def test_they_can_be_listed_in_order(self, rules):
        rules.add_channel("private-b", lambda user: True)
        rules.add_channel("private-a", lambda user: True, guests=True)
        assert [(rule.pattern.text, rule.guests) for rule in rules] == [
            ("private-b", False),
            ("private-a", True),
        ]

    def test_registering_returns_the_function(self, rules):
        def function(user):
            return True

        assert rules.add_channel("private-a", function) is function
        assert rules.add_trigger("private-a", function) is function
        assert rules.set_sign_in(function) is function
        assert rules.set_grants(function) is function


class TestExplain:
    """`Realtime.explain` prints a decision."""

    def explain(self, rules, user, channel):
        return str(rules.decide(user, channel))

    def test_names_the_rule_that_decided(self, rules):
        rules.add_channel("private-orders-{order_id:int}", may_see_order)
        rule = "rule private-orders-{order_id:int} -> may_see_order"
        assert self.explain(rules, ALICE, "private-orders-42") == (
            f"private-orders-42: allowed ({rule}: the rule granted it)"
        )
        assert self.explain(rules, ALICE, "private-orders-1") == (
            f"private-orders-1: denied ({rule}: the rule returned False)"
        )
        assert self.explain(rules, None, "private-orders-1") == (
            f"private-orders-1: denied ({rule}: nobody is signed in, and guests=False)"
        )

    def test_says_what_there_is_where_nothing_matches(self, rules):
        assert self.explain(rules, ALICE, "private-x") == (
            "private-x: denied (no rule: no rule is registered for private-… channels)"
        )
        rules.add_channel("private-orders-{order_id:int}", may_see_order)
        rules.add_channel("presence-room-{room}", lambda user, room: None)
        assert self.explain(rules, ALICE, "private-orders-x") == (
            "private-orders-x: denied "
            "(no rule: none of these patterns matches: private-orders-{order_id:int})"
        )

    def test_public_and_bad_names(self, rules):
        assert self.explain(rules, None, "orders") == (
            "orders: allowed (no rule: public channels need no rule)"
        )
        assert "may hold only letters" in self.explain(rules, None, "a b")


class TestTriggerRules:
    def test_off_until_there_is_one(self, rules):
        assert not rules.has_trigger_rules
        assert not rules.may_trigger(ALICE, "private-chat-1", "message")
        rules.add_trigger("private-chat-{room}", lambda user, room: True)
        assert rules.has_trigger_rules

    def test_pattern_events_and_answer_decide(self, rules):
        rules.add_trigger(
            "private-chat-{room:int}", lambda user, room: room == 1, events=["message"]
        )
        assert rules.may_trigger(ALICE, "private-chat-1", "message")
        assert not rules.may_trigger(ALICE, "private-chat-2", "message")
        assert not rules.may_trigger(ALICE, "private-chat-1", "other")
        assert not rules.may_trigger(ALICE, "private-other-1", "message")

    def test_a_guest_never_triggers(self, rules):
        rules.add_trigger("private-{x}", lambda user, x: True)
        assert not rules.may_trigger(None, "private-a", "message")

    def test_may_see_is_not_may_send(self, rules):
        rules.add_channel("private-{x}", lambda user, x: True)
        assert not rules.may_trigger(ALICE, "private-a", "message")

    def test_the_first_match_of_channel_and_event_decides(self, rules):
        rules.add_trigger("private-{x}", lambda user, x: False, events=["a"])
        rules.add_trigger("private-{x}", lambda user, x: True)
        assert not rules.may_trigger(ALICE, "private-1", "a")
        assert rules.may_trigger(ALICE, "private-1", "b")

    def test_denied_is_no(self, rules):
        def rule(user):
            raise Denied("not today")

        rules.add_trigger("private-a", rule)
        assert not rules.may_trigger(ALICE, "private-a", "message")

    @pytest.mark.parametrize("answer", [1, "yes", Grant(), ALICE])
    def test_a_wrong_kind_of_answer(self, rules, answer):
        rules.add_trigger("private-a", lambda user: answer)
        with pytest.raises(ConfigurationError, match="return True or False"):
            rules.may_trigger(ALICE, "private-a", "message")


class TestSignIn:
    def test_without_one_nobody_is_signed_in(self, rules):
        assert not rules.has_sign_in
        assert rules.identity(ALICE) is None

    def test_the_applications_answer(self, rules):
        identity = SignIn("7", {"name": "Alice"}, watchlist=["8"])
        rules.set_sign_in(lambda user: identity if user is ALICE else None)
        assert rules.has_sign_in
        assert rules.identity(ALICE) == identity
        assert rules.identity(object()) is None

    def test_a_guest_is_not_asked_about(self, rules):
        rules.set_sign_in(lambda user: SignIn("guest"))
        assert rules.identity(None) is None

    def test_a_member_will_do(self, rules):
        rules.set_sign_in(lambda user: Member(user.id, {"name": "Alice"}))
        assert rules.identity(ALICE) == SignIn("7", {"name": "Alice"})

    def test_false_is_no(self, rules):
        rules.set_sign_in(lambda user: False)
        assert rules.identity(ALICE) is None

    @pytest.mark.parametrize("answer", [True, "7", {"id": "7"}])
    def test_a_wrong_kind_of_answer(self, rules, answer):
        rules.set_sign_in(lambda user: answer)
        with pytest.raises(ConfigurationError, match=r"return SignIn\(id, info\) or None"):
            rules.identity(ALICE)


def test_standing_grants(rules):
    assert rules.standing(ALICE) == ()
    rules.set_grants(lambda user: [f"private-orders-{order}" for order in user.orders])
    assert rules.standing(ALICE) == ("private-orders-42",)
    assert rules.standing(None) == ()


class TestUserId:
    def test_get_id_goes_first_then_id_then_sub(self):
        both = SimpleNamespace(get_id=lambda: "from get_id", id="from id")
        assert user_id_of(both) == "from get_id"
        assert user_id_of(SimpleNamespace(id=7)) == "7"
        assert user_id_of({"sub": "auth0|7", "id": 1}) == "auth0|7"

    def test_a_guest_has_none(self):
        assert user_id_of(None) is None
        assert user_id_of(SimpleNamespace(get_id=lambda: None)) is None
        assert user_id_of(SimpleNamespace(id=None)) is None

    def test_zero_is_an_id(self):
        assert user_id_of(SimpleNamespace(id=0)) == "0"

    @pytest.mark.parametrize("user", ["alice", 7, {"id": 7}, object()])
    def test_a_user_that_does_not_tell(self, user):
        with pytest.raises(ConfigurationError, match=r"pass Realtime\(user_id=\.\.\.\)"):
            user_id_of(user)
