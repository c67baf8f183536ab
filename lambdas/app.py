"""Who the users are and what they may see: the file to edit. The functions beside it import it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from realtime_kit import Member, SignIn, WebhookEvent
from realtime_kit.web.aws_lambda import LambdaRequest
from realtime_kit.web.deployed import Secrets
from realtime_kit.web.users import Claims, authorizer_user, jwt_user

secrets = Secrets()  # the environment, and what is in the secret that DEPLOYMENT_SECRET names
realtime = secrets.realtime()  # REALTIME_PROVIDER and the settings of that provider

# --- users ----------------------------------------------------------------------------------
# An authorizer in front of the function decides, if API Gateway has one. Otherwise it is the token
# that your login issues, in `Authorization: Bearer` or in the cookie `session`. Does it sign with a
# private key (Cognito, Auth0, …)? Then jwt_user(jwks_url=…, issuer=…, audience=…).

_from_authorizer = authorizer_user()


@lru_cache(maxsize=4)
def _from_token(secret: str) -> Callable[[LambdaRequest], Claims | None]:
    return jwt_user(secret=secret, cookie="session")


def load_user(request: LambdaRequest) -> Claims | None:
    user = _from_authorizer(request)
    if user is None and (secret := secrets.get("JWT_SECRET")):
        user = _from_token(secret)(request)
    return user


# --- rules: no rule, no access --------------------------------------------------------------


@realtime.channel_rule("private-user-{user_id:any}")
def own_notices(user: Claims, user_id: str) -> bool:
    return user_id == str(user["sub"])


@realtime.channel_rule("private-orders-{order_id:int}")
def may_see_order(user: Claims, order_id: int) -> bool:
    # Ask your database here; this reads a claim such as {"orders": [41, 42]}.
    return order_id in user.get("orders", ())


@realtime.channel_rule("presence-room-{room}")
def may_join(user: Claims, room: str) -> Member:
    # Everyone who is signed in. What is in here, all members of the room see.
    return Member(user["sub"], {"name": user.get("name", "Somebody")})


@realtime.sign_in
def identity(user: Claims) -> SignIn:
    return SignIn(user["sub"], {"name": user.get("name", "Somebody")})


# --- webhooks: what the provider tells ------------------------------------------------------


@realtime.on("member_added", "member_removed")
def room_changed(event: WebhookEvent) -> None:
    logging.getLogger(__name__).info("%s on %s: %s", event.kind, event.channel, event.user_id)
