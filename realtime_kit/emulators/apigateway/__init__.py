"""API Gateway, Lambda, SQS and a schedule on this machine, around handlers that are passed in.

websocket = Function("websocket", handler)
routes = {"$connect": websocket, "$disconnect": websocket, "$default": websocket}
with running(ApiGateway(routes)) as gateway:
    print(gateway.websocket_url, gateway.endpoint)
"""

from __future__ import annotations

# isort: off
from realtime_kit.emulators.apigateway.server import ApiGateway, Schedule  # says if aiohttp misses

# isort: on
from realtime_kit.emulators.apigateway.connection import Quotas
from realtime_kit.emulators.apigateway.faults import Faults
from realtime_kit.emulators.apigateway.functions import Context, Function, Killed
from realtime_kit.emulators.apigateway.log import Entry, Log, Prices, Usage
from realtime_kit.emulators.apigateway.queues import Queue, QueueMessage
from realtime_kit.emulators.apigateway.websockets import Mock, Route
from realtime_kit.hosting.local.serving import run, running

__all__ = [
    "ApiGateway",
    "Context",
    "Entry",
    "Faults",
    "Function",
    "Killed",
    "Log",
    "Mock",
    "Prices",
    "Queue",
    "QueueMessage",
    "Quotas",
    "Route",
    "Schedule",
    "Usage",
    "run",
    "running",
]
