"""The emulator on its port: TLS, several apps, faults, time, the log, its end."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import struct
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aiohttp
import pytest

from realtime_kit.emulators.ably import AblyEmulator, AblyError, Limits, Rule, running
from realtime_kit.emulators.ably.wire import Action
from realtime_kit.errors import ConfigurationError
from realtime_kit.testing.certificate import self_signed

DEADLINE = 10.0
KEY = "local0.dev:secret"


@pytest.fixture
def emulator():
    with running(AblyEmulator()) as emulator:
        yield emulator


def talk(emulator, scenario, *, query=f"key={KEY}", tls=True):
    """Run `scenario(socket)` on a raw WebSocket; `socket.say(**message)`, `await socket.next()`."""

    async def run():
        url = f"{emulator.websocket_url}/?{query}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=tls) as websocket,
        ):
            return await scenario(_Raw(websocket))

    return asyncio.run(asyncio.wait_for(run(), DEADLINE))


class _Raw:
    def __init__(self, websocket):
        self.websocket = websocket

    async def say(self, action, **fields):
        await self.websocket.send_json({"action": int(action), **fields})

    async def next(self, action=None):
        """The next frame, of this action; None at the end."""
        while True:
            message = await self.websocket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return None
            frame = json.loads(message.data)
            if action in (None, frame["action"]):
                return frame


def rest(emulator, path, body=None, **headers):
    """Status and body."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(emulator.url + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urlopen(request, timeout=DEADLINE) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


# --- faults ---------------------------------------------------------------------------------


def test_a_connection_is_refused(emulator):
    emulator.faults.add(Rule("refuse", "connect", error=AblyError(50003, 500, "timeout")))

    async def scenario(socket):
        return await socket.next(), await socket.next()

    error, end = talk(emulator, scenario)
    assert (error["action"], error["error"]["code"], end) == (Action.ERROR, 50003, None)
    assert talk(emulator, lambda socket: socket.next())["action"] == Action.CONNECTED
    assert emulator.log.wait("fault", fault="refuse").detail["way"] == "connect"


def test_a_connection_is_dropped_before_it_is_one(emulator):
    emulator.faults.add(Rule("drop", "connect"))
    assert talk(emulator, lambda socket: socket.next()) is None


def test_frames_are_suppressed_and_refused_and_others_injected(emulator):
    add = emulator.faults.add
    add(Rule("suppress", "out", action=Action.ACK, skip=1))
    add(Rule("refuse", "in", action=Action.ATTACH, channel="no"))
    frame = {"action": 13, "channel": "foo", "error": {"code": 50000, "statusCode": 500}}
    add(Rule("inject", "out", action=Action.ATTACHED, frame=frame))

    async def scenario(socket):
        for serial in range(3):
            await socket.say(Action.MESSAGE, channel="foo", msgSerial=serial, messages=[{}])
        await socket.say(Action.ATTACH, channel="no")
        await socket.say(Action.ATTACH, channel="foo")
        frames = []
        while not frames or frames[-1]["action"] != Action.DETACHED:
            frames.append(await socket.next())
        return [(f["action"], f.get("msgSerial"), f.get("channel")) for f in frames[1:]]

    assert talk(emulator, scenario) == [
        (Action.ACK, 0, None),
        (Action.ACK, 2, None),
        (Action.ERROR, None, "no"),
        (Action.ATTACHED, None, "foo"),
        (Action.DETACHED, None, "foo"),
    ]


def test_a_publish_is_refused_by_nack(emulator):
    emulator.faults.add(Rule("refuse", "in", action=Action.MESSAGE))

    async def scenario(socket):
        await socket.say(Action.MESSAGE, channel="foo", msgSerial=0, messages=[{}])
        return await socket.next(Action.NACK)

    nack = talk(emulator, scenario)
    assert (nack["msgSerial"], nack["count"], nack["error"]["code"]) == (0, 1, 50000)


def test_a_delay_keeps_the_order(emulator):
    emulator.faults.add(Rule("delay", "out", action=Action.ATTACHED, seconds=0.05))
    emulator.faults.add(Rule("delay", "in", action=Action.HEARTBEAT, seconds=0.05))

    async def scenario(socket):
        await socket.say(Action.ATTACH, channel="foo")
        await socket.say(Action.HEARTBEAT, id="1")
        await socket.say(Action.DETACH, channel="foo")
        return [(await socket.next())["action"] for _ in range(4)]

    assert talk(emulator, scenario) == [
        Action.CONNECTED,
        Action.ATTACHED,
        Action.HEARTBEAT,
        Action.DETACHED,
    ]


def test_a_token_expires_when_a_rule_says_so(emulator):
    emulator.faults.add(Rule("expire", "out", action=Action.ATTACHED))

    async def scenario(socket):
        await socket.say(Action.ATTACH, channel="foo")
        return await socket.next(Action.DISCONNECTED), await socket.next()

    gone, end = talk(emulator, scenario)
    assert (gone["error"]["code"], end) == (40142, None)


@pytest.mark.parametrize(
    ("fault", "way"),
    [("refuse", "out"), ("suppress", "connect"), ("expire", "request"), ("inject", "in")],
)
def test_a_rule_that_could_do_nothing_is_none(fault, way):
    with pytest.raises(ValueError, match=fault):
        Rule(fault, way)


def test_chance_is_drawn_from_a_seed():
    def draw():
        emulator = AblyEmulator()
        emulator.faults.add(Rule("suppress", "in", times=None, share=0.5))
        return [bool(emulator.faults.of("in", action=15)) for _ in range(64)]

    assert draw() == draw()
    assert 10 < sum(draw()) < 54


