"""Realtime: what an application declares and calls, the same over every provider."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from realtime_kit.authorization import Grant, user_id_of
from realtime_kit.channels import kind_of
from realtime_kit.declaring import Converters
from realtime_kit.disclosure import gives_away
from realtime_kit.errors import ConfigurationError, Denied, InvalidChannel
from realtime_kit.providers.base import AuthAnswer, AuthRequest, ChannelInfo, Provider, TokenForm
from realtime_kit.sending import Channels, OnError, Sending
from realtime_kit.webhooks import WebhookEvent

if TYPE_CHECKING:
    from realtime_kit.catalog import Catalog
    from realtime_kit.following import Following
    from realtime_kit.settings import RealtimeSettings

UserId = Callable[[Any], str | None]

logger = logging.getLogger("realtime_kit")


class Realtime(Sending):
    """One application's rules, and the provider that delivers for it.

    `provider` is a name (`local`, `pusher`, …) or a `Provider`; without it the settings decide.
    `settings` are read from the environment on first use unless given. `user_id` tells a user's id
    (default: `get_id()`, then `.id`, then `["sub"]`). `converters` add to the pattern language.
    `on_error="log"`: a push that fails (`ProviderError`) is logged and counted in `failures`, and
    the call returns; what is wrong in the call itself or in the settings is raised all the same.
    `catalog` holds what is triggered to the application's typed events.

    Thread-safe. The provider and its connections are made on first use, in each process anew.
    """

    def __init__(
        self,
        provider: str | Provider | None = None,
        *,
        settings: RealtimeSettings | None = None,
        user_id: UserId | None = None,
        converters: Converters | None = None,
        on_error: OnError | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        super().__init__(
            provider, settings=settings, converters=converters, on_error=on_error, catalog=catalog
        )
        self.user_id: UserId = user_id or user_id_of

    def _forget_process(self) -> None:
        super()._forget_process()
        self._following: Following | None = None

    @property
    def following(self) -> Following:
        """What watches the log for the streams of this process."""
        if self._following is None:
            from realtime_kit.following import Following

            recorder = self.recorder
            with self._lock:
                if self._following is None:
                    streams = self.settings.web.streams
                    self._following = Following(
                        recorder, self.sources, self.in_context, capacity=streams
                    )
                return self._following
        return self._following

    def in_context(self) -> AbstractContextManager[Any]:
        """What the application's functions need around them when no request is."""
        return nullcontext()

    # --- users and channels -----------------------------------------------------------------

    def disconnect_user(self, user_id: str) -> None:
        """End all connections of a signed-in user; they do not come back by themselves."""
        self.provider.disconnect_user(str(user_id))

    def revoke(self, user_id: str, channel: str | None = None) -> None:
        """Have the rules decide again on that user's live subscriptions (with `channel`: to it);
        what they no longer grant is ended."""
        self.provider.revoke(str(user_id), channel=channel)

    def channels(self, prefix: str = "", *, info: Iterable[str] = ()) -> list[ChannelInfo]:
        """The occupied channels whose name starts with `prefix`, sorted by name."""
        return self.provider.channels(prefix=prefix, info=info)

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        """One channel as it is now."""
        return self.provider.channel(name, info=info)

    def members(self, channel: str) -> list[str]:
        """Ids of the users on a presence channel. Raises `InvalidChannel` for another kind."""
        if not kind_of(channel).is_presence:
            raise InvalidChannel(f"{channel!r} is no presence channel: only those have members")
        return self.provider.members(channel)

    def position(self, channel: str) -> str:
        """Where a channel with history is now, as `GET /events` and the browser client's
        `subscribe(channel, {position})` take it: what is triggered from here on follows it."""
        return self.positions(channel)[channel]

    def positions(self, channels: Channels) -> dict[str, str]:
        """`position` of several channels, asked for at once. Read it before what a page shows: in
        between nothing is lost then. Raises `ConfigurationError` for one without history."""
        names = [channels] if isinstance(channels, str) else list(channels)
        pages = self.recorder.pages(dict.fromkeys(names))
        return {name: str(page.position) for name, page in pages.items()}

    # --- authorization ----------------------------------------------------------------------

    def authorize(
        self,
        user: Any,
        socket_id: str | None,
        channels: Channels | None = None,
        token: str | None = None,
        form: TokenForm = "jwt",
    ) -> dict[str, Any]:
        """What `POST /auth` answers: `{"channels": {name: proof or denial}, "token"?}`.

        A proof is what the client sends on, such as `{"auth", "channel_data"?}`; a denial is
        `{"status": 403, "error": "denied"}`. Each channel is decided by its own rule; without
        `channels` the user's standing ones are meant. `user` None is a guest. What a rule raises is
        raised; of several channels it is logged, and that one is answered with status 500.

        Where the provider uses tokens, `token` is the one that the client holds: the new one, of
        the form `form`, is also for what the rules still grant of that.
        """
        self.rules.freeze()
        if channels is None:
            channels = self.rules.standing(user)
        names = [channels] if isinstance(channels, str) else list(channels)
        granted, denials = self._decide(user, names)
        if not granted and not self.provider.tokens:
            return {"channels": denials}
        proof = self._prove(user, socket_id, granted, token, form)
        answer: dict[str, Any] = {
            "channels": {name: denials.get(name) or _entry(proof, name) for name in names}
        }
        return answer if proof.token is None else {**answer, "token": proof.token}

    def _decide(
        self, user: Any, names: list[str]
    ) -> tuple[list[Grant], dict[str, Mapping[str, Any]]]:
        """What the rules grant of these channels, and the answers for all others."""
        denials: dict[str, Mapping[str, Any]] = {}
        granted: list[Grant] = []
        for name in dict.fromkeys(names):
            try:
                grant = self.rules.grant(user, name)
            except Exception:  # of the application's rule, which is nothing to the other channels
                if len(names) == 1:
                    raise
                logger.exception("the rule for %s failed", name)
                denials[name] = _FAILED
                continue
            if grant is None:
                denials[name] = _DENIED
            else:
                granted.append(grant)
        return granted, denials

    def _prove(
        self,
        user: Any,
        socket_id: str | None,
        grants: list[Grant],
        token: str | None,
        form: TokenForm,
    ) -> AuthAnswer:
        user_id = self.user_id(user)
        if token is not None:
            named = {grant.channel for grant in grants}
            held = (name for name in self.provider.names_in(token, user_id) if name not in named)
            grants = grants + [grant for name in held if (grant := self.rules.grant(user, name))]
        asked = AuthRequest(user_id, socket_id, tuple(grants), token, form)
        proof = self.provider.authorize(asked)
        for name, reason in proof.refused.items():
            logger.warning("%s was granted and cannot be: %s", name, reason)
        return proof

    def authenticate_user(self, user: Any, socket_id: str) -> Mapping[str, str]:
        """What `POST /user-auth` answers: `{"auth", "user_data"}`. Raises `Denied`."""
        self.rules.freeze()
        identity = self.rules.identity(user)
        if identity is None:
            raise Denied("nobody is signed in, or the application's sign_in said no")
        return self.provider.sign_in(socket_id, identity)

    def explain(self, user: Any, channel: str) -> str:
        """Which rule decides on `user` and `channel`, what it says, and why."""
        return str(self.rules.decide(user, channel))

    # --- webhooks and clients ---------------------------------------------------------------

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Verify a provider's call, read it, and run the handlers.

        Raises `BadSignature` or `Expired`, or as `hear` does, so that the provider tries again.
        """
        events = self.provider.parse_webhook(headers, body)
        self.hear(events)
        return events

    def client_config(self, prefix: str | None = None) -> dict[str, Any]:
        """What `GET /config` answers. `prefix` is the path of the endpoints as browsers see it.

        Raises `ConfigurationError` rather than publish a secret.
        """
        base = self.settings.web.prefix if prefix is None else prefix
        client = dict(self.provider.client_config())
        has_events = self.keeps_history or bool(self.sources)
        config = {
            "provider": self.provider.name,
            "transports": [*client.pop("transports"), *(("sse", "poll") if has_events else ())],
            "prefix": base,
            "auth": f"{base}/auth",
            "userAuth": f"{base}/user-auth" if self.rules.has_sign_in else None,
            "trigger": f"{base}/trigger" if self.rules.has_trigger_rules else None,
            "events": f"{base}/events" if has_events else None,
            "client": client,
        }
        if gives_away(config, self.settings):
            raise ConfigurationError(
                "a secret stands where /config would publish it: check the keys and public hosts"
            )
        return config


_DENIED: Mapping[str, Any] = {"status": 403, "error": "denied"}
_FAILED: Mapping[str, Any] = {"status": 500, "error": "the rule failed"}


def _entry(proof: AuthAnswer, name: str) -> Mapping[str, Any]:
    if name in proof.refused:
        return {"status": 403, "error": proof.refused[name]}
    return proof.channels[name]
