"""Webhooks out: signed like production's, and posted to one URL in the order of what happened.

Source: Pusher Channels, "Webhooks". One try each: a failure is one log line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from realtime_kit.errors import ConfigurationError
from realtime_kit.protocol import notices
from realtime_kit.protocol.app import App

_log = logging.getLogger("realtime_kit.server")

MAX_WAITING = 1_000
TIMEOUT = 5.0  # seconds for one webhook
FLUSH = 2.0  # seconds for all that wait when the server stops


class WebhookSender:
    """Posts webhooks to `url`, one at a time, so that they arrive in order.

    What the receiver is too slow for is dropped at `MAX_WAITING`, with one log line for the first.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("the webhook URL must be like http://127.0.0.1:8000/webhook")
        self._url = url
        # Without user info and query, which may hold secrets.
        self._name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._waiting: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue(MAX_WAITING)
        self._dropping = False
        self._task: asyncio.Task[None] | None = None

    def send(self, app: App, event: Mapping[str, Any]) -> None:
        """Queue a webhook; never waits."""
        try:
            self._waiting.put_nowait(notices.signed(app, event, time.time_ns() // 1_000_000))
        except asyncio.QueueFull:
            if not self._dropping:
                _log.warning("webhooks to %s: dropped while %d wait", self._name, MAX_WAITING)
            self._dropping = True

    def start(self) -> None:
        """Begin to post, in the running loop."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Post what waits, for at most `FLUSH` seconds."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._waiting.join(), FLUSH)
        except TimeoutError:
            _log.warning("webhooks to %s: %d never sent", self._name, self._waiting.qsize())
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        self._waiting = asyncio.Queue(MAX_WAITING)  # a queue belongs to one loop

    async def _work(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            while True:
                headers, body = await self._waiting.get()
                self._dropping = False
                try:
                    await self._post(client, headers, body)
                finally:
                    self._waiting.task_done()

    async def _post(
        self, client: aiohttp.ClientSession, headers: dict[str, str], body: bytes
    ) -> None:
        try:
            async with client.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                if not 200 <= answer.status < 300:
                    _log.warning("webhook to %s: answered %d", self._name, answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.warning("webhook to %s: %s", self._name, type(error).__name__)