def test_requests_are_refused_dropped_and_delayed(emulator):
    add = emulator.faults.add
    add(Rule("refuse", "request", path="/time", error=AblyError(50003, 503, "busy")))
    status, body = rest(emulator, "/time")
    assert (status, body["error"]["code"]) == (503, 50003)
    add(Rule("drop", "request", path="/time"))
    with pytest.raises(ConnectionError):
        rest(emulator, "/time")
    add(Rule("delay", "request", seconds=0.01))
    status, (now,) = rest(emulator, "/time")
    assert status == 200
    assert abs(now - emulator.call(lambda world: world.now())) < 60_000


# --- the log, time, the end -----------------------------------------------------------------


def test_what_happens_is_logged_without_secrets(emulator):
    async def scenario(socket):
        await socket.say(Action.ATTACH, channel="foo")
        await socket.say(Action.AUTH, auth={"accessToken": "local0.hidden"})
        while await socket.next() is not None:
            pass

    talk(emulator, scenario)
    assert rest(emulator, f"/channels/foo?key={KEY}")[0] == 200
    log = emulator.log
    connected = log.wait("out", action=Action.CONNECTED)
    assert log.wait("in", action=Action.ATTACH, channel="foo").connection_id
    assert log.wait("closed").connection_id == connected.connection_id
    assert log.wait("request", path="/channels/foo").detail["status"] == 200
    told = repr([entry.detail for entry in log])
    assert "secret" not in told
    assert "hidden" not in told


def test_time_passes_when_a_test_says_so(emulator):
    async def scenario(socket):
        await socket.next(Action.CONNECTED)
        await asyncio.to_thread(emulator.advance, 15)
        return await socket.next()

    assert talk(emulator, scenario, query=f"key={KEY}&heartbeats=true") == {"action": 0}


def test_times_tell_before_from_after(emulator):
    """A loopback is faster than a millisecond, in which all would have happened"""
    basic = {"Authorization": f"Basic {base64.b64encode(KEY.encode()).decode()}"}

    def say(data):
        assert rest(emulator, "/channels/foo/messages", {"data": data}, **basic)[0] == 201

    def time():
        return rest(emulator, "/time")[1][0]

    for number in range(20):
        say("before")
        start = time()
        say(f"within {number}")
        end = time()
        say("after")
        _, found = rest(emulator, f"/channels/foo/messages?start={start}&end={end}", **basic)
        assert [message["data"] for message in found] == [f"within {number}"]


def test_a_connection_can_be_cut_off(emulator):
    async def scenario(socket):
        connected = await socket.next(Action.CONNECTED)
        await asyncio.to_thread(emulator.drop, connected["connectionId"])
        return await socket.next()

    assert talk(emulator, scenario) is None
    with pytest.raises(KeyError):
        emulator.drop("nobody")


def test_who_is_gone_before_the_handshake_is_no_error(emulator, caplog):
    asked = (
        f"GET /?key={KEY} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for _ in range(20):
        with socket.create_connection((emulator.host, emulator.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(asked.encode())
    assert rest(emulator, "/time")  # they were seen before
    assert caplog.records == []


def test_clients_are_sent_away_when_it_stops():
    emulator = AblyEmulator()

    async def scenario():
        await emulator.start()
        url = f"{emulator.websocket_url}/?key={KEY}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as websocket:
            socket = _Raw(websocket)
            await socket.next(Action.CONNECTED)
            stopping = asyncio.create_task(emulator.stop())
            frames = [await socket.next(), await socket.next()]
            await stopping
            return frames

    gone, end = asyncio.run(asyncio.wait_for(scenario(), DEADLINE))
    assert (gone["action"], gone["error"]["statusCode"], end) == (Action.DISCONNECTED, 503, None)


def test_a_frame_that_is_too_large_is_refused_and_not_just_dropped():
    with running(AblyEmulator(limits=Limits(frame_size=100))) as emulator:

        async def scenario(socket):
            await socket.say(Action.HEARTBEAT, id="x" * 100)
            return await socket.next(Action.ERROR)

        assert talk(emulator, scenario)["error"]["code"] == 40009


def test_several_apps_are_on_one_port():
    with running(AblyEmulator(keys=("local0.a:s1", "local0.b:s2", "other0.a:s3"))) as emulator:
        assert rest(emulator, "/channels/x?key=local0.b:s2")[0] == 200
        assert rest(emulator, "/channels/x?key=other0.a:s3")[0] == 200
        assert rest(emulator, "/channels/x?key=other0.a:s1")[0] == 401
        assert set(emulator.world.apps) == {"local0", "other0"}


def test_it_speaks_tls(tmp_path):
    certificate, key = self_signed(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=certificate)
    with running(AblyEmulator(tls=server)) as emulator:
        assert emulator.url.startswith("https://")
        first = talk(emulator, lambda socket: socket.next(), tls=client)
        assert first["action"] == Action.CONNECTED
        with urlopen(emulator.url + "/time", context=client) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "options",
    [{"keys": ("nokey",)}, {"keys": (KEY, f"{KEY}2")}, {"host": "0.0.0.0"}],  # noqa: S104
)
def test_it_says_what_is_wrong_with_its_configuration(options):
    with pytest.raises(ConfigurationError):
        AblyEmulator(**options)


def test_a_port_that_is_taken_is_said_so(emulator):
    with pytest.raises(ConfigurationError, match="cannot listen"):
        asyncio.run(AblyEmulator(port=emulator.port).start())
