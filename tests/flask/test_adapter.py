"""The adapters' suite through Flask's test client."""

from __future__ import annotations

import pytest
from flask import Flask, request

from realtime_kit.flask import FlaskRealtime
from realtime_kit.testing.conformance.http_adapter import ORIGIN, HttpAdapterSuite, user_of
from realtime_kit.web.http import HttpResponse


class TestFlask(HttpAdapterSuite):
    @pytest.fixture
    def ask(self, realtime):
        app = Flask(__name__)
        extension = FlaskRealtime(app, realtime)
        extension.user_loader(lambda: user_of(request.headers))
        client = app.test_client(use_cookies=False)

        def ask(asked):
            answer = client.open(
                asked.path,
                base_url=ORIGIN,
                method=asked.method,
                headers=dict(asked.headers),
                query_string=dict(asked.query),
                data=asked.body,
            )
            return HttpResponse(answer.status_code, answer.data, dict(answer.headers))

        return ask
