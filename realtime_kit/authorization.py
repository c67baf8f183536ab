"""Who may do what: channel pattern -> the application's rule -> grant. Deny by default. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from realtime_kit.channels import CONVERTERS, Converter, Kind, Pattern, kind_of, validate
from realtime_kit.errors import ConfigurationError, Denied, InvalidChannel

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)


@dataclass(frozen=True, slots=True)
class Member:
    """One user on a presence channel. `info` is JSON data that all members see."""

    id: str
    info: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _id_text(self.id, "Member"))


@dataclass(frozen=True, slots=True)
class Grant:
    """What a rule answered for one user and channel.

    `publish` allows the user to send client events where the provider can tell (Ably); on Pusher's
    protocol the app's setting and a live subscription decide. `channel` is filled in by Realtime.
    """

    member: Member | None = None
    publish: bool = field(default=False, kw_only=True)
    channel: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The identity of a whole connection. `watchlist`: user ids whose coming and going it sees."""

    id: str
    info: Mapping[str, Any] | None = None
    watchlist: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _id_text(self.id, "SignIn"))
        object.__setattr__(self, "watchlist", tuple(map(str, self.watchlist)))


def _id_text(given: object, what: str) -> str:
    """Ids travel as text. None would travel as the user "None": all guests would be one member."""
    if given is None or given == "":
        raise ConfigurationError(f"{what}(id) needs the id of a user, not {given!r}")
    return str(given)


# Tuples, because a dataclass costs a cold start half a millisecond, five times as much.
class Decision(NamedTuple):
    """What was decided about one user and channel, by which rule, and why."""

    channel: str
    grant: Grant | None
    rule: ChannelRule | None
    reason: str

    @property
    def allowed(self) -> bool:
        return self.grant is not None

    def __str__(self) -> str:
        verdict = "allowed" if self.allowed else "denied"
        by = f"rule {self.rule.name}" if self.rule else "no rule"
        return f"{self.channel}: {verdict} ({by}: {self.reason})"


class ChannelRule(NamedTuple):
    """A registered rule. `options` are what later layers read (such as `history`)."""

    pattern: Pattern
    function: Rule
    guests: bool
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        function = getattr(self.function, "__qualname__", None) or repr(self.function)
        return f"{self.pattern.text} -> {function}"


class TriggerRule(NamedTuple):
    """Who may send which events through `POST /trigger`."""

    pattern: Pattern
    function: Rule
    events: frozenset[str] | None


# Grant, rule and reason, the members of a `Decision`.
Verdict = tuple[Grant | None, ChannelRule | None, str]


@lru_cache(maxsize=4096)
def _kind(channel: str) -> Kind:
    return kind_of(validate(channel))


def user_id_of(user: Any) -> str | None:
    """The default way to a user's id: `get_id()`, then `.id`, then `["sub"]`."""
    if user is None:
        return None
    get_id = getattr(user, "get_id", None)
    if callable(get_id):
        found = get_id()
    elif hasattr(user, "id"):
        found = user.id
    elif isinstance(user, Mapping) and "sub" in user:
        found = user["sub"]
    else:
        raise ConfigurationError(
            f"cannot tell the id of a {type(user).__name__}: it has no get_id(), .id or ['sub']; "
            "pass Realtime(user_id=...)"
        )
    return None if found is None else str(found)


