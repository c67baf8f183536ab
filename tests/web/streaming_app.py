"""What the streaming tests serve: a Flask application whose streams are quick to notice things."""

from __future__ import annotations

from typing import Any

from flask import Flask, g, session

from realtime_kit.flask import FlaskRealtime
from realtime_kit.web import event_stream, flask_request

event_stream.HEARTBEAT = 0.2
event_stream.CHECK = 0.5
flask_request.STUCK_MS = 1_000

app = Flask(__name__)
app.secret_key = "of a test"
rt = FlaskRealtime(app)
banned: set[str] = set()


@app.before_request
def load() -> None:
    """As applications do: the rules' user is there because a request has begun."""
    g.user = session.get("user")


@rt.user_loader
def current_user() -> str | None:
    return g.user


@rt.channel_rule("news", history="100/1h")
def may_hear(user: str | None) -> bool:
    return True


@rt.channel_rule("private-user-{id}", history="100/1h")
def may_read(user: str, id: str) -> bool:
    return user == id and user not in banned


@app.post("/login/<user>")
def login(user: str) -> str:
    session["user"] = user
    return ""


@app.post("/ban/<user>")
def ban(user: str) -> str:
    banned.add(user)
    return ""


@app.post("/say/<channel>/<text>")
def say(channel: str, text: str) -> dict[str, Any]:
    (receipt,) = rt.trigger(channel, "said", {"text": text, "padding": "x" * 8_000})
    return {"offset": receipt.offset}


@app.get("/waiting")
def waiting() -> str:
    return str(rt.realtime.following.waiting)
