"""The child's own parts: what its HTTP port refuses, and its event loop."""

import asyncio
import json
import socket
import sys
from asyncio import selector_events
from typing import Any

import pytest

from jobs_sandbox.local.child import __main__ as ministack
from jobs_sandbox.local.child.__main__ import Gate, LoopbackLoop

GET, POST = "GET", "POST"


def ask(
    path: str, method: str = GET, headers: tuple[tuple[bytes, bytes], ...] = (), kind: str = "http"
) -> Any:
    """What an ASGI server is told: ``"let through"``, or the messages of a refusal."""
    sent: list[Any] = []

    async def app(*_: object) -> None:
        sent.append("let through")

    async def send(message: object) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": kind, "path": path, "headers": headers}
    if kind == "http":
        scope["method"] = method
    asyncio.run(Gate(app)(scope, None, send))
    return sent


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/things/T", GET),
        ("/jobs/J", "PUT"),
        ("/_ministack/health", GET),
        ("/_ministack/iot/ca.pem", GET),
    ],
)
def test_requests_that_pass(path: str, method: str) -> None:
    """AWS requests, the health request and the CA pass."""
    assert ask(path, method, ((b"host", b"127.0.0.1"),)) == ["let through"]


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/_ministack/reset", POST, ()),
        ("/_ministack/health", POST, ()),
        ("/_ministack/config", POST, ()),
        ("/_localstack/health", GET, ()),
        ("/jobs/J", "PUT", ((b"Origin", b"https://example.com"),)),
        ("/_ministack/iot/ca.pem", GET, ((b"origin", b"null"),)),
    ],
)
def test_requests_that_are_refused(path: str, method: str, headers: Any) -> None:
    """MiniStack's own controls, and all that comes from a web page, are refused in one line of JSON."""
    start, body = ask(path, method, headers)
    assert (start["type"], start["status"]) == ("http.response.start", 403)
    assert "\n" not in body["body"].decode()
    assert list(json.loads(body["body"])) == ["message"]


def test_a_web_page_gets_no_websocket() -> None:
    """A WebSocket of a web page is closed; one of a program passes."""
    assert ask("/mqtt", headers=((b"origin", b"https://example.com"),), kind="websocket") == [
        {"type": "websocket.close", "code": 1008}
    ]
    assert ask("/mqtt", kind="websocket") == ["let through"]


def test_the_lifespan_is_not_run() -> None:
    """What MiniStack would do at start and end, such as looking after containers, is left out."""
    assert ask("", kind="lifespan") == []


def test_a_listener_gets_the_socket() -> None:
    """Who asks for an address gets the socket of the loop; who brings a socket keeps it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        socket.create_server(("127.0.0.1", 0)) as theirs,
    ):
        loop = LoopbackLoop(ours)
        for options, expected in (
            ({"host": "0.0.0.0", "port": 1}, ours),  # noqa: S104
            ({"sock": theirs}, theirs),
        ):
            server = loop.run_until_complete(loop.create_server(asyncio.Protocol, **options))
            assert [listener.getsockname() for listener in server.sockets] == [
                expected.getsockname()
            ]
        server.close()
        loop.close()


@pytest.mark.parametrize("reading", [True, False])
def test_a_paused_transport_is_not_read(reading: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """With the correction of gh-103607, a reader is added only to a transport that is not paused."""
    transport_class = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    monkeypatch.setattr(transport_class, "_add_reader", None)
    ministack.keep_paused_transports_paused()
    added: list[object] = []

    class Loop:
        def _add_reader(self, *arguments: object) -> None:
            added.append(arguments)

    class Transport:
        _loop = Loop()

        def is_reading(self) -> bool:
            return reading

    transport_class._add_reader(Transport(), 5, print, "argument")
    assert added == ([(5, print, "argument")] if reading else [])


async def test_what_comes_while_paused_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client sends at once waits for the upgrade to TLS, on every Python: else its ClientHello is lost."""
    if sys.version_info < ministack._FIXED:
        transport_class = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
        monkeypatch.setattr(transport_class, "_add_reader", None)  # so that it is undone
        ministack.keep_paused_transports_paused()
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Any] = loop.create_future()
    received: asyncio.Future[bytes] = loop.create_future()

    class Acceptor(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            accepted.set_result(transport)

        def data_received(self, data: bytes) -> None:
            received.set_result(data)

    listener = ministack._listener()
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"hello")  # it is there before the server looks
        async with await loop.create_server(Acceptor, sock=listener):
            transport = await asyncio.wait_for(accepted, 10)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not received.done()
            transport.resume_reading()
            assert await asyncio.wait_for(received, 10) == b"hello"
            transport.abort()


@pytest.mark.parametrize("needed", [True, False])
def test_the_correction_is_applied(needed: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """The child corrects Pythons before the fixed one, and no other, before it serves."""
    happened: list[str] = []

    async def serve(*listeners: socket.socket) -> None:
        happened.append("serve")
        for listener in listeners:
            listener.close()

    monkeypatch.setattr(ministack, "_FIXED", (99,) if needed else (3,))
    monkeypatch.setattr(
        ministack, "keep_paused_transports_paused", lambda: happened.append("correct")
    )
    monkeypatch.setattr(ministack, "_serve", serve)
    for name in ("GATEWAY_PORT", "IOT_MTLS_PORT"):
        monkeypatch.setenv(name, "")  # so that it is undone
    ministack.main()
    assert happened == (["correct", "serve"] if needed else ["serve"])


async def test_answers_are_sent_at_once() -> None:
    """What is small is sent without waiting for an acknowledgement: else one request in ten takes 40 ms."""
    accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sends_at_once = writer.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )
        accepted.set_result(bool(sends_at_once))
        writer.close()

    listener = ministack._listener()
    server = await asyncio.start_server(connected, sock=listener)
    async with server:
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(accepted, 10)
        writer.close()
