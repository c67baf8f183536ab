"""Events out: POST /realtime/trigger, direct invocation, EventBridge, SQS; Pusher's HTTP API."""

from lambdas.app import load_user, realtime
from realtime_kit.web.aws_lambda import trigger_handler

handler = trigger_handler(realtime, load_user)
