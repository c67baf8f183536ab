"""Two Flask applications that stream the same event: ours, and one over flask-sse and Redis."""

from __future__ import annotations

import os

from flask import Flask

DATA = {"id": 42, "text": "an ordinary message of a chat, not short and not long"}


def ours() -> Flask:
    from realtime_kit.flask import FlaskRealtime

    app = Flask("ours")
    app.config.update(REALTIME_PROVIDER="null", REALTIME_WEB__STREAMS=2_000)
    rt = FlaskRealtime(app)
    rt.channel_rule("news", history="100/1h")(lambda user: True)

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/streams")
    def streams() -> str:
        return str(rt.realtime.following.waiting)

    @app.post("/say")
    def say() -> str:
        rt.trigger("news", "said", DATA)
        return ""

    return app


def peer() -> Flask:
    from flask_sse import sse

    app = Flask("peer")
    app.config["REDIS_URL"] = os.environ["REDIS_URL"]
    app.register_blueprint(sse, url_prefix="/stream")

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/streams")
    def streams() -> str:
        return str(sse.redis.pubsub_numsub("news")[0][1])

    @app.post("/say")
    def say() -> str:
        sse.publish(DATA, type="said", channel="news")
        return ""

    return app
