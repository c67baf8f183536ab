"""laravel-echo over pusher-js, as Laravel's documentation sets it up."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.node


@pytest.fixture(params=["reverb", "pusher"])
def echo(request, agent, served, names):
    """Open an Echo of this broadcaster and wait until it is connected; its name."""
    opened = []

    def echo(user="alice"):
        client = names("echo")
        agent(
            "echo",
            client=client,
            broadcaster=request.param,
            key="app-key",
            port=served.port,
            wsPath=served.ws_path,
            user=user,
        )
        opened.append(client)
        agent.wait(client=client, state="connected")
        return client

    yield echo
    for client in opened:
        agent("echoClose", client=client)


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [("channel", ""), ("private", "private-"), ("encryptedPrivate", "private-encrypted-")],
)
def test_channels_deliver(agent, echo, names, kind, prefix):
    client, channel = echo(), names("orders")
    # Laravel names its events by class; a leading dot takes the name as it is.
    agent("echoListen", client=client, kind=kind, channel=channel, event=".shipped")
    agent.wait(client=client, channel=channel, event="subscribed")
    agent("trigger", channels=prefix + channel, event="shipped", data={"order": 42})
    assert agent.wait(client=client, channel=channel, event=".shipped")["data"] == {"order": 42}


def test_events_of_laravels_own_names(agent, echo, names):
    client, channel = echo(), names("orders")
    agent("echoListen", client=client, kind="channel", channel=channel, event="OrderShipped")
    agent.wait(client=client, channel=channel, event="subscribed")
    agent("trigger", channels=channel, event="App\\Events\\OrderShipped", data={"order": 1})
    assert agent.wait(client=client, event="OrderShipped")["data"] == {"order": 1}
    name = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated"
    agent("trigger", channels=channel, event=name, data={"type": "x"})
    assert agent.wait(client=client, channel=channel, event="notification")


def test_presence_here_joining_leaving_and_whisper(agent, echo, names):
    channel = names("room")
    alice, bob = echo("alice"), echo("bob")
    agent("echoListen", client=alice, kind="join", channel=channel, event=".said")
    assert agent.wait(client=alice, channel=channel, event="here")["data"] == [{"name": "Alice"}]
    agent("echoListen", client=bob, kind="join", channel=channel, event=".said")
    here = agent.wait(client=bob, channel=channel, event="here")["data"]
    assert sorted(member["name"] for member in here) == ["Alice", "Bob"]
    joined = agent.wait(client=alice, channel=channel, event="joining")
    assert joined["data"] == {"name": "Bob"}
    agent("echoWhisper", client=bob, kind="join", channel=channel, data={"at": 1})
    assert agent.wait(client=alice, channel=channel, event="whisper")["data"] == {"at": 1}
    agent("echoLeave", client=bob, channel=channel)
    left = agent.wait(client=alice, channel=channel, event="leaving")
    assert left["data"] == {"name": "Bob"}


def test_to_others_by_the_socket_id(agent, echo, names):
    channel = names("orders")
    sender, other = echo(), echo()
    for client in (sender, other):
        agent("echoListen", client=client, kind="channel", channel=channel, event=".shipped")
        agent("echoListen", client=client, kind="channel", channel=channel, event=".end")
        agent.wait(client=client, channel=channel, event="subscribed")
    socket_id = agent("echoSocketId", client=sender)
    agent("trigger", channels=channel, event="shipped", data={}, params={"socket_id": socket_id})
    agent("trigger", channels=channel, event="end", data={})
    for client in (sender, other):
        agent.wait(client=client, channel=channel, event=".end")
    assert agent.saw(client=other, channel=channel, event=".shipped")
    assert not agent.saw(client=sender, channel=channel, event=".shipped")


def test_who_is_denied_hears_of_it(agent, echo, names):
    client, channel = echo(), names("forbidden")
    agent("echoListen", client=client, kind="private", channel=channel, event=".x")
    error = agent.wait(client=client, channel=channel, event="error")
    assert error["data"]["status"] == 403
