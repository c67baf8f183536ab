"""The HTTP client under the providers: what the conformance suites do not reach."""

from __future__ import annotations

import gc
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from realtime_kit.errors import ProviderUnavailable
from realtime_kit.providers import _http
from realtime_kit.providers._http import HttpClient
from realtime_kit.testing.certificate import self_signed
from realtime_kit.testing.faults import (
    Answer,
    Drip,
    Fault,
    FaultServer,
    Hang,
    Raw,
    Reset,
    unused_port,
)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def client(server: FaultServer) -> Iterator[HttpClient]:
    client = HttpClient("test", server.host, server.port, tls=False, timeout=3.0)
    yield client
    client.close()


def _get(client: HttpClient, target: str = "/") -> int:
    return client.request("GET", target, headers={}).status


def test_a_request_as_it_is_sent(server: FaultServer, client: HttpClient) -> None:
    answer = client.request("POST", "/a?b=c", headers={"X-One": "1"}, body=b"\x00body")
    assert (answer.status, answer.body) == (200, b"{}")
    received = server.received[0]
    assert (received.method, received.target, received.body) == ("POST", "/a?b=c", b"\x00body")
    assert received.headers["host"] == f"{server.host}:{server.port}"
    assert received.headers["x-one"] == "1"
    assert received.headers["user-agent"] == "realtime-kit"


def test_an_empty_post_says_so(server: FaultServer, client: HttpClient) -> None:
    client.request("POST", "/", headers={})
    assert server.received[0].headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("host", "port", "tls", "wanted"),
    [
        ("api-eu.pusher.com", 443, True, "api-eu.pusher.com"),
        ("api-eu.pusher.com", 80, True, "api-eu.pusher.com:80"),
        ("127.0.0.1", 80, False, "127.0.0.1"),
        ("::1", 6001, False, "[::1]:6001"),
        ("[::1]", 6001, False, "[::1]:6001"),
    ],
)
def test_the_host_header(host: str, port: int, tls: bool, wanted: str) -> None:
    client = HttpClient("test", host, port, tls=tls, timeout=1)
    assert f"\r\nHost: {wanted}\r\n".encode() in client._message("GET", "/", {}, b"")


