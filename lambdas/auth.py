"""POST /realtime/auth, POST /realtime/user-auth, GET /realtime/config, GET /realtime/client/…"""

from lambdas.app import load_user, realtime
from realtime_kit.web.aws_lambda import http_handler

handler = http_handler(realtime, load_user)
