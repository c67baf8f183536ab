"""POST /realtime/webhook: the provider's calls, verified, for the @realtime.on handlers."""

from lambdas.app import realtime
from realtime_kit.web.aws_lambda import http_handler

handler = http_handler(realtime)