@pytest.mark.parametrize("target", ["/a\r\nX-Evil: 1", "/a\nb"])
def test_no_line_break_gets_into_a_head(client: HttpClient, target: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        _get(client, target)


def test_bodies_of_every_framing(server: FaultServer, client: HttpClient) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    server.script(
        Raw(head + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n3\r\na"}\r\n0\r\n\r\n'),
        Raw(head + b"\r\nuntil the end"),
        Raw(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        Raw(b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 4\r\n\r\nlate"),
        Answer(204, b""),
    )
    bodies = []
    for number in range(5):
        bodies.append(client.request("GET", "/", headers={}).body)
        server.wait_closed(min(number + 1, 4))
    assert bodies == [b'{"a"}', b"until the end", b"old", b"late", b""]


def test_an_answer_that_drips_in_time(server: FaultServer, client: HttpClient) -> None:
    server.script(Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0.001))
    assert _get(client) == 200
    assert _get(client) == 200
    assert {received.connection for received in server.received} == {0}


def test_an_endless_body_is_cut_off(
    server: FaultServer, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "MAX_BODY", 1_000)
    for framing in (b"Content-Length: 1001\r\n", b""):
        server.script(Raw(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + b"x" * 5_000))
        with pytest.raises(ProviderUnavailable, match="not whole"):
            _get(client)
    server.script(Answer(200, b"x" * 1_000))
    assert _get(client) == 200


def test_what_the_server_closes_is_not_kept(server: FaultServer, client: HttpClient) -> None:
    server.script(Answer(headers={"Connection": "close"}))
    assert [_get(client), _get(client)] == [200, 200]
    assert [received.connection for received in server.received] == [0, 1]


def test_what_nobody_asked_for_ends_a_connection(server: FaultServer, client: HttpClient) -> None:
    """A second answer must not be read as that to the next request."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    # So long that it is not read ahead together with the first.
    surplus = b"HTTP/1.1 500 Wrong\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    server.script(_TwoAnswers(answer, surplus))
    assert [_get(client), _get(client)] == [200, 200]
    assert [received.connection for received in server.received] == [0, 1]


class _TwoAnswers:
    def __init__(self, *answers: bytes) -> None:
        self.data = b"".join(answers)

    def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
        connection.sendall(self.data)
        return True


def test_a_connection_idle_for_long_is_not_trusted(
    server: FaultServer, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _get(client)
    monkeypatch.setattr(_http, "MAX_IDLE_SECONDS", -1.0)
    _get(client)
    assert [received.connection for received in server.received] == [0, 1]


def test_threads_do_not_share_a_connection(server: FaultServer, client: HttpClient) -> None:
    """Twenty calls at once, each with an answer of its own."""
    together = threading.Barrier(20)
    bodies: list[tuple[bytes, bytes]] = []

    class Echo:
        def act(self, connection: socket.socket, stopped: threading.Event) -> bool:
            together.wait(5)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return True

    server.script(*(Echo() for _ in range(20)))

    def call(number: int) -> None:
        target = f"/{number}"
        answer = client.request("GET", target, headers={})
        bodies.append((target.encode(), answer.body))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(bodies) == 20
    assert len({received.connection for received in server.received}) == 20
    server.wait_closed(20 - _http.MAX_IDLE_CONNECTIONS)


def test_a_pool_that_nobody_closed_goes_in_silence(server: FaultServer) -> None:
    """Warnings are errors here: a ResourceWarning would fail the run."""
    client = HttpClient("test", server.host, server.port, tls=False, timeout=1)
    _get(client)
    del client
    gc.collect()
    server.wait_closed()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork beside threads
def test_a_child_process_makes_its_own_connections(server: FaultServer, client: HttpClient) -> None:
    _get(client)
    child = os.fork()
    if child == 0:
        status = _get(client) if client._idle else 1
        os._exit(0 if status == 200 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert _get(client) == 200
    assert [received.connection for received in server.received] == [0, 1, 0]


# --- time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_connecting_is_within_the_timeout(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A host that drops packets; of several addresses, each gets its share."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [_filler(address) for _ in range(4)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)] * count
        monkeypatch.setattr(_http.socket, "getaddrinfo", lambda *_, **__: found)
        client = HttpClient("test", "dropping.example", 1, tls=False, timeout=0.3)
        start = monotonic()
        with pytest.raises(ProviderUnavailable, match=r"within 0\.3 s, while connecting") as caught:
            _get(client)
        assert 0.25 < monotonic() - start < 1.5
        assert not caught.value.maybe_sent
        for filler in fillers:
            filler.close()


def _filler(address: tuple[str, int]) -> socket.socket:
    """One more place of a listener's queue taken."""
    filler = socket.socket()
    filler.setblocking(False)
    filler.connect_ex(address)
    return filler


def test_every_address_is_tried(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    family = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    unknown = (9_999, *family[1:])  # a family of addresses that this machine has not
    dead, alive = ("127.0.0.1", unused_port()), (server.host, server.port)
    found = [(*unknown, dead), (*family, dead), (*family, alive)]
    monkeypatch.setattr(_http.socket, "getaddrinfo", lambda *_, **__: found)
    client = HttpClient("test", "two.example", server.port, tls=False, timeout=3)
    assert _get(client) == 200


def test_writing_is_within_the_timeout() -> None:
    """A server that reads nothing: what is not written whole cannot have been taken."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host, port = deaf.getsockname()
        client = HttpClient("test", host, port, tls=False, timeout=0.5)
        with pytest.raises(ProviderUnavailable, match="while the request was written") as caught:
            client.request("POST", "/", headers={}, body=b"x" * 16_000_000)
        assert not caught.value.maybe_sent


def test_a_kept_connection_that_dies_while_it_is_written(
    server: FaultServer, client: HttpClient
) -> None:
    """Its last byte was not written: sent again, once, on a new one."""
    _get(client)
    client._idle[0].write = _broken  # type: ignore[method-assign]
    assert client.request("POST", "/again", headers={}, body=b"x").status == 200
    assert [received.target for received in server.received] == ["/", "/again"]


@pytest.mark.parametrize("end", [Reset(), Raw(), Raw(b"HTTP/1.")])
def test_a_kept_connection_that_ends_before_the_answer(
    server: FaultServer, client: HttpClient, end: Fault
) -> None:
    """Whether the server has the request nobody knows: sent again only to who bears it twice."""
    for repeatable, targets in ((True, ["/", "/x", "/x"]), (False, ["/", "/x"])):
        before = len(server.received)
        server.script(Answer(), end)
        _get(client)
        if repeatable:
            assert client.request("GET", "/x", headers={}, repeatable=True).status == 200
        else:
            with pytest.raises(ProviderUnavailable) as caught:
                client.request("GET", "/x", headers={})
            assert caught.value.maybe_sent
        assert [received.target for received in server.received[before:]] == targets


def test_what_is_repeatable_is_sent_twice_at_most(server: FaultServer, client: HttpClient) -> None:
    server.script(Answer(), Reset(), Reset(), Answer())
    _get(client)
    with pytest.raises(ProviderUnavailable):
        client.request("GET", "/x", headers={}, repeatable=True)
    assert len(server.received) == 3


def test_no_answer_in_time_is_waited_for_once(server: FaultServer) -> None:
    client = HttpClient("test", server.host, server.port, tls=False, timeout=0.3)
    server.script(Answer(), Hang())
    _get(client)
    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.3 s"):
        client.request("GET", "/x", headers={}, repeatable=True)
    assert len(server.received) == 2
    client.close()


def _broken(message: bytes, deadline: float) -> None:
    raise BrokenPipeError(32, "Broken pipe")


# --- TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(certified: tuple[Path, Path]) -> Path:
    """What the server is to be trusted by, as 127.0.0.1 alone."""
    return certified[0]


@pytest.fixture
def tls_server(certified: tuple[Path, Path]) -> Iterator[FaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certified)
    with FaultServer(tls=context) as server:
        yield server


def test_tls_with_the_systems_certificates(
    tls_server: FaultServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = HttpClient("test", tls_server.host, tls_server.port, tls=True, timeout=3)
    assert [_get(client) for _ in range(3)] == [200] * 3
    assert {received.connection for received in tls_server.received} == {0}
    client.close()


def test_an_unknown_certificate_is_refused(tls_server: FaultServer) -> None:
    client = HttpClient("test", tls_server.host, tls_server.port, tls=True, timeout=3)
    with pytest.raises(ProviderUnavailable, match="certificate is not valid") as caught:
        _get(client)
    assert not caught.value.maybe_sent
    assert tls_server.received == []


def test_a_certificate_for_another_name_is_refused(
    tls_server: FaultServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = HttpClient("test", "localhost", tls_server.port, tls=True, timeout=3)
    with pytest.raises(ProviderUnavailable, match="certificate is not valid"):
        _get(client)
    assert tls_server.received == []


def test_a_server_without_tls(server: FaultServer) -> None:
    client = HttpClient("test", server.host, server.port, tls=True, timeout=1)
    server.script(Hang())
    with pytest.raises(ProviderUnavailable) as caught:
        _get(client)
    assert not caught.value.maybe_sent
