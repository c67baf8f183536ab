"""An application with history, to be killed: `python application.py FD`.

FD is a listening socket's, which outlives it: who connects meanwhile waits for the next one.
"""

from __future__ import annotations

import os
import sys

from flask import Flask, request
from werkzeug.serving import make_server

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.flask import FlaskRealtime

app = Flask(__name__)
rt = FlaskRealtime(app, user_id=str)
rt.user_loader(lambda: request.headers.get("X-User"))
for pattern in ("{id}", "private-{id}"):
    rt.channel_rule(pattern, history=os.environ["HISTORY"])(lambda user, id: True)


@app.post("/trigger")
def trigger():
    rt.trigger(**request.get_json())
    return {}


@app.errorhandler(ProviderUnavailable)
def unavailable(error):
    return str(error), 503


if __name__ == "__main__":
    make_server("127.0.0.1", 0, app, threaded=True, fd=int(sys.argv[1])).serve_forever()
