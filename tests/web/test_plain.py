"""The adapters' suite on the endpoints themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from realtime_kit.testing.conformance.http_adapter import ORIGIN, HttpAdapterSuite, user_of
from realtime_kit.web import endpoints


class TestPlain(HttpAdapterSuite):
    @pytest.fixture
    def ask(self, realtime):
        def ask(request):
            path = request.path.removeprefix("/realtime")
            request = replace(request, path=path, origin=ORIGIN, prefix="/realtime")
            return endpoints.dispatch(realtime, request, lambda: user_of(request.headers))

        return ask
