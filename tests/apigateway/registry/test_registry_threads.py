"""Threads that subscribe, unsubscribe, sign in and go at the same time, on moto and in memory."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random

import pytest

from realtime_kit.protocol import effects
from realtime_kit.testing.dynamodb import MemoryDynamoDB, MotoDynamoDB

ROOM = "presence-room"
THREADS = 8


@pytest.fixture(params=[MemoryDynamoDB, MotoDynamoDB])
def world(request, make_world, check):
    world = make_world(request.param(), notify=None)
    yield world
    check(world.rows())
    assert world.deployment.left_behind() == {}
    world.deployment.db.call("DeleteTable", {"TableName": world.table.name})


def race(*functions):
    """Run all at the same time; their answers."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]


def go(world, conn):
    peer = world.driver.peer(conn)
    dropped = peer.perform(effects.Drop())
    peer.perform(effects.Told())
    return dropped


def told(perform, effect):
    """One effect, in a function that also tells the others."""
    answer = perform(effect)
    user_id = getattr(effect, "user_id", None)
    signed_in = isinstance(effect, effects.SignIn)
    perform(effects.Told(effects.watchers_of(user_id) if signed_in else effect.channel))
    return answer


def test_one_connection_subscribes_many_times_at_once(world, check):
    client = world.connect()
    answers = race(*[lambda: client.perform()(effects.Subscribe(ROOM, "1"))] * THREADS)
    assert sum(answer.new for answer in answers) == 1
    assert sum(answer.first_of_member for answer in answers) == 1
    assert world.subscriptions.channel(ROOM) == effects.ChannelState(1, 1)
    check(world.rows())
    answers = race(*[lambda: told(client.perform(), effects.Unsubscribe(ROOM))] * THREADS)
    assert sum(answer.existed for answer in answers) == 1
    assert sum(answer.last_of_member for answer in answers) == 1
    assert sum(answer.vacated for answer in answers) == 1
    client.go()


def test_a_user_s_many_connections_come_and_go_at_once(world, check):
    clients = [world.connect() for _ in range(THREADS)]
    joined = race(
        *[lambda c=client: c.perform()(effects.Subscribe(ROOM, "1")) for client in clients]
    )
    assert sum(answer.first_of_member for answer in joined) == 1
    assert sum(answer.occupied for answer in joined) == 1
    assert world.subscriptions.channel(ROOM) == effects.ChannelState(THREADS, 1)
    signed = race(*[lambda c=client: told(c.perform(), effects.SignIn("1")) for client in clients])
    assert sum(answer.first for answer in signed) == 1
    check(world.rows())
    # Each is disconnected twice, as after 410 and `$disconnect`.
    dropped = race(*[lambda c=client: go(world, c.conn) for client in clients * 2])
    left = [left for answer in dropped for left in answer.left]
    assert len(left) == THREADS
    assert sum(one.last_of_member for one in left) == sum(one.vacated for one in left) == 1
    assert [answer.signed_out for answer in dropped if answer.signed_out] == ["1"]
    world.clock.advance(31)


def test_subscriptions_and_the_end_of_their_connection(world):
    for _ in range(5):
        client = world.connect()
        channels = [ROOM, "a", "b", "c"]
        subscribing = [
            partial(client.perform(), effects.Subscribe(channel)) for channel in channels
        ]
        *joined, dropped = race(*subscribing, lambda client=client: go(world, client.conn))
        new = {channel for channel, answer in zip(channels, joined, strict=True) if answer.new}
        assert {left.channel for left in dropped.left} == new
        assert world.deployment.left_behind() == {}


def test_anything_at_once(world, check):
    flips = Counter()
    clients = [world.connect() for _ in range(4)]

    def play(seed):
        chance, seen = Random(seed), []  # noqa: S311
        for _ in range(15):
            client = chance.choice(clients)
            perform = client.perform()
            channel, user_id = chance.choice([(ROOM, "1"), (ROOM, "2"), ("a", None)])
            effect = chance.choice(
                [effects.Subscribe(channel, user_id), effects.Unsubscribe(channel)]
            )
            seen.append((effect, told(perform, effect)))
        return seen

    for seen in race(*[lambda seed=seed: play(seed) for seed in range(THREADS)]):
        for effect, answer in seen:
            if isinstance(effect, effects.Subscribe):
                flips["on", effect.channel] += answer.new
                flips["occupied", effect.channel] += answer.occupied
                flips["member", effect.user_id] += answer.first_of_member
            else:
                _left(flips, answer)
    check(world.rows())
    assert flips["on", ROOM] == world.subscriptions.channel(ROOM).subscriptions
    for dropped in race(*[lambda c=client: go(world, c.conn) for client in clients]):
        for left in dropped.left:
            _left(flips, left)
    assert set(flips.values()) == {0}


def _left(flips, left):
    flips["on", left.channel] -= left.existed
    flips["occupied", left.channel] -= left.vacated
    flips["member", left.user_id] -= left.last_of_member