class Rules:
    """The application's rules, in the order in which they were registered: the first match wins."""

    def __init__(
        self, converters: Mapping[str, Converter | Callable[[str], Any]] | None = None
    ) -> None:
        own = {name: Converter.of(given) for name, given in (converters or {}).items()}
        self.converters = {**CONVERTERS, **own}
        self._channel: list[ChannelRule] = []
        self._trigger: list[TriggerRule] = []
        self._sign_in: Rule | None = None
        self._grants: Rule | None = None
        self._frozen = False

    def freeze(self) -> None:
        """From here on registering is an error: a request may have been answered without it."""
        self._frozen = True

    def add_channel(self, pattern: str, function: F, *, guests: bool = False, **options: Any) -> F:
        """Register the rule behind `pattern`; see `Realtime.channel_rule`."""
        compiled = self._compile(pattern, function)
        if any(rule.pattern.text == pattern for rule in self._channel):
            raise ConfigurationError(f"channel pattern {pattern!r} has a rule already")
        self._channel.append(ChannelRule(compiled, function, guests, options))
        return function

    def add_trigger(self, pattern: str, function: F, *, events: Iterable[str] | None = None) -> F:
        """Register who may send `events` (None: all) to channels of `pattern`."""
        compiled = self._compile(pattern, function)
        names = None if events is None else frozenset(events)
        self._trigger.append(TriggerRule(compiled, function, names))
        return function

    def set_sign_in(self, function: F) -> F:
        self._check_open("sign_in")
        self._sign_in = function
        return function

    def set_grants(self, function: F) -> F:
        self._check_open("grants")
        self._grants = function
        return function

    def __iter__(self) -> Iterable[ChannelRule]:
        return iter(self._channel)

    @property
    def keeps_history(self) -> bool:
        """Whether a rule says that its channels' events are retained."""
        return any(rule.options.get("history") for rule in self._channel)

    @property
    def has_sign_in(self) -> bool:
        return self._sign_in is not None

    @property
    def has_trigger_rules(self) -> bool:
        return bool(self._trigger)

    def options(self, channel: str) -> Mapping[str, Any]:
        """The options of the first rule whose pattern matches; empty if there is none."""
        for rule in self._channel:
            if rule.pattern.match(channel) is not None:
                return rule.options
        return {}

    def decide(self, user: Any, channel: str) -> Decision:
        """May `user` subscribe to `channel`? Never raises for a bad name: that is a denial."""
        return Decision(str(channel), *self._decide(user, channel))

    def grant(self, user: Any, channel: str) -> Grant | None:
        """What `decide` grants, without the reasons, for which a request has no use."""
        return self._decide(user, channel)[0]

    def _decide(self, user: Any, channel: str) -> Verdict:
        try:
            kind = _kind(channel)
        except InvalidChannel as error:
            return None, None, str(error)
        if kind is Kind.SERVER_TO_USER:
            return None, None, "only sign-in opens a user's own channel"
        if not kind.requires_auth:
            return Grant(channel=channel), None, "public channels need no rule"
        for rule in self._channel:
            values = rule.pattern.match(channel)
            if values is not None:
                return self._ask(rule, user, channel, values)
        return None, None, self._why_unmatched(channel)

    def may_trigger(self, user: Any, channel: str, event: str) -> bool:
        """May `user` send `event` to `channel` through `POST /trigger`? The first match decides."""
        if user is None:
            return False
        for rule in self._trigger:
            values = rule.pattern.match(channel)
            if values is not None and (rule.events is None or event in rule.events):
                return _may(rule, user, values)
        return False

    def identity(self, user: Any) -> SignIn | None:
        """What the application's `sign_in` says of `user`; None for a guest, or without one."""
        if user is None or self._sign_in is None:
            return None
        answer = self._sign_in(user)
        if answer is None or answer is False:
            return None
        if isinstance(answer, Member):
            return SignIn(answer.id, answer.info)
        if not isinstance(answer, SignIn):
            raise ConfigurationError(
                f"sign_in returned {type(answer).__name__}; return SignIn(id, info) or None"
            )
        return answer

    def standing(self, user: Any) -> tuple[str, ...]:
        """The names that the application's `grants` lists for `user`; each is still decided."""
        if user is None or self._grants is None:
            return ()
        return tuple(self._grants(user))

    def _compile(self, pattern: str, function: Rule) -> Pattern:
        self._check_open(pattern)
        compiled = Pattern(pattern, self.converters)
        if inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"the rule for {pattern!r} is async; rules are plain functions"
            )
        try:
            inspect.signature(function).bind(None, **dict.fromkeys(compiled.variables))
        except TypeError as error:
            wanted = ", ".join(("user", *compiled.variables))
            raise ConfigurationError(
                f"the rule for {pattern!r} must take ({wanted}): {error}"
            ) from error
        return compiled

    def _check_open(self, what: str) -> None:
        if self._frozen:
            raise ConfigurationError(
                f"rule {what!r} comes too late: requests have been answered. "
                "Register rules when the application is set up"
            )

    def _ask(
        self, rule: ChannelRule, user: Any, channel: str, values: Mapping[str, Any]
    ) -> Verdict:
        if user is None and not rule.guests:
            return None, rule, "nobody is signed in, and guests=False"
        try:
            answer = rule.function(user, **values)
        except Denied as denied:
            return None, rule, str(denied) or "the rule raised Denied"
        grant = _grant(answer, rule, channel)
        if grant is None:
            return None, rule, f"the rule returned {answer!r}"
        return grant, rule, "the rule granted it"

    def _why_unmatched(self, channel: str) -> str:
        kind = kind_of(channel)
        others = [rule.pattern.text for rule in self._channel if rule.pattern.kind is kind]
        if not others:
            return f"no rule is registered for {kind.value}… channels"
        return f"none of these patterns matches: {', '.join(others)}"


def _may(rule: TriggerRule, user: Any, values: Mapping[str, Any]) -> bool:
    try:
        answer = rule.function(user, **values)
    except Denied:
        return False
    if answer is None or isinstance(answer, bool):
        return answer is True
    raise ConfigurationError(
        f"trigger rule {rule.pattern.text} returned a {type(answer).__name__}: return True or False"
    )


def _grant(answer: Any, rule: ChannelRule, channel: str) -> Grant | None:
    """Bring a rule's answer into one form; a wrong kind of answer is the programmer's error."""
    if answer is None or answer is False:
        return None
    presence = rule.pattern.kind.is_presence
    if answer is True and not presence:
        return Grant(channel=channel)
    if isinstance(answer, Member) and presence:
        return Grant(answer, channel=channel)
    if isinstance(answer, Grant) and presence is (answer.member is not None):
        return replace(answer, channel=channel)
    wanted = "Member(id, info) or Grant(Member(...))" if presence else "True, False or Grant()"
    given = "True" if answer is True else f"a {type(answer).__name__}"
    raise ConfigurationError(
        f"rule {rule.name} returned {given} for {channel}: return {wanted}, or None to deny"
    )
