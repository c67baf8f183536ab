"""What a client says over a transport, and what is answered.

Source: specification, RTN, RTL, RTP; one `Session` is one transport of a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realtime_kit.emulators.ably import presence
from realtime_kit.emulators.ably.access import Access
from realtime_kit.emulators.ably.app import App
from realtime_kit.emulators.ably.attachment import Attachment
from realtime_kit.emulators.ably.auth import authenticate_realtime, authenticate_token
from realtime_kit.emulators.ably.connection import Connection, Options, Socket
from realtime_kit.emulators.ably.errors import AblyError
from realtime_kit.emulators.ably.names import parse_name
from realtime_kit.emulators.ably.publishing import denied
from realtime_kit.emulators.ably.wire import Action, Flag, Frame, decode
from realtime_kit.emulators.ably.world import World

Message = Mapping[str, Any]


class Session:
    """`connection` is None once it was refused, closed, or taken over by another transport."""

    def __init__(self, world: World, socket: Socket) -> None:
        self._world = world
        self._socket = socket
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection | None:
        connection = self._connection
        return connection if connection is not None and connection.socket is self._socket else None

    # --- its life ---------------------------------------------------------------------------

    def open(self, params: Mapping[str, str]) -> None:
        """A client opened a socket with this query (RTN2): CONNECTED, or ERROR and the end."""
        try:
            access = authenticate_realtime(self._world, params, self._world.now())
            options = Options.of(params)
        except AblyError as refusal:
            self._socket.send(Frame(Action.ERROR, error=refusal.info()))
            self._socket.close()
            return
        app = self._world.apps[access.app_id]
        connection, error = _resumed(app, access, params.get("resume", params.get("recover")))
        if connection is None:
            connection = Connection(app, access, options)
            app.connections[connection.id] = connection
        else:
            connection.options = options
        self._connection = connection
        connection.connect(self._socket, error)

    def lost(self) -> None:
        """The transport is gone. Its connection stays a while (RTN15)."""
        if (connection := self.connection) is not None:
            connection.lose()

    def receive(self, raw: str | bytes) -> None:
        """The client sent a frame. What cannot be understood ends the connection."""
        if (connection := self.connection) is None:
            return
        try:
            size, most = len(raw), connection.app.limits.frame_size
            if size > most:
                raise AblyError(
                    40009, 413, f"Maximum frame size exceeded (size was {size}, limit is {most})"
                )
            message = decode(raw)
        except AblyError as error:
            connection.fail(error)
            return
        handler = _HANDLERS.get(message["action"])
        if handler is not None:
            handler(self, connection, message)
        elif isinstance(message.get("msgSerial"), int):
            _nack(connection, message, AblyError(40000, 400, "Unsupported protocol action"))

    # --- the connection ---------------------------------------------------------------------

    def _heartbeat(self, connection: Connection, message: Message) -> None:
        connection.send(Frame(Action.HEARTBEAT, id=message.get("id")))

    def _close(self, connection: Connection, message: Message) -> None:
        connection.close()

    def _disconnect(self, connection: Connection, message: Message) -> None:
        connection.lose()

    def _auth(self, connection: Connection, message: Message) -> None:
        """New credentials on a live connection (RTC8)."""
        auth = message.get("auth")
        token = auth.get("accessToken") if isinstance(auth, Mapping) else None
        try:
            if not isinstance(token, str):
                raise AblyError(40101, 401, "Invalid AUTH message: no access token")
            access = authenticate_token(self._world, token, self._world.now())
            if access.app_id != connection.app.id:
                raise AblyError(40102, 401, "Invalid credentials: they are of another app")
            connection.reauthorize(access)
        except AblyError as error:
            if 40140 <= error.code < 40150:  # would be renewed again and again
                error = AblyError(40101, 401, error.message)
            connection.fail(error)

    # --- channels ---------------------------------------------------------------------------

    def _attach(self, connection: Connection, message: Message) -> None:
        name = message.get("channel")
        before = connection.attachments.get(name) if isinstance(name, str) else None
        try:
            attachment = _attachment(connection, message, before)
            frames = _answer(attachment, message, initial=before is None and not _resumes(message))
        except AblyError as error:
            connection.send(Frame(Action.ERROR, channel=name, error=error.info()))
            if before is not None:
                connection.detach(before)
            return
        connection.attach(attachment)
        for frame in frames:
            connection.send(frame)
        attachment.channel.tell_occupancy()

    def _detach(self, connection: Connection, message: Message) -> None:
        name = message.get("channel")
        try:
            parse_name(name)
        except AblyError as error:
            connection.send(Frame(Action.ERROR, channel=name, error=error.info()))
            return
        attachment = connection.attachments.get(str(name))
        if attachment is not None:
            connection.detach(attachment)
        connection.send(Frame(Action.DETACHED, channel=name))

    def _sync(self, connection: Connection, message: Message) -> None:
        """The client asks for the members anew."""
        attachment = connection.attachments.get(str(message.get("channel")))
        if attachment is not None:
            for frame in attachment.sync():
                connection.send(frame)

    def _publish(self, connection: Connection, message: Message) -> None:
        if _answered(connection, message):
            return
        name, messages = str(message.get("channel", "")), _list(message, "messages")
        try:
            attachment = connection.attachments.get(name)
            connection.take_allowance(len(messages), attachment)
            published = connection.app.publish(
                name,
                messages,
                access=connection.access,
                connection=connection,
                message_id=_id(connection, message),
                modes=attachment.modes if attachment is not None else None,
            )
        except AblyError as error:
            _nack(connection, message, error)
        else:
            _ack(connection, message, [{"serials": list(published.serials)}])

    def _presence(self, connection: Connection, message: Message) -> None:
        if _answered(connection, message):
            return
        name = str(message.get("channel", ""))
        try:
            presence.change(connection, name, _list(message, "presence"), _id(connection, message))
        except AblyError as error:
            _nack(connection, message, error)
        else:
            _ack(connection, message)


_HANDLERS = {
    Action.HEARTBEAT: Session._heartbeat,
    Action.CLOSE: Session._close,
    Action.DISCONNECT: Session._disconnect,
    Action.AUTH: Session._auth,
    Action.ATTACH: Session._attach,
    Action.DETACH: Session._detach,
    Action.SYNC: Session._sync,
    Action.MESSAGE: Session._publish,
    Action.PRESENCE: Session._presence,
}


def _resumed(
    app: App, access: Access, key: str | None
) -> tuple[Connection | None, AblyError | None]:
    """The connection that the client wants back, or why it cannot have it (RTN15c, RTN16)."""
    if key is None:
        return None, None
    connection = app.connection_of(key)
    if connection is None:
        if key.partition("!")[0] in app.gone:
            return None, AblyError(80008, 400, "Unable to recover connection (connection expired)")
        return None, AblyError(80018, 400, "Invalid connection key")
    try:
        connection.take_access(access)
    except AblyError:
        return None, AblyError(
            80011, 400, "Unable to recover connection (incompatible credentials)"
        )
    return connection, None


# --- attaching ------------------------------------------------------------------------------


def _attachment(connection: Connection, message: Message, before: Attachment | None) -> Attachment:
    name = message.get("channel")
    parsed = parse_name(name)
    most = connection.app.limits.channels_per_connection
    if before is None and len(connection.attachments) >= most:
        raise AblyError(90010, 400, f"Maximum number of channels per connection ({most}) exceeded")
    params = dict(parsed.params)
    given = message.get("params")
    if isinstance(given, Mapping):
        params.update((str(key), str(value)) for key, value in given.items())
    channel = connection.app.channel(parsed.base)
    attachment = Attachment(connection, channel, str(name), params, message.get("flags"))
    attachment.refresh()
    if not attachment.modes:
        raise denied(channel.name)
    return attachment


def _resumes(message: Message) -> bool:
    """A client says that it was attached before (RTL4j2)."""
    flags = message.get("flags")
    return isinstance(flags, int) and bool(flags & Flag.ATTACH_RESUME)


def _answer(attachment: Attachment, message: Message, *, initial: bool) -> list[Frame]:
    """ATTACHED, what was missed, and who is there (RTL4c1, RTP1)."""
    channel, serial = attachment.channel, message.get("channelSerial")
    error, resumed = None, False
    position, backlog = channel.serial, []
    if serial:
        missed = channel.since(str(serial))
        if missed is None:
            error = AblyError(90003, 404, "Unable to recover channel (messages expired)")
        else:
            resumed, position = True, str(serial)
            backlog = [entry.frame(attachment.name) for entry in missed if attachment.takes(entry)]
    elif initial:
        backlog = attachment.rewind()
    attached = attachment.attached(position, resumed=resumed, backlog=bool(backlog), error=error)
    return [attached, *backlog, *(attachment.sync() if attachment.members() else [])]


# --- answers --------------------------------------------------------------------------------


def _list(message: Message, field: str) -> list[object]:
    value = message.get(field)
    return value if isinstance(value, list) else []


def _id(connection: Connection, message: Message) -> str:
    serial = message.get("msgSerial")
    return f"{connection.id}:{serial if serial is not None else connection.app.token(8)}"


def _answered(connection: Connection, message: Message) -> bool:
    """It was said before, and the answer got lost with a transport (RTN19a)."""
    serial = message.get("msgSerial")
    answer = connection.results.get(serial) if isinstance(serial, int) else None
    if answer is None:
        return False
    connection.send(answer)
    return True


def _ack(
    connection: Connection, message: Message, result: list[dict[str, Any]] | None = None
) -> None:
    """`count` is of protocol messages (RTN7a)."""
    serial = message.get("msgSerial")
    if isinstance(serial, int):
        answer = Frame(Action.ACK, msgSerial=serial, count=1, res=result)
        connection.remember(serial, answer)
        connection.send(answer)


def _nack(connection: Connection, message: Message, error: AblyError) -> None:
    serial = message.get("msgSerial")
    if isinstance(serial, int):
        answer = Frame(Action.NACK, msgSerial=serial, count=1, error=error.info())
        connection.remember(serial, answer)
        connection.send(answer)
