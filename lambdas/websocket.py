"""The WebSocket API: clients connect, send, and go."""

from lambdas.app import realtime
from realtime_kit.web.aws_websocket import websocket_handler

handler = websocket_handler(realtime)
