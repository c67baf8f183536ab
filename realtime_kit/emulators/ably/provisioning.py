"""Apps made and unmade over REST, as the SDKs' own test suites do.

Source: ably-common, "test-resources/test-app-setup.json": the body of POST /apps on Ably's sandbox.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from realtime_kit.emulators.ably.app import ALL, App, Key, Namespace
from realtime_kit.emulators.ably.channel import Entry
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.messages import ENTER, read_presence
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.tokens import capability_of
from realtime_kit.emulators.ably.wire import Action

if TYPE_CHECKING:
    from realtime_kit.emulators.ably.world import World

_LETTERS = string.ascii_letters + string.digits
_FLAGS = {
    "persisted": "persisted",
    "mutableMessages": "mutable_messages",
}


def create_app(world: World, spec: Mapping[str, object]) -> dict[str, object]:
    """An app of `keys` (`{capability?, revocableTokens?}`), `namespaces` (`{id, persisted?, …}`)
    and `channels` with members (`{name, presence: [{clientId, data, encoding?}]}`), and what to
    know of it. Raises `AblyError` 40000."""
    app_id = _letters(world, 6)
    keys = [_key(world, app_id, given) for given in _objects(spec, "keys")]
    namespaces = [_namespace(given) for given in _objects(spec, "namespaces")]
    channels = [
        (parse_name(given.get("name")).base, _objects(given, "presence"))
        for given in _objects(spec, "channels")
    ]
    app = world.add_app(app_id, keys, namespaces)
    for name, members in channels:
        _fill(app, name, members)
    return {
        "id": app_id,
        "appId": app_id,
        "accountId": "local",
        "status": "enabled",
        "keys": [_described(key) for key in keys],
        "namespaces": list(_objects(spec, "namespaces")),
        "channels": list(_objects(spec, "channels")),
    }


def _key(world: World, app_id: str, given: Mapping[str, object]) -> Key:
    capability = given.get("capability", ALL)
    if not isinstance(capability, str):
        raise AblyError(40000, 400, "Invalid key: its capability must be JSON text")
    capability_of(capability)
    return Key(
        f"{app_id}.{_letters(world, 6)}",
        _letters(world, 16),
        capability,
        revocable_tokens=given.get("revocableTokens") is True,
    )


def _described(key: Key) -> dict[str, object]:
    return {
        "id": key.name.partition(".")[2],
        "value": key.secret,
        "keyName": key.name,
        "keySecret": key.secret,
        "keyStr": key.text,
        "capability": key.capability,
        "revocableTokens": key.revocable_tokens,
    }


def _namespace(given: Mapping[str, object]) -> Namespace:
    id = given.get("id")
    if not isinstance(id, str):
        raise AblyError(40000, 400, "Invalid namespace: its id must be text")
    return Namespace(id, **{ours: given.get(theirs) is True for theirs, ours in _FLAGS.items()})


def _fill(app: App, name: str, members: Sequence[Mapping[str, object]]) -> None:
    channel = app.channel(name)
    connection_id = app.token(10)
    for number, member in enumerate(members):
        event = read_presence({**member, "action": ENTER})
        event.connection_id = connection_id
        event.id = f"{connection_id}:{number}:0"
        event.timestamp = now = app.now()
        channel.set_presence(event)
        id, serial = f"{connection_id}:{number}", channel.next_serial()
        channel.add(Entry(Action.PRESENCE, serial, now, id, [event], connection_id))


def _objects(spec: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    given = spec.get(name, [])
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise AblyError(40000, 400, f"Invalid app: {name} must be a list of objects")
    return given


def _letters(world: World, length: int) -> str:
    return "".join(world.random.choices(_LETTERS, k=length))
