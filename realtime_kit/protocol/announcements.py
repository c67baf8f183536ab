"""What others are told when a subscription begins or ends: frames at once, webhooks with their
delay. Each is tried by itself; internal channels are not spoken of."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from realtime_kit.channels import kind_of
from realtime_kit.protocol import frames, notices
from realtime_kit.protocol.app import App
from realtime_kit.protocol.effects import (
    Broadcast,
    ChannelState,
    EffectFailed,
    Joined,
    Later,
    Left,
    QueryChannel,
    QueryPresent,
    Step,
    Subscribe,
    attempt,
    watchers_of,
)

# Source: Pusher Channels, "Subscription count events": above this, at most every five seconds.
COUNT_AT_ONCE = 100
COUNT_INTERVAL = 5.0


def joined(app: App, socket_id: str, request: Subscribe, answer: Joined) -> Step[None]:
    """This connection was subscribed as `request` says."""
    channel = request.channel
    if channel.startswith("#"):
        return
    if _is_heard(answer) and request.user_id is not None:
        frame = frames.member_added(channel, request.user_id, request.user_info)
        yield from attempt(Broadcast(channel, frame, socket_id))
        yield from _settle(channel, request.user_id, there=True)
    yield from _notify_joined(channel, request.user_id, answer)
    yield from _count(app, channel, answer.count)


def is_told(app: App, channel: str, answer: Joined, *, webhooks: bool) -> bool:
    """Whether `joined` tells anybody anything."""
    if channel.startswith("#"):
        return False
    noticed = webhooks and (answer.occupied or answer.first_of_member)
    return noticed or _is_heard(answer) or _is_counted(app, channel)


def _is_heard(answer: Joined) -> bool:
    """Whether there is a new member, and others who hear of it."""
    return answer.first_of_member and not answer.occupied


def _notify_joined(channel: str, user_id: str | None, answer: Joined) -> Step[None]:
    if answer.occupied:
        yield from attempt(notices.channel_occupied(channel))
    if answer.first_of_member and user_id is not None:
        yield from attempt(notices.member_added(channel, user_id))


def left(app: App, answer: Left) -> Step[None]:
    """A subscription ended."""
    channel = answer.channel
    if not answer.existed or channel.startswith("#"):
        return
    if answer.untold is not None:
        yield from _catch_up(answer, answer.untold)
    if answer.last_of_member and answer.user_id is not None:
        if not answer.vacated:
            yield from attempt(Broadcast(channel, frames.member_removed(channel, answer.user_id)))
            yield from _settle(channel, answer.user_id, there=False)
        yield from attempt(notices.member_removed(channel, answer.user_id))
    if answer.vacated:
        yield from attempt(notices.channel_vacated(channel))
    yield from _count(app, channel, answer.count)


def _catch_up(answer: Left, untold: Joined) -> Step[None]:
    """Tell what was not told when the subscription began."""
    channel, user_id = answer.channel, answer.user_id
    if _is_heard(untold) and user_id is not None:
        frame = frames.member_added(channel, user_id, answer.user_info)
        yield from attempt(Broadcast(channel, frame))
        if not answer.last_of_member:
            yield from _settle(channel, user_id, there=True)
    yield from _notify_joined(channel, user_id, untold)


def _settle(channel: str, user_id: str, *, there: bool) -> Step[None]:
    """The members were told that the user is there, or not; tell them again until it is so.

    A user who reloads a page leaves and comes at the same time: the frames of the two steps may
    have gone out in the other order than the registry changed.
    """
    with suppress(EffectFailed):
        while True:
            present: Mapping[str, str | None] = yield QueryPresent((user_id,), channel)
            if (user_id in present) is there:
                return
            there = not there
            frame = (
                frames.member_added(channel, user_id, present[user_id])
                if there
                else frames.member_removed(channel, user_id)
            )
            yield Broadcast(channel, frame)


def user(user_id: str, *, online: bool, exclude: str | None = None) -> Step[None]:
    """The user's first connection signed in, or the last is gone: tell those who watch the user."""
    with suppress(EffectFailed):
        while True:
            frame = frames.watchlist_event("online" if online else "offline", [user_id])
            yield Broadcast(watchers_of(user_id), frame, exclude)
            present: Mapping[str, str | None] = yield QueryPresent((user_id,))
            if (user_id in present) is online:
                return
            online = not online


def _count(app: App, channel: str, count: int) -> Step[None]:
    if not _is_counted(app, channel):
        return
    if count > COUNT_AT_ONCE:
        yield from attempt(Later(channel, COUNT_INTERVAL))
    else:
        yield from _tell_count(channel, count)


def _is_counted(app: App, channel: str) -> bool:
    return app.subscription_count and not kind_of(channel).is_presence


def _tell_count(channel: str, count: int) -> Step[None]:
    if count:
        yield from attempt(Broadcast(channel, frames.subscription_count(channel, count)))
    yield from attempt(notices.subscription_count(channel, count))
    with suppress(EffectFailed):
        state: ChannelState = yield QueryChannel(channel)
        if state.subscriptions != count:  # another step's count may have gone out before this one
            yield Later(channel, COUNT_INTERVAL)


def announce_count(app: App, channel: str) -> Step[None]:
    """Tell how many are subscribed to `channel` now. This is what `Later` asks for."""
    if not app.subscription_count:
        return
    try:
        state: ChannelState = yield QueryChannel(channel)
    except EffectFailed:
        yield from attempt(Later(channel, COUNT_INTERVAL))  # the last count is never lost
        return
    yield from _tell_count(channel, state.subscriptions)
