"""The Flask extension: `from realtime_kit.flask import FlaskRealtime`."""

from realtime_kit.web.flask import FlaskRealtime, realtime_failed

__all__ = ["FlaskRealtime", "realtime_failed"]
