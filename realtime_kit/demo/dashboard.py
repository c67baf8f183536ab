"""A live dashboard: the orders of a shop that sells bread, over the socket or by polling."""

from __future__ import annotations

from random import choice

from flask import Response, g, jsonify, request
from sqlalchemy import delete, func, select
from werkzeug.exceptions import TooManyRequests

from realtime_kit.demo.common import database, pages, show
from realtime_kit.demo.live import rt
from realtime_kit.demo.models import Order, Person, now

GOODS = {"Rye bread": 480, "Baguette": 190, "Walnut roll": 120, "Plum cake": 350, "Coffee": 260}
PAGE = 100  # orders in one answer
KEPT = 2_000  # orders in all
BURST, BURST_MS = 60, 10_000  # orders of one person


@pages.get("/dashboard")
def dashboard() -> str:
    with database() as session:
        newest = session.scalar(select(func.max(Order.id))) or 0
    return show("dashboard", after=max(0, newest - PAGE))


@rt.channel_rule("private-dashboard")
def may_look(user: Person) -> bool:
    return True  # everybody of the house


# how: dashboard
@pages.post("/orders")
def place_order() -> tuple[Response, int]:
    _slow_down()
    with database.begin() as session:
        session.add(order := _some_order())
    rt.trigger("private-dashboard", "ordered", order.as_json())
    return jsonify(order.as_json()), 201


@pages.get("/orders")
def orders_after() -> Response:
    after = request.args.get("after", 0, type=int)
    newer = select(Order).where(Order.id > after).order_by(Order.id)
    with database() as session:
        found = [each.as_json() for each in session.scalars(newer.limit(PAGE))]
    return jsonify(orders=found, more=len(found) == PAGE, now=now())


# end of how


def _some_order() -> Order:
    item = choice(list(GOODS))  # noqa: S311 - nothing hangs on it
    return Order(item=item, cents=GOODS[item], person=g.person.id, at=now())


def _slow_down() -> None:
    with database.begin() as session:
        session.execute(
            delete(Order).where(Order.id <= select(func.max(Order.id)).scalar_subquery() - KEPT)
        )
        lately = select(func.count(Order.id)).where(
            Order.person == g.person.id, Order.at > now() - BURST_MS
        )
        if session.scalars(lately).one() >= BURST:
            wait = BURST_MS // 1000
            raise TooManyRequests(f"That is a lot at once. Wait {wait} seconds.", retry_after=wait)
