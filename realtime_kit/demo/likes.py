"""Likes: shown at once, counted by the server, taken back when it refuses."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, g, jsonify, request
from sqlalchemy import delete, func, select, update

from realtime_kit.demo.common import answer_as_asked, database, pages, show
from realtime_kit.demo.live import rt
from realtime_kit.demo.models import Like, Post


@pages.get("/likes")
def likes() -> str:
    with database() as session:
        posts = session.scalars(select(Post).order_by(Post.id)).all()
    return show("likes", posts=posts_now(), texts=[(one.id, one.title, one.text) for one in posts])


@pages.get("/likes/now")
def likes_now() -> Response:
    """The state alone: after a reconnection."""
    return jsonify(state=posts_now())


def posts_now() -> dict[str, Any]:
    """By post: how many like it, whether this person does, and the version of that."""
    with database() as session:
        mine = set(session.scalars(select(Like.post).where(Like.person == g.person.id)))
        rows = session.execute(
            select(Post.id, Post.version, func.count(Like.person))
            .outerjoin(Like, Like.post == Post.id)
            .group_by(Post.id)
            .order_by(Post.id)
        ).all()
    return {id: {"count": n, "mine": id in mine, "version": v} for id, v, n in rows}


# how: likes
@pages.route("/likes/<post>", methods=["PUT", "DELETE"])
def like(post: str) -> Response:
    answer_as_asked()
    told = _put(post, liked=request.method == "PUT")
    mutation = request.headers.get("X-Mutation-Id")
    rt.trigger("likes", "counted", told, mutation=mutation)
    return jsonify(told)


# end of how


def _put(post: str, *, liked: bool) -> dict[str, Any]:
    """In one transaction, so that `version` says in which order two of them were."""
    me, count = g.person.id, select(func.count()).where(Like.post == post)
    next_version = update(Post).values(version=Post.version + 1)
    with database.begin() as session:
        changed = next_version.where(Post.id == post).returning(Post.version)
        version = session.scalar(changed) or abort(404)
        session.execute(delete(Like).where(Like.post == post, Like.person == me))
        if liked:
            session.add(Like(post=post, person=me))
        told = {"post": post, "count": session.scalar(count), "version": version}
    return {**told, "by": me, "liked": liked}
