"""The adapters' suite through the events of three gateways."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace

import pytest

from realtime_kit.testing.conformance.http_adapter import HttpAdapterSuite, user_of
from realtime_kit.web.aws_lambda import http_handler
from realtime_kit.web.http import HttpResponse


@pytest.mark.parametrize("gateway", ["rest_api", "http_api", "function_url"])
class TestLambda(HttpAdapterSuite):
    @pytest.fixture
    def ask(self, realtime, as_event, gateway):
        handler = http_handler(realtime, lambda request: user_of(request.headers))

        def ask(asked):
            headers = {"host": "shop.example.com", **asked.headers}
            answer = handler(as_event(gateway, replace(asked, headers=headers)))
            encoded = answer["isBase64Encoded"]
            body = b64decode(answer["body"]) if encoded else answer["body"].encode()
            return HttpResponse(answer["statusCode"], body, answer["headers"])

        return ask
