"""What the queue brings: events for many, webhooks, and what was put off."""

from lambdas.app import realtime
from realtime_kit.web.aws_websocket import fanout_handler

handler = fanout_handler(realtime)
