"""Flask: an extension over Realtime. It converts requests and answers; the endpoints decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from realtime_kit.declaring import Converters
from realtime_kit.errors import ConfigurationError, missing_extra
from realtime_kit.events import Event, Receipt
from realtime_kit.providers.base import ChannelInfo
from realtime_kit.realtime import Realtime, UserId
from realtime_kit.sending import Channels, OnError
from realtime_kit.settings import RealtimeSettings
from realtime_kit.web import endpoints
from realtime_kit.web.flask_commands import list_channels

try:
    from flask import (
        Blueprint,
        Flask,
        Response,
        current_app,
        has_request_context,
        request,
        url_for,
    )
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    from realtime_kit.web.flask_app import (
        EXTENSION,
        AppRealtime,
        follow_logouts,
        login_user,
        realtime_failed,
        realtime_of,
    )
    from realtime_kit.web.flask_request import end_when_stuck, http_request
except ModuleNotFoundError as error:
    raise missing_extra("flask", "FlaskRealtime") from error

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session

    from realtime_kit.catalog import Catalog, RealtimeEvent
    from realtime_kit.outbox import Outbox

__all__ = ["FlaskRealtime", "realtime_failed"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = {
    "auth": "/auth",
    "user_auth": "/user-auth",
    "trigger": "/trigger",
    "webhook": "/webhook",
    "config": "/config",
    "events": "/events",
    "client": "/client/",
    "unknown": "/",
}

T = TypeVar("T")
R = TypeVar("R", bound=Callable[..., Any])


class FlaskRealtime:
    """Realtime in Flask apps: `rt = FlaskRealtime(app)`, or `rt.init_app(app)` in a factory.

    Rules and handlers are declared on it, before or after `init_app`, and are those of all its
    apps; settings, provider and connections are each app's own: `app.config["REALTIME_*"]` over
    the environment. `REALTIME_PROVIDER` may also be a `Provider` there. `user_id`, `converters`,
    `catalog` and `on_error` are Realtime's; without `on_error`, or the setting of that name, a
    failed push is logged, counted and signalled (`realtime_failed`), and raised when the app is
    testing.

    With `realtime` that very one is used in every app, with its own settings and `on_error`.
    `end_on_logout`: Flask-Login's `user_logged_out` ends that user's connections.
    """

    def __init__(
        self,
        app: Flask | None = None,
        realtime: Realtime | None = None,
        *,
        user_id: UserId | None = None,
        converters: Converters | None = None,
        on_error: OnError | None = None,
        catalog: Catalog | None = None,
        end_on_logout: bool = True,
    ) -> None:
        if realtime is not None and (user_id or converters or on_error or catalog):
            raise ConfigurationError(
                "user_id, converters, catalog and on_error belong to the Realtime that is given"
            )
        self._given = realtime
        self._declared = realtime or Realtime(
            user_id=user_id, converters=converters, on_error=on_error, catalog=catalog
        )
        self._end_on_logout = end_on_logout
        self._load_user: Callable[[], Any] = login_user
        declared = self._declared
        self.channel_rule = declared.channel_rule
        self.trigger_rule = declared.trigger_rule
        self.source = declared.source
        self.sign_in = declared.sign_in
        self.grants = declared.grants
        self.on = declared.on
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set an app up: endpoints, commands, template global; its Realtime is
        `app.extensions["realtime"]`. Raises `ConfigurationError` for settings that are wrong."""
        if EXTENSION in app.extensions:
            raise ConfigurationError(f"app {app.name!r} has been set up by a FlaskRealtime already")
        realtime = self._given or AppRealtime(app, self._declared)
        app.extensions[EXTENSION] = realtime
        prefix = realtime.settings.web.prefix
        app.register_blueprint(self._blueprint(prefix), url_prefix=prefix or None)
        app.jinja_env.globals["realtime_script"] = realtime_script
        app.jinja_env.globals["realtime_positions"] = realtime_positions
        if self._end_on_logout:
            follow_logouts(app)

    def user_loader(self, load_user: R) -> R:
        """Register who is asking: `load_user()` returns the user of the request, or None.

        Default: Flask-Login's `current_user`, where the app has a login manager.
        """
        self._load_user = load_user
        return load_user

    # --- the current app's Realtime ---------------------------------------------------------

    @property
    def realtime(self) -> Realtime:
        """The current app's; needs an application context, like all calls below."""
        return realtime_of(_behind(current_app))

    @property
    def settings(self) -> RealtimeSettings:
        """The current app's."""
        return self.realtime.settings

    @property
    def socket_id(self) -> str | None:
        """The id of the connection that the request's page has (header `X-Socket-ID`), if any."""
        given = request.headers.get("X-Socket-ID") if has_request_context() else None
        # It comes from a browser: what cannot be one must not fail the view.
        known = given is not None and self.realtime.provider.is_socket_id(given)
        return given if known else None

    def trigger(
        self,
        channels: Channels | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        to_others: bool = False,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
        info: Iterable[str] = (),
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """`Realtime.trigger`; `to_others` leaves out the connection that the request came from."""
        if to_others and exclude is not None:
            raise ValueError("to_others names whom to exclude: give it or exclude, not both")
        return self.realtime.trigger(
            channels,
            name,
            data,
            exclude=self.socket_id if to_others else exclude,
            id=id,
            mutation=mutation,
            info=info,
            on_error=on_error,
            background=background,
        )

    def trigger_batch(
        self,
        events: Iterable[Event | RealtimeEvent],
        *,
        info: Iterable[str] = (),
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """`Realtime.trigger_batch`."""
        return self.realtime.trigger_batch(
            events, info=info, on_error=on_error, background=background
        )

    def send_to_user(
        self,
        user_id: str,
        name: str | RealtimeEvent,
        data: Any = ...,
        *,
        id: str | None = None,
        on_error: OnError | None = None,
        background: bool = False,
    ) -> list[Receipt]:
        """`Realtime.send_to_user`."""
        return self.realtime.send_to_user(
            user_id, name, data, id=id, on_error=on_error, background=background
        )

    def outbox(self, session: Session | scoped_session[Any]) -> Outbox:
        """`Realtime.outbox`; `exclude=rt.socket_id` leaves out who asked."""
        return self.realtime.outbox(session)

    def trigger_after_commit(
        self,
        session: Session | scoped_session[Any],
        channels: Channels | RealtimeEvent,
        name: str | None = None,
        data: Any = ...,
        *,
        exclude: str | None = None,
        id: str | None = None,
        mutation: str | None = None,
        on_error: OnError = "log",
    ) -> str:
        """`Realtime.trigger_after_commit`."""
        return self.realtime.trigger_after_commit(
            session, channels, name, data,
            exclude=exclude, id=id, mutation=mutation, on_error=on_error,
        )  # fmt: skip

    def disconnect_user(self, user_id: str) -> None:
        """`Realtime.disconnect_user`."""
        self.realtime.disconnect_user(user_id)

    def revoke(self, user_id: str, channel: str | None = None) -> None:
        """`Realtime.revoke`."""
        self.realtime.revoke(user_id, channel)

    def channels(self, prefix: str = "", *, info: Iterable[str] = ()) -> list[ChannelInfo]:
        """`Realtime.channels`."""
        return self.realtime.channels(prefix, info=info)

    def channel(self, name: str, *, info: Iterable[str] = ()) -> ChannelInfo:
        """`Realtime.channel`."""
        return self.realtime.channel(name, info=info)

    def members(self, channel: str) -> list[str]:
        """`Realtime.members`."""
        return self.realtime.members(channel)

    def position(self, channel: str) -> str:
        """`Realtime.position`."""
        return self.realtime.position(channel)

    def positions(self, channels: Channels) -> dict[str, str]:
        """`Realtime.positions`."""
        return self.realtime.positions(channels)

    # --- endpoints --------------------------------------------------------------------------

    def _blueprint(self, prefix: str) -> Blueprint:
        blueprint = Blueprint(EXTENSION, __name__)
        for endpoint, path in PATHS.items():
            if endpoint == "unknown" and not prefix:
                continue  # at the root, what is unknown here is the application's
            rule = f"{path}<path:rest>" if path.endswith("/") else path
            blueprint.add_url_rule(
                rule,
                endpoint,
                self._view(endpoint, path, prefix),
                methods=METHODS,
                provide_automatic_options=False,
            )
        blueprint.url_value_preprocessor(_exempt_from_csrf)
        blueprint.cli.command("channels")(list_channels)
        return blueprint

    def _view(self, endpoint: str, path: str, prefix: str) -> Callable[..., Response]:
        def view(rest: str = "") -> Response:
            # Each use of a proxy is a look-up: once is enough.
            app, asked = _behind(current_app), _behind(request)
            if endpoint == "trigger":
                _check_csrf()
            answer = endpoints.dispatch(
                realtime_of(app),
                http_request(app, asked, path + rest, prefix),
                self._load_user,
                debug=app.debug,
            )
            if answer.stream is not None:
                end_when_stuck(asked.environ)
            body = answer.body if answer.stream is None else answer.stream
            return app.response_class(body, answer.status, dict(answer.headers))

        view.__name__ = f"realtime_{endpoint}"
        return view


def _behind(proxy: T) -> T:
    return cast(Any, proxy)._get_current_object()  # type: ignore[no-any-return]


# --- Flask-WTF ------------------------------------------------------------------------------


def _exempt_from_csrf(endpoint: str | None, _values: object) -> None:
    """Runs before Flask-WTF looks. `/webhook` is signed; `/auth` and `/user-auth` change nothing
    and cannot be read across origins; `/trigger` is checked in its view."""
    csrf = current_app.extensions.get("csrf")
    if csrf is not None and endpoint is not None:
        csrf.exempt(current_app.view_functions[endpoint])


def _check_csrf() -> None:
    """Flask-WTF's check, but for a Bearer token: no other page can make a browser send one."""
    csrf = current_app.extensions.get("csrf")
    config = current_app.config
    if csrf is None or not (config["WTF_CSRF_ENABLED"] and config["WTF_CSRF_CHECK_DEFAULT"]):
        return
    if not request.headers.get("Authorization", "").lower().startswith("bearer "):
        csrf.protect()


# --- templates ------------------------------------------------------------------------------


def realtime_script(nonce: str | None = None) -> Markup:
    """`{{ realtime_script(nonce) }}`: connects the page; the client is `window.realtime`."""
    return Markup(
        '<script type="module"{}>import {{ connect }} from {};'
        " window.realtime = connect({{ configUrl: {} }});</script>"
    ).format(
        Markup(' nonce="{}"').format(nonce) if nonce else "",
        htmlsafe_json_dumps(url_for("realtime.client", rest="realtime.js")),
        htmlsafe_json_dumps(url_for("realtime.config")),
    )


def realtime_positions(channels: Channels) -> str:
    """`{{ realtime_positions(["news"]) }}`: JSON for an attribute, `{"news": "EPOCH:OFFSET"}`.

    What the page shows must have been read after it. A view that reads it before calls
    `rt.positions` first, and hands the answer to the template (`{{ positions | tojson }}`).
    """
    return json.dumps(realtime_of(_behind(current_app)).positions(channels))
