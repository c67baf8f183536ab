"""Every minute, if you use an outbox: sends the events of committed transactions."""

from lambdas.app import realtime
from realtime_kit.web.aws_relay import relay_handler

handler = relay_handler(realtime)
