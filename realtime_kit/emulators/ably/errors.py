"""Errors as Ably's service words them.

Source: Ably's features spec TI (ErrorInfo), and the error pages of its documentation for codes,
HTTP statuses and wordings.
"""

from __future__ import annotations

from typing import TypedDict


class ErrorInfo(TypedDict):
    """What goes over the wire (TI1, TI4)."""

    code: int
    statusCode: int
    message: str
    href: str


class AblyError(Exception):
    """A request, message or connection was refused.

    code: Ably's, five digits; its first three are often `status`, the HTTP status, but not always
    (40009 is a 413).
    """

    def __init__(self, code: int, status: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status
        self.message = message

    def info(self) -> ErrorInfo:
        return {
            "code": self.code,
            "statusCode": self.status,
            "message": self.message,
            "href": f"https://help.ably.io/error/{self.code}",
        }
