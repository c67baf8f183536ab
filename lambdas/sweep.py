"""Every minute: ends the connections that are old, proved nothing, or are gone."""

from lambdas.app import realtime
from realtime_kit.web.aws_websocket import sweep_handler

handler = sweep_handler(realtime)
